// Views that stay fresh: how often they request their data, and when they do not. The test replies for the project.
/// <reference lib="dom" />
import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { gate } from "../gates/gate.ts";
import { holdTimers, missing, passTime, seeRequests, useBrowser } from "./browser.ts";

const dashboard = useBrowser(() => ({ url: "http://127.0.0.1:9", secretKey: "sb_secret_of_nobody" }));
const test = (name: string, fn: () => Promise<void>) => gate(`live · ${name}`, missing, fn);

const AWAY = { status: 503, json: { error: { code: "SM_UNAVAILABLE", message: "away", hint: "" } } };

/** The view of transports whose timers are held; the nth reply shows the transport `reply-n`. */
async function openView() {
  const project = { requests: 0, away: false };
  const opened = await dashboard().open("#/transports", {
    async prepare(page) {
      await holdTimers(page);
      await page.route("**/monitor/**", async (route) => {
        const transports = [{ name: `reply-${++project.requests}`, type: "supabase", config: {}, enabled: true }];
        await route.fulfill(project.away ? AWAY : { json: { transports } });
      });
    },
  });
  const { page } = opened;
  const shows = (reply: number) => page.getByText(`reply-${reply}`, { exact: true }).waitFor();
  /** How many requests the view makes while so much time passes. */
  const requestsWithin = async (ms: number) => {
    await seeRequests(page);
    const before = project.requests;
    await passTime(page, ms);
    await seeRequests(page);
    return project.requests - before;
  };
  return { opened, page, project, shows, requestsWithin };
}

async function setHidden(page: Page, hidden: boolean): Promise<void> {
  await page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
}

test("a view requests its data again two seconds after each reply", async () => {
  const { opened, shows, requestsWithin } = await openView();
  await using _ = opened;
  for (const reply of [1, 2, 3]) {
    await shows(reply);
    assert.equal(await requestsWithin(1_990), 0);
    assert.equal(await requestsWithin(10), 1);
  }
  assert.deepEqual(opened.complaints, []);
});

test("a paused page makes no requests; resumed, it makes one at once", async () => {
  const { opened, page, shows, requestsWithin } = await openView();
  await using _ = opened;
  await shows(1);
  await page.getByRole("button", { name: "Live" }).click();
  await shows(2); // the click itself refreshes the view
  assert.equal(await requestsWithin(60_000), 0);
  await page.getByRole("button", { name: "Paused" }).click();
  await shows(3);
  assert.equal(await requestsWithin(2_000), 1);
});

test("a hidden page makes no requests; visible again, it makes one at once", async () => {
  const { opened, page, shows, requestsWithin } = await openView();
  await using _ = opened;
  await shows(1);
  await setHidden(page, true);
  assert.equal(await requestsWithin(60_000), 0);
  await setHidden(page, false);
  await shows(2);
  assert.equal(await requestsWithin(2_000), 1);
});

test("while the project is unavailable the page shows it, and makes a request every five seconds", async () => {
  const { opened, page, project, shows, requestsWithin } = await openView();
  await using _ = opened;
  await shows(1);
  project.away = true;
  assert.equal(await requestsWithin(2_000), 1);
  await page.getByRole("button", { name: "Disconnected" }).waitFor();
  await shows(1); // the last figures stay
  assert.equal(await requestsWithin(4_990), 0);
  project.away = false;
  assert.equal(await requestsWithin(10), 1);
  await page.getByRole("button", { name: "Live" }).waitFor();
  await shows(3);
});
