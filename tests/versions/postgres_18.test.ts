// The core of the SQL suite on the version of PostgreSQL that Supabase will run.
import { testVersion } from "./sql_suite.ts";

testVersion(18);
