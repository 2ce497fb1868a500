/** The dashboard, and what pages of other origins can do to a node, in a real browser. */
import { readFile } from "node:fs/promises";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { Daemon, coppice, temporaryDirectory } from "../daemon.test-support.ts";
import { findChromium, NO_CHROMIUM, Profile } from "./chromium.ts";

const executable = findChromium();
const name = executable === undefined ? `in a browser (skipped: ${NO_CHROMIUM})` : "in Chromium";

describe.skipIf(executable === undefined)(name, () => {
  let profile: Profile;

  beforeAll(() => {
    profile = new Profile(executable ?? "");
  });

  afterAll(async () => {
    await profile?.remove();
  });

  async function node(): Promise<{ daemon: Daemon; url: string; token: string }> {
    const daemon = await Daemon.start(await temporaryDirectory());
    const token = (await readFile(daemon.ready.tokenFile ?? "", "utf8")).trim();
    return { daemon, url: daemon.ready.url ?? "", token };
  }

  async function increment(url: string, token: string, id: string): Promise<void> {
    const response = await fetch(`${url}/v1/groups/${encodeURIComponent(id)}/operations`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ type: "gcounter", operations: [{ op: "increment" }] }),
    });
    expect(response.status).toBe(200);
  }

  async function newPage(problems: string[]): Promise<Page> {
    const page = await (await profile.context()).newPage();
    onTestFinished(() => page.close());
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("console", (message) => {
      // A page that is not signed in asks once, to find out.
      if (message.type() === "error" && !message.text().includes("401")) problems.push(message.text());
    });
    return page;
  }

  it("signs in, finds groups, follows a value, and ends with the token", { timeout: 120_000 }, async () => {
    const { daemon, url, token } = await node();
    for (let index = 0; index < 30; index++) await increment(url, token, `words/${index}`);
    await increment(url, token, "counter/<b>views</b>");
    const problems: string[] = [];
    const page = await newPage(problems);
    await page.goto(`${url}/#/group/%zz`);
    for (const wrong of ["日本", "cop_wrong"]) {
      await page.fill("#token", wrong);
      await page.keyboard.press("Enter");
      await page.waitForSelector(
        `.error:has-text("${wrong === "日本" ? "this is no token" : "the token is not one"}")`,
      );
    }
    const made = await coppice(["token", "create", "--json", "--data", daemon.data]);
    const reader = JSON.parse(made.out) as { token: string; id: string };
    await page.fill("#token", reader.token);
    await page.keyboard.press("Enter");
    await page.waitForSelector(".groups tbody tr");
    await expect.poll(() => page.locator("#state").textContent()).toBe("Healthy");
    await expect.poll(() => page.locator(".groups .summary").textContent()).toBe("1–25 of 31");
    await page.getByRole("button", { name: "Next" }).click();
    await expect.poll(() => page.locator(".groups .summary").textContent()).toBe("26–31 of 31");
    await page.fill("#search", "views");
    await expect.poll(() => page.locator(".groups tbody tr").count()).toBe(1);
    // By keyboard, and the id is a text and no markup.
    await page.locator(".groups tbody a").focus();
    await page.keyboard.press("Enter");
    await expect.poll(() => page.locator("h1").textContent()).toBe("counter/<b>views</b>");
    await expect.poll(() => page.locator(".json").textContent()).toBe("1");
    await increment(url, token, "counter/<b>views</b>");
    await expect.poll(() => page.locator(".json").textContent()).toBe("2");
    await coppice(["token", "revoke", reader.id, "--data", daemon.data]);
    await page.waitForSelector("#token");
    expect(problems).toEqual([]);
    const link = await coppice(["dashboard", "--data", daemon.data]);
    await page.goto(link.out.trim());
    await page.reload();
    await page.waitForSelector(".groups tbody tr");
    expect(page.url()).not.toContain("code");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.waitForSelector("#token");
  });

  it(
    "shows whole ids on a narrow screen, as they are written, and a page that is there",
    { timeout: 120_000 },
    async () => {
      const { daemon, url, token } = await node();
      const long = "orders/customer-with-a-long-name/2026-11";
      for (let index = 0; index < 30; index++) await increment(url, token, `words/${index}`);
      for (const id of [long, "a/\u202elive"]) await increment(url, token, id);
      const problems: string[] = [];
      const page = await newPage(problems);
      await page.setViewportSize({ width: 360, height: 740 });
      await page.goto(url);
      await page.fill("#token", token);
      await page.keyboard.press("Enter");
      await page.waitForSelector(".groups tbody tr");
      expect(await page.locator(".groups tbody a").first().textContent()).toBe("a/\\u202elive");
      const cut = `[...document.querySelectorAll(".groups tbody th")].filter((cell) => cell.scrollWidth > cell.clientWidth)`;
      expect(await page.evaluate(`${cut}.length`)).toBe(0);
      expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(360);
      await page.getByRole("button", { name: "Next" }).click();
      await expect.poll(() => page.locator(".groups .summary").textContent()).toBe("26–32 of 32");
      for (let index = 0; index < 30; index++) {
        const headers = { authorization: `Bearer ${token}` };
        await fetch(`${url}/v1/groups/words%2F${index}`, { method: "DELETE", headers });
      }
      await expect.poll(() => page.locator(".groups .summary").textContent(), { timeout: 15_000 }).toBe("1–2 of 2");
      expect(problems).toEqual([]);
      const opacity = `getComputedStyle(document.querySelector("#main")).opacity`;
      expect(await page.evaluate(opacity)).toBe("1");
      await daemon.stop();
      await expect.poll(() => page.locator("#state").textContent()).toBe("Not connected");
      expect(await page.evaluate(opacity)).toBe("0.6");
    },
  );

  it("keeps pages of other origins from reading and changing", { timeout: 120_000 }, async () => {
    const { daemon, url, token } = await node();
    await increment(url, token, "n");
    const problems: string[] = [];
    const page = await newPage(problems);
    // Signed in, so that whatever a foreign page does carries the cookie as far as the browser sends it.
    const link = await coppice(["dashboard", "--data", daemon.data]);
    await page.goto(link.out.trim());
    await page.waitForSelector(".groups tbody tr");
    const foreign = await serveForeignPage();
    const { port } = new URL(url);
    for (const origin of [`http://127.0.0.1:${foreign}`, `http://localhost:${foreign}`]) {
      const attacker = await (await profile.context()).newPage();
      await attacker.goto(origin);
      for (const target of [url, `http://localhost:${port}`]) {
        // Not even with a token that was told to it.
        for (const known of [undefined, token]) {
          const results: unknown = await attacker.evaluate(`attack(${JSON.stringify({ url: target, token: known })})`);
          expect(results).toEqual(BLOCKED);
        }
      }
      await attacker.close();
    }
    const headers = { authorization: `Bearer ${token}` };
    const { groups } = (await (await fetch(`${url}/v1/groups`, { headers })).json()) as { groups: object[] };
    expect(groups).toMatchObject([{ id: "n", events: 1 }]);
    const tokens = await coppice(["token", "list", "--json", "--data", daemon.data]);
    expect(tokens.out.trim().split("\n")).toHaveLength(2);
  });
});

const BLOCKED = {
  read: "blocked",
  readWithCookie: "blocked",
  readOpaque: "opaque",
  writeJson: "blocked",
  writeText: "opaque",
  writeForm: "opaque",
  delete: "blocked",
  stream: "blocked",
  socket: "blocked",
  frame: "blocked",
  script: "blocked",
  form: "sent",
};

/** A server of another port, whose pages are of the same site but of another origin. */
async function serveForeignPage(): Promise<number> {
  const script = await readFile(new URL("foreign-page.js", import.meta.url), "utf8");
  const server: Server = createServer((_request, response) => {
    response.writeHead(200, { "content-type": "text/html" });
    response.end(`<!doctype html><title>elsewhere</title><body><script>${script}</script></body>`);
  });
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}
