// The phone remote: connects the rig's stream of changes with the page, and the page's controls
// with the rig. The parts know nothing of each other; this file introduces them.
//
//   rig-socket --messages--> store --state--> view
//        ^------ coalescer <------ actions ----'

import { Coalescer } from "./coalescer.js";
import { RigSocket } from "./rig-socket.js";
import { emptyState, needsSnapshot, reduce } from "./store.js";
import { View } from "./view.js";

const METERS_HZ = 30;
const PARAMETER_PAUSE_MS = 40; // at most 25 messages a second per slider
const TRACK_PAUSE_MS = 110; // the rig takes about ten track changes a second from one client
const USER_KEY = "rigd.user_id";

let state = emptyState;
let userId = rememberedUser();

const socket = new RigSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`, {
  onOpen: join,
  onDown: () => view.connection("reconnecting"),
  onMessage: receive,
  onMeters: (buffer) => view.meters(buffer, state.tracks.map((track) => track.track_id)),
  onError: (error) => view.toast(error.message),
});

const tell = (error) => view.toast(error.message);
const ask = (type, data) => socket.request(type, data).catch(tell);
const presets = async (type, data) => (await ask(type, data))?.data.presets ?? [];
const coalescer = new Coalescer((type, data) => socket.request(type, data), tell);

const view = new View({
  setTrack: (track_id, field, value) =>
    coalescer.push(`${track_id} ${field}`, TRACK_PAUSE_MS, "track.update", { track_id, [field]: value }),
  setParameter: (track_id, plugin_id, parameter_id, parameter_value) =>
    coalescer.push(`${plugin_id} ${parameter_id}`, PARAMETER_PAUSE_MS, "plugin.parameter", {
      track_id,
      plugin_id,
      parameter_id,
      parameter_value,
    }),
  bypass: (track_id, plugin_id, bypass) =>
    coalescer.push(`${plugin_id} bypass`, PARAMETER_PAUSE_MS, "plugin.bypass", { track_id, plugin_id, bypass }),
  addPlugin: (track_id, { name, plugin_path, plugin_format }) =>
    ask("plugin.add", { track_id, name, plugin_path, plugin_format }),
  removePlugin: (track_id, plugin_id) => ask("plugin.remove", { track_id, plugin_id }),
  movePlugin: (track_id, plugin_id, position) => ask("plugin.move", { track_id, plugin_id, position }),
  pluginPresets: (track_id, plugin_id) => presets("plugin.presets.get", { track_id, plugin_id }),
  loadPreset: (track_id, plugin_id, preset_name) => ask("plugin.preset", { track_id, plugin_id, preset_name }),
  chainPresets: () => presets("track.presets.get"),
  loadChain: (track_id, preset_name) => ask("track.preset", { track_id, preset_name }),
  panic: (mode) => ask("rig.panic", { mode }),
  restore: () => ask("rig.restore"),
  rename: (name) => {
    userId = name || randomUser();
    remember(userId);
    view.user(userId);
    ask("auth", { user_id: userId });
  },
});

view.user(userId);
view.connection("connecting");
socket.connect();
addEventListener("online", () => socket.hurry());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) socket.hurry();
  if (socket.isOpen) subscribeMeters();
});

/** On a fresh connection, in one go: who we are, what there is, what moves. */
function join() {
  ask("auth", { user_id: userId });
  ask("state.get");
  ask("plugin.list");
  subscribeMeters();
}

function receive(message) {
  const { type, data } = message;
  if (type === "AUTH_SUCCESS") view.user(data.user_id ?? userId);
  if (type === "plugin.list") view.catalogue(data.plugins ?? []);
  if (type === "state.snapshot") view.connection("connected");
  if (needsSnapshot.has(type)) ask("state.get");
  const next = reduce(state, message);
  if (next === state) return;
  state = next;
  view.show(state);
}

/** A page that nobody sees needs no meters. */
function subscribeMeters() {
  if (document.hidden) ask("meters.unsubscribe");
  else ask("meters.subscribe", { rate_hz: METERS_HZ, format: "binary" });
}

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
