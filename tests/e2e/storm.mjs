// A crowd at the rig: CLIENTS connections that change things, ask things and talk nonsense for
// SECONDS, in all dialects. Prints what came back as one JSON line.
//
//   node storm.mjs ws://127.0.0.1:8000/ws CLIENTS SECONDS

import WebSocket from "ws";

const [url, clients, seconds] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const PAUSE_MS = 10;
const counts = { sent: 0, replies: 0, broadcasts: 0, errors: {}, closed: 0, opened: 0 };
let seed = 1;
const random = () => (seed = (seed * 48271) % 0x7fffffff) / 0x7fffffff;
const pick = (list) => list[Math.floor(random() * list.length)];

function message(number) {
  const at = { track_id: pick(["mic1", "mic2", "music"]), plugin_id: `p${Math.floor(random() * 12)}` };
  const parameter = { ...at, parameter_id: pick(["volume", "wet_dry", "freq"]), parameter_value: random() };
  return pick([
    () => ({ type: "plugin.add", data: { ...at, name: pick(["gain", "hpf", "reverb"]) } }),
    () => ({ type: "plugin.remove", data: at }),
    () => ({ type: "plugin.bypass", data: { ...at, bypass: random() < 0.5 } }),
    () => ({ type: "plugin.move", data: { ...at, position: 0 } }),
    () => ({ type: "plugin.parameter", data: parameter }),
    () => ({ type: "PLUGIN_PARAMETER", data: parameter, t0_timestamp: Date.now() }),
    () => ({ type: "UPDATE_PARAMETER", pluginId: at.plugin_id, parameterId: "volume", value: random() * 4 }),
    () => ({ type: "plugin.parameter.batch", data: { changes: [parameter, parameter], apply_immediately: true } }),
    () => ({ type: "plugin.parameter.batch", data: { changes: [parameter] }, requires_ack: true }),
    () => ({ type: "track.update", data: { track_id: at.track_id, volume: 2 * random(), pan: 2 * random() - 1 } }),
    () => ({ type: "track.add", data: { track_id: `t${number % 14}`, kind: "bus", name: "T" } }),
    () => ({ type: "track.remove", data: { track_id: `t${number % 14}` } }),
    () => ({ type: "rig.panic", data: { mode: pick(["mute", "dry"]) } }),
    () => ({ type: "rig.restore" }),
    () => ({ type: "state.get" }),
    () => ({ type: "status.get" }),
    () => ({ type: "meters.subscribe", data: { rate_hz: 60, format: pick(["json", "binary"]) } }),
    () => ({ type: "USER_CURSOR_UPDATE", data: { x: random() } }),
    () => ({ type: "no.such.message" }),
    () => ({ type: 5 }),
  ])();
}

function join(number) {
  return new Promise((done) => {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    let timer;
    let sent = 0;
    socket.on("open", () => {
      counts.opened += 1;
      timer = setInterval(() => {
        if (socket.bufferedAmount > 100_000) return;
        counts.sent += 1;
        sent += 1;
        socket.send(random() < 0.01 ? "{" : JSON.stringify({ id: `${number}.${sent}`, ...message(number) }));
      }, PAUSE_MS);
    });
    socket.on("message", (data, isBinary) => {
      if (isBinary) return;
      const { id, type, data: body } = JSON.parse(data);
      if (type === "ERROR") counts.errors[body.code] = (counts.errors[body.code] ?? 0) + 1;
      else if (id.startsWith(`${number}.`)) counts.replies += 1;
      else counts.broadcasts += 1;
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      clearInterval(timer);
      counts.closed += 1;
      done();
    });
    setTimeout(() => {
      counts.closed -= 1; // this one is meant
      clearInterval(timer);
      socket.close();
    }, seconds * 1000);
  });
}

await Promise.all(Array.from({ length: clients }, (_, number) => join(number)));
console.log(JSON.stringify(counts));
