// The page in both themes, on a phone and while the project is unavailable. Screenshots go to .symphony/screenshots.
import assert from "node:assert/strict";
import { gate } from "../gates/gate.ts";
import { clear, missing, useDashboard } from "./browser.ts";
import { setScene } from "./scene.ts";

const { dashboard, target, project } = useDashboard();
const test = (name: string, fn: () => Promise<void>) => gate(`dashboard · ${name}`, missing, fn);
const PICTURES = new URL("../../.symphony/screenshots/", import.meta.url);
const VIEWS: [name: string, path: () => string][] = [
  ["overview", () => ""],
  ["messages", () => "messages"],
  ["message", () => `messages/${waiting}`],
  ["failed", () => "failed"],
  ["dead_letter", () => `failed/${deadLetter}`],
  ["schedules", () => "schedules"],
  ["transports", () => "transports"],
];
let waiting: string;
let deadLetter: string;

Deno.test.beforeAll(async () => {
  if (missing) return;
  await Deno.mkdir(PICTURES, { recursive: true });
  await clear(project().sql);
  await setScene(project().sql, `${target().url}/functions/v1`);
  [{ id: waiting }] = await project().sql`select id from messenger_messages where queue_name = 'campaigns' limit 1`;
  [{ id: deadLetter }] = await project().sql`select id from messenger_failed_messages limit 1`;
});

for (
  const [kind, options] of [["light", {}], ["dark", { dark: true }], ["phone", { width: 360, height: 740 }]] as const
) {
  test(`every view fits, ${kind}`, async () => {
    for (const [view, path] of VIEWS) {
      await using opened = await dashboard().open(`#/${path()}`, options);
      const { page, complaints } = opened;
      await page.locator("main h1").waitFor();
      await page.locator("main table, main .empty, main article").first().waitFor();
      const [wide, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(wide <= inner, `${view} is ${wide} wide on ${inner}`);
      await page.screenshot({ path: new URL(`${view}-${kind}.png`, PICTURES).pathname });
      assert.deepEqual(complaints, [], view);
    }
  });
}

test("every dialog fits a phone", async () => {
  const requested: [path: string, button: string | RegExp][] = [
    ["failed", /^Retry all/],
    ["failed", /^Discard all/],
    [`failed/${deadLetter}`, "Edit and retry"],
    [`messages/${waiting}`, "Cancel"],
    ["schedules", "New schedule"],
  ];
  for (const [path, button] of requested) {
    await using opened = await dashboard().open(`#/${path}`, { width: 360, height: 740 });
    const { page } = opened;
    await page.getByRole("button", { name: button }).click();
    const box = await page.getByRole("dialog").boundingBox();
    assert.ok(box && box.x >= 0 && box.x + box.width <= 360, `${button}: ${JSON.stringify(box)}`);
    const cut = await page.getByRole("dialog").evaluate((dialog) => dialog.scrollWidth - dialog.clientWidth);
    assert.ok(cut <= 0, `${button}: ${cut} wider than its dialog`);
  }
});

test("the secret key is in no response to the browser", async () => {
  await using opened = await dashboard().open();
  const { page } = opened;
  const texts: Promise<string>[] = [];
  page.on("response", (response) => {
    texts.push(response.text().then((text) => JSON.stringify(response.headers()) + text, () => ""));
  });
  for (const [, path] of VIEWS) {
    await page.goto(`${dashboard().url}/#/${path()}`);
    await page.reload();
    await page.locator("main table, main .empty, main article").first().waitFor();
  }
  const got = await Promise.all(texts);
  assert.ok(got.some((text) => text.includes("MailboxFull")), "the responses were read");
  assert.deepEqual(got.filter((text) => text.includes(target().secretKey)), []);
});

test("the theme can be chosen, and nothing else is stored in the browser", async () => {
  await using opened = await dashboard().open("#/transports", { dark: true });
  const { page } = opened;
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await ground();
  await page.getByRole("combobox", { name: "Theme" }).selectOption("light");
  await page.waitForFunction(() => document.documentElement.dataset.theme === "light");
  assert.notEqual(await ground(), dark);
  await page.reload();
  await page.getByRole("heading", { name: "Transports" }).waitFor();
  assert.notEqual(await ground(), dark);
  const kept = await page.evaluate(() => [JSON.stringify({ ...localStorage }), sessionStorage.length, document.cookie]);
  assert.deepEqual(kept, ['{"theme":"light"}', 0, ""]);
});

test("text has a contrast of at least 4.5 to 1 in both themes", async () => {
  for (const dark of [false, true]) {
    await using opened = await dashboard().open("#/", { dark });
    await opened.page.getByRole("heading", { name: "Queues" }).waitFor();
    const faint = await opened.page.evaluate(() => {
      const style = getComputedStyle(document.documentElement);
      const light = (name: string) => {
        const [r, g, b] = (style.getPropertyValue(name).trim().match(/[0-9a-f]{2}/g) ?? []).map((hex) => {
          const c = parseInt(hex, 16) / 255;
          return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const pairs = [
        ["--ink", "--ground"],
        ["--ink", "--paper"],
        ["--faint", "--ground"],
        ["--faint", "--paper"],
        ["--accent", "--paper"],
        ["--accent", "--accent-soft"],
        ["--on-accent", "--accent"],
        ["--good", "--good-soft"],
        ["--warn", "--warn-soft"],
        ["--bad", "--bad-soft"],
        ["--info", "--info-soft"],
        ["--bad", "--paper"],
      ];
      return pairs.map(([text, ground]) => {
        const [a, b] = [light(text), light(ground)];
        return { text, ground, ratio: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) };
      }).filter(({ ratio }) => !(ratio >= 4.5));
    });
    assert.deepEqual(faint, [], `dark: ${dark}`);
  }
});

test("while the project is unavailable the page shows the error and greys its data", async () => {
  await using opened = await dashboard().open("#/");
  const { page } = opened;
  await page.getByRole("heading", { name: "Queues" }).waitFor();
  await page.route(
    "**/monitor/**",
    (route) =>
      route.fulfill({
        status: 503,
        json: {
          error: { code: "SM_UNAVAILABLE", message: "The database cannot reply right now.", hint: "Try again." },
        },
      }),
  );
  await page.getByRole("alert").getByText("The database cannot reply right now.").waitFor();
  await page.locator(".stale").getByRole("heading", { name: "Queues" }).waitFor();
  await page.unroute("**/monitor/**");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByRole("alert").waitFor({ state: "detached" });
  assert.equal(await page.locator(".stale").count(), 0);
});

test("a view without data shows the error and a button to try again", async () => {
  await using opened = await dashboard().open("#/failed/not-there");
  await opened.page.getByRole("alert").getByRole("button", { name: "Try again" }).waitFor();
});
