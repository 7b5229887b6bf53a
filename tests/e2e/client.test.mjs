// rigd-client.js, the client that the rig serves for everyone, in Node against the real rig.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import WebSocket from "ws";

import { RigClient } from "../../src/remote/rigd-client.js";
import { startProxy } from "./proxy.mjs";
import { Probe, startRig, until } from "./rig.mjs";

let rig;
let probe;
const open = [];

before(async () => {
  rig = await startRig();
  probe = await Probe.open(rig.url);
  await probe.ask("plugin.add", { track_id: "mic1", name: "reverb", plugin_id: "r" });
});

afterEach(() => open.splice(0).forEach((each) => each.close()));

after(async () => {
  probe?.close();
  await rig?.stop();
});

const opened = (each) => (open.push(each), each);

async function join(url = rig.url, options = {}) {
  const client = opened(new RigClient(url, { userId: "ana", WebSocket, ...options }));
  client.heard = [];
  client.on("message", (message) => client.heard.push(message));
  await until(() => client.status.connection === "online" && client.state.tracks.length, "online");
  return client;
}

const track = (client, id = "mic1") => client.state.tracks.find(({ track_id }) => track_id === id);
const wet = (client) => track(client).plugins.find(({ plugin_id }) => plugin_id === "r").parameters.wet_dry;
const rigs = async () => (await probe.ask("plugin.parameters.get", { track_id: "mic1", plugin_id: "r" })).data.parameters.wet_dry;
/** Every change that came to this client as one: none twice, and in order. */
function changes(client) {
  const seqs = client.heard.filter(({ type, seq }) => seq !== undefined && type !== "state.snapshot").map(({ seq }) => seq);
  assert.deepEqual(seqs, [...new Set(seqs)].sort((a, b) => a - b), "each once and in order");
  return seqs;
}

test("the state follows everybody, and says who", async () => {
  const client = await join();
  assert.equal(client.status.me.user_id, "ana");
  await probe.ask("plugin.parameter", { track_id: "mic1", plugin_id: "r", parameter_id: "wet_dry", value: 0.3 }, { user_id: "ben" });
  await until(() => wet(client) === 0.3, "the other's change");
  assert.equal(track(client).plugins[0].by, "ben");
  await client.setTrack("mic2", "volume", 0.5);
  assert.equal(track(client, "mic2").volume, 0.5);
  assert.ok(client.status.latencyMs > 0);
  await probe.ask("track.add", { track_id: "bus1", kind: "bus", name: "B" });
  await until(() => track(client, "bus1"), "a track");
  await probe.ask("track.remove", { track_id: "bus1" });
  await until(() => !track(client, "bus1"), "gone again");
});

test("a value is shown at once, and vanishes again when the rig refuses it", async () => {
  const client = await join();
  const before = wet(client);
  const answer = client.setParameter("mic1", "r", "wet_dry", 7);
  assert.equal(wet(client), 7, "before any answer");
  await assert.rejects(answer, { code: "INVALID_PARAMETER" });
  assert.equal(wet(client), before, "rolled back");
});

test("a drag sends the newest value, at a pace that the rig takes, and the last one always", async () => {
  const client = await join();
  const [knob, fader] = [[], []];
  for (let step = 1; step <= 300; step += 1) {
    knob.push(client.setParameter("mic1", "r", "wet_dry", step / 300));
    fader.push(client.setTrack("mic1", "volume", step / 300));
    if (step % 3 === 0) await new Promise((go) => setTimeout(go, 5));
  }
  const sent = (await Promise.all(knob)).filter((reply) => reply !== null).length;
  await Promise.all(fader);
  await until(async () => (await rigs()) === 1, "the last value");
  await until(async () => (await probe.ask("state.get")).data.tracks[0].volume === 1, "of the fader too");
  assert.ok(sent < 100, `${sent} of 300`);
  assert.equal(wet(client), 1);
});

test("too fast for the rig's settings: waited out, nothing is lost", async () => {
  const strict = await startRig({ RIGD_LIMITS_OPERATIONS_PER_S: "3" });
  try {
    const client = await join(strict.url);
    const answers = Array.from({ length: 12 }, (_, step) => client.request("track.add", { track_id: `t${step}`, kind: "bus" }));
    await Promise.all(answers);
    for (const step of answers.keys()) assert.ok(track(client, `t${step}`), `t${step}`);
  } finally {
    open.splice(0).forEach((each) => each.close());
    await strict.stop();
  }
});

test("cut off and back: what was missed comes by resume, what waited is sent, nothing twice", async () => {
  const proxy = opened(await startProxy(rig.port));
  const client = await join(proxy.url);
  const start = (await probe.ask("state.get")).data.seq;
  for (let round = 0; round < 5; round += 1) {
    const cutOff = client.setParameter("mic1", "r", "damping", 0.1 * round); // on its way when the line breaks, or not
    proxy.cut();
    await until(() => client.status.connection === "offline", "offline");
    const mine = client.setParameter("mic1", "r", "wet_dry", 0.5 + round / 100);
    assert.equal(wet(client), 0.5 + round / 100, "shown all the same");
    for (const value of [0.2, 0.3]) {
      await probe.ask("plugin.parameter", { track_id: "mic1", plugin_id: "r", parameter_id: "room_size", value });
    }
    proxy.restore();
    await cutOff;
    assert.equal((await mine).data.parameter_value, 0.5 + round / 100);
    assert.equal(await rigs(), 0.5 + round / 100);
    assert.equal(track(client).plugins[0].parameters.room_size, 0.3, "the other's");
  }
  await client.request("state.get");
  const mine = (await probe.ask("state.get")).data;
  assert.deepEqual(track(client).plugins[0].parameters, mine.tracks[0].plugins[0].parameters);
  assert.equal(mine.seq - start, 20, "five rounds of four changes, each applied once");
  assert.equal(changes(client).length, 20);
  assert.equal(client.heard.filter(({ type }) => type === "state.resume").length, 5);
});

test("the answer is lost: it is asked for again, and nothing is applied again", async () => {
  const proxy = opened(await startProxy(rig.port));
  const client = await join(proxy.url);
  const start = (await probe.ask("state.get")).data.seq;
  proxy.deafen();
  const mine = client.setParameter("mic1", "r", "wet_dry", 0.66);
  await until(async () => (await rigs()) === 0.66, "the rig has it");
  proxy.cut();
  proxy.restore();
  const reply = await mine;
  assert.equal(reply.seq, start + 1);
  assert.equal((await probe.ask("state.get")).data.seq, start + 1);
  assert.deepEqual(changes(client), [start + 1], "heard once, by state.resume");
  assert.equal(wet(client), 0.66);
});

test("another run of the rig, or too long away: the whole state", async () => {
  const other = await startRig();
  try {
    const stand = await Probe.open(other.url);
    await stand.ask("track.update", { track_id: "music", volume: 0.25 });
    stand.close();
    let to = rig.port;
    const proxy = opened(await startProxy(() => to));
    const client = await join(proxy.url);
    proxy.cut();
    to = other.port;
    proxy.restore();
    await until(() => track(client, "music").volume === 0.25, "the other run's state");
    assert.deepEqual(track(client).plugins, []);
    assert.ok(client.heard.findLast(({ type }) => type === "state.snapshot").id, "in answer to state.resume");
    assert.equal(client.heard.filter(({ type }) => type === "state.resume").length, 0);
  } finally {
    open.splice(0).forEach((each) => each.close());
    await other.stop();
  }
});

test("a silent network is noticed, and a held one goes on where it was", async () => {
  const proxy = opened(await startProxy(rig.port));
  const client = await join(proxy.url);
  proxy.hold();
  const mine = client.setParameter("mic1", "r", "wet_dry", 0.77);
  await until(() => client.status.connection === "offline", "silence counts as a broken line");
  proxy.cut();
  proxy.release();
  proxy.restore();
  await mine;
  assert.equal(await rigs(), 0.77);
  changes(client);
});
