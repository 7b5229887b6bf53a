// The phone remote: connects the rig's client with the page, and the page's controls with the client. The
// parts know nothing of each other; this file introduces them.
//
//   rigd-client --state, status, meters--> view
//        ^------------ actions --------------'

import { Device } from "./device.js";
import { Joining } from "./joining.js";
import { People } from "./people.js";
import { RigClient } from "./rigd-client.js";
import { View } from "./view.js";

const METERS_HZ = 30;
const USER_KEY = "rigd.user_id";
const TOKEN_KEY = "rigd.token";

let isKnown = false; // what the box can load
let userId = remembered(USER_KEY) ?? randomUser();
let token = remembered(TOKEN_KEY);
remember(USER_KEY, userId);

const rig = new RigClient(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`, {
  userId,
  token,
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
    remember(USER_KEY, userId);
    view.user(userId);
    rig.signIn({ userId });
  },
});

const people = new People({
  invite: async (role) => (await ask("session.invite", role))?.data,
  giveRole: (user_id, role) => ask("session.role", { user_id, ...role }),
  end: ({ connection_id, user_id, verified }) => ask("session.end", verified ? { user_id } : { connection_id }),
  signOut: () => {
    forget();
    rig.signOut();
  },
});

const device = new Device({
  fetch: (path, options = {}) => {
    const proof = token ? { Authorization: `Bearer ${token}` } : {};
    return fetch(path, { ...options, headers: { ...options.headers, ...proof } });
  },
  // fetch() does not tell how much of a file has gone.
  upload: (path, file, heard) =>
    new Promise((done) => {
      const request = new XMLHttpRequest();
      request.open("POST", path);
      request.responseType = "json";
      request.setRequestHeader("Content-Type", "application/octet-stream");
      if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
      request.upload.addEventListener("progress", ({ loaded, total }) => heard(total ? loaded / total : 0));
      request.addEventListener("loadend", () => done({ ok: request.status === 202, data: request.response }));
      request.send(file);
    }),
  tell: (sentence) => view.toast(sentence),
});

const joining = new Joining((identity) => {
  ({ userId, token } = identity);
  remember(USER_KEY, userId);
  remember(TOKEN_KEY, token);
  view.user(userId, true);
  rig.signIn(identity);
});

view.user(userId);
rig.on("state", (state) => {
  view.show(state);
  people.tracks(state.tracks);
});
rig.on("status", (status) => {
  const { connection, me } = status;
  if (connection === "signed-out" && !joining.isNeeded) {
    forget();
    joining.ask();
  }
  view.connection(status);
  view.rights(me);
  device.rights(me);
  if (me) view.user(me.user_id, Boolean(token));
  people.show(status, Boolean(token));
  if (connection === "online" && !isKnown) {
    isKnown = true;
    ask("plugin.list").then((reply) => view.catalogue(reply?.data.plugins ?? []));
  }
});
rig.on("meters", (buffer) => view.meters(buffer));
rig.on("error", tell);
joining.readLink();

addEventListener("online", () => rig.hurry());
document.addEventListener("visibilitychange", () => rig.setVisible(!document.hidden));
addEventListener("pagehide", () => rig.close());
addEventListener("pageshow", (event) => event.persisted && location.reload());

function remembered(key) {
  try {
    return localStorage.getItem(key) ?? undefined;
  } catch {
    return undefined; // storage may be forbidden; then it lasts as long as the page
  }
}

function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // As above.
  }
}

/** The token is no good any more, or not wanted. */
function forget() {
  token = undefined;
  try {
    localStorage.removeItem(TOKEN_KEY);
  } catch {
    // As above.
  }
}

function randomUser() {
  const letters = "abcdefghjkmnpqrstuvwxyz23456789";
  const pick = (byte) => letters[byte % letters.length];
  return `phone-${Array.from(crypto.getRandomValues(new Uint8Array(4)), pick).join("")}`;
}
