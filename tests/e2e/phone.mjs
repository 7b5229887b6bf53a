// A phone in headless Chromium, with the page that the rig serves.

import { existsSync } from "node:fs";
import { join } from "node:path";

import { chromium } from "playwright-core";

import { root, until } from "./rig.mjs";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const QUIET = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export const skip = existsSync(executablePath) ? false : `no browser at ${executablePath}`;
export const artefacts = join(root, "tests/artefacts");

export const launch = () => chromium.launch({ executablePath, args: QUIET });

/** What went wrong on pages, and requests to anybody but the rig. */
export const faults = [];

/** A phone of somebody's own at `http`, connected: its page, and `by(testid)`. */
export async function phone(browser, http, name) {
  const { page } = await profile(browser, http, name);
  return show(page, http, name);
}

/** A phone of somebody's own, where nothing has been opened yet. */
export async function profile(browser, http, name) {
  const context = await browser.newContext(PHONE);
  const page = await context.newPage();
  watch(page, http, name);
  return { page, by: (id) => page.getByTestId(id) };
}

/** One more page in the same browser. */
export async function tab({ page }, http, name) {
  const second = await page.context().newPage();
  watch(second, http, name);
  return show(second, http, name);
}

function watch(page, http, name) {
  page.setDefaultTimeout(30_000);
  page.on("pageerror", (error) => faults.push(`${name}: ${error.stack}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) faults.push(`${name}: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (new URL(request.url()).host !== new URL(http).host) faults.push(`${name}: asks ${request.url()}`);
  });
}

async function show(page, http, name) {
  await page.goto(http);
  const by = (id) => page.getByTestId(id);
  await until(async () => (await by("connection").textContent()).includes("connected"), `${name} connected`);
  await by("user-id").fill(name);
  await by("user-id").press("Enter");
  return { page, by };
}

/** The value that a slider shows. */
export const value = (locator) => locator.getAttribute("data-value").then(Number);

/** Drags a slider's thumb to a share of its width, slowly enough to be a drag. */
export async function drag({ page }, slider, share) {
  await slider.scrollIntoViewIfNeeded();
  const box = await slider.boundingBox();
  const y = box.y + box.height / 2;
  await page.mouse.move(box.x + box.width * 0.5, y);
  await page.mouse.down();
  for (let step = 1; step <= 10; step += 1) {
    await page.mouse.move(box.x + box.width * (0.5 + (share - 0.5) * (step / 10)), y);
  }
  await page.mouse.up();
}
