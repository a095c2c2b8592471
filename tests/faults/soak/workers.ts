// The processes of the SQL consumers: started, stopped, killed, replaced.
import { boundToThisProcess } from "../../../supabase/local/wrapping.ts";
import { pause } from "../../pause.ts";

export interface WorkerProcesses extends AsyncDisposable {
  /** Number of completions that came too late. */
  readonly stale: number;
  /** kill -9 of one process; another replaces it. Returns its name. */
  kill(): string;
  /** Stops one process for this time, then continues it. */
  stop(ms: number): Promise<void>;
}

interface WorkerProcess {
  name: string;
  child: Deno.ChildProcess;
}

export function startWorkers(size: number, databaseUrl: string, lease: number): WorkerProcesses {
  const program = new URL("./consumer.ts", import.meta.url).pathname;
  const processes: WorkerProcess[] = [];
  const reading: Promise<void>[] = [];
  let started = 0;
  let stale = 0;

  function start(): WorkerProcess {
    const name = `sql-${++started}`;
    const [command, ...args] = [
      ...boundToThisProcess("KILL"),
      Deno.execPath(),
      ...["run", "-A", "--quiet", "--no-check", program, databaseUrl, name, String(lease)],
    ];
    const child = new Deno.Command(command, { args, stdin: "null", stdout: "piped", stderr: "null" }).spawn();
    reading.push(listen(child));
    // Every process that ends is replaced.
    child.status.then(() => {
      const index = processes.findIndex((process) => process.child === child);
      if (index >= 0) processes[index] = start();
    });
    return { name, child };
  }

  async function listen(child: Deno.ChildProcess) {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) stale += text.split("stale").length - 1;
  }

  for (let n = 0; n < size; n++) processes.push(start());

  const next = () => processes[Math.floor(Math.random() * processes.length)];
  return {
    get stale() {
      return stale;
    },
    kill() {
      const { name, child } = next();
      child.kill("SIGKILL");
      return name;
    },
    async stop(ms) {
      const { child } = next();
      child.kill("SIGSTOP");
      await pause(ms);
      child.kill("SIGCONT");
    },
    async [Symbol.asyncDispose]() {
      const last = processes.splice(0);
      for (const { child } of last) child.kill("SIGKILL");
      await Promise.all([...last.map(({ child }) => child.status), ...reading]);
    },
  };
}
