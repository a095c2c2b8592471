// The database passes the conformance suite of transports.
import { supabaseSender } from "../../../shared/transports/supabase.ts";
import { useProject } from "../../project.ts";
import { exerciseTransport } from "./conformance.ts";
import { openDatabase } from "./database_transport.ts";

const project = useProject({ testClock: true });

exerciseTransport("supabase transport", () => {
  const { db, shared } = openDatabase(project());
  return { name: "supabase", sender: supabaseSender(db), ...shared };
});
