// SPDX-License-Identifier: MIT
// What the browser tests run against: a server of files, nodes, the web page, and a browser. All of
// them end with `close`.

import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const program = process.env.MOONFLEET ?? "build/moonfleet";
const browserPath = process.env.CHROMIUM ?? "/usr/bin/chromium";

export async function freePort() {
  const socket = createSocket().listen(0, "127.0.0.1");
  await new Promise((ready) => socket.once("listening", ready));
  const { port } = socket.address();
  await new Promise((closed) => socket.close(closed));
  return port;
}

async function until(what, test, seconds = 20) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const result = await test().catch(() => false);
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`waited ${seconds} s for ${what}`);
    await new Promise((later) => setTimeout(later, 30));
  }
}

export class World {
  static async open() {
    const world = new World();
    world.folder = mkdtempSync(join(tmpdir(), "moonfleet-browser-"));
    world.processes = [];
    world.interval = 0; // milliseconds between two files that are sent
    await world.#serveFiles();
    world.browser = await chromium.launch({
      executablePath: browserPath, args: ["--no-sandbox", "--disable-dev-shm-usage"],
    });
    return world;
  }

  // /N is a file of random bytes, the same each time.
  async #serveFiles() {
    this.files = new Map();
    let next = 0;
    this.server = createServer((request, response) => {
      next = Math.max(next + this.interval, Date.now());
      setTimeout(() => response.end(this.file(request.url)), next - Date.now());
    });
    this.server.listen(0, "127.0.0.1");
    await new Promise((ready) => this.server.once("listening", ready));
    this.origin = `http://127.0.0.1:${this.server.address().port}`;
  }

  file(path) {
    if (!this.files.has(path)) this.files.set(path, randomBytes(1000 + 7 * this.files.size));
    return this.files.get(path);
  }

  sha256(path) {
    return createHash("sha256").update(this.file(path)).digest("hex");
  }

  urls(count) {
    return Array.from({ length: count }, (_, i) => `${this.origin}/${i}`);
  }

  start(words) {
    const child = spawn(program, words, { stdio: ["ignore", "ignore", "pipe"] });
    child.log = "";
    child.stderr.on("data", (bytes) => { child.log += bytes; });
    child.ended = new Promise((end) => child.once("exit", (code, signal) => end(signal ?? code)));
    this.processes.push(child);
    return child;
  }

  async node(name) {
    const port = await freePort();
    const node = this.start(["serve", "--listen", `127.0.0.1:${port}`, "--name", name, "--workers",
      "2", "--allow-hosts", "loopback"]);
    node.address = `127.0.0.1:${port}`;
    await until(`node ${name}`, async () => node.log.includes("node ready"));
    return node;
  }

  // The web page; a second one with the same state goes on with the runs of the first.
  async web(flags, port) {
    port ??= await freePort();
    const web = this.start(["web", "--listen", `127.0.0.1:${port}`, "--state",
      join(this.folder, "state"), ...flags]);
    web.port = port;
    web.url = `http://127.0.0.1:${port}`;
    await until("the web page", async () => (await fetch(`${web.url}/healthz`)).ok);
    return web;
  }

  // A page whose errors count: `page.problems` is to stay empty.
  async page(options = {}) {
    const context = await this.browser.newContext(options);
    const page = await context.newPage();
    page.problems = [];
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") {
        page.problems.push(message.text());
      }
    });
    page.on("pageerror", (error) => page.problems.push(String(error)));
    page.on("request", (request) => {
      if (!request.url().startsWith("http://127.0.0.1:")) page.problems.push(request.url());
    });
    return page;
  }

  async close() {
    await this.browser?.close();
    for (const child of this.processes) {
      if (child.exitCode === null) child.kill("SIGKILL");
      await child.ended;
    }
    this.server?.closeAllConnections();
    this.server?.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export { until };
