// Views that stay fresh: how often they ask, when they do not, and what they show of it. The test replies in the project's place.
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
  const project = { asked: 0, away: false };
  const opened = await dashboard().open("#/transports", {
    async prepare(page) {
      await holdTimers(page);
      await page.route("**/monitor/**", async (route) => {
        const transports = [{ name: `reply-${++project.asked}`, type: "supabase", config: {}, enabled: true }];
        await route.fulfill(project.away ? AWAY : { json: { transports } });
      });
    },
  });
  const { page } = opened;
  const shows = (reply: number) => page.getByText(`reply-${reply}`, { exact: true }).waitFor();
  /** How many requests the view makes while so much time passes. */
  const askedWithin = async (ms: number) => {
    await seeRequests(page);
    const before = project.asked;
    await passTime(page, ms);
    await seeRequests(page);
    return project.asked - before;
  };
  return { opened, page, project, shows, askedWithin };
}

async function setHidden(page: Page, hidden: boolean): Promise<void> {
  await page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
}

test("a view asks again two seconds after each reply", async () => {
  const { opened, shows, askedWithin } = await openView();
  await using _ = opened;
  for (const reply of [1, 2, 3]) {
    await shows(reply);
    assert.equal(await askedWithin(1_990), 0);
    assert.equal(await askedWithin(10), 1);
  }
  assert.deepEqual(opened.complaints, []);
});

test("a paused page does not ask; going on, it asks at once", async () => {
  const { opened, page, shows, askedWithin } = await openView();
  await using _ = opened;
  await shows(1);
  await page.getByRole("button", { name: "Live" }).click();
  await shows(2); // what is shown while it rests is as fresh as the click
  assert.equal(await askedWithin(60_000), 0);
  await page.getByRole("button", { name: "Paused" }).click();
  await shows(3);
  assert.equal(await askedWithin(2_000), 1);
});

test("a page that nobody sees does not ask; seen again, it asks at once", async () => {
  const { opened, page, shows, askedWithin } = await openView();
  await using _ = opened;
  await shows(1);
  await setHidden(page, true);
  assert.equal(await askedWithin(60_000), 0);
  await setHidden(page, false);
  await shows(2);
  assert.equal(await askedWithin(2_000), 1);
});

test("while the project does not answer the page says so and asks each five seconds, and is live again by itself", async () => {
  const { opened, page, project, shows, askedWithin } = await openView();
  await using _ = opened;
  await shows(1);
  project.away = true;
  assert.equal(await askedWithin(2_000), 1);
  await page.getByRole("button", { name: "No answer" }).waitFor();
  await shows(1); // old figures beat none
  assert.equal(await askedWithin(4_990), 0);
  project.away = false;
  assert.equal(await askedWithin(10), 1);
  await page.getByRole("button", { name: "Live" }).waitFor();
  await shows(3);
});
