// Level meters: the rig's binary frames, and one small canvas per track.
//
// Peak and RMS of both channels, a peak that holds and then falls, a clip light. Drawing happens
// in animation frames and only while there is something to see moving.

const FLOOR_DB = -60;
const SILENCE_DB = -144;
const FALL_DB_PER_S = 30;
const HOLD_MS = 1_500;
const CLIP_MS = 3_000;
const STALE_MS = 500; // no frame for so long: the meters fall to silence
const READING_MS = 200; // how often the numbers change
const CALM_MS = 200; // how often a meter is drawn for people who asked for less motion
const TICKS_DB = [-48, -36, -24, -18, -12, -6, -3];

const HEADER_BYTES = 12;
const TRACK_BYTES = 24;

/** One binary frame -> [{peak: [l, r], rms: [l, r], reductionDb, clipped}], or null for another format. */
export function decode(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < HEADER_BYTES || view.getUint8(0) !== 1) return null;
  const count = view.getUint8(1);
  if (buffer.byteLength < HEADER_BYTES + count * TRACK_BYTES) return null;
  return Array.from({ length: count }, (_, index) => {
    const at = HEADER_BYTES + index * TRACK_BYTES;
    const float = (offset) => view.getFloat32(at + offset, true);
    return {
      peak: [float(0), float(4)],
      rms: [float(8), float(12)],
      reductionDb: Math.abs(float(16)),
      clipped: (view.getUint32(at + 20, true) & 1) === 1,
    };
  });
}

class Meter {
  #element;
  #canvas;
  #paint;
  #gradient = null;
  #peak = [SILENCE_DB, SILENCE_DB];
  #rms = [SILENCE_DB, SILENCE_DB];
  #hold = [SILENCE_DB, SILENCE_DB];
  #heldAt = [0, 0];
  #clippedAt = -CLIP_MS;
  #reductionDb = 0;
  #loudest = SILENCE_DB; // since the last reading
  #readAt = 0;
  #sizes = new ResizeObserver(() => this.#resize());

  constructor(element) {
    this.#element = element;
    this.#canvas = element.querySelector("canvas");
    this.#paint = this.#canvas.getContext("2d");
    this.#sizes.observe(this.#canvas);
  }

  stop() {
    this.#sizes.disconnect();
  }

  receive({ peak, rms, reductionDb, clipped }, now) {
    for (const side of [0, 1]) {
      this.#peak[side] = Math.max(this.#peak[side], peak[side]);
      this.#rms[side] = rms[side];
      if (peak[side] >= this.#hold[side]) {
        this.#hold[side] = peak[side];
        this.#heldAt[side] = now;
      }
    }
    this.#loudest = Math.max(this.#loudest, peak[0], peak[1]);
    this.#reductionDb = reductionDb;
    if (clipped) this.#clippedAt = now;
  }

  silence() {
    this.#rms = [SILENCE_DB, SILENCE_DB];
    this.#reductionDb = 0;
  }

  /** Draws; true while something still moves. */
  draw(now, elapsedMs) {
    const fallDb = (FALL_DB_PER_S * elapsedMs) / 1000;
    const { width, height } = this.#canvas;
    const gap = Math.max(1, Math.round(height * 0.08));
    const bar = (height - gap) / 2;
    const paint = this.#paint;
    paint.clearRect(0, 0, width, height);
    let moving = now - this.#clippedAt < CLIP_MS;
    for (const side of [0, 1]) {
      const y = side * (bar + gap);
      paint.fillStyle = "#1d242c";
      paint.fillRect(0, y, width, bar);
      paint.fillStyle = this.#gradient ?? "#3fd6c0";
      paint.globalAlpha = 0.45;
      paint.fillRect(0, y, share(this.#peak[side]) * width, bar);
      paint.globalAlpha = 1;
      paint.fillRect(0, y, share(this.#rms[side]) * width, bar);
      const hold = share(this.#hold[side]) * width;
      if (hold > 0) paint.fillRect(Math.min(width - 3, hold), y, 3, bar);
      moving ||= this.#peak[side] > FLOOR_DB || this.#hold[side] > FLOOR_DB;
      this.#peak[side] = Math.max(SILENCE_DB, this.#peak[side] - fallDb);
      if (now - this.#heldAt[side] > HOLD_MS) this.#hold[side] = Math.max(SILENCE_DB, this.#hold[side] - fallDb);
    }
    paint.fillStyle = "#0b0d10";
    for (const tick of TICKS_DB) paint.fillRect(Math.round(share(tick) * width), 0, 1, height);
    if (!moving || now - this.#readAt >= READING_MS) this.#read(now);
    return moving;
  }

  #read(now) {
    this.#readAt = now;
    const peakDb = Math.max(SILENCE_DB, this.#loudest);
    this.#loudest = SILENCE_DB;
    this.#element.dataset.peakDb = peakDb.toFixed(1);
    const hold = Math.max(...this.#hold);
    const level = hold > FLOOR_DB ? hold.toFixed(1).replace("-", "−") : "−∞";
    const reduction = this.#reductionDb >= 0.1 ? `GR ${this.#reductionDb.toFixed(1)}  ` : "";
    this.#element.querySelector(".reading").textContent = reduction + level;
    this.#element.classList.toggle("clipped", now - this.#clippedAt < CLIP_MS);
  }

  #resize() {
    const scale = Math.min(2, devicePixelRatio);
    this.#canvas.width = Math.round(this.#canvas.clientWidth * scale);
    this.#canvas.height = Math.round(this.#canvas.clientHeight * scale);
    const gradient = this.#paint.createLinearGradient(0, 0, this.#canvas.width, 0);
    gradient.addColorStop(0, "#1fa98f");
    gradient.addColorStop(share(-18), "#3fd6a0");
    gradient.addColorStop(share(-9), "#e8c93a");
    gradient.addColorStop(share(-3), "#ff7a2f");
    gradient.addColorStop(1, "#ff3b3b");
    this.#gradient = gradient;
    this.draw(performance.now(), 0);
  }
}

export class Meters {
  #meters = new Map(); // track_id -> Meter
  #receivedAt = 0;
  #drawnAt = 0;
  #scheduled = false;
  #calm = matchMedia("(prefers-reduced-motion: reduce)");

  attach(trackId, element) {
    this.#meters.set(trackId, new Meter(element));
  }

  detach(trackId) {
    this.#meters.get(trackId)?.stop();
    this.#meters.delete(trackId);
  }

  /** `order`: the track ids in the rig's order, which is the frame's. */
  receive(buffer, order) {
    const levels = decode(buffer);
    if (levels?.length !== order.length) return; // a track came or went; the snapshot is on its way
    this.#receivedAt = performance.now();
    levels.forEach((level, index) => this.#meters.get(order[index])?.receive(level, this.#receivedAt));
    this.#schedule();
  }

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => this.#frame());
  }

  #frame() {
    this.#scheduled = false;
    const now = performance.now();
    const stale = now - this.#receivedAt > STALE_MS;
    const elapsedMs = now - this.#drawnAt;
    let moving = !stale;
    if (!this.#calm.matches || elapsedMs >= CALM_MS) {
      this.#drawnAt = now;
      for (const meter of this.#meters.values()) {
        if (stale) meter.silence();
        moving = meter.draw(now, Math.min(elapsedMs, STALE_MS)) || moving;
      }
    } else {
      moving = true;
    }
    if (moving) this.#schedule();
  }
}

function share(db) {
  return Math.min(1, Math.max(0, 1 - db / FLOOR_DB));
}
