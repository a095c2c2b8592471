// The overview: problems come first, each with its remedy; then figures, charts, queues and workers.
import assert from "node:assert/strict";
import { gate } from "../gates/gate.ts";
import { call, dispatch, dispatchMany } from "../supabase/bus.ts";
import { clear, holdTimers, missing, passTime, seeRequests, useDashboard } from "./browser.ts";
import { setScene } from "./scene.ts";

const { dashboard, target, project } = useDashboard();
const test = (name: string, fn: () => Promise<void>) => gate(`dashboard · ${name}`, missing, fn);

Deno.test.beforeEach(() => clear(project().sql));

test("an empty bus shows how to dispatch the first message", async () => {
  await using opened = await dashboard().open();
  await opened.page.getByRole("heading", { name: "No messages yet" }).waitFor();
  await opened.page.getByText("select * from messenger_dispatch(").waitFor();
  assert.deepEqual(opened.complaints, []);
});

test("a paused queue is found from the overview and from its message, and resumed", async () => {
  const { sql } = project();
  await dispatchMany(sql, 3, { queue: "mail" });
  await call(sql, "messenger_pause", { transport: "supabase", queue: "mail" });
  await using opened = await dashboard().open();
  const { page } = opened;
  await page.getByText("Queue mail is paused").waitFor();
  await page.getByRole("link", { name: "Show messages" }).click();
  await page.getByRole("link", { name: "Greeting" }).first().click();
  await page.getByRole("heading", { name: "Why it is not running" }).waitFor();
  await page.getByRole("button", { name: "Resume queue mail" }).waitFor();
  await page.getByRole("link", { name: "Overview" }).click();
  await page.getByRole("button", { name: "Resume" }).first().click();
  await page.getByText("Queue mail is resumed").waitFor();
  const [{ paused_at }] = await sql`select paused_at from messenger.queues`;
  assert.equal(paused_at, null);
  assert.deepEqual(opened.complaints, []);
});

test("a queue is paused and resumed in its row, a disabled transport enabled", async () => {
  const { sql } = project();
  await dispatch(sql, { queue: "mail" });
  await using opened = await dashboard().open();
  const { page } = opened;
  await page.getByRole("button", { name: "Pause mail" }).click();
  await page.getByText("Queue mail is paused", { exact: true }).first().waitFor();
  assert.equal((await sql`select from messenger.queues where paused_at is not null`).length, 1);
  await page.getByRole("button", { name: "Resume mail" }).click();
  await page.getByRole("button", { name: "Pause mail" }).waitFor();
  assert.equal((await sql`select from messenger.queues where paused_at is not null`).length, 0);

  await page.getByRole("link", { name: "Transports" }).click();
  await page.getByRole("button", { name: "Disable supabase" }).click();
  await page.getByText("are rejected until it is enabled again").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Disable" }).click();
  await page.getByRole("button", { name: "Enable supabase" }).waitFor();
  await page.getByRole("link", { name: "Overview" }).click();
  await page.getByText("Transport supabase is disabled").waitFor();
  await page.getByRole("button", { name: "Enable" }).click();
  await page.getByText("Transport supabase is disabled").waitFor({ state: "detached" });
  const [{ enabled }] = await sql`select enabled from messenger_transports where name = 'supabase'`;
  assert.equal(enabled, true);
  assert.deepEqual(opened.complaints, []);
});

test("the page refreshes itself, can be paused, and resumes", async () => {
  const { sql } = project();
  let requests = 0;
  await using opened = await dashboard().open("#/", {
    async prepare(page) {
      await holdTimers(page);
      page.on("request", (request) => void (request.url().includes("/monitor/") && requests++));
    },
  });
  const { page } = opened;
  const due = page.locator(".tile", { hasText: "Due now" }).locator("dd");
  await due.getByText("0", { exact: true }).waitFor();
  await dispatchMany(sql, 4);
  await passTime(page, 2_000);
  await due.getByText("4", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Live" }).click();
  await page.getByRole("button", { name: "Paused" }).waitFor();
  await seeRequests(page);
  requests = 0;
  await dispatchMany(sql, 3);
  await passTime(page, 60_000);
  await seeRequests(page);
  assert.equal(requests, 0, "requests of a paused page");
  await due.getByText("4", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Paused" }).click();
  await due.getByText("7", { exact: true }).waitFor();
});

test("the overview shows charts, errors, queues and workers", async () => {
  await setScene(project().sql, `${target().url}/functions/v1`);
  await using opened = await dashboard().open();
  const { page } = opened;
  await page.getByRole("img", { name: /^Messages per minute\. Newest: dispatched/ }).waitFor();
  await page.getByRole("img", { name: /^Handler duration/ }).waitFor();
  assert.equal(await page.locator("canvas").count(), 2);
  await page.getByText("MailboxFull").first().waitFor();
  await page.getByText("edge-eu-west-1-9c01").waitFor();
  await page.getByRole("combobox", { name: "Period" }).selectOption("15");
  await page.waitForURL(/minutes=15/);
  await page.getByRole("link", { name: "Review" }).click();
  await page.getByRole("heading", { name: "Dead letters" }).waitFor();
  assert.deepEqual(opened.complaints, []);
});
