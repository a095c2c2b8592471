// The dashboard in Debian's Chromium, in front of the test file's own project.
/// <reference lib="dom" />
import { existsSync } from "node:fs";
import type { Sql } from "postgres";
import { type Browser, chromium, type Page } from "playwright-core";
import { type Access, createAccess } from "../../dashboard/access.ts";
import { bundle } from "../../dashboard/bundle.ts";
import type { Project } from "../../dashboard/project.ts";
import { createServer } from "../../dashboard/server.ts";
import { eventually } from "../eventually.ts";
import { empty } from "../project.ts";
import { type Target, useTarget } from "../target.ts";

const PROGRAM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) =>
  existsSync(path)
);

/** Why the tests are skipped, with the remedy; undefined if a browser is installed. */
export const missing = PROGRAM ? undefined : "there is no Chromium. To install it: apt-get install chromium";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];

export interface Dashboard {
  url: string;
  /** The address that signs one browser in, as the program prints it, with the hash `view`. */
  address(view?: string): string;
  /** A page of a browser that is not signed in. */
  openSignedOut(view?: string): Promise<Opened>;
  /** A new page of a signed-in browser at a view. */
  open(view?: string, options?: PageOptions): Promise<Opened>;
}

export interface PageOptions {
  width?: number;
  height?: number;
  dark?: boolean;
  /** Called before the page is loaded. */
  prepare?: (page: Page) => Promise<void>;
}

export interface Opened extends AsyncDisposable {
  page: Page;
  /** Errors of the page: exceptions, console errors, violations of its policy, dialogs that scripts opened. */
  complaints: string[];
}

/** Deletes all messages. It tries again: a request of the previous test's page can deadlock with the truncation. */
export async function clear(sql: Sql): Promise<void> {
  await eventually("the tables are emptied", async () => {
    await empty(sql);
    return true;
  });
}

/** Starts one browser, server and project for the test file. */
export function useDashboard(): {
  dashboard: () => Dashboard;
  target: () => Target;
  project: ReturnType<typeof useTarget>["project"];
} {
  const { target, project } = useTarget();
  return { dashboard: useBrowser(() => ({ url: target().url, secretKey: target().secretKey })), target, project };
}

/** Starts one browser for the test file, and a server in front of the project that `project` returns. */
export function useBrowser(project: () => Project): () => Dashboard {
  const access = createAccess();
  let browser: Browser | undefined;
  let server: Deno.HttpServer<Deno.NetAddr> | undefined;
  Deno.test.beforeAll(async () => {
    if (missing) return;
    server = await serveDashboard(project(), access);
    browser = await chromium.launch({ executablePath: PROGRAM, args: FLAGS, headless: true });
  });
  Deno.test.afterAll(async () => {
    await browser?.close();
    await server?.shutdown();
  });
  const url = () => `http://127.0.0.1:${server?.addr.port}`;
  const address = (view = "#/") => addressOf(url(), access, view);
  return () => ({
    url: url(),
    address,
    open: (view, options) => openAt(address(view), options),
    openSignedOut: (view = "#/") => openAt(`${url()}/${view}`),
  });

  async function openAt(
    address: string,
    { width = 1280, height = 900, dark = false, prepare }: PageOptions = {},
  ): Promise<Opened> {
    if (!browser) throw new Error("The browser runs inside tests only.");
    const context = await browser.newContext({
      viewport: { width, height },
      colorScheme: dark ? "dark" : "light",
      permissions: ["clipboard-read", "clipboard-write"],
    });
    const page = await context.newPage();
    page.setDefaultTimeout(10_000);
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(`exception: ${error.message}`));
    page.on("console", (message) => {
      // The browser reports every response with an error status; the views show those errors.
      if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) {
        complaints.push(message.text());
      }
    });
    page.on("dialog", async (dialog) => {
      complaints.push(`dialog: ${dialog.message()}`);
      await dialog.dismiss();
    });
    await page.addInitScript(() => {
      addEventListener(
        "securitypolicyviolation",
        (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`),
      );
    });
    await prepare?.(page);
    await page.goto(address);
    return { page, complaints, [Symbol.asyncDispose]: () => context.close() };
  }
}

/** Holds the page's timers of a second and more until `passTime`; shorter ones run. Call it before the page loads. */
export async function holdTimers(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const { setTimeout, clearTimeout } = globalThis;
    const held = new Map<number, { at: number; act: () => void }>();
    let [now, lastId] = [0, 0];
    Object.assign(globalThis, {
      setTimeout(act: () => void, ms = 0) {
        if (ms < 1_000) return setTimeout(act, ms);
        held.set(--lastId, { at: now + ms, act }); // below those of the browser
        return lastId;
      },
      clearTimeout: (id: number) => held.delete(id) || clearTimeout(id),
      passTime(ms: number) {
        now += ms;
        for (const [id, { at, act }] of [...held]) if (at <= now && held.delete(id)) act();
      },
    });
  });
}

/** Advances the time of the held timers. */
export async function passTime(page: Page, ms: number): Promise<void> {
  await page.evaluate((ms) => (globalThis as unknown as { passTime(ms: number): void }).passTime(ms), ms);
}

/** Resolves when the page's routes and listeners, which get its requests in order, have handled all previous ones. */
export async function seeRequests(page: Page): Promise<void> {
  const seen = page.waitForRequest("**/icon.svg?seen");
  await page.evaluate(() => fetch("/icon.svg?seen"));
  await seen;
}

/** The dashboard's server on a free port. */
export async function serveDashboard(project: Project, access: Access): Promise<Deno.HttpServer<Deno.NetAddr>> {
  const hosts: string[] = [];
  const app = await createServer(project, await bundle(), access, () => hosts);
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  hosts.push(`127.0.0.1:${server.addr.port}`);
  return server;
}

/** The address that signs a browser in. */
export function addressOf(url: string, access: Access, view = "#/"): string {
  return `${url}/?token=${access.token}${view}`;
}
