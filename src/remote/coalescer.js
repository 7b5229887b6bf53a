// Sends the newest value of each control and forgets the ones in between.
//
// One lane per key (a parameter, a fader): one message in flight, at most one waiting, and a
// pause between two. So a drag sends at most 1000 / pauseMs messages a second, fewer when the
// network is slow, and always the last value. A refusal for being too fast is waited out.

export class Coalescer {
  #lanes = new Map(); // key -> {next, drained}
  #request;
  #onError;

  /** `request(type, data)` gives a promise; `onError(error)` hears what could not be sent. */
  constructor(request, onError) {
    this.#request = request;
    this.#onError = onError;
  }

  /** Resolves once the lane is empty again and the rig has answered everything in it. */
  push(key, pauseMs, type, data) {
    const lane = this.#lanes.get(key);
    if (lane) {
      lane.next = { type, data };
      return lane.drained;
    }
    const fresh = { next: { type, data } };
    this.#lanes.set(key, fresh);
    fresh.drained = this.#drain(key, fresh, pauseMs);
    return fresh.drained;
  }

  async #drain(key, lane, pauseMs) {
    while (lane.next) {
      const message = lane.next;
      lane.next = null;
      const pause = sleep(pauseMs);
      try {
        await this.#request(message.type, message.data);
      } catch (error) {
        if (error.code === "RATE_LIMITED") {
          lane.next ??= message;
          await sleep(1000 * (error.details?.retry_after ?? 0.1));
        } else {
          this.#onError(error);
        }
      }
      await pause;
    }
    this.#lanes.delete(key);
  }
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
