// Dead letters on the page: shown, retried, edited and discarded, one and many.
import assert from "node:assert/strict";
import { gate } from "../gates/gate.ts";
import {
  call,
  claim,
  deadLetterOf,
  dispatch,
  dispatchAndClaim,
  dispatchMany,
  messageOf,
  settle,
} from "../supabase/bus.ts";
import { clear, missing, useDashboard } from "./browser.ts";

const { dashboard, project } = useDashboard();
const test = (name: string, fn: () => Promise<void>) => gate(`dashboard · ${name}`, missing, fn);

Deno.test.beforeEach(() => clear(project().sql));

async function storeDeadLetter(error: string, error_class = "Boom") {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql, { payload: { to: "Ada" } });
  await settle(sql, [{
    id,
    fence,
    outcome: "failed",
    error,
    error_class,
    error_trace: "at handle (x.ts:1)",
    retryable: false,
  }]);
  return await deadLetterOf(sql, id);
}

async function killDue(most: number) {
  const { sql } = project();
  const batch = await claim(sql, { batch: most });
  await settle(sql, batch.map(({ id, fence }) => ({ id, fence, outcome: "failed", error: "no", retryable: false })));
}

const open = async () => (await project().sql`select from messenger_failed_messages where resolved_at is null`).length;

test("one dead letter shows its attempts and is retried", async () => {
  const deadLetter = await storeDeadLetter("the mailbox is full");
  await using opened = await dashboard().open("#/failed");
  const { page } = opened;
  await page.getByRole("link", { name: /the mailbox is full/ }).click();
  await page.getByRole("heading", { name: "Attempts" }).waitFor();
  await page.getByText("Stack trace of the last attempt").click();
  await page.getByText("at handle (x.ts:1)").waitFor();
  await page.getByRole("button", { name: "Retry", exact: true }).click();
  await page.getByText("Returned to its queue").waitFor();
  await page.getByRole("heading", { name: /Greeting/ }).waitFor();
  assert.equal((await messageOf(project().sql, deadLetter.message_id)).status, "pending");
  assert.deepEqual(opened.complaints, []);
});

test("the payload is edited; while it is not a JSON object it cannot be sent", async () => {
  const deadLetter = await storeDeadLetter("no such user");
  await using opened = await dashboard().open(`#/failed/${deadLetter.id}`);
  const { page } = opened;
  await page.getByRole("button", { name: "Edit and retry" }).click();
  const again = page.getByRole("button", { name: "Retry with this payload" });
  for (const wrong of ["[1]", "{", "5"]) {
    await page.getByRole("textbox", { name: "Payload" }).fill(wrong);
    await assert.doesNotReject(again.and(page.locator(":disabled")).waitFor());
  }
  await page.getByRole("textbox", { name: "Payload" }).fill('{"to": "Grace"}');
  await again.click();
  await page.getByText("Returned to its queue").waitFor();
  assert.deepEqual((await messageOf(project().sql, deadLetter.message_id)).body, { to: "Grace" });
});

test("a number in an edited payload that JavaScript would round is rejected with a hint", async () => {
  const deadLetter = await storeDeadLetter("no such user");
  await using opened = await dashboard().open(`#/failed/${deadLetter.id}`);
  const { page } = opened;
  await page.getByRole("button", { name: "Edit and retry" }).click();
  await page.getByRole("textbox", { name: "Payload" }).fill('{"user": 1145678901234567891}');
  await page.getByRole("button", { name: "Retry with this payload" }).click();
  await page.getByText("payload.user is 1145678901234567891, but a double cannot hold that number").waitFor();
  await page.getByText('Send it as a string: "1145678901234567891"').waitFor();
  await page.getByRole("textbox", { name: "Payload" }).fill('{"user": "1145678901234567891"}');
  await page.getByRole("button", { name: "Retry with this payload" }).click();
  await page.getByText("Returned to its queue").waitFor();
  assert.deepEqual((await messageOf(project().sql, deadLetter.message_id)).body, { user: "1145678901234567891" });
});

test("one is discarded after a confirmation, and Escape cancels it", async () => {
  const deadLetter = await storeDeadLetter("gone");
  await project()
    .sql`update messenger_transports set config = '{"failed_retention": "60 days"}' where name = 'supabase'`;
  await using opened = await dashboard().open(`#/failed/${deadLetter.id}`);
  const { page } = opened;
  await page.getByRole("button", { name: "Discard" }).click();
  await page.getByRole("dialog").getByText("can be read for another 60 days").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.equal(await open(), 1);
  await page.getByRole("button", { name: "Discard" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Discard" }).click();
  await page.getByText("discarded", { exact: true }).first().waitFor();
  assert.equal(await open(), 0);
});

test("some are selected and retried, the rest retried at a rate", async () => {
  for (const error of ["one", "two", "three"]) await storeDeadLetter(error);
  await using opened = await dashboard().open("#/failed");
  const { page } = opened;
  await page.getByRole("checkbox", { name: /^Select Greeting/ }).first().check();
  await page.getByRole("button", { name: "Retry 1 selected" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Retry" }).click();
  await page.getByText("1 retried").waitFor();
  assert.equal(await open(), 2);
  await page.getByRole("button", { name: "Retry all 2" }).click();
  await page.getByRole("spinbutton", { name: "Messages per second" }).fill("5");
  await page.getByRole("dialog").getByRole("button", { name: "Retry" }).click();
  await page.getByText("Retrying 2, 5 per second").waitFor();
  await page.getByText("Retrying 2 dead letters, 5 per second.").waitFor();
  const replays = await project().sql`select per_second, total from messenger.replays`;
  assert.deepEqual([...replays], [{ per_second: 5, total: 2 }]);
  assert.deepEqual(opened.complaints, []);
});

test("all dead letters of a search are discarded, and no others", async () => {
  await storeDeadLetter("one", "Timeout");
  await storeDeadLetter("two", "Timeout");
  await storeDeadLetter("three", "Other");
  await using opened = await dashboard().open("#/failed");
  const { page } = opened;
  await page.getByRole("textbox", { name: "Error class" }).fill("Timeout");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByRole("button", { name: "Discard all 2" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Discard" }).click();
  await page.getByText("2 discarded").waitFor();
  const rows = await project().sql`select error from messenger_failed_messages where resolved_at is null`;
  assert.deepEqual([...rows], [{ error: "three" }]);
});

test("many are retried in several calls; messages that fail again in the meantime are left", async () => {
  for (let part = 0; part < 3; part++) {
    await dispatchMany(project().sql, 500);
    await killDue(500);
  }
  await using opened = await dashboard().open("#/failed");
  const { page } = opened;
  await page.route("**/admin/failed/retry", async (route) => {
    const reply = await route.fetch();
    await killDue(100);
    await route.fulfill({ response: reply });
  });
  await page.getByRole("button", { name: "Retry all 1,500" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Retry" }).click();
  await page.getByText("1,500 retried").waitFor();
  assert.equal(await open(), 200);
});

test("a long discard shows its progress, and can be stopped", async () => {
  for (let part = 0; part < 5; part++) {
    await dispatchMany(project().sql, 500);
    await killDue(500);
  }
  await using opened = await dashboard().open("#/failed");
  const { page } = opened;
  const released = Promise.withResolvers<void>();
  let calls = 0;
  await page.route("**/admin/failed/discard", async (route) => {
    if (++calls === 2) await released.promise;
    await route.continue();
  });
  await page.getByRole("button", { name: "Discard all 2,500" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Discard" }).click();
  await dialog.getByText("1,000 of 2,500").waitFor();
  await dialog.getByRole("button", { name: "Stop" }).click();
  await dialog.waitFor({ state: "detached" });
  released.resolve();
  await page.getByText("2,000 discarded").waitFor();
  assert.deepEqual([calls, await open()], [2, 500]);
});

test("a stopped retry at a rate shows the reason, and how many were returned", async () => {
  const { sql } = project();
  for (let n = 0; n < 8; n++) await dispatch(sql, { type: "Greeting" });
  await killDue(8);
  await call(sql, "messenger_retry_failed", { filter: {}, per_second: 1_000 });
  await sql`select pg_sleep(0.02)`; // the last of them is due after 7 ms
  await sql`update messenger_messages set available_at = messenger.now() + interval '1 hour'
    where id in (select id from messenger_messages where status = 'pending' limit 2)`;
  await killDue(6);
  await call(sql, "messenger_tick");
  await using opened = await dashboard().open("#/failed");
  await opened.page.getByText(
    "The retry of 8 dead letters was stopped: 6 of 6 handled messages are dead letters again.",
  )
    .waitFor();
  await opened.page.getByText("2 returned to the dead letters").waitFor();
});
