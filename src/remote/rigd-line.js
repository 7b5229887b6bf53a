// One connection to the rig for any number of clients (tabs), each at a message port: it comes back by
// itself, asks for what it has missed, and sends what waits at a pace that the rig takes.
//
// Used by rigd-client.js, which documents it; this file is also the script of the SharedWorker that the
// tabs of a browser share. Everything that arrives goes to every tab in the order in which the rig sent
// it, so each keeps its state from one ordered stream.
//
// To the line: hello, identity, signOut, want, request, hurry, bye. From it: hello, connection, message,
// meters, superseded, error. A request's number `n` comes back with what ends it.

import { needsSnapshot } from "./rig-state.js";

const RETRY_MS_MIN = 150;
const RETRY_MS_MAX = 1_200;
const RETRY_HIDDEN_MS_MAX = 30_000; // when nobody looks
const STABLE_MS = 3_000; // a connection that lived this long starts the back-off anew
const CONNECT_MS_MAX = 4_000;
const QUIET_MS_MAX = 2_000; // then a heartbeat is sent
const DEAD_MS = 5_000; // quiet for so long in spite of it: a phone that left the Wi-Fi gets no close event
const LOOK_MS = 250;
const REPLY_MS_MAX = 15_000;
const WAITING_MS_MAX = 30_000;
const WAITING_MAX = 256; // messages; beyond, the newest are refused
const CONTROL_MS = 40; // between two values of one control: 25 a second
/** A little under the rig's default limits: [a second, at once]. */
const LIMITS = { messages_per_s: [90, 150], operations_per_s: [9, 16] };
const OPERATION = /^(track\.(add|remove|update|preset)|plugin\.(add|remove|move|preset))/;
/** What a tab that comes later has to be told. */
const GREETINGS = ["connection.status", "AUTH_SUCCESS", "session.presence"];

/** So many a second, in bursts of so many. */
class Bucket {
  #perSecond;
  #burst;
  #tokens;
  #filledAt = performance.now();

  constructor([perSecond, burst]) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = burst;
  }

  /** Takes one and gives 0, or gives the milliseconds until there is one. */
  take() {
    const now = performance.now();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#filledAt) / 1000) * this.#perSecond);
    this.#filledAt = now;
    if (this.#tokens < 1) return ((1 - this.#tokens) / this.#perSecond) * 1000;
    this.#tokens -= 1;
    return 0;
  }

  /** The rig has had enough: nothing for so long. */
  pause(ms) {
    this.#tokens = Math.min(this.#tokens, 1 - (ms / 1000) * this.#perSecond);
  }
}

export class Line {
  #url;
  #WebSocket;
  #socket = null;
  #connection = "connecting";
  #identity = {};
  #tabs = new Map(); // port -> { metersHz, isVisible }
  #greetings = new Map(); // type -> the newest of it
  #queue = []; // what waits for its turn or its answer, in order
  #lanes = new Map(); // control -> when its next value may go
  #buckets = Object.fromEntries(Object.entries(LIMITS).map(([name, limit]) => [name, new Bucket(limit)]));
  #prefix = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(36)).join("");
  #lastId = 0;
  #seq = null; // of the newest change that went to the tabs
  #epoch = null;
  #joining = null; // id of the question whose answer says where the stream begins
  #isAsking = false; // for a snapshot that has not come yet
  #hasNewTab = false; // which knows nothing of what was before
  #metersHz = 0; // as the rig was told
  #attempt = 0;
  #openedAt = 0;
  #heardAt = 0; // or when connecting began
  #beatAt = 0;
  #retryTimer = 0;
  #pumpTimer = 0;
  #lookTimer = null; // runs while there is a tab

  constructor(url, WebSocketClass) {
    this.#url = url;
    this.#WebSocket = WebSocketClass;
  }

  attach(port) {
    port.onmessage = ({ data }) => this.#hear(port, data);
  }

  #hear(port, { op, ...what }) {
    if (op === "hello") this.#welcome(port, what);
    if (op === "identity") this.#identify(what.identity);
    if (op === "signOut") this.#signOut();
    if (op === "want") this.#want(port, what);
    if (op === "request") this.#push({ ...what, port, since: performance.now() });
    if (op === "hurry") this.#hurry();
    if (op === "bye") this.#leave(port);
  }

  #welcome(port, { identity, metersHz }) {
    this.#tabs.set(port, { metersHz, isVisible: true });
    this.#lookTimer ??= setInterval(() => this.#look(), LOOK_MS);
    port.postMessage({ op: "hello", connection: this.#connection });
    for (const message of this.#greetings.values()) port.postMessage({ op: "message", message });
    if (this.#connection === "online") this.#askForAll();
    else this.#hasNewTab = true;
    if (identity.token || !this.#socket) this.#identify(identity);
    this.#showMeters();
  }

  #want(port, what) {
    Object.assign(this.#tabs.get(port) ?? {}, what);
    this.#showMeters();
    if (what.isVisible) this.#hurry();
  }

  #leave(port) {
    this.#tabs.delete(port);
    this.#queue = this.#queue.filter((entry) => entry.port !== port || entry.isOut);
    port.close();
    if (this.#tabs.size > 0) return this.#showMeters();
    // The next one, should the worker see it, begins anew.
    clearInterval(this.#lookTimer);
    this.#lookTimer = null;
    this.#drop();
    this.#connection = "connecting";
    this.#seq = null;
    this.#identity = {};
    this.#greetings.clear();
  }

  #tell(what) {
    for (const port of this.#tabs.keys()) port.postMessage(what);
  }

  #say(connection) {
    if (connection === this.#connection) return;
    this.#connection = connection;
    this.#tell({ op: "connection", connection });
  }

  // What is sent.

  #push(entry) {
    const older = entry.key && this.#queue.find((each) => each.key === entry.key && !each.isOut);
    if (older) {
      older.port.postMessage({ op: "superseded", n: older.n });
      Object.assign(older, entry, { id: undefined }); // another value is another message
    } else if (this.#queue.length >= WAITING_MAX) {
      return refuse(entry, "CAPACITY", "Too much waits for the rig already; try again when it has been answered.");
    } else if (entry.urgent) {
      this.#queue.unshift(entry);
    } else {
      this.#queue.push(entry);
    }
    this.#pump();
  }

  /** Sends what may be sent now, and comes again for the rest. */
  #pump() {
    if (this.#connection !== "online") return;
    clearTimeout(this.#pumpTimer);
    const now = performance.now();
    const busy = new Set(this.#queue.filter((entry) => entry.isOut).map((entry) => entry.key));
    const waits = {}; // of the limits that are reached
    let next = Infinity;
    for (const entry of this.#queue) {
      if (entry.isOut || (entry.key && busy.has(entry.key))) continue;
      let wait = entry.key ? (this.#lanes.get(entry.key) ?? 0) - now : 0;
      if (wait <= 0 && !entry.urgent) {
        const limit = OPERATION.test(entry.type) ? "operations_per_s" : "messages_per_s";
        waits[limit] ||= this.#buckets[limit].take();
        wait = waits[limit];
      }
      if (wait > 0) {
        next = Math.min(next, wait);
        continue;
      }
      this.#send(entry);
      busy.add(entry.key);
    }
    if (next < Infinity) this.#pumpTimer = setTimeout(() => this.#pump(), Math.ceil(next));
  }

  #send(entry) {
    entry.id ??= this.#nextId();
    entry.isOut = true;
    entry.sentAt = performance.now();
    if (this.#lanes.size > WAITING_MAX) this.#lanes.clear();
    if (entry.key) this.#lanes.set(entry.key, entry.sentAt + CONTROL_MS);
    const { id, type, data } = entry;
    this.#write({ id, type, data, idempotency_key: id, t0_timestamp: performance.timeOrigin + entry.sentAt });
  }

  #nextId() {
    this.#lastId += 1;
    return `${this.#prefix}-${this.#lastId}`;
  }

  #write(message) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(message));
  }

  /** A message of the line's own. */
  #ask(type, data = {}) {
    const id = this.#nextId();
    this.#write({ id, type, data });
    return id;
  }

  #askForAll() {
    if (this.#isAsking) return;
    this.#isAsking = true;
    this.#ask("state.get");
  }

  #showMeters() {
    if (this.#connection !== "online") return;
    const rates = Array.from(this.#tabs.values(), ({ metersHz, isVisible }) => (isVisible ? metersHz : 0));
    const rate_hz = Math.max(0, ...rates);
    if (rate_hz === this.#metersHz) return;
    this.#metersHz = rate_hz;
    if (rate_hz > 0) this.#ask("meters.subscribe", { rate_hz, format: "binary" });
    else this.#ask("meters.unsubscribe");
  }

  #remove(entry) {
    this.#queue.splice(this.#queue.indexOf(entry), 1);
  }

  /** Back to those that wait; a newer value of its control takes its place. */
  #putBack(entry) {
    entry.isOut = false;
    if (!entry.key || !this.#queue.some((each) => each !== entry && each.key === entry.key)) return;
    this.#remove(entry);
    entry.port.postMessage({ op: "superseded", n: entry.n });
  }

  // What arrives.

  #received(payload) {
    this.#heardAt = performance.now();
    if (typeof payload !== "string") return this.#meters(payload);
    const message = JSON.parse(payload);
    message.data ??= {};
    const { id, type, data } = message;
    const seq = type === "state.snapshot" ? undefined : message.seq;
    const isMine = typeof id === "string" && id.startsWith(`${this.#prefix}-`);
    const entry = isMine ? this.#queue.find((each) => each.isOut && each.id === id) : undefined;
    if (type === "ERROR") return this.#refused(message, entry, isMine);
    if (type === "heartbeat_response" && isMine && !entry) return;
    if (GREETINGS.includes(type)) this.#greetings.set(type, message);
    // What arrives before the rig has said where the stream begins, it will say again.
    if (this.#joining && seq !== undefined) return;
    if (type === "state.resume") this.#seq = data.since_seq;
    if (type === "state.snapshot") {
      this.#seq = data.seq;
      this.#epoch = data.epoch;
      this.#isAsking = false;
    }
    const isOld = seq !== undefined && seq <= this.#seq; // an answer that was given before
    if (seq !== undefined && !isOld) this.#seq = seq;
    if (entry) {
      this.#remove(entry);
      message.latencyMs = this.#heardAt - entry.sentAt;
    }
    const isForAll = !entry || seq !== undefined || type === "state.snapshot" || GREETINGS.includes(type);
    for (const port of this.#tabs.keys()) {
      const n = entry?.port === port ? entry.n : undefined;
      if (isForAll || n !== undefined) port.postMessage({ op: "message", message, n, isOld });
    }
    if (id === this.#joining) this.#joined(type);
    if (needsSnapshot.has(type) && !isOld) this.#askForAll();
    if (entry) this.#pump();
  }

  #meters(buffer) {
    for (const [port, { metersHz, isVisible }] of this.#tabs) {
      if (metersHz > 0 && isVisible) port.postMessage({ op: "meters", buffer });
    }
  }

  #refused({ id, data }, entry, isMine) {
    const { code, error, details } = data;
    if (code === "RATE_LIMITED") {
      const ms = 1000 * (details?.retry_after ?? 0.1);
      (this.#buckets[details?.limit] ?? this.#buckets.messages_per_s).pause(ms);
      if (id === this.#joining) setTimeout(() => id === this.#joining && this.#signIn(), ms);
      if (entry) this.#putBack(entry); // nothing was applied
    } else if (code === "AUTH_FAILED" || id === this.#joining) {
      if (this.#identity.token) this.#tell({ op: "error", error: { message: error, code, details } });
      if (code === "AUTH_FAILED") this.#identity.token = undefined;
      if (this.#connection !== "online") this.#say("signed-out");
    } else if (entry) {
      this.#remove(entry);
      refuse(entry, code, error, details);
    } else if (!isMine) {
      this.#tell({ op: "error", error: { message: error, code, details } });
    }
    this.#pump();
  }

  // The connection.

  #connect() {
    clearTimeout(this.#retryTimer);
    if (this.#socket) return;
    const socket = new this.#WebSocket(this.#url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#opened();
    socket.onclose = () => this.#down();
    socket.onerror = () => {}; // a close follows
    socket.onmessage = ({ data }) => this.#received(data);
    this.#socket = socket;
    this.#heardAt = performance.now();
  }

  /** Tries now instead of when the back-off ends. */
  #hurry() {
    if (!this.#socket && this.#connection !== "signed-out") this.#connect();
  }

  #opened() {
    this.#openedAt = performance.now();
    this.#signIn();
  }

  #identify(identity) {
    this.#identity = { ...this.#identity, ...identity };
    if (this.#connection === "signed-out") this.#say("connecting");
    if (this.#socket?.readyState === 1) this.#signIn();
    else this.#connect();
  }

  #signOut() {
    this.#identity.token = undefined;
    this.#greetings.clear();
    this.#drop();
    this.#say("connecting");
    this.#connect();
  }

  /** Who this is, and what has happened since: in one go. */
  #signIn() {
    const { token, userId } = this.#identity;
    this.#ask("auth", { ...(token && { token }), ...(userId && { user_id: userId }) });
    if (this.#connection === "online") return;
    if (this.#seq === null) this.#joining = this.#ask("state.get");
    else this.#joining = this.#ask("state.resume", { since_seq: this.#seq, epoch: this.#epoch });
  }

  #joined(by) {
    this.#joining = null;
    this.#metersHz = 0;
    this.#say("online");
    this.#showMeters();
    if (this.#hasNewTab && by !== "state.snapshot") this.#askForAll();
    this.#hasNewTab = false;
    this.#pump();
  }

  #look() {
    const now = performance.now();
    for (const entry of [...this.#queue]) {
      if (entry.isOut && now - entry.sentAt > REPLY_MS_MAX) {
        this.#remove(entry);
        refuse(entry, "NO_REPLY", "The rig did not answer.");
        this.#askForAll();
      } else if (!entry.isOut && now - entry.since > WAITING_MS_MAX) {
        this.#remove(entry);
        refuse(entry, "OFFLINE", "Not connected to the rig; nothing was changed.");
      }
    }
    const quietMs = now - this.#heardAt;
    if (!this.#socket) return;
    if (this.#socket.readyState !== 1) {
      if (quietMs > CONNECT_MS_MAX) this.#down();
    } else if (quietMs > DEAD_MS) {
      this.#down();
    } else if (quietMs > QUIET_MS_MAX && now - this.#beatAt > QUIET_MS_MAX / 2) {
      this.#beatAt = now;
      this.#ask("heartbeat");
    }
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#joining = null;
    this.#isAsking = false;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#pumpTimer);
    // What was on its way may have arrived: it is sent again under the same id.
    for (const entry of this.#queue.filter((entry) => entry.isOut)) this.#putBack(entry);
    if (!socket) return;
    socket.onopen = socket.onclose = socket.onmessage = null;
    socket.close();
  }

  #down() {
    this.#drop();
    if (this.#connection === "signed-out") return; // until somebody signs in
    const now = performance.now();
    if (this.#openedAt && now - this.#openedAt > STABLE_MS) this.#attempt = 0;
    this.#openedAt = 0;
    const isSeen = [...this.#tabs.values()].some(({ isVisible }) => isVisible);
    const ceilingMs = Math.min(isSeen ? RETRY_MS_MAX : RETRY_HIDDEN_MS_MAX, RETRY_MS_MIN * 2 ** this.#attempt);
    this.#attempt += 1;
    this.#retryTimer = setTimeout(() => this.#connect(), ceilingMs * (0.5 + Math.random() / 2));
    this.#say("offline");
  }
}

function refuse({ port, n }, code, message, details) {
  port.postMessage({ op: "error", n, error: { message, code, details } });
}

// As the script of a worker: one line for all tabs; the rig's address is in the worker's name.
if (typeof SharedWorkerGlobalScope !== "undefined" && globalThis instanceof SharedWorkerGlobalScope) {
  const line = new Line(globalThis.name.split(" ")[1], WebSocket);
  globalThis.onconnect = ({ ports: [port] }) => line.attach(port);
}
