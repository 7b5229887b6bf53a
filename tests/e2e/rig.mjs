// A real rigd for the Node tests, on a free port, with a state folder of its own.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import WebSocket from "ws";

export const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const binary = process.env.RIGD_BIN ?? join(root, "target/release/rigd");
const run = promisify(execFile);
const PATIENCE_MS = 30_000;

/** Starts it, with settings in its environment; `port`, `url`, `http`, `urls` of all its listeners, `token(role,
 *  user)` and `pair(role)`, `claim()` as the box's owner has them, and `stop()`, which fails the test if it did not end well. */
export async function startRig(settings = {}, ...options) {
  const state = await mkdtemp(join(tmpdir(), "rigd-e2e-"));
  const inherited = Object.entries(process.env).filter(([name]) => !/^(RIGD_|ENABLE_|ALLOW_)/.test(name));
  const env = { ...Object.fromEntries(inherited), HOME: state, ...settings };
  const child = spawn(binary, ["serve", "--backend", "null", "--listen", "127.0.0.1:0", "--state-dir", state, ...options], { env, stdio: ["ignore", "ignore", "pipe"] });
  const ended = once(child, "exit");
  const log = [];
  const listeners = 1 + options.filter((option) => option === "--listen").length;
  const ports = [];
  await new Promise((found, failed) => {
    createInterface({ input: child.stderr }).on("line", (line) => {
      log.push(line);
      const match = line.match(/listening on http:\/\/[^ ]*:(\d+)/);
      if (match) ports.push(Number(match[1]));
      if (ports.length === listeners) found();
    });
    child.on("error", failed);
    child.on("exit", () => failed(new Error(`rigd did not start:\n${log.join("\n")}`)));
  });
  const [port] = ports;
  const ask = async (...what) => (await run(binary, [...what, "--state-dir", state], { env })).stdout;
  return {
    port,
    url: `ws://127.0.0.1:${port}/ws`,
    urls: ports.map((port) => `ws://127.0.0.1:${port}/ws`),
    http: `http://127.0.0.1:${port}/`,
    async token(role, user) {
      return (await ask("token", "--role", role, "--user", user)).trim();
    },
    /** The link that the box gives to whoever stands before it. */
    async pair(role) {
      return (await ask("pair", "--role", role)).match(/http\S+/)[0];
    },
    /** The link that makes the first host of a new box. */
    async claim() {
      return (await ask("pair", "--claim")).match(/http\S+/)[0];
    },
    async stop() {
      child.kill("SIGTERM");
      const [code] = await ended;
      await rm(state, { recursive: true, force: true });
      const said = log.join("\n");
      if (code !== 0 || said.includes("panicked")) throw new Error(`rigd ended with ${code}:\n${said}`);
    },
  };
}

/** Polls a condition that events bring about; `what` is for the person who reads the failure. */
export async function until(condition, what) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`never came: ${what}`);
    await new Promise((go) => setTimeout(go, 10));
  }
}

/** A plain client that asks and is answered. */
export class Probe {
  #waiting = new Map();
  #last = 0;
  heard = [];

  static async open(url) {
    const probe = new Probe();
    probe.socket = new WebSocket(url, { perMessageDeflate: false });
    probe.socket.on("message", (data) => probe.#received(JSON.parse(data)));
    await once(probe.socket, "open");
    return probe;
  }

  #received(message) {
    this.heard.push(message);
    this.#waiting.get(message.id)?.(message);
    this.#waiting.delete(message.id);
  }

  ask(type, data, more = {}) {
    const id = `probe_${(this.#last += 1)}`;
    const reply = new Promise((done) => this.#waiting.set(id, done));
    this.socket.send(JSON.stringify({ id, type, data, ...more }));
    return reply;
  }

  close() {
    this.socket.close();
  }
}
