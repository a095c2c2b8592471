// `npm start` from a developer's view: another port if one is taken, one project per directory, stopped by Ctrl-C, data
// kept.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { test } from "../project.ts";

const here = new URL("../../", import.meta.url).pathname;
// A separate checkout, because `npm start` keeps its project in its own checkout.
const checkout = await Deno.makeTempDir({ prefix: "symphony-checkout-" });
await run("cp", [
  "-r",
  ...["supabase", "functions", "shared", "packs", "deno.json", "package.json"].map((name) => here + name),
  checkout,
]);
// Hard links, because functions may read files of their own checkout only.
await run("cp", ["-rl", `${here}node_modules`, checkout]).catch(() =>
  run("cp", ["-r", `${here}node_modules`, checkout])
);
const children: Deno.ChildProcess[] = [];
Deno.test.afterAll(async () => {
  for (const child of children) {
    try {
      child.kill("SIGKILL");
    } catch {
      // The process has ended.
    }
    await child.status;
  }
  await Deno.remove(checkout, { recursive: true });
});

async function run(program: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

interface Started {
  readonly output: string;
  /** Its output so far. */
  said: () => string;
  url: string;
  secretKey: string;
  child: Deno.ChildProcess;
}

/** Runs start.ts, and collects its output. */
function launch(): { child: Deno.ChildProcess; said: () => string } {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", `${checkout}/supabase/local/start.ts`],
    cwd: checkout,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  children.push(child);
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    (async () => {
      for await (const chunk of stream.pipeThrough(new TextDecoderStream())) text += chunk;
    })();
  }
  return { child, said: () => text };
}

async function started({ child, said }: ReturnType<typeof launch>): Promise<Started> {
  await eventually("it prints that it runs", () => /Ctrl-C stops it/.test(said()) && /psql/.test(said()), 60_000)
    .catch((error) => assert.fail(`${error.message}\n${said()}`));
  const find = (pattern: RegExp) => pattern.exec(said())?.[1] ?? assert.fail(`${pattern} in:\n${said()}`);
  return { child, said, output: said(), url: find(/^ +API +(\S+)$/m), secretKey: find(/^ +Secret key +(\S+)$/m) };
}

async function interrupt(child: Deno.ChildProcess): Promise<number> {
  child.kill("SIGINT");
  return (await child.status).code;
}

/** Command lines of processes that work in or on the checkout. */
async function processes(): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === Deno.pid) continue;
    const command = await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "");
    if (command.includes(checkout)) found.push(`${name} ${command.replaceAll("\0", " ")}`);
  }
  return found;
}

async function dispatch({ url, secretKey }: Started): Promise<string> {
  const response = await fetch(`${url}/functions/v1/dispatch`, {
    method: "POST",
    headers: { "content-type": "application/json", apikey: secretKey },
    body: JSON.stringify({ message: { type: "ExampleQuick", payload: {} } }),
  });
  const body = await response.json();
  assert.equal(response.status, 201, JSON.stringify(body));
  return body.messageId;
}

async function stateOf({ url, secretKey }: Started, id: string): Promise<string> {
  const response = await fetch(`${url}/functions/v1/dispatch/${id}`, { headers: { apikey: secretKey } });
  return (await response.json()).status;
}

async function resultOf({ url, secretKey }: Started, id: string): Promise<unknown> {
  const response = await fetch(`${url}/functions/v1/dispatch/${id}`, { headers: { apikey: secretKey } });
  return (await response.json()).result;
}

/** The queue of a message that is dispatched through the data API, without the edge functions. */
async function queueInSql({ url, secretKey }: Started): Promise<string> {
  const response = await fetch(`${url}/rest/v1/rpc/messenger_dispatch`, {
    method: "POST",
    headers: { apikey: secretKey, "content-type": "application/json" },
    body: JSON.stringify({ type: "ExampleQuick" }),
  });
  return (await response.json())[0].queue;
}

async function untilNoneIsLeft(): Promise<void> {
  await eventually("no process is left", async () => (await processes()).length === 0, 10_000)
    .catch(async () => assert.fail((await processes()).join("\n")));
}

test("npm start · prints the ports in use, rejects a second start, ends with Ctrl-C, keeps its data", async (t) => {
  // Taken by this test, or already by another process: both are "in use".
  const taken: Deno.Listener[] = [];
  for (const port of [24321, 24322]) {
    try {
      taken.push(Deno.listen({ hostname: "127.0.0.1", port }));
    } catch (error) {
      assert.ok(error instanceof Deno.errors.AddrInUse);
    }
  }
  const first = await started(launch());

  await t.step("ports in use are printed and others taken", () => {
    assert.match(first.output, /Port 24321 for the API is in use by another program; taking \d+ this time/);
    assert.match(first.output, /Port 24322 for Postgres is in use by another program; taking \d+ this time/);
    assert.notEqual(new URL(first.url).port, "24321");
  });

  const id = await dispatch(first);
  await t.step("the printed commands work: a message is dispatched and handled", async () => {
    await eventually("it is handled", async () => await stateOf(first, id) === "completed");
  });

  await t.step(
    "the user whose token it prints may dispatch types that are open to users, and nothing else",
    async () => {
      const token = /A user's token +(\S+)/.exec(first.output)?.[1];
      const asUser = async (type: string) => {
        const response = await fetch(`${first.url}/functions/v1/dispatch`, {
          method: "POST",
          headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
          body: JSON.stringify({ message: { type, payload: { note: "hello" } } }),
        });
        return [response.status, (await response.json()).error?.code];
      };
      assert.deepEqual(await asUser("ExampleUser"), [201, undefined]);
      assert.deepEqual(await asUser("ExampleQuick"), [403, "SM_TYPE_FORBIDDEN"]);
    },
  );

  await t.step("a changed handler handles the next message", async () => {
    const path = `${checkout}/packs/example/example_quick.ts`;
    const text = await Deno.readTextFile(path);
    await Deno.writeTextFile(path, text.replace("ok: true", "changed: true"));
    await eventually("it prints that it has noticed the change", () => /The code has changed/.test(first.said()));
    const next = await dispatch(first);
    await eventually("it is handled", async () => await stateOf(first, next) === "completed");
    assert.equal((await resultOf(first, next) as { changed?: boolean }).changed, true);
  });

  await t.step("a type with a changed route is registered on save: SQL dispatches it by the new route", async () => {
    const path = `${checkout}/packs/example/example_quick.ts`;
    const text = await Deno.readTextFile(path);
    await Deno.writeTextFile(
      path,
      text.replace('type: "ExampleQuick",', 'type: "ExampleQuick",\n  route: { queue: "saved" },'),
    );
    await eventually("a dispatch from SQL has the new queue", async () => await queueInSql(first) === "saved");
  });

  await t.step("a second start on the same directory names the first process, and ends", async () => {
    const second = launch();
    assert.equal((await second.child.status).code, 1);
    const sentence = `A project already runs in ${checkout}/.symphony/project, started by process ${first.child.pid}`;
    await eventually("it prints the reason", () => second.said().includes(sentence));
    assert.equal(await stateOf(first, id), "completed", "the first still runs");
  });

  await t.step("Ctrl-C ends it and everything it started", async () => {
    assert.ok((await processes()).length > 2);
    assert.equal(await interrupt(first.child), 0);
    await untilNoneIsLeft();
  });

  for (const listener of taken) listener.close();
  await t.step("the next start finds the data and the keys again", async () => {
    const again = await started(launch());
    assert.equal(again.secretKey, first.secretKey);
    assert.equal(await stateOf(again, id), "completed");
    const next = await dispatch(again);
    await eventually("and handles the next message", async () => await stateOf(again, next) === "completed");
    again.child.kill("SIGKILL");
    await again.child.status;
  });

  await t.step("killed without a warning, it leaves no process behind either, and the data is intact", async () => {
    await untilNoneIsLeft();
    const last = await started(launch());
    assert.equal(await stateOf(last, id), "completed");
    assert.equal(await interrupt(last.child), 0);
  });
});
