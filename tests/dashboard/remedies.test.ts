// Remedies on the page, and the page's behaviour when replies are late, missing or errors.
import assert from "node:assert/strict";
import { createAccess } from "../../dashboard/access.ts";
import { gate } from "../gates/gate.ts";
import { call, deadLetterOf, dispatch, dispatchAndClaim, settle } from "../supabase/bus.ts";
import { addressOf, clear, missing, serveDashboard, useDashboard } from "./browser.ts";

const { dashboard, project, target } = useDashboard();
const test = (name: string, fn: () => Promise<void>) => gate(`dashboard · ${name}`, missing, fn);

Deno.test.beforeEach(() => clear(project().sql));

test("an overdue message is shown on the overview with its reason and remedy", async () => {
  const { sql } = project();
  await dispatch(sql, { type: "Forgotten" });
  const later = await dispatch(sql, { type: "Later", delay: "1 hour" });
  const ago = "interval '5 minutes 1 second'";
  await sql.unsafe(
    `update messenger_messages set id = (messenger.id_prefix(created_at - ${ago}) || '8000000000000001')::uuid,
       created_at = created_at - ${ago}, available_at = available_at - ${ago}
     where message_type = 'Forgotten'`,
  );
  await sql.unsafe(`update messenger_transports set updated_at = updated_at - ${ago}`);
  const [{ id }] = await sql`select id from messenger_messages where message_type = 'Forgotten'`;
  await using opened = await dashboard().open();
  const { page } = opened;
  const item = page.locator(".attention li", { hasText: "A message has waited 5 minutes" });
  await item.getByRole("link", { name: "Forgotten" }).waitFor();
  const [{ reason, remedy }] = await call(sql, "messenger_explain", { id });
  await item.getByText(reason.replaceAll("_", " ")).first().waitFor();
  await item.getByText(remedy).waitFor();
  await item.getByRole("button", { name: "Copy" }).click();
  await page.getByText("Copied").waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), remedy);
  await item.getByRole("link", { name: "Forgotten" }).click();
  await page.getByText(id).waitFor();
  assert.equal(await page.getByText(later.id).count(), 0);
  assert.deepEqual(opened.complaints, []);
});

test("a paused queue is resumed and a disabled transport enabled from the message", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { queue: "mail" });
  await call(sql, "messenger_pause", { transport: "supabase", queue: "mail" });
  await sql`update messenger_transports set enabled = false where name = 'supabase'`;
  await using opened = await dashboard().open(`#/messages/${id}`);
  const { page } = opened;
  for (const name of ["Enable transport supabase", "Resume queue mail"]) {
    await page.getByRole("button", { name }).click();
    await page.getByRole("button", { name }).waitFor({ state: "detached" });
  }
  const [{ enabled }] = await sql`select enabled from messenger_transports where name = 'supabase'`;
  const paused = await sql`select from messenger.queues where paused_at is not null`;
  assert.deepEqual([enabled, paused.length], [true, 0]);
  assert.deepEqual(opened.complaints, []);
});

test("a failed message shows its timeline and links to its dead letter", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await settle(sql, [{
    id,
    fence,
    outcome: "failed",
    error: "no",
    error_class: "Boom",
    retryable: false,
    duration_ms: 1_500,
  }]);
  await using opened = await dashboard().open(`#/messages/${id}`);
  const { page } = opened;
  await page.locator(".timeline").waitFor();
  const course = await page.locator(".timeline li").allTextContents();
  assert.deepEqual(course.map((line) => line.replace(/^.*ago /, "")), [
    "dispatched",
    "failed for good",
  ]);
  await page.getByRole("link", { name: "Retry, edit or discard it" }).click();
  await page.waitForURL(`**/#/failed/${(await deadLetterOf(sql, id)).id}`);
  await page.getByRole("button", { name: "Edit and retry" }).waitFor();
});

test("a dead letter is not retried if another message has its idempotency key", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql, { idempotency_key: "k" });
  await settle(sql, [{ id, fence, outcome: "failed", error: "no", retryable: false }]);
  await sql`update messenger_messages set status = 'completed', error_class = null where id = ${id}`;
  await using opened = await dashboard().open("#/failed");
  await opened.page.getByRole("button", { name: "Retry all 1" }).click();
  await opened.page.getByRole("dialog").getByRole("button", { name: "Retry" }).click();
  await opened.page.getByText("0 retried, 1 not retried: conflict").waitFor();
});

test("messages are found by time of dispatch, in the reader's time zone, and by transport", async () => {
  const { sql } = project();
  const old = await dispatch(sql, { type: "Old" });
  await dispatch(sql, { type: "New" });
  await sql`update messenger_messages set created_at = created_at - interval '30 seconds' where id = ${old.id}`;
  const between = new Date(Date.now() - 15_000).toISOString();
  await using opened = await dashboard().open("#/messages");
  const { page } = opened;
  await page.getByText("More filters").click();
  await page.getByLabel("Dispatched from").fill(between.slice(0, 19));
  await page.getByLabel("Transport").fill("supabase");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByText("1 message", { exact: true }).waitFor();
  assert.deepEqual(await page.locator("tbody a").allTextContents(), ["New"]);
  // A browser writes a whole minute without its seconds.
  const kept = await page.getByLabel("Dispatched from").inputValue();
  assert.equal(Date.parse(`${kept}Z`), Date.parse(`${between.slice(0, 19)}Z`));
  assert.equal(new URLSearchParams(page.url().split("?")[1]).get("from"), `${between.slice(0, 19)}.000Z`);
});

test("a reply that an action has overtaken is not shown", async () => {
  await using opened = await dashboard().open("#/transports");
  const { page } = opened;
  await page.getByRole("button", { name: "Disable supabase" }).waitFor();
  const [requested, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  await page.route("**/monitor/transports", async (route) => {
    const before = await route.fetch();
    requested.resolve();
    await released.promise;
    await route.fulfill({ response: before });
  }, { times: 1 });
  await requested.promise;
  await page.getByRole("button", { name: "Disable supabase" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Disable" }).click();
  await page.getByRole("button", { name: "Enable supabase" }).waitFor();
  await page.evaluate(() => {
    new MutationObserver(() => {
      if (document.querySelector('[aria-label="Disable supabase"]')) console.error("shown as it was before");
    }).observe(document.body, { subtree: true, childList: true, attributes: true });
  });
  const [late] = await Promise.all([page.waitForResponse("**/monitor/transports"), released.resolve()]);
  await late.finished();
  await page.waitForResponse("**/monitor/transports"); // the next refresh
  await page.getByRole("button", { name: "Enable supabase" }).waitFor();
  assert.deepEqual(opened.complaints, []);
});

test("the skip link keeps the view; a truncated address shows an error", async () => {
  await using opened = await dashboard().open("#/transports");
  const { page } = opened;
  await page.getByRole("heading", { name: "Transports" }).waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "main");
  assert.ok(page.url().endsWith("#/transports"));
  await page.goto(`${dashboard().url}/#/messages/%E0%A4%A`);
  await page.getByRole("alert").waitFor();
  assert.deepEqual(opened.complaints, []);
});

test("charts use the colors of the chosen theme", async () => {
  const { sql } = project();
  await dispatch(sql);
  await using opened = await dashboard().open();
  const { page } = opened;
  const picture = () => page.locator("canvas").first().evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL());
  await page.locator("canvas").first().waitFor();
  await page.getByRole("button", { name: "Live" }).click();
  const light = await picture();
  await page.getByRole("combobox", { name: "Theme" }).selectOption("dark");
  await page.waitForFunction(
    (light) => document.querySelector("canvas")?.toDataURL() !== light,
    light,
  );
});

test("a wrong secret key is reported as such", async () => {
  const access = createAccess();
  await using server = await serveDashboard({ url: target().url, secretKey: "sb_secret_wrong" }, access);
  await using opened = await dashboard().open();
  await opened.page.goto(addressOf(`http://127.0.0.1:${server.addr.port}`, access));
  const alert = opened.page.getByRole("alert");
  await alert.getByRole("button", { name: "Try again" }).waitFor();
  assert.match(await alert.textContent() ?? "", /key|credential|sign/i);
});

// The last test of this file, because it stops the database.
test("while Postgres is stopped the page keeps its data and shows the cause", async () => {
  const { sql } = project();
  await dispatch(sql, { queue: "mail" });
  await using opened = await dashboard().open();
  const { page } = opened;
  await page.getByRole("link", { name: "mail", exact: true }).waitFor();
  await project().stopDatabase("fast");
  await page.getByRole("alert").waitFor();
  assert.match(await page.getByRole("alert").textContent() ?? "", /database|reply/i);
  await page.locator(".stale").getByRole("link", { name: "mail", exact: true }).waitFor();
  await project().startDatabase();
  await page.getByRole("alert").waitFor({ state: "detached" });
  assert.deepEqual(opened.complaints, []);
});
