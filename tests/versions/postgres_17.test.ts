// The core of the SQL suite on the other version of PostgreSQL that Supabase runs.
import { testVersion } from "./sql_suite.ts";

testVersion(17);
