// Numbers for people: how a value lies on a slider, and how it is written. Pure.
//
// A scale is {min, max, step, toPosition(value), toValue(position)}; positions are what an
// <input type="range"> holds. Linear parameters keep their native units there; logarithmic ones
// use 0..1000.

const LOG_STEPS = 1000;
const SILENCE_DB = -60; // the bottom of a fader is silence
const UNITY_TOP_DB = 6; // and its top is twice unity

export function linearScale(min, max, step) {
  const same = (number) => number;
  return { min, max, step: step || niceStep(max - min), toPosition: same, toValue: same };
}

function logScale(min, max) {
  const octaves = Math.log(max / min);
  return {
    min: 0,
    max: LOG_STEPS,
    step: 1,
    toPosition: (value) => (LOG_STEPS * Math.log(value / min)) / octaves,
    toValue: (position) => {
      const value = Number((min * Math.exp((octaves * position) / LOG_STEPS)).toPrecision(3));
      return Math.min(max, Math.max(min, value));
    },
  };
}

/** The scale of one entry of `parameter_info`. */
export function parameterScale({ min = 0, max = 1, step, scale }) {
  return scale === "log" && min > 0 ? logScale(min, max) : linearScale(min, max, step);
}

/** A fader: positions in dB, values linear 0..2. */
export const faderScale = {
  min: SILENCE_DB,
  max: UNITY_TOP_DB,
  step: 0.1,
  toPosition: (volume) => gainToDb(volume),
  toValue: (db) => {
    if (db <= SILENCE_DB) return 0;
    return db >= UNITY_TOP_DB ? 2 : Number((10 ** (db / 20)).toPrecision(5));
  },
};

function gainToDb(gain) {
  return gain > 0 ? Math.max(SILENCE_DB, 20 * Math.log10(gain)) : SILENCE_DB;
}

/** A power of ten that divides a range into about a hundred steps or more. */
function niceStep(range) {
  return 10 ** Math.floor(Math.log10(range / 100) + 1e-9);
}

export function formatFader(volume) {
  return volume > 0 ? formatDb(gainToDb(volume)) : "−∞ dB";
}

export function formatDb(db) {
  const text = minus(db.toFixed(1));
  return `${db >= 0.05 ? "+" : ""}${text === "−0.0" ? "0.0" : text} dB`;
}

export function formatPan(pan) {
  const percent = Math.round(100 * Math.abs(pan));
  if (percent === 0) return "centre";
  return `${percent} % ${pan < 0 ? "left" : "right"}`;
}

export function formatPercent(share) {
  return `${Math.round(100 * share)} %`;
}

/** A parameter's value with its unit, short enough for the corner of a slider. */
export function formatParameter(value, { unit = "", min = 0, max = 1 }) {
  if (unit === "dB") return min < 0 ? formatDb(value) : `${value.toFixed(1)} dB`;
  if (unit === "Hz" && value >= 1000) return `${significant(value / 1000)} kHz`;
  if (unit === "ms" && value >= 1000) return `${significant(value / 1000)} s`;
  if (unit === "" && min === 0 && max <= 1) return formatPercent(value);
  if (unit.startsWith(":")) return `${significant(value)}${unit}`; // a ratio
  return `${significant(value)} ${unit}`.trim();
}

/** What a `feedback` effect does by itself: `notches: 2.31 kHz −18 dB · 440 Hz −12 dB`; nothing when it does nothing. */
export function formatHowl({ notches, howl_muted, howl_gain_db }) {
  const parts = [];
  if (howl_muted) parts.push("muted: it howled");
  else if (howl_gain_db < 0) parts.push(`turned down: ${formatDb(howl_gain_db)}`);
  const each = ({ freq_hz, depth_db }) => `${formatParameter(freq_hz, { unit: "Hz" })} ${minus(String(-Math.round(depth_db)))} dB`;
  if (notches.length) parts.push(`notches: ${notches.map(each).join(" · ")}`);
  return parts.join("; ");
}

/** `room_size` -> `Room size`: for a parameter that came without a name. */
export function humanName(id) {
  const words = id.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Up to three digits, without trailing zeros. */
function significant(value) {
  return minus(String(Number(value.toPrecision(Math.abs(value) >= 1000 ? 4 : 3))));
}

function minus(text) {
  return text.replace("-", "−");
}
