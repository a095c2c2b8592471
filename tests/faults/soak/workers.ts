// The SQL consumers' processes: started, stopped, killed, replaced.
import { boundToThisProcess } from "../../../supabase/local/wrapping.ts";
import { pause } from "../../pause.ts";

export interface Crew extends AsyncDisposable {
  /** Completions that came too late, so far. */
  readonly stale: number;
  /** kill -9 of one; another takes its place. Returns its name. */
  kill(): string;
  /** Stops one for so long, then lets it go on. */
  stop(ms: number): Promise<void>;
}

interface Member {
  name: string;
  child: Deno.ChildProcess;
}

export function hire(size: number, databaseUrl: string, lease: number): Crew {
  const program = new URL("./consumer.ts", import.meta.url).pathname;
  const members: Member[] = [];
  const reading: Promise<void>[] = [];
  let hired = 0;
  let stale = 0;

  function start(): Member {
    const name = `sql-${++hired}`;
    const [command, ...args] = [
      ...boundToThisProcess("KILL"),
      Deno.execPath(),
      ...["run", "-A", "--quiet", "--no-check", program, databaseUrl, name, String(lease)],
    ];
    const child = new Deno.Command(command, { args, stdin: "null", stdout: "piped", stderr: "null" }).spawn();
    reading.push(listen(child));
    // Whatever ends one, another begins.
    child.status.then(() => {
      const place = members.findIndex((member) => member.child === child);
      if (place >= 0) members[place] = start();
    });
    return { name, child };
  }

  async function listen(child: Deno.ChildProcess) {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) stale += text.split("stale").length - 1;
  }

  for (let n = 0; n < size; n++) members.push(start());

  const next = () => members[Math.floor(Math.random() * members.length)];
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
      const last = members.splice(0);
      for (const { child } of last) child.kill("SIGKILL");
      await Promise.all([...last.map(({ child }) => child.status), ...reading]);
    },
  };
}
