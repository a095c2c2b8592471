// The database as a transport passes what every transport must.
import { supabaseSender } from "../../../shared/transports/supabase.ts";
import { useProject } from "../../project.ts";
import { exerciseTransport } from "./conformance.ts";
import { openDatabase } from "./database_transport.ts";

const project = useProject({ testClock: true });

exerciseTransport("supabase transport", () => {
  const { db, shared } = openDatabase(project());
  return { name: "supabase", sender: supabaseSender(db), ...shared };
});
