// The page that the rig serves, on two phones in headless Chromium: what one person does, the other
// sees. A screenshot of the first is kept under tests/artefacts.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { artefacts, drag, faults, launch, phone, skip, value } from "./phone.mjs";
import { Probe, startRig, until } from "./rig.mjs";

let rig;
let probe;
let browser;

const pressed = (locator) => locator.getAttribute("aria-pressed").then((is) => is === "true");
const peak = ({ by }, track) => by(`meter-${track}`).getAttribute("data-peak-db").then(Number);

async function stateOf(id) {
  const { data } = await probe.ask("state.get");
  return id ? data.tracks.find(({ track_id }) => track_id === id) : data;
}

let ana;
let ben;

before(async () => {
  if (skip) return;
  rig = await startRig();
  probe = await Probe.open(rig.url);
  browser = await launch();
  [ana, ben] = [await phone(browser, rig.http, "ana"), await phone(browser, rig.http, "ben")];
});

after(async () => {
  await browser?.close();
  probe?.close();
  await rig?.stop();
});

test("both phones show the rig's tracks", { skip }, async () => {
  for (const { by } of [ana, ben]) {
    for (const id of ["mic1", "mic2", "music", "master"]) await by(`track-${id}`).waitFor();
    await by("plugin-limiter").waitFor();
  }
});

test("the meters move", { skip }, async () => {
  for (const each of [ana, ben]) {
    const seen = new Set();
    await until(async () => {
      seen.add(await peak(each, "mic1"));
      return seen.size > 5 && Math.max(...seen) > -60;
    }, "a moving meter");
  }
});

let plugin;

test("an effect that one adds appears on the other", { skip }, async () => {
  await ana.by("add-mic1").tap();
  await ana.by("effect-choice-reverb").tap();
  plugin = await until(async () => (await stateOf("mic1")).plugins[0], "the plugin");
  assert.equal(plugin.plugin_path, "builtin:reverb");
  for (const { by } of [ana, ben]) {
    await by(`plugin-${plugin.plugin_id}`).waitFor();
    assert.equal(await value(by(`param-${plugin.plugin_id}-wet_dry`)), 0.25);
  }
});

test("dragging a parameter moves it on the other and in the rig", { skip }, async () => {
  const id = `param-${plugin.plugin_id}-wet_dry`;
  await drag(ana, ana.by(id), 0.9);
  const rigs = async () => (await stateOf("mic1")).plugins[0].parameters.wet_dry;
  await until(async () => (await rigs()) > 0.8 && (await rigs()) < 1, "the rig has the value");
  // The last of the drag may still be on its way: in the end all agree.
  const shows = async ({ by }) => (await value(by(id))) === (await rigs());
  await until(async () => (await shows(ana)) && (await shows(ben)), "both phones show it");

  await drag(ben, ben.by(id), 0.1);
  await until(async () => (await rigs()) < 0.2, "the rig has the other's value");
  await until(async () => (await value(ana.by(id))) === (await rigs()), "the first phone shows it");
});

test("bypass", { skip }, async () => {
  const id = `bypass-${plugin.plugin_id}`;
  await ana.by(id).tap();
  await until(() => pressed(ben.by(id)), "the other sees it");
  assert.equal((await stateOf("mic1")).plugins[0].bypassed, true);
  await ben.by(id).tap();
  await until(async () => !(await pressed(ana.by(id))), "and undoes it");
});

test("mute and volume", { skip }, async () => {
  await ana.by("mute-mic2").tap();
  await until(() => pressed(ben.by("mute-mic2")), "the other sees it");
  assert.equal((await stateOf("mic2")).mute, true);
  await until(async () => (await peak(ben, "mic2")) <= -100, "its meter falls silent");
  await ben.by("mute-mic2").tap();
  await until(async () => !(await pressed(ana.by("mute-mic2"))), "and undoes it");

  await drag(ben, ben.by("volume-mic1"), 0.2);
  const volume = await until(async () => {
    const { volume } = await stateOf("mic1");
    return volume < 1 && volume;
  }, "the fader");
  await until(async () => (await value(ana.by("volume-mic1"))) === (await stateOf("mic1")).volume, "on the other");
  assert.ok(volume > 0);
});

test("what comes from elsewhere is shown too", { skip }, async () => {
  await probe.ask("track.add", { track_id: "fx", name: "Echo room", kind: "bus" });
  for (const { by } of [ana, ben]) await by("track-fx").waitFor();
  await probe.ask("plugin.parameter", {
    track_id: "mic1",
    plugin_id: plugin.plugin_id,
    parameter_id: "room_size",
    value: 0.875,
  });
  const id = `param-${plugin.plugin_id}-room_size`;
  for (const { by } of [ana, ben]) await until(async () => (await value(by(id))) === 0.875, "the value");
  await probe.ask("track.remove", { track_id: "fx" });
  for (const { by } of [ana, ben]) await by("track-fx").waitFor({ state: "detached" });
});

test("a picture is kept", { skip }, async () => {
  await mkdir(artefacts, { recursive: true });
  await ana.page.evaluate(() => scrollTo(0, 0));
  await ana.page.screenshot({ path: join(artefacts, "page.png") });
});

test("a preset of an effect", { skip }, async () => {
  await ana.by(`preset-${plugin.plugin_id}`).tap();
  await ana.by("preset-choice-Church").tap();
  const id = `param-${plugin.plugin_id}-room_size`;
  for (const { by } of [ana, ben]) await until(async () => (await value(by(id))) === 1, "the church");
});

test("a whole sound for a microphone", { skip }, async () => {
  await ben.by("sound-mic2").tap();
  await ben.by("sound-choice-slap echo").tap();
  for (const { by } of [ana, ben]) {
    await by("plugin-mic2.echo").waitFor();
    await until(async () => (await value(by("param-mic2.echo-time_ms"))) === 110, "its echo");
  }
  assert.equal(await ana.by("sound-music").count(), 0, "music has none");
  await ana.by("sound-mic2").tap();
  await ana.page.screenshot({ path: join(artefacts, "sounds.png") });
  await ana.by("sound-choice-off").tap();
  for (const { by } of [ana, ben]) await by("plugin-mic2.echo").waitFor({ state: "detached" });
});

test("panic silences everything and restore brings it back", { skip }, async () => {
  await ana.by("panic-mute").tap();
  await until(async () => (await stateOf()).panic, "the rig is in panic");
  await ben.by("panic-banner").waitFor();
  assert.match(await ben.by("panic-banner").textContent(), /ana/);
  await until(async () => (await peak(ben, "master")) <= -100, "silence");
  await ana.page.screenshot({ path: join(artefacts, "panic.png") });
  await ben.by("restore").tap();
  await until(async () => !(await stateOf()).panic, "restored");
  await ana.by("panic-banner").waitFor({ state: "hidden" });
  await until(async () => (await peak(ana, "master")) > -60, "sound");

  await ben.by("panic-dry").tap();
  await until(async () => (await stateOf()).panic, "dry");
  await until(() => pressed(ana.by("panic-dry")), "the other sees it");
  await ana.by("restore").tap();
  await until(async () => !(await stateOf()).panic, "restored again");
});

test("an effect that one removes is gone on the other", { skip }, async () => {
  await ben.by(`remove-${plugin.plugin_id}`).tap();
  for (const { by } of [ana, ben]) await by(`plugin-${plugin.plugin_id}`).waitFor({ state: "detached" });
  assert.deepEqual((await stateOf("mic1")).plugins, []);
});

test("the limiter cannot be removed or bypassed there", { skip }, async () => {
  assert.equal(await ana.by("bypass-limiter").count(), 0);
  assert.equal(await ana.by("remove-limiter").count(), 0);
});

test("a phone that comes back shows what has changed meanwhile", { skip }, async () => {
  await ben.page.context().setOffline(true);
  await ben.page.reload().catch(() => {});
  await probe.ask("track.update", { track_id: "mic1", name: "Ana's mic" });
  await ben.page.context().setOffline(false);
  await ben.page.goto(rig.http);
  await until(async () => (await ben.by("track-mic1").textContent()).includes("Ana's mic"), "the new name");
});

test("nothing went wrong on the way, and nobody else was asked", { skip }, () => {
  const meant = /ERR_INTERNET_DISCONNECTED/;
  assert.deepEqual(faults.filter((fault) => !meant.test(fault)), []);
});
