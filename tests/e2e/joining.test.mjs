// Nobody gets in without a token: the first host by the box's own link, a guest by the link of a host's QR code
// in another browser profile, whose controls are disabled until a host gives another role.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { artefacts, drag, faults, launch, profile, skip, value } from "./phone.mjs";
import { Probe, startRig, until } from "./rig.mjs";

let rig;
let probe;
let browser;
let ana;
let gus;

const connection = ({ by }) => by("connection").textContent();

async function come({ page, by }, link, name) {
  await page.goto(link);
  await by("join-name").fill(name);
  await by("join").tap();
  await until(async () => (await connection({ by })) === "connected", `${name} is in`);
}

/** The link as a phone on this machine can follow it. */
const here = (link) => rig.http + new URL(link).hash;

before(async () => {
  if (skip) return;
  rig = await startRig({ ALLOW_ANONYMOUS: "false" });
  probe = await Probe.open(rig.url);
  await probe.ask("auth", { token: await rig.token("host", "probe") });
  browser = await launch();
  [ana, gus] = [await profile(browser, rig.http, "ana"), await profile(browser, rig.http, "gus")];
});

after(async () => {
  await browser?.close();
  probe?.close();
  await rig?.stop();
});

test("without a token there is a place to type a code, and a wrong one is refused", { skip }, async () => {
  await ana.page.goto(rig.http);
  await ana.by("joining").waitFor();
  assert.equal(await ana.by("track-mic1").count(), 0, "nothing is shown");
  await ana.by("join-code").fill("WRONG");
  await ana.by("join-name").fill("ana");
  await ana.by("join").tap();
  await until(async () => (await ana.by("join-fault").textContent()).length > 10, "why not");
});

test("the first host comes by the box's own link, and stays after a reload", { skip }, async () => {
  await come(ana, here(await rig.pair("host")), "ana");
  assert.ok(!ana.page.url().includes("pair"), "the code is not left in the address bar");
  await ana.by("track-mic1").waitFor();
  await ana.page.reload();
  await until(async () => (await connection(ana)) === "connected", "still in");
  await drag(ana, ana.by("volume-mic1"), 0.5);
  const volume = async () => (await probe.ask("state.get")).data.tracks[0].volume;
  await until(async () => (await volume()) < 1, "and may steer");
});

test("a guest comes by the QR code's link, and may only look", { skip }, async () => {
  await ana.by("people").tap();
  await ana.by("invite-role").selectOption("guest");
  await ana.by("invite").tap();
  await ana.by("invite-qr").locator("svg").waitFor();
  await ana.page.screenshot({ path: join(artefacts, "invite.png") });
  const link = await ana.by("invite-url").getAttribute("href");
  await come(gus, here(link), "gus");
  await ana.by("user-gus").waitFor();
  await gus.by("track-mic1").waitFor();
  for (const id of ["volume-mic1", "mute-mic1", "add-mic1", "panic-mute", "param-limiter-ceiling_db"]) {
    await until(() => gus.by(id).isDisabled(), `${id} is disabled`);
  }
  assert.equal(await ana.by("volume-mic1").isDisabled(), false);
  await gus.page.screenshot({ path: join(artefacts, "guest.png") });
  await gus.by("people").tap();
  assert.equal(await gus.by("invite").isVisible(), false, "guests invite nobody");
  await gus.by("close-people").tap();
  // The link was for one.
  const late = await profile(browser, rig.http, "late");
  await late.page.goto(here(link));
  await late.by("join-name").fill("late");
  await late.by("join").tap();
  await until(async () => (await late.by("join-fault").textContent()).length > 10, "used up");
  await late.page.context().close();
});

test("a guest sees what the host does", { skip }, async () => {
  await ana.by("close-people").tap();
  await drag(ana, ana.by("volume-mic2"), 0.4);
  const volume = async () => (await probe.ask("state.get")).data.tracks[1].volume;
  await until(async () => (await volume()) < 1 && (await value(gus.by("volume-mic2"))) === (await volume()), "the fader");
});

test("a host gives another role, and the guest's controls work", { skip }, async () => {
  await ana.by("people").tap();
  await ana.by("user-gus").locator("select").selectOption("host");
  await until(async () => !(await gus.by("volume-mic1").isDisabled()), "enabled");
  await gus.by("mute-mic1").tap();
  await until(async () => (await probe.ask("state.get")).data.tracks[0].mute, "and it works");
});

test("a performer is let in to one track, and steers that one only", { skip }, async () => {
  await ana.by("invite-role").selectOption("performer: mic2");
  const link = () => ana.by("invite-url").getAttribute("href");
  const before = await link();
  await ana.by("invite").tap();
  await until(async () => (await link()) !== before, "another link");
  const pia = await profile(browser, rig.http, "pia");
  await come(pia, here(await link()), "pia");
  await until(async () => !(await pia.by("volume-mic2").isDisabled()), "their own track");
  assert.equal(await pia.by("volume-mic1").isDisabled(), true, "and no other");
  const role = ana.by("user-pia").locator("select");
  assert.equal(await role.inputValue(), "performer: mic2");
  await role.selectOption("performer: mic1");
  await until(async () => !(await pia.by("volume-mic1").isDisabled()), "another track");
  assert.equal(await pia.by("volume-mic2").isDisabled(), true);
  await pia.page.context().close();
});

test("a host signs somebody out, who is asked to come in again", { skip }, async () => {
  await ana.by("user-gus").locator(".end").tap();
  await gus.by("joining").waitFor();
  assert.equal(await gus.page.evaluate(() => localStorage.getItem("rigd.token")), null);
  await ana.by("user-gus").waitFor({ state: "detached" });
});

test("one signs out oneself", { skip }, async () => {
  await ana.by("sign-out").tap();
  await ana.by("joining").waitFor();
  assert.equal(await ana.page.evaluate(() => localStorage.getItem("rigd.token")), null);
});

test("nothing went wrong on the way", { skip }, () => {
  const meant = /status of 401/; // the codes that were refused
  assert.deepEqual(faults.filter((fault) => !meant.test(fault)), []);
});
