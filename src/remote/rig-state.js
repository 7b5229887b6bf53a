// The state of the rig as a client knows it: a snapshot, and the changes after it.
//
// Pure: `reduce(state, message)` gives a new state that shares every part which did not change, so
// a view can skip what it has already drawn. Replies to our own requests and other people's
// broadcasts have the same shape and arrive in one order; both go through here.

export const emptyState = Object.freeze({ tracks: [], panic: null, panicBy: null });

/** Changes after which the rig should be asked for everything: they may touch more than they say. */
export const needsSnapshot = new Set([
  "track.add",
  "track.remove",
  "rig.panic",
  "rig.restore",
  "plugin.parameter.batch",
]);

export function reduce(state, { type, data, user_id }) {
  const change = changes[type];
  return change ? change(state, data, data.changed_by ?? user_id ?? null) : state;
}

const changes = {
  "state.snapshot": (state, data) => {
    // A snapshot does not say who changed what; what is already known stays known.
    const known = new Map();
    for (const track of state.tracks) {
      known.set(track.track_id, track.by);
      for (const plugin of track.plugins) known.set(`/${plugin.plugin_id}`, plugin.by);
    }
    const panic = panicMode(data.panic);
    return {
      panic,
      panicBy: panic ? state.panicBy : null,
      tracks: (data.tracks ?? []).map((track) => ({
        ...asTrack(track, known.get(track.track_id)),
        plugins: (track.plugins ?? []).map((plugin) => asPlugin(plugin, known.get(`/${plugin.plugin_id}`))),
      })),
    };
  },

  "track.add": (state, data, by) => {
    const track = trackIn(data);
    if (state.tracks.some((each) => each.track_id === track.track_id)) return state;
    return { ...state, tracks: [...state.tracks, asTrack(track, by)] };
  },

  "track.update": (state, data, by) => {
    const { plugins, ...fields } = trackIn(data);
    return withTrack(state, fields.track_id, (track) => ({ ...track, ...fields, by }));
  },

  "track.preset": (state, { track }, by) =>
    withTrack(state, track.track_id, () => ({
      ...asTrack(track, by),
      plugins: track.plugins.map((plugin) => asPlugin(plugin, by)),
    })),

  "track.remove": (state, data) => ({
    ...state,
    tracks: state.tracks.filter((track) => track.track_id !== data.track_id),
  }),

  "plugin.add": (state, data, by) =>
    withTrack(state, data.track_id, (track) => {
      const plugins = track.plugins.filter((plugin) => plugin.plugin_id !== data.plugin_id);
      plugins.splice(data.position ?? plugins.length, 0, asPlugin(data, by));
      return { ...track, plugins };
    }),

  "plugin.remove": (state, data, by) =>
    withTrack(state, data.track_id, (track) => ({
      ...track,
      by,
      plugins: track.plugins.filter((plugin) => plugin.plugin_id !== data.plugin_id),
    })),

  "plugin.move": (state, data, by) =>
    withTrack(state, data.track_id, (track) => ({ ...track, plugins: reordered(track.plugins, data, by) })),

  "plugin.parameter": (state, data, by) =>
    withPlugin(state, data, (plugin) => ({
      ...plugin,
      by,
      parameters: { ...plugin.parameters, [data.parameter_id]: data.parameter_value ?? data.value },
    })),

  "plugin.preset": (state, data, by) =>
    withPlugin(state, data, (plugin) => ({
      ...plugin,
      by,
      parameters: { ...plugin.parameters, ...data.parameters },
    })),

  "plugin.bypass": (state, data, by) =>
    withPlugin(state, data, (plugin) => ({ ...plugin, by, bypassed: data.bypass ?? data.bypassed })),

  "plugin.notches": (state, { track_id, plugin_id, notches, howl_muted, howl_gain_db }) =>
    withPlugin(state, { track_id, plugin_id }, (plugin) => ({ ...plugin, notches, howl_muted, howl_gain_db })),

  "rig.panic": (state, data, by) => ({ ...state, panic: panicMode(data.mode), panicBy: by }),

  "rig.restore": (state) => ({ ...state, panic: null, panicBy: null }),
};

function panicMode(panic) {
  return (typeof panic === "object" ? panic?.mode : panic) || null;
}

function trackIn(data) {
  return data.track ?? withoutEnvelope(data);
}

function withoutEnvelope({ success, changed_by, applied_frame, engine_latency_us, ...fields }) {
  return fields;
}

function asTrack(track, by = null) {
  return { volume: 1, pan: 0, mute: false, solo: false, sends: {}, plugins: [], ...track, by };
}

function asPlugin(data, by = null) {
  const { plugin_id, name, plugin_path, plugin_format, parameters = {}, parameter_info } = data;
  const { bypassed = false, notches = [], howl_muted = false, howl_gain_db = 0 } = data;
  const about = { plugin_id, name, plugin_path, plugin_format, parameters, parameter_info };
  return { ...about, bypassed, notches, howl_muted, howl_gain_db, by };
}

function reordered(plugins, { plugin_id, position, order }, by) {
  const rank = (plugin) => order.indexOf(plugin.plugin_id);
  const moved = plugins.map((plugin) => (plugin.plugin_id === plugin_id ? { ...plugin, by } : plugin));
  if (order) return moved.sort((a, b) => rank(a) - rank(b));
  const from = moved.findIndex((plugin) => plugin.plugin_id === plugin_id);
  if (from >= 0) moved.splice(position, 0, ...moved.splice(from, 1));
  return moved;
}

function withTrack(state, trackId, update) {
  return { ...state, tracks: state.tracks.map((track) => (track.track_id === trackId ? update(track) : track)) };
}

function withPlugin(state, { track_id, plugin_id }, update) {
  return withTrack(state, track_id, (track) => ({
    ...track,
    plugins: track.plugins.map((plugin) => (plugin.plugin_id === plugin_id ? update(plugin) : plugin)),
  }));
}
