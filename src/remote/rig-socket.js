// The connection to the rig: one WebSocket that comes back by itself.
//
// Requests are matched with their replies by `id` and become promises. Everything that arrives
// (replies too) goes to `onMessage` first, in the order in which the rig sent it, so whoever keeps
// the state sees one ordered stream. Nothing is queued while the connection is down: a fader
// moved then must not jump a minute later.

const BACKOFF_MS_MIN = 500;
const BACKOFF_MS_MAX = 10_000;
const STABLE_MS = 3_000; // a connection that lived this long starts the back-off anew
const REPLY_MS_MAX = 5_000;
const PROBE_MS = 2_000; // how often silence is looked at
const QUIET_MS_MAX = 4_000; // then a heartbeat is sent; unanswered, the connection counts as dead
const CONNECT_MS_MAX = 8_000;

/** An `ERROR` from the rig, or the reason why no reply will come (`code` is then `OFFLINE`). */
export class RigError extends Error {
  constructor(sentence, code, details = {}) {
    super(sentence);
    this.code = code;
    this.details = details;
  }
}

export class RigSocket {
  #url;
  #handlers;
  #socket = null;
  #waiting = new Map(); // id -> {resolve, reject, timer}
  #lastId = 0;
  #attempt = 0;
  #openedAt = 0;
  #heardAt = 0; // or when connecting began
  #probing = false;
  #retryTimer = 0;
  #probeTimer = 0;

  /** `handlers`: onOpen(), onDown(), onMessage(message), onMeters(arrayBuffer), onError(rigError). */
  constructor(url, handlers) {
    this.#url = url;
    this.#handlers = handlers;
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  connect() {
    clearTimeout(this.#retryTimer);
    if (this.#socket) return;
    const socket = new WebSocket(this.#url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#opened();
    socket.onclose = () => this.#down();
    socket.onmessage = (event) => this.#received(event.data);
    this.#socket = socket;
    this.#heardAt = performance.now();
    this.#probeTimer = setInterval(() => this.#probe(), PROBE_MS);
  }

  /** Tries now instead of when the back-off ends: the phone woke up or has a network again. */
  hurry() {
    if (this.#socket) this.#probe();
    else this.connect();
  }

  /** Sends one message; resolves with the reply, rejects with a RigError. */
  request(type, data = {}) {
    if (!this.isOpen) {
      return Promise.reject(new RigError("Not connected to the rig; nothing was sent.", "OFFLINE"));
    }
    this.#lastId += 1;
    const id = `p${this.#lastId}`;
    const reply = new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#settle(id)?.reject(new RigError("The rig did not answer.", "NO_REPLY"));
      }, REPLY_MS_MAX);
      this.#waiting.set(id, { resolve, reject, timer });
    });
    this.#socket.send(JSON.stringify({ type, id, data }));
    return reply;
  }

  #opened() {
    this.#openedAt = performance.now();
    this.#handlers.onOpen();
  }

  #received(payload) {
    this.#heardAt = performance.now();
    if (typeof payload !== "string") {
      this.#handlers.onMeters(payload);
      return;
    }
    const message = JSON.parse(payload);
    message.data ??= {};
    if (message.type === "ERROR") {
      const error = new RigError(message.data.error, message.data.code, message.data.details);
      const request = this.#settle(message.id);
      if (request) request.reject(error);
      else this.#handlers.onError(error);
      return;
    }
    this.#handlers.onMessage(message);
    this.#settle(message.id)?.resolve(message);
  }

  #settle(id) {
    const request = this.#waiting.get(id);
    if (!request) return undefined;
    clearTimeout(request.timer);
    this.#waiting.delete(id);
    return request;
  }

  /** A phone that left the Wi-Fi gets no close event for minutes: silence has to do. */
  async #probe() {
    const quietMs = performance.now() - this.#heardAt;
    if (!this.isOpen) {
      if (quietMs > CONNECT_MS_MAX) this.#down();
      return;
    }
    if (quietMs < QUIET_MS_MAX || this.#probing) return;
    this.#probing = true;
    const socket = this.#socket;
    try {
      await this.request("heartbeat");
    } catch (error) {
      if (error.code === "NO_REPLY" && socket === this.#socket) this.#down();
    } finally {
      this.#probing = false;
    }
  }

  #down() {
    const socket = this.#socket;
    if (!socket) return;
    socket.onopen = socket.onclose = socket.onmessage = null;
    socket.close();
    this.#socket = null;
    clearInterval(this.#probeTimer);
    for (const id of [...this.#waiting.keys()]) {
      this.#settle(id).reject(new RigError("The connection broke before the rig answered.", "OFFLINE"));
    }
    const now = performance.now();
    if (this.#openedAt && now - this.#openedAt > STABLE_MS) this.#attempt = 0;
    this.#openedAt = 0;
    const ceilingMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** this.#attempt);
    this.#attempt += 1;
    this.#retryTimer = setTimeout(() => this.connect(), ceilingMs * (0.5 + Math.random() / 2));
    this.#handlers.onDown();
  }
}
