// The dashboard in Debian's Chromium, before a project of the file's own.
/// <reference lib="dom" />
import { existsSync } from "node:fs";
import type { Sql } from "postgres";
import { type Browser, chromium, type Page } from "playwright-core";
import { bundle } from "../../dashboard/bundle.ts";
import { createServer } from "../../dashboard/server.ts";
import { eventually } from "../eventually.ts";
import { empty } from "../project.ts";
import { type Target, useTarget } from "../target.ts";

const PROGRAM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) =>
  existsSync(path)
);

/** Why there is no browser, and what would help; undefined where there is one. */
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
  /** A fresh page at a view; what went wrong in it is collected in `complaints`. */
  open(view?: string, options?: { width?: number; height?: number; dark?: boolean }): Promise<Opened>;
}

export interface Opened extends AsyncDisposable {
  page: Page;
  /** Errors of the page: exceptions, console errors, violations of its policy, dialogs that scripts opened. */
  complaints: string[];
}

/** Forgets all messages; a page of the test before may still be asking, and a truncation and a question can wait crosswise. */
export async function clear(sql: Sql): Promise<void> {
  await eventually("the tables are emptied", async () => {
    await empty(sql);
    return true;
  });
}

/** One browser, server and project for the file. */
export function useDashboard(): {
  dashboard: () => Dashboard;
  target: () => Target;
  project: ReturnType<typeof useTarget>["project"];
} {
  const { target, project } = useTarget();
  let browser: Browser | undefined;
  let server: Deno.HttpServer<Deno.NetAddr> | undefined;
  Deno.test.beforeAll(async () => {
    if (missing) return;
    const hosts: string[] = [];
    const app = await createServer({ url: target().url, secretKey: target().secretKey }, await bundle(), () => hosts);
    server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
    hosts.push(`127.0.0.1:${server.addr.port}`);
    browser = await chromium.launch({ executablePath: PROGRAM, args: FLAGS, headless: true });
  });
  Deno.test.afterAll(async () => {
    await browser?.close();
    await server?.shutdown();
  });
  const url = () => `http://127.0.0.1:${server?.addr.port}`;
  const dashboard = (): Dashboard => ({
    url: url(),
    async open(view = "#/", { width = 1280, height = 900, dark = false } = {}) {
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
        // The browser itself reports each answer that is no success; views show those.
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
      await page.goto(`${url()}/${view}`);
      return { page, complaints, [Symbol.asyncDispose]: () => context.close() };
    },
  });
  return { dashboard, target, project };
}
