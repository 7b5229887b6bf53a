// The clients that the two guides publish, against the real rig.

import assert from "node:assert/strict";
import { after, before, mock, test } from "node:test";

import { NewHook, OldHook, PluginControl, PluginSessionManager } from "./guide/clients.mjs";
import { PluginController } from "./guide/plugin-controller.mjs";
import { Probe, startRig, until } from "./rig.mjs";

let rig;
let probe;
const open = [];

before(async () => {
  mock.method(console, "log", () => {}); // the guide's client tells of every message that it does not know
  rig = await startRig();
  probe = await Probe.open(rig.url);
});

after(async () => {
  for (const client of open) client.disconnect();
  probe?.close();
  await rig?.stop();
});

const opened = (client) => (open.push(client), client);

let plugins = 0;

/** A plugin of this test's own. */
async function addPlugin(name) {
  const plugin_id = `plugin_${(plugins += 1)}`;
  const reply = await probe.ask("plugin.add", { track_id: plugins > 7 ? "mic2" : "mic1", name, plugin_id });
  assert.equal(reply.data.success, true, JSON.stringify(reply));
  return reply.data;
}

async function parametersOf({ track_id, plugin_id }) {
  return (await probe.ask("plugin.parameters.get", { track_id, plugin_id })).data;
}

test("PluginController: the guide's usage example, word for word", async () => {
  const { track_id, plugin_id } = await addPlugin("gain");
  const controller = opened(new PluginController(track_id, plugin_id, rig.url));
  let connected = false;
  controller.onConnected(() => {
    connected = true;
  });
  const changes = [];
  controller.onParameterChanged((id, value) => changes.push([id, value]));
  controller.updateParameter("volume", 0.75);
  await until(() => changes.length > 0, "its own change, answered");
  assert.ok(connected);
  assert.deepEqual(changes, [["volume", 0.75]]);
  assert.equal((await parametersOf({ track_id, plugin_id })).parameters.volume, 0.75);
});

test("PluginController: it asks for its parameters as soon as it is connected", async () => {
  const plugin = await addPlugin("reverb");
  const controller = opened(new PluginController(plugin.track_id, plugin.plugin_id, rig.url));
  let shown;
  controller.onParametersUpdated((parameters) => {
    shown = parameters;
  });
  await until(() => shown, "the parameters");
  assert.deepEqual(shown, plugin.parameters);
  assert.ok(controller.isConnected);
});

test("PluginController: two of them follow each other", async () => {
  const plugin = await addPlugin("reverb");
  const [one, two] = [0, 1].map(() => opened(new PluginController(plugin.track_id, plugin.plugin_id, rig.url)));
  await until(() => one.parameters.wet_dry && two.parameters.wet_dry, "both connected");
  const heard = [];
  two.onParameterChanged((id, value) => heard.push([id, value]));
  let bypassed;
  two.onBypassChanged((bypass) => {
    bypassed = bypass;
  });

  one.updateParameter("wet_dry", 0.9);
  await until(() => heard.length > 0, "the other's change");
  assert.deepEqual(heard.shift(), ["wet_dry", 0.9]);
  assert.equal(two.parameters.wet_dry, 0.9);

  one.toggleBypass();
  await until(() => bypassed !== undefined, "the other's bypass");
  assert.equal(bypassed, true);
  assert.equal((await parametersOf(plugin)).bypassed, true);
  one.toggleBypass();
  await until(() => bypassed === false, "the bypass lifted");

  one.batchUpdateParameter([
    { track_id: plugin.track_id, plugin_id: plugin.plugin_id, parameter_id: "damping", value: 0.1 },
    { track_id: plugin.track_id, plugin_id: plugin.plugin_id, parameter_id: "room_size", value: 0.8 },
  ]);
  await until(() => heard.length === 2, "the batch, change by change");
  assert.deepEqual(heard.splice(0), [["damping", 0.1], ["room_size", 0.8]]);

  let loaded;
  one.onPresetLoaded((data) => {
    loaded = data;
  });
  one.loadPreset({ wet_dry: 0.2, pre_delay: 40 });
  assert.deepEqual(loaded, { wet_dry: 0.2, pre_delay: 40 });
  await until(() => heard.length === 2, "the preset, change by change");
  assert.equal(two.parameters.pre_delay, 40);
});

test("PluginWebSocketClient and PluginControl: state comes from the messages", async () => {
  const plugin = await addPlugin("reverb");
  const [one, two] = [0, 1].map(() => opened(new PluginControl(rig.url, plugin.track_id, plugin.plugin_id)));
  await until(() => one.parameters.wet_dry && two.parameters.wet_dry, "both connected");
  assert.ok(one.isConnected, "by connection.status");
  assert.deepEqual(one.parameters, plugin.parameters);
  one.updateParameter("wet_dry", 0.33);
  await until(() => two.parameters.wet_dry === 0.33, "the other's change");
  one.debouncedUpdate({ wet_dry: 0.44, damping: 0.55 });
  await until(() => two.parameters.wet_dry === 0.44 && two.parameters.damping === 0.55, "the batch");
  await until(() => one.batches === 1, "the batch's answer");
  one.toggleBypass();
  await until(() => two.bypass, "the other's bypass");
});

test("Migration: the old hook still works, beside new ones", async () => {
  const old = opened(new OldHook(rig.url, "mic2"));
  const fresh = opened(new NewHook(rig.url, "mic2", "session_789", "user_456"));
  await until(() => old.ws.readyState === 1 && fresh.isAuthenticated, "both connected");

  old.addPlugin("Reverb", "/path/to/reverb.vst3");
  const added = await until(() => old.plugins[0], "its plugin");
  assert.equal(added.trackId, "mic2");
  assert.equal(added.bypassed, false);
  const seen = await until(() => fresh.plugins.find(({ id }) => id === added.id), "the same, at the new hook");
  assert.deepEqual(seen.parameters, added.parameters);

  old.updatePluginParameter(added.id, "wet_dry", 0.7);
  await until(() => old.updates.length === 1, "its own update, answered");
  assert.deepEqual(old.updates[0], [added.id, "wet_dry", 0.7]);
  const wetDry = () => fresh.plugins.find(({ id }) => id === added.id).parameters.wet_dry;
  await until(() => wetDry() === 0.7, "the same, at the new hook");
  await until(() => fresh.plugins.find(({ id }) => id === added.id).lastModified, "PLUGIN_STATE_UPDATE");

  fresh.updateParameter(added.id, "wet_dry", 0.8);
  await until(() => old.updates.length === 2, "the new hook's update");
  assert.deepEqual(old.updates[1], [added.id, "wet_dry", 0.8]);

  fresh.addPlugin("Gain");
  await until(() => old.plugins.length === 2 && fresh.plugins.length === 2, "the new hook's plugin");
  fresh.updateParameter("non_existent_plugin", "wet_dry", 0.5);
  const error = await until(() => fresh.errors[0], "the error");
  assert.equal(error.code, "PLUGIN_NOT_FOUND");
  assert.equal(error.details.plugin_id, "non_existent_plugin");
});

test("Migration: session broadcasting", async () => {
  const one = opened(new NewHook(rig.url, "music", "test_session_001", "test_user_001"));
  const two = opened(new NewHook(rig.url, "music", "test_session_001", "user_002"));
  const manager = new PluginSessionManager("user_002");
  const seen = [];
  await until(() => one.isAuthenticated && two.isAuthenticated, "both authenticated");
  two.ws.addEventListener("message", ({ data }) => {
    const message = JSON.parse(data);
    seen.push(message);
    manager.handleBroadcast(message);
  });

  one.addPlugin("Reverb", "/path/to/reverb.vst3");
  const plugin = await until(() => two.plugins[0], "the other's plugin");
  manager.plugins.set(plugin.id, {});
  one.updateParameter(plugin.id, "wet_dry", 0.7);
  const state = await until(() => manager.plugins.get(plugin.id).state?.parameters.wet_dry === 0.7
    && manager.plugins.get(plugin.id), "PLUGIN_STATE_UPDATE");
  assert.equal(state.modifiedBy, "test_user_001");
  assert.ok(manager.refreshed.includes(plugin.id));
  const types = seen.map(({ type }) => type);
  assert.ok(types.indexOf("PLUGIN_PARAMETER") < types.lastIndexOf("PLUGIN_STATE_UPDATE"));

  one.sendMessage({ type: "USER_CURSOR_UPDATE", data: { x: 1 } });
  await until(() => manager.cursors.length === 1, "the other's cursor");
  assert.equal(manager.cursors[0].x, 1);
});
