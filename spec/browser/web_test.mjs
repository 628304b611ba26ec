// SPDX-License-Identifier: MIT
// The web page in a real browser; `make browser` runs it. With SCREENSHOTS=DIR the pages are also
// written there, to be looked at.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { afterEach, beforeEach, test } from "node:test";
import { until, World } from "./world.mjs";

const axePath = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const screenshots = process.env.SCREENSHOTS;

let world;
beforeEach(async () => { world = await World.open(); });
afterEach(async () => { await world.close(); });

async function shoot(page, name) {
  if (!screenshots) return;
  mkdirSync(screenshots, { recursive: true });
  await page.screenshot({ path: `${screenshots}/${name}.png`, fullPage: false });
}

// The policy of the pages forbids scripts of others; axe runs beside them.
async function violations(page) {
  const source = readFileSync(axePath, "utf8");
  const session = await page.context().newCDPSession(page);
  await session.send("Page.setBypassCSP", { enabled: true });
  await session.send("Runtime.evaluate", { expression: source });
  const { result, exceptionDetails } = await session.send("Runtime.evaluate", {
    expression: "axe.run().then((r) => JSON.stringify(r.violations.map((v) => "
      + "({ id: v.id, nodes: v.nodes.map((n) => n.html) }))))",
    awaitPromise: true,
  });
  assert.equal(exceptionDetails, undefined);
  return JSON.parse(result.value);
}

async function submit(page, web, urls) {
  await page.goto(`${web.url}/checksums`);
  await page.getByLabel("URLs, one per line").fill(urls.join("\n"));
  await page.getByRole("button", { name: "Compute checksums" }).click();
  await page.waitForURL(/runs\/[0-9a-f]{16}$/);
}

async function downloaded(page, name) {
  const link = page.getByRole("link", { name });
  const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
  return readFileSync(await download.path(), "utf8");
}

test("200 pages on three nodes, one of which is killed: live rows, and the right sums", async () => {
  const nodes = [await world.node("one"), await world.node("two"), await world.node("three")];
  const web = await world.web(["--peers", nodes.map((n) => n.address).join(","),
    "--suspect-after", "2", "--dead-after", "3"]);
  const page = await world.page();
  world.interval = 25;
  await submit(page, web, world.urls(200));
  await page.locator("#rows tbody tr").nth(20).waitFor();
  assert.match(await page.locator("#state").textContent(), /under way/);
  await shoot(page, "running-light");
  nodes[1].kill("SIGKILL");
  await page.getByText("The run is done.").waitFor({ timeout: 45000 });
  assert.equal(await page.locator("#rows tbody tr").count(), 200);
  assert.match(await page.locator("#counts").textContent(), /^200 of 200 done, 0 failed/);
  const rows = (await downloaded(page, "Download JSON Lines")).trim().split("\n").map(JSON.parse);
  assert.equal(rows.length, 200);
  for (const row of rows) {
    const path = new URL(row.item).pathname;
    assert.equal(row.value.sha256, world.sha256(path), row.item);
    assert.match(row.node, /^(one|two|three)$/);
  }
  const csv = (await downloaded(page, "Download CSV")).trim().split("\r\n");
  assert.equal(csv.length, 201);
  assert.match(csv[0], /^item,status,bytes,sha256,elapsed,node,error_kind,error$/);
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(page.problems, []);

  const address = page.url();
  await page.goto(`${web.url}/fleet`);
  await page.getByRole("rowheader", { name: "one" }).waitFor();
  assert.match(await page.locator("tbody tr", { hasText: "two" }).textContent(), /down|suspect/);
  await shoot(page, "fleet-light");
  assert.deepEqual(await violations(page), []);
  for (const [name, options] of [
    ["dark", { colorScheme: "dark" }],
    ["phone", { viewport: { width: 360, height: 740 } }],
    ["phone-dark", { viewport: { width: 360, height: 740 }, colorScheme: "dark" }],
  ]) {
    const other = await world.page(options);
    for (const [what, path] of [["form", "/checksums"], ["run", new URL(address).pathname],
      ["jobs", "/jobs"], ["fleet", "/fleet"]]) {
      await other.goto(web.url + path);
      assert.deepEqual(await violations(other), [], `${name} ${what}`);
      const overflow = await other.evaluate(() => (
        document.documentElement.scrollWidth - document.documentElement.clientWidth));
      assert.equal(overflow, 0, `${name} ${what} is wider than its window`);
      await shoot(other, `${what}-${name}`);
    }
    assert.deepEqual(other.problems, []);
    await other.context().close();
  }
  web.kill("SIGTERM");
  assert.equal(await web.ended, 0);
});

test("a run is stopped, and resumed after the program was killed", async () => {
  const node = await world.node("solo");
  const flags = ["--peers", node.address];
  let web = await world.web(flags);
  const page = await world.page();
  world.interval = 10;
  await submit(page, web, world.urls(600));
  await page.locator("#rows tbody tr").nth(5).waitFor();
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByText("The run was stopped.").waitFor();
  const stopped = await page.locator("#progress").getAttribute("value");
  assert.ok(Number(stopped) > 5 && Number(stopped) < 600, stopped);
  await page.getByRole("button", { name: "Run the rest" }).click();
  await until("more rows", async () => Number(await page.locator("#progress").evaluate((p) => p.value))
    > Number(stopped));
  web.kill("SIGKILL");
  await web.ended;
  web = await world.web(flags, web.port);
  world.interval = 0;
  await page.goto(page.url());
  await page.getByText("The program ended during the run.").waitFor();
  await page.getByRole("button", { name: "Run the rest" }).click();
  await page.getByText("The run is done.").waitFor({ timeout: 30000 });
  const rows = (await downloaded(page, "Download JSON Lines")).trim().split("\n").map(JSON.parse);
  assert.deepEqual(rows.map((row) => row.n).sort((a, b) => a - b),
    Array.from({ length: 600 }, (_, i) => i + 1));
  await page.getByRole("button", { name: "Remove" }).click();
  await page.waitForURL(`${web.url}/checksums`);
  web.kill("SIGTERM");
  assert.equal(await web.ended, 0);
  node.kill("SIGTERM");
});

test("works without JavaScript, by keyboard, and shows markup as text", async () => {
  const web = await world.web(["--scripts", "scripts"]);
  const page = await world.page({ javaScriptEnabled: false });
  await page.goto(`${web.url}/checksums`);
  const evil = "http://127.0.0.1:1/<img src=x onerror=alert(1)>";
  const focused = async (selector) => await page.locator(`${selector}:focus`).count() > 0;
  for (let i = 0; i < 10 && !await focused("#urls"); i += 1) await page.keyboard.press("Tab");
  await page.keyboard.insertText(`${world.origin}/key\n${evil}`);
  for (let i = 0; i < 5 && !await focused("main button"); i += 1) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.getByText("The run is done.").waitFor({ timeout: 15000 });
  assert.equal(await page.getByText(world.sha256("/key")).count(), 1);
  assert.equal(await page.locator("main img").count(), 0);
  assert.equal(await page.locator("td.url", { hasText: "<img src=x" }).count(), 1);
  await shoot(page, "failure-light");
  await page.goto(`${web.url}/checksums`);
  await page.getByRole("button", { name: "Compute checksums" }).click();
  assert.match(await page.getByRole("alert").textContent(), /Enter at least one URL/);
  web.kill("SIGTERM");
  assert.equal(await web.ended, 0);
});

test("a job has a form, and shows what it makes of all results", async () => {
  const web = await world.web(["--scripts", "scripts"]);
  const page = await world.page();
  await page.goto(`${web.url}/jobs`);
  assert.deepEqual(await violations(page), []);
  await shoot(page, "jobs-light");
  await page.getByRole("link", { name: "montecarlo" }).click();
  await page.getByLabel(/At most so many/).fill("20");
  assert.deepEqual(await violations(page), []);
  await shoot(page, "job-light");
  await page.getByRole("button", { name: "Run the job" }).click();
  await page.getByText("The run is done.").waitFor({ timeout: 30000 });
  assert.equal(await page.locator("#rows tbody tr").count(), 20);
  assert.ok((await page.locator("pre").textContent()).length > 0);
  assert.deepEqual(await violations(page), []);
  await shoot(page, "job-run-light");
  assert.deepEqual(page.problems, []);
  web.kill("SIGTERM");
  assert.equal(await web.ended, 0);
});
