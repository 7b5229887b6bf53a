// One track: name, meter, fader, mute, solo, what goes in and where it goes, and its chain.

import { PluginCard } from "./plugin-card.js";
import { Slider } from "./slider.js";
import { faderScale, formatDb, formatFader, formatPan, formatPercent, linearScale } from "./units.js";

/** Puts `elements` into `parent` in order, touching only those that are out of place. */
export function arrange(parent, elements) {
  elements.forEach((element, index) => {
    if (parent.children[index] !== element) parent.insertBefore(element, parent.children[index] ?? null);
  });
  while (parent.children.length > elements.length) parent.lastElementChild.remove();
}

export class TrackCard {
  element = document.querySelector("#track-card").content.firstElementChild.cloneNode(true);
  #id;
  #name;
  #kind;
  #actions;
  #fader;
  #more = new Map(); // "pan", "gain", "send <bus>" -> Slider
  #plugins = new Map(); // plugin_id -> PluginCard
  #shown = null;
  #find = (selector) => this.element.querySelector(selector);

  constructor(track, actions) {
    const id = track.track_id;
    this.#id = id;
    this.#name = track.name;
    this.#kind = track.kind;
    this.#actions = actions;
    this.element.dataset.testid = `track-${id}`;
    this.element.classList.add(track.kind);
    this.#find(".meter").dataset.testid = `meter-${id}`;
    this.#button("mute", () => actions.setTrack(id, "mute", !this.#shown.mute));
    if (track.kind === "master") this.#find(".solo").remove();
    else this.#button("solo", () => actions.setTrack(id, "solo", !this.#shown.solo));
    if (track.kind === "mic") this.#button("sound", () => actions.chooseSound(this.#shown));
    else this.#find(".sound").remove();
    this.#button("add", () => actions.chooseEffect(this.#shown));
    this.#fader = new Slider({
      name: "Volume",
      label: `${track.name}: volume`,
      testid: `volume-${id}`,
      scale: faderScale,
      format: formatFader,
      mark: 1,
      send: (volume) => actions.setTrack(id, "volume", volume),
    });
    this.#find(".fader").append(this.#fader.element);
  }

  get meter() {
    return this.#find(".meter");
  }

  /** Whether this card can show that track: a renamed one gets a new card, with new labels. */
  fits(track) {
    return track.name === this.#name && track.kind === this.#kind;
  }

  /** `buses` are the tracks that this one can send to; `infoOf(plugin)` gives its parameter_info. */
  show(track, buses, infoOf, nameOf) {
    this.#shown = track;
    this.#find("h2").textContent = track.name ?? this.#id;
    this.#find(".input").textContent = whatItIs(track);
    this.#find(".by").textContent = nameOf(track.by);
    this.#press(".mute", track.mute);
    this.#press(".solo", track.solo);
    this.element.classList.toggle("muted", track.mute);
    this.#fader.show(track.volume);
    this.#showMore(track, buses);
    this.#showChain(track, infoOf, nameOf);
  }

  #showMore(track, buses) {
    const wanted = new Map([["pan", track.pan]]);
    if (track.kind === "mic") wanted.set("gain", track.input_gain_db ?? 0);
    for (const bus of buses) wanted.set(`send ${bus.track_id}`, track.sends?.[bus.track_id] ?? 0);

    for (const key of this.#more.keys()) {
      if (!wanted.has(key)) this.#more.delete(key);
    }
    for (const [key, value] of wanted) {
      if (!this.#more.has(key)) this.#more.set(key, this.#extra(key, track, buses));
      this.#more.get(key).show(value);
    }
    arrange(this.#find(".more .sliders"), [...this.#more.values()].map((slider) => slider.element));
    const parts = ["Pan", wanted.has("gain") && "gain", buses.length > 0 && "sends"];
    this.#find("summary").textContent = parts.filter(Boolean).join(", ");
  }

  #extra(key, track, buses) {
    const id = this.#id;
    if (key === "pan") {
      return new Slider({
        name: "Pan",
        label: `${track.name}: pan`,
        testid: `pan-${id}`,
        scale: linearScale(-1, 1),
        format: formatPan,
        mark: 0,
        send: (pan) => this.#actions.setTrack(id, "pan", pan),
      });
    }
    if (key === "gain") {
      return new Slider({
        name: "Input gain",
        label: `${track.name}: input gain`,
        testid: `gain-${id}`,
        scale: linearScale(-24, 40),
        format: formatDb,
        mark: 0,
        send: (gainDb) => this.#actions.setTrack(id, "input_gain_db", gainDb),
      });
    }
    const bus = buses.find((each) => key === `send ${each.track_id}`);
    return new Slider({
      name: `Send to ${bus.name}`,
      label: `${track.name}: send to ${bus.name}`,
      testid: `send-${id}-${bus.track_id}`,
      scale: linearScale(0, 1),
      format: formatPercent,
      send: (level) => this.#actions.setTrack(id, "sends", { ...this.#shown.sends, [bus.track_id]: level }),
    });
  }

  #showChain(track, infoOf, nameOf) {
    const ids = new Set(track.plugins.map((plugin) => plugin.plugin_id));
    for (const id of this.#plugins.keys()) {
      if (!ids.has(id)) this.#plugins.delete(id);
    }
    // The master's limiter stays last: nothing moves past it.
    const last = track.plugins.length - (track.kind === "master" && ids.has("limiter") ? 2 : 1);
    track.plugins.forEach((plugin, index) => {
      const id = plugin.plugin_id;
      if (!this.#plugins.get(id)?.fits(plugin)) this.#plugins.set(id, new PluginCard(track, plugin, this.#actions));
      const room = { up: index > 0, down: index < last };
      this.#plugins.get(id).show(plugin, infoOf(plugin), index, room, nameOf);
    });
    arrange(this.#find(".chain"), track.plugins.map((plugin) => this.#plugins.get(plugin.plugin_id).element));
  }

  #button(kind, onClick) {
    const button = this.#find(`.${kind}`);
    button.dataset.testid = `${kind}-${this.#id}`;
    button.ariaLabel = `${this.#name}: ${button.textContent.replace(/[+…]/, "").trim().toLowerCase()}`;
    button.addEventListener("click", onClick);
  }

  #press(selector, pressed) {
    this.#find(selector)?.setAttribute("aria-pressed", pressed);
  }
}

function whatItIs({ kind, input }) {
  if (kind === "master") return "the whole mix";
  return input && input !== "none" ? `${kind} · ${input}` : kind;
}
