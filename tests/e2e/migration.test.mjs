// The migration guide's test suite, all four parts, and what its server example does, against the real rig:
// the legacy client on one port, the new one on another. Mends:
//
// 1. The clients, which the guide does not show, are in guide/migration-clients.mjs.
// 2. The track that the suite names is added first; one for each part, since a chain has eight places.
// 3. The suite's ports are free ones; `expect` is `node:assert`.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";

import { NewPluginClient, OldPluginClient } from "./guide/migration-clients.mjs";
import { Probe, startRig, until } from "./rig.mjs";

describe("WebSocket Plugin Migration", () => {
  let rig;
  let probe;
  let oldClient;
  let newClient;
  const testTrackId = "test_track_001";
  const testSessionId = "test_session_001";
  const testUserId = "test_user_001";

  before(async () => {
    rig = await startRig({}, "--listen", "127.0.0.1:0");
    assert.equal(rig.urls.length, 2);
    probe = await Probe.open(rig.url);
  });

  after(async () => {
    probe.close();
    await rig.stop();
  });

  beforeEach(async () => {
    const track = await probe.ask("track.add", { track_id: testTrackId, kind: "stem" });
    assert.equal(track.data.success, true, JSON.stringify(track.data));
    oldClient = new OldPluginClient(rig.urls[1]);
    newClient = new NewPluginClient(rig.urls[0]);
  });

  afterEach(async () => {
    await oldClient.disconnect();
    await newClient.disconnect();
    await probe.ask("track.remove", { track_id: testTrackId });
  });

  test("Plugin addition compatibility", async () => {
    // Test old format
    const oldResult = await oldClient.addPlugin(testTrackId, "Reverb", "/path/to/reverb.vst3");
    assert.equal(oldResult.success, true);
    assert.notEqual(oldResult.pluginId, undefined);

    // Test new format
    const newResult = await newClient.addPlugin(testTrackId, "Reverb", "/path/to/reverb.vst3", testUserId, testSessionId);
    assert.equal(newResult.success, true);
    assert.notEqual(newResult.plugin_id, undefined);
    assert.notEqual(newResult.parameters, undefined);
  });

  test("Parameter update compatibility", async () => {
    // Add plugin first
    const plugin = await newClient.addPlugin(testTrackId, "Reverb", "/path/to/reverb.vst3", testUserId, testSessionId);

    // Test old format
    const oldResult = await oldClient.updateParameter(plugin.plugin_id, "wet_dry", 0.7);
    assert.equal(oldResult.success, true);

    // Test new format
    const newResult = await newClient.updateParameter(testTrackId, plugin.plugin_id, "wet_dry", 0.8, testUserId, testSessionId);
    assert.equal(newResult.success, true);
    assert.equal(newResult.track_id, testTrackId);
  });

  test("Error handling improvements", async () => {
    // Test non-existent plugin
    try {
      await newClient.updateParameter(testTrackId, "non_existent_plugin", "wet_dry", 0.5, testUserId, testSessionId);
    } catch (error) {
      assert.equal(error.code, "PLUGIN_NOT_FOUND");
      assert.equal(error.details.plugin_id, "non_existent_plugin");
      return;
    }
    assert.fail("Should have thrown an error");
  });

  test("Session broadcasting", async () => {
    // Create two clients in same session
    const client1 = new NewPluginClient(rig.urls[0]);
    const client2 = new NewPluginClient(rig.urls[0]);

    await client1.authenticate(testUserId, testSessionId);
    await client2.authenticate("user_002", testSessionId);

    // Add plugin from client1
    const plugin = await client1.addPlugin(testTrackId, "Reverb", "/path/to/reverb.vst3", testUserId, testSessionId);

    // Update parameter from client1
    await client1.updateParameter(testTrackId, plugin.plugin_id, "wet_dry", 0.7, testUserId, testSessionId);

    // Client2 should receive the update
    const broadcast = await client2.waitForMessage("PLUGIN_STATE_UPDATE");
    assert.equal(broadcast.data.plugin_id, plugin.plugin_id);
    assert.equal(broadcast.data.changed_by, testUserId);

    await client1.disconnect();
    await client2.disconnect();
  });
});

describe("The guide's server example: what a client of it relies on", () => {
  let rig;
  const open = [];
  const join = () => (open.push(new NewPluginClient(rig.url)), open.at(-1));
  const refused = async (asked, code) => {
    const error = await asked.then(() => assert.fail("was not refused"), (error) => error);
    assert.equal(error.code, code, error.stack);
    return error;
  };

  before(async () => {
    rig = await startRig({ ALLOW_ANONYMOUS: "false" });
  });

  afterEach(() => Promise.all(open.splice(0).map((client) => client.disconnect())));
  after(() => rig.stop());

  test("a good token: AUTH_SUCCESS with the session, made when none is asked for", async () => {
    const client = join();
    const token = await rig.token("host", "ana");
    assert.equal((await client.authenticate("somebody else", "session_789", token)).session_id, "session_789");
    const { session_id, user_id } = await client.authenticate(undefined, undefined, token);
    assert.ok(session_id);
    assert.equal(user_id, "ana", "whom the token names");
  });

  test("a bad token: AUTH_FAILED, and the connection stays open", async () => {
    const client = join();
    await refused(client.authenticate("ana", undefined, "your_jwt_token"), "AUTH_FAILED");
    const token = await rig.token("host", "ana");
    assert.equal((await client.authenticate("ana", undefined, token)).success, true);
  });

  test("before AUTH everything else is UNAUTHORIZED", async () => {
    const client = join();
    await refused(client.addPlugin("mic1", "Reverb", ""), "UNAUTHORIZED");
    await refused(client.authenticate("ana"), "AUTH_FAILED");
  });

  test("an unknown type is told, with its name", async () => {
    const client = join();
    await client.authenticate("ana", undefined, await rig.token("host", "ana"));
    const error = await refused(client.ask("PLUGIN_FROBNICATE", {}), "UNKNOWN_MESSAGE_TYPE");
    assert.match(JSON.stringify(error.details), /PLUGIN_FROBNICATE/);
  });

  test("what is not JSON is INVALID_MESSAGE, and nothing ends", async () => {
    const client = join();
    await client.authenticate("ana", undefined, await rig.token("host", "ana"));
    await client.opened;
    client.ws.send("{");
    await client.waitForMessage("ERROR");
    assert.equal(client.heard.at(-1).data.code, "INVALID_MESSAGE");
    assert.equal((await client.ask("PLUGIN_PARAMETERS_GET", { track_id: "master", plugin_id: "limiter" })).success, true);
  });

  test("a change reaches the others and comes back to its sender once, as the reply", async () => {
    const [one, two] = [join(), join()];
    await one.authenticate(undefined, "session_789", await rig.token("host", "ana"));
    await two.authenticate(undefined, "session_789", await rig.token("host", "ben"));
    const { plugin_id } = await one.addPlugin("mic1", "Reverb", "");
    await one.updateParameter("mic1", plugin_id, "wet_dry", 0.6);
    const added = await two.waitForMessage("PLUGIN_ADD");
    assert.equal(added.data.plugin_id, plugin_id);
    const heard = await two.waitForMessage("PLUGIN_PARAMETER");
    assert.equal(heard.data.parameter_value, 0.6);
    assert.equal(heard.data.changed_by, "ana");
    assert.equal(one.heard.filter(({ type }) => type === "PLUGIN_PARAMETER").length, 1);
  });

  test("ALLOW_ANONYMOUS=true: a user and a session of its own without a token", async () => {
    const free = await startRig({ ALLOW_ANONYMOUS: "true" });
    const client = new NewPluginClient(free.url);
    const { user_id, session_id } = await client.ask("AUTH", {});
    assert.equal(user_id, "anonymous_user");
    assert.match(session_id, /^anonymous_/);
    assert.equal((await client.addPlugin("mic1", "Reverb", "")).success, true);
    // A message without the new fields has defaults.
    const again = await until(() => client.heard.find(({ type }) => type === "PLUGIN_ADD"), "the answer");
    assert.ok(again.user_id && again.session_id && again.id);
    await client.disconnect();
    await free.stop();
  });
});
