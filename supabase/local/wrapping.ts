// Prefixes of commands: run PostgreSQL without root, and end child processes with this one.
import { existsSync } from "node:fs";

export interface Account {
  uid: number;
  gid: number;
}

export interface Unprivileged {
  /** The prefix of every PostgreSQL command. */
  prefix: string[];
  /** The owner of the cluster's files; undefined: the account of this process. */
  owner?: Account;
}

/**
 * How to run PostgreSQL, which does not run as root. In a user namespace files stay root's, and private directories
 * work. Where namespaces are forbidden, as in many containers, the account postgres (or nobody) gets the files.
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
 * Makes the kernel send `signal` to the command when the thread that started it ends, even by SIGKILL, and moves it out
 * of the terminal's process group, so that Ctrl-C reaches this process only. A change of user clears it, so it must
 * follow one.
 */
export function boundToThisProcess(signal: "INT" | "KILL"): string[] {
  return existsSync("/usr/bin/setpriv") ? ["setpriv", "--pdeathsig", signal, "setsid"] : [];
}

async function ordinaryAccount(): Promise<Account> {
  const accounts = (await Deno.readTextFile("/etc/passwd")).split("\n").map((line) => line.split(":"));
  const named = (wanted: string) => accounts.find(([name]) => name === wanted);
  const fields = named("postgres") ?? named("nobody");
  if (!fields) throw new Error("PostgreSQL cannot run as root, and this machine has no account postgres or nobody");
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
