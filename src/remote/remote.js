// The phone remote: connects the rig's client with the page, and the page's controls with the client. The
// parts know nothing of each other; this file introduces them.
//
//   rigd-client --state, status, meters--> view
//        ^------------ actions --------------'

import { RigClient } from "./rigd-client.js";
import { View } from "./view.js";

const METERS_HZ = 30;
const USER_KEY = "rigd.user_id";

let userId = rememberedUser();

const rig = new RigClient(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`, {
  userId,
  meters: { rate_hz: METERS_HZ },
});

const tell = (error) => view.toast(error.message);
const ask = (type, data, options) => rig.request(type, data, options).catch(tell);
const presets = async (type, data) => (await ask(type, data))?.data.presets ?? [];

const view = new View({
  setTrack: (...change) => rig.setTrack(...change).catch(tell),
  setParameter: (...change) => rig.setParameter(...change).catch(tell),
  bypass: (...change) => rig.setBypass(...change).catch(tell),
  addPlugin: (track_id, { name, plugin_path, plugin_format }) =>
    ask("plugin.add", { track_id, name, plugin_path, plugin_format }),
  removePlugin: (track_id, plugin_id) => ask("plugin.remove", { track_id, plugin_id }),
  movePlugin: (track_id, plugin_id, position) => ask("plugin.move", { track_id, plugin_id, position }),
  pluginPresets: (track_id, plugin_id) => presets("plugin.presets.get", { track_id, plugin_id }),
  loadPreset: (track_id, plugin_id, preset_name) => ask("plugin.preset", { track_id, plugin_id, preset_name }),
  chainPresets: () => presets("track.presets.get"),
  loadChain: (track_id, preset_name) => ask("track.preset", { track_id, preset_name }),
  panic: (mode) => ask("rig.panic", { mode }, { urgent: true }),
  restore: () => ask("rig.restore", {}, { urgent: true }),
  rename: (name) => {
    userId = name || randomUser();
    remember(userId);
    view.user(userId);
    rig.signIn({ userId });
  },
});

view.user(userId);
rig.on("state", (state) => view.show(state));
rig.on("status", (status) => {
  view.connection(status);
  if (status.me) view.user(status.me.user_id);
});
rig.on("meters", (buffer) => view.meters(buffer));
rig.on("error", tell);
ask("plugin.list").then((reply) => view.catalogue(reply?.data.plugins ?? []));

addEventListener("online", () => rig.hurry());
document.addEventListener("visibilitychange", () => rig.setVisible(!document.hidden));
addEventListener("pagehide", () => rig.close());
addEventListener("pageshow", (event) => event.persisted && location.reload());

function rememberedUser() {
  try {
    const known = localStorage.getItem(USER_KEY);
    if (known) return known;
  } catch {
    // Storage may be forbidden; then the name lasts as long as the page.
  }
  const fresh = randomUser();
  remember(fresh);
  return fresh;
}

function remember(name) {
  try {
    localStorage.setItem(USER_KEY, name);
  } catch {
    // As above.
  }
}

function randomUser() {
  const letters = "abcdefghjkmnpqrstuvwxyz23456789";
  const pick = (byte) => letters[byte % letters.length];
  return `phone-${Array.from(crypto.getRandomValues(new Uint8Array(4)), pick).join("")}`;
}
