// A client of rigd, for browsers and for Node; with rigd-line.js and rig-state.js beside it, nothing else.
//
//   import { RigClient } from "/rigd-client.js";
//
//   const rig = new RigClient("ws://rig.local:8000/ws", { userId: "ana", token: "…" });
//   rig.on("state", (state) => draw(state.tracks));
//   rig.on("status", ({ connection, me }) => …);
//   await rig.setParameter("mic1", "reverb_1", "wet_dry", 0.4);
//
// new RigClient(url, options)
//   userId, token     who this is; the token is sent by AUTH and never put into a URL
//   share             true (the default): all tabs of a browser use one connection, in a
//                     SharedWorker; where there is none, each tab has its own
//   meters            { rate_hz }: level meters, wanted from the start (see `wantMeters`)
//   WebSocket         the class to connect with, for a Node that has no global one (`ws` will do)
//
// Reading
//   state             { tracks, panic, panicBy }: the rig as this person should see it, which is what it
//                     has confirmed and, on top, one's own values that it has not answered yet; those it
//                     refuses vanish again. Parts that did not change stay the same objects. `by` in
//                     tracks and plugins is who changed them last.
//   status            { connection, me, users, latencyMs }; connection is "connecting", "online",
//                     "offline" (trying again) or "signed-out" (a token is needed: `signIn`);
//                     me { user_id, role, permissions, tracks?, session_id }; users are those of
//                     `session.presence`; latencyMs is the smoothed time from
//                     sending a change to its answer, which is after the engine has applied it
//   on(event, listener) -> a function that ends it; events:
//     "state" (state)   "status" (status)   "meters" (ArrayBuffer)
//     "message" (every message from the rig, in order, but for answers that are given again)
//     "error" (a RigError that no promise carries)
//
// Writing: each gives a promise of the rig's reply, or throws a RigError { message, code, details }
//   setParameter(track_id, plugin_id, parameter_id, value), setBypass(track_id, plugin_id, bypass),
//   setTrack(track_id, field, value)
//                     shown at once; may be called for every step of a drag: of one control only the newest
//                     value is kept while an older one is on its way (those in between give null)
//   request(type, data, { key, urgent, isShown })
//                     any message of the wire; `key` names a control, of which only the newest value
//                     matters, `urgent` passes everything that waits, `isShown` puts it into `state` at once
//
//   signIn({ userId, token })   signOut()   wantMeters(rateHz or 0)   setVisible(whether anybody looks)
//   hurry() tries now (the network is back)      close()
//
// While there is no connection it is tried again, ever more slowly and never in step with others. Then what
// has happened meanwhile is asked for by `state.resume`, or the whole state if the rig holds that no longer;
// after which everything that waits is sent, and what was on its way is sent again under the same
// `idempotency_key`: nothing is applied twice. What has waited longer than 30 s is given up (OFFLINE): a
// fader moved then must not jump a minute later. The rig's limits on messages are kept to by waiting.

import { emptyState, reduce } from "./rig-state.js";
import { Line } from "./rigd-line.js";

/** What a role usually may do, for one that is given while one is here; AUTH_SUCCESS tells exactly. */
const USUAL = {
  host: ["plugin:read", "plugin:write", "plugin:add", "plugin:remove", "track:modify", "session:manage", "log:read"],
  performer: ["plugin:read", "plugin:write", "track:modify"],
  guest: ["plugin:read"],
  display: ["plugin:read"],
};
const WORKER_MS_MAX = 3_000; // a worker that has not answered by then is not used
const VERSION = 1; // of what tabs and worker say to each other

/** An `ERROR` from the rig, or why there is no reply (`code` is OFFLINE, NO_REPLY or CAPACITY). */
export class RigError extends Error {
  constructor(sentence, code, details = {}) {
    super(sentence);
    this.code = code;
    this.details = details;
  }
}

export class RigClient {
  state = emptyState;
  status = { connection: "connecting", me: null, users: [], latencyMs: null };
  #url;
  #options;
  #port = null;
  #isShared = false;
  #confirmed = emptyState;
  #pending = new Map(); // control -> { n, type, data }: one's own values that are not answered yet
  #waiting = new Map(); // n -> { resolve, reject, shown }
  #backlog = []; // what was said before the port is known to work
  #lastN = 0;
  #want;
  #identity;
  #connectionId = null;
  #listeners = new Map();

  constructor(url, { userId, token, share = true, meters, WebSocket = globalThis.WebSocket } = {}) {
    this.#url = url;
    this.#options = { WebSocket };
    this.#identity = { userId, token };
    this.#want = { metersHz: meters?.rate_hz ?? 0, isVisible: true };
    if (share && typeof SharedWorker !== "undefined") this.#share();
    else this.#alone();
  }

  /** Listens; gives a function that ends it. */
  on(event, listener) {
    if (!this.#listeners.has(event)) this.#listeners.set(event, new Set());
    this.#listeners.get(event).add(listener);
    return () => this.#listeners.get(event).delete(listener);
  }

  setParameter(track_id, plugin_id, parameter_id, parameter_value) {
    const data = { track_id, plugin_id, parameter_id, parameter_value };
    return this.#set(`${plugin_id} ${parameter_id}`, "plugin.parameter", data);
  }

  setBypass(track_id, plugin_id, bypass) {
    return this.#set(`${plugin_id} /bypass`, "plugin.bypass", { track_id, plugin_id, bypass });
  }

  setTrack(track_id, field, value) {
    return this.#set(`/${track_id} ${field}`, "track.update", { track_id, [field]: value });
  }

  #set(key, type, data) {
    return this.request(type, data, { key, isShown: true });
  }

  request(type, data = {}, { key, urgent = false, isShown = false } = {}) {
    const n = (this.#lastN += 1);
    const shown = isShown ? (key ?? `${n}`) : null;
    const reply = new Promise((resolve, reject) => this.#waiting.set(n, { resolve, reject, shown }));
    if (shown !== null) {
      this.#pending.set(shown, { n, type, data });
      this.#show();
    }
    this.#post({ op: "request", n, type, data, key, urgent });
    return reply;
  }

  signIn(identity) {
    this.#identity = { ...this.#identity, ...identity };
    this.#post({ op: "identity", identity });
  }

  /** Forgets the token, and comes back as anybody. */
  signOut() {
    this.#identity.token = undefined;
    this.#confirmed = emptyState;
    this.#pending.clear();
    this.#show();
    this.#say({ me: null, users: [] });
    this.#post({ op: "signOut" });
  }

  wantMeters(rateHz) {
    this.#want.metersHz = rateHz;
    this.#post({ op: "want", ...this.#want });
  }

  setVisible(isVisible) {
    this.#want.isVisible = isVisible;
    this.#post({ op: "want", ...this.#want });
  }

  hurry() {
    this.#post({ op: "hurry" });
  }

  close() {
    this.#port.postMessage({ op: "bye" });
    for (const { reject } of this.#waiting.values()) reject(new RigError("The client was closed.", "OFFLINE"));
    this.#waiting.clear();
    this.#listeners.clear();
  }

  // -- to the line

  #share() {
    let worker;
    try {
      worker = new SharedWorker(new URL("./rigd-line.js", import.meta.url), { type: "module", name: `rigd-${VERSION} ${this.#url}` });
    } catch {
      return this.#alone(); // forbidden here
    }
    const giveUp = () => this.#isShared || this.#alone();
    worker.onerror = giveUp;
    setTimeout(giveUp, WORKER_MS_MAX);
    this.#attach(worker.port);
  }

  #alone() {
    const { port1, port2 } = new MessageChannel();
    new Line(this.#url, this.#options.WebSocket).attach(port1);
    this.#attach(port2);
  }

  #attach(port) {
    if (this.#port) {
      this.#port.onmessage = null;
      this.#port.postMessage({ op: "bye" });
    }
    this.#port = port;
    port.onmessage = ({ data }) => this.#hear(data);
    port.postMessage({ op: "hello", identity: this.#identity, metersHz: this.#want.metersHz });
  }

  #post(what) {
    if (this.#isShared) this.#port.postMessage(what);
    else this.#backlog.push(what);
  }

  #hear({ op, n, ...what }) {
    if (op === "hello") {
      this.#isShared = true;
      for (const waiting of this.#backlog.splice(0)) this.#port.postMessage(waiting);
    }
    if (op === "hello" || op === "connection") this.#say({ connection: what.connection });
    if (op === "meters") this.#emit("meters", what.buffer);
    if (op === "message") this.#received(n, what.message, what.isOld);
    if (op === "superseded") this.#settle(n)?.resolve(null);
    if (op === "error") {
      const error = new RigError(what.error.message, what.error.code, what.error.details);
      const request = this.#settle(n);
      if (request?.shown) this.#show();
      if (request) request.reject(error);
      else this.#emit("error", error);
    }
  }

  #received(n, message, isOld) {
    const { type, data, latencyMs } = message;
    if (type === "connection.status") this.#connectionId = data.connection_id;
    if (type === "AUTH_SUCCESS") this.#say({ me: { ...data, connection_id: this.#connectionId } });
    if (type === "session.presence") this.#say({ users: data.users, me: this.#seenAs(data.users) });
    if (n !== undefined && message.seq !== undefined && latencyMs !== undefined) {
      const before = this.status.latencyMs;
      this.#say({ latencyMs: before === null ? latencyMs : 0.8 * before + 0.2 * latencyMs });
    }
    const before = this.#confirmed;
    if (!isOld) this.#confirmed = reduce(before, message);
    const request = this.#settle(n);
    if (this.#confirmed !== before || request?.shown) this.#show();
    if (!isOld) this.#emit("message", message);
    request?.resolve(message);
  }

  /** A host may have given this person another role. */
  #seenAs(users) {
    const { me } = this.status;
    const mine = users.find(({ connection_id }) => connection_id === this.#connectionId);
    if (!me || !mine || (me.role === mine.role && `${me.tracks}` === `${mine.tracks}`)) return me;
    return { ...me, role: mine.role, tracks: mine.tracks, permissions: USUAL[mine.role] ?? [] };
  }

  #settle(n) {
    const request = this.#waiting.get(n);
    this.#waiting.delete(n);
    if (request?.shown && this.#pending.get(request.shown)?.n === n) this.#pending.delete(request.shown);
    return request;
  }

  /** What the rig has confirmed, and one's own values on top. */
  #show() {
    const user_id = this.status.me?.user_id ?? this.#identity.userId;
    const mine = [...this.#pending.values()].sort((a, b) => a.n - b.n);
    this.state = mine.reduce((state, { type, data }) => reduce(state, { type, data, user_id }), this.#confirmed);
    this.#emit("state", this.state);
  }

  #say(news) {
    this.status = { ...this.status, ...news };
    this.#emit("status", this.status);
  }

  #emit(event, value) {
    for (const listener of this.#listeners.get(event) ?? []) listener(value);
  }
}
