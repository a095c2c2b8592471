// Words put before a command: to run PostgreSQL without being root, and to let no child outlive us.
import { existsSync } from "node:fs";

export interface Account {
  uid: number;
  gid: number;
}

export interface Unprivileged {
  /** Put before every PostgreSQL command. */
  prefix: string[];
  /** Who must own the cluster's files; undefined means whoever we are. */
  owner?: Account;
}

/**
 * How to run PostgreSQL, which rejects to be root. A user namespace leaves files root's own and works below a private
 * directory; where the machine forbids namespaces (many containers) the files are handed to the account postgres, or to
 * nobody where there is none.
 */
export async function withoutRoot(): Promise<Unprivileged> {
  if (Deno.uid() !== 0) return { prefix: [] };
  const account = await ordinaryAccount();
  const namespace = ["unshare", "--user", `--map-user=${account.uid}`, `--map-group=${account.gid}`];
  if (await succeeds([...namespace, "true"])) return { prefix: namespace };
  return {
    prefix: ["setpriv", `--reuid=${account.uid}`, `--regid=${account.gid}`, "--clear-groups"],
    owner: account,
  };
}

/**
 * Lets the kernel send `signal` to the command when the thread that started it ends, SIGKILL included, and takes it out
 * of the terminal's process group, so that Ctrl-C reaches us alone. Must come after a change of user, which clears it.
 */
export function boundToUs(signal: "INT" | "KILL"): string[] {
  return existsSync("/usr/bin/setpriv") ? ["setpriv", "--pdeathsig", signal, "setsid"] : [];
}

async function ordinaryAccount(): Promise<Account> {
  const accounts = (await Deno.readTextFile("/etc/passwd")).split("\n").map((line) => line.split(":"));
  const named = (wanted: string) => accounts.find(([name]) => name === wanted);
  const fields = named("postgres") ?? named("nobody");
  if (!fields) throw new Error("PostgreSQL cannot run as root and there is no account postgres on this machine");
  return { uid: Number(fields[2]), gid: Number(fields[3]) };
}

async function succeeds([program, ...args]: string[]): Promise<boolean> {
  try {
    return (await new Deno.Command(program, { args, stdout: "null", stderr: "null" }).output()).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
