// Messages and schedules on the page: messages are found, explained and cancelled; schedules are created, previewed,
// paused and deleted.
import assert from "node:assert/strict";
import { gate } from "../gates/gate.ts";
import { call, dispatch, dispatchAndClaim, dispatchMany, messageOf, settle } from "../supabase/bus.ts";
import { clear, missing, useDashboard } from "./browser.ts";

const { dashboard, project } = useDashboard();
const test = (name: string, fn: () => Promise<void>) => gate(`dashboard · ${name}`, missing, fn);

Deno.test.beforeEach(() => clear(project().sql));

test("messages are searched, and paged to the oldest one", async () => {
  const { sql } = project();
  await dispatchMany(sql, 60, { type: "Mail" });
  await dispatch(sql, { type: "Note", idempotency_key: "note-1" });
  await using opened = await dashboard().open("#/messages");
  const { page } = opened;
  await page.getByText("61 messages").waitFor();
  await page.getByRole("textbox", { name: "Type" }).fill("Mail");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByText("60 messages").waitFor();
  assert.equal(await page.locator("tbody tr").count(), 50);
  await page.getByRole("link", { name: "Older" }).click();
  await page.waitForURL(/cursor=/);
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 10);
  await page.getByRole("link", { name: "Clear" }).click();
  await page.getByText("More filters").click();
  await page.getByRole("textbox", { name: "Idempotency key" }).fill("note-1");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByRole("link", { name: "Note" }).waitFor();
  await page.getByRole("textbox", { name: "Queue" }).fill("nowhere");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByRole("heading", { name: "No messages found" }).waitFor();
  assert.deepEqual(opened.complaints, []);
});

test("a message shows its payload and error, and is cancelled", async () => {
  const { sql } = project();
  const failing = await dispatchAndClaim(sql, { payload: { to: "Ada" } });
  await settle(sql, [{ id: failing.id, fence: failing.fence, outcome: "failed", error: "no reply", delay_ms: 1e6 }]);
  await using opened = await dashboard().open(`#/messages/${failing.id}`);
  const { page } = opened;
  await page.getByText('"to": "Ada"').waitFor();
  await page.getByText("no reply").first().waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("button", { name: "Cancel the message" }).click();
  await page.getByText("The message is cancelled").waitFor();
  await page.getByText("cancelled", { exact: true }).first().waitFor();
  assert.equal((await messageOf(sql, failing.id)).error_class, "Cancelled");
  assert.deepEqual(opened.complaints, []);
});

test("a running message is requested to stop, once", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql);
  await using opened = await dashboard().open(`#/messages/${id}`);
  await opened.page.getByRole("button", { name: "Cancel" }).click();
  await opened.page.getByRole("button", { name: "Cancel the message" }).click();
  await opened.page.getByRole("button", { name: "Stop requested" }).waitFor();
  assert.notEqual((await messageOf(sql, id)).cancel_requested_at, null);
});

test("a message that does not exist shows an error", async () => {
  await using opened = await dashboard().open(`#/messages/${crypto.randomUUID()}`);
  await opened.page.getByRole("alert").getByText("There is no such message").waitFor();
});

test("a schedule is created with a preview of its next runs, edited, paused, resumed and deleted", async () => {
  const { sql } = project();
  await using opened = await dashboard().open("#/schedules");
  const { page } = opened;
  await page.getByRole("heading", { name: "No schedules" }).waitFor();
  await page.getByRole("button", { name: "New schedule" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("textbox", { name: "Name" }).fill("daily digest");
  await dialog.getByRole("textbox", { name: "Message type" }).fill("Digest");
  await dialog.getByRole("textbox", { name: "Cron" }).fill("nonsense");
  await dialog.getByRole("alert").getByText(/cron expression/i).waitFor();
  await dialog.getByRole("textbox", { name: "Cron" }).fill("30 7 * * *");
  await dialog.getByRole("textbox", { name: "Time zone" }).fill("Europe/Berlin");
  await dialog.getByText("07:30:00").first().waitFor();
  await dialog.getByRole("button", { name: "Save" }).click();
  await page.getByText("daily digest is saved").waitFor();
  await page.getByRole("button", { name: "Next runs" }).click();
  await page.getByRole("dialog").getByText("07:30:00").first().waitFor();
  await page.getByRole("button", { name: "Close" }).click();
  await page.getByRole("button", { name: "Pause daily digest" }).click();
  await page.getByRole("cell", { name: "daily digest paused" }).waitFor();
  await page.getByRole("button", { name: "Resume daily digest" }).click();
  await page.getByRole("button", { name: "Pause daily digest" }).waitFor();
  await sql`update messenger_schedules set jitter_ms = 5000, max_runs = 7, headers = '{"x-a": "b"}'`;
  await page.reload();
  await page.getByRole("button", { name: "Edit daily digest" }).click();
  await page.getByRole("dialog").getByText("Policies").click();
  await page.getByRole("combobox", { name: "Previous message unfinished" }).selectOption("skip");
  await page.getByRole("dialog").getByRole("combobox", { name: "Kind" }).selectOption("interval");
  await page.getByRole("dialog").getByRole("spinbutton", { name: "Interval in seconds" }).fill("90");
  await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
  await page.getByText("every 1.5 min").waitFor();
  const [saved] =
    await sql`select schedule_config, overlap, jitter_ms, max_runs, headers, timezone from messenger_schedules`;
  assert.deepEqual(saved, {
    schedule_config: { interval: 90_000 },
    overlap: "skip",
    jitter_ms: "5000",
    max_runs: "7",
    headers: { "x-a": "b" },
    timezone: "Europe/Berlin",
  });
  await page.getByRole("button", { name: "Delete daily digest" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.getByRole("heading", { name: "No schedules" }).waitFor();
  assert.equal((await sql`select from messenger_schedules`).length, 0);
  assert.deepEqual(opened.complaints, []);
});

test("a new schedule with the name of an existing one replaces it only after a confirmation", async () => {
  const { sql } = project();
  await call(sql, "messenger_schedule", { name: "digest", type: "Digest", schedule: { cron: "0 9 * * *" } });
  await using opened = await dashboard().open("#/schedules");
  const { page } = opened;
  await page.getByRole("button", { name: "New schedule" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("digest");
  await dialog.getByLabel("Message type").fill("Other");
  await dialog.getByRole("button", { name: "Save" }).click();
  await dialog.getByText("A schedule of this name exists: Digest, 0 9 * * *. Saving replaces it.").waitFor();
  const type = async () =>
    (await sql`select message_type from messenger_schedules where name = 'digest'`)[0].message_type;
  assert.equal(await type(), "Digest");
  await dialog.getByRole("button", { name: "Replace digest" }).click();
  await page.getByText("digest is saved").waitFor();
  assert.equal(await type(), "Other");
});

test("the reason of a blocked message links to the one before it", async () => {
  const { sql } = project();
  const first = await dispatch(sql, { ordering_key: "k", delay: "1 hour" });
  const second = await dispatch(sql, { ordering_key: "k" });
  await using opened = await dashboard().open(`#/messages/${second.id}`);
  await opened.page.locator(".explain").getByRole("link", { name: first.id }).click();
  await opened.page.getByText("To make it due now:").waitFor();
});

test("a message is opened and cancelled by keyboard alone", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { delay: "1 hour" });
  await using opened = await dashboard().open("#/messages");
  const { page } = opened;
  await page.getByRole("link", { name: "Greeting" }).waitFor();
  const press = async (name: string | RegExp) => {
    for (let n = 0; n < 60; n++) {
      await page.keyboard.press("Tab");
      const focused = await page.evaluate(() => document.activeElement?.textContent ?? "");
      if (typeof name === "string" ? focused.trim() === name : name.test(focused)) {
        return await page.keyboard.press("Enter");
      }
    }
    assert.fail(`no way to ${name} by Tab`);
  };
  await press("Greeting");
  await page.getByRole("heading", { name: "Why it is not running" }).waitFor();
  await press("Cancel");
  await press("Cancel the message");
  await page.getByText("The message is cancelled").waitFor();
  assert.equal((await messageOf(sql, id)).status, "failed");
});

test("values from callers are shown as text, in every view", async () => {
  const { sql } = project();
  const evil = `"><img src=x onerror=alert(1)><script>alert(2)</script>'`;
  const { id, fence } = await dispatchAndClaim(sql, {
    payload: { [evil]: evil },
    headers: { [evil]: evil },
    idempotency_key: evil,
    ordering_key: evil,
  }, { worker: evil });
  await settle(sql, [{
    id,
    fence,
    outcome: "failed",
    error: evil,
    error_class: evil,
    error_trace: evil,
    retryable: false,
  }]);
  await sql`update messenger_messages set message_type = ${evil}, queue_name = ${evil}, result = ${
    sql.json(evil)
  }, progress = ${sql.json(evil)}`;
  await sql`update messenger_failed_messages set message_type = ${evil}, queue_name = ${evil}`;
  await call(sql, "messenger_schedule", {
    name: evil.replaceAll("/", ""),
    type: "Digest",
    schedule: { cron: "@daily" },
  });
  await sql`update messenger_schedules set last_error = ${evil}, message_type = ${evil}`;
  await sql`update messenger.workers set transport_name = ${evil}, queues = ${[evil]}, types = ${[evil]}`;
  await sql`insert into messenger.queues values ('supabase', ${evil}, now())`;
  await sql`insert into messenger_messages (transport_name, queue_name, message_type)
    values ('supabase', ${evil}, ${evil})`;
  const [{ id: deadLetter }] = await sql`select id from messenger_failed_messages`;
  await call(sql, "messenger_tick");
  for (
    const view of [
      "#/",
      "#/messages",
      `#/messages/${id}`,
      "#/failed",
      `#/failed/${deadLetter}`,
      "#/schedules",
      "#/transports",
    ]
  ) {
    await using opened = await dashboard().open(view);
    if (view !== "#/transports") await opened.page.getByText(evil.slice(2, 12)).first().waitFor();
    assert.equal(await opened.page.locator("main img, main script").count(), 0, view);
    assert.deepEqual(opened.complaints, [], view);
  }
});
