// One effect in a track's chain: its name, bypass, place, and a slider for each parameter.

import { Slider } from "./slider.js";
import { formatHowl, formatParameter, humanName, parameterScale } from "./units.js";

export class PluginCard {
  element = document.querySelector("#plugin-card").content.firstElementChild.cloneNode(true);
  #id;
  #trackId;
  #actions;
  #sliders = new Map();
  #info = null;
  #infoText = "";
  #name;
  #shown = null;
  #index = 0;
  #find = (selector) => this.element.querySelector(selector);

  constructor(track, plugin, actions) {
    this.#id = plugin.plugin_id;
    this.#trackId = track.track_id;
    this.#actions = actions;
    this.element.dataset.testid = `plugin-${this.#id}`;
    this.#find(".notches").dataset.testid = `notches-${this.#id}`;

    const name = plugin.name;
    this.#name = name;
    const locked = track.kind === "master" && this.#id === "limiter";
    this.#find(".name").textContent = name;
    this.#find(".fold").addEventListener("click", () => this.#fold());
    this.#button("preset", `Presets of ${name}`, () => actions.choosePreset(track, this.#shown));
    if (locked) {
      for (const button of this.element.querySelectorAll(".bypass, .up, .down, .remove")) button.remove();
    } else {
      this.#find(".locked").remove();
      this.#button("up", `Move ${name} earlier`, () => actions.movePlugin(this.#trackId, this.#id, this.#index - 1));
      this.#button("down", `Move ${name} later`, () => actions.movePlugin(this.#trackId, this.#id, this.#index + 1));
      this.#button("bypass", `Bypass ${name}`, () => actions.bypass(this.#trackId, this.#id, !this.#shown.bypassed));
      this.#button("remove", `Remove ${name}`, () => actions.removePlugin(this.#trackId, this.#id));
    }
  }

  /** Whether this card can show that plugin: an id may come back as another effect. */
  fits(plugin) {
    return plugin.name === this.#name;
  }

  /** `info` is the effect's parameter_info; `room` says whether it can go up or down the chain. */
  show(plugin, info, index, room, nameOf) {
    this.#index = index;
    this.#enable(".up", room.up);
    this.#enable(".down", room.down);
    if (plugin === this.#shown && info === this.#info) return;
    if (info !== this.#info) this.#build(plugin, info);
    this.#shown = plugin;
    this.element.classList.toggle("bypassed", plugin.bypassed);
    this.#find(".bypass")?.setAttribute("aria-pressed", plugin.bypassed);
    this.#find(".by").textContent = nameOf(plugin.by);
    const howl = formatHowl(plugin);
    this.#find(".notches").textContent = howl;
    this.#find(".notches").hidden = !howl;
    for (const [id, slider] of this.#sliders) slider.show(plugin.parameters[id] ?? info[id]?.default ?? 0);
  }

  #build(plugin, info) {
    this.#info = info;
    const text = JSON.stringify([info, Object.keys(plugin.parameters)]);
    if (text === this.#infoText) return; // the same again, from a snapshot: leave the sliders to the fingers
    this.#infoText = text;
    const ids = new Set([...Object.keys(info), ...Object.keys(plugin.parameters)]);
    for (const [id, slider] of this.#sliders) {
      slider.element.remove();
      this.#sliders.delete(id);
    }
    for (const id of ids) {
      const about = info[id] ?? {};
      const name = about.name ?? humanName(id);
      const slider = new Slider({
        name,
        label: `${plugin.name}: ${name}`,
        testid: `param-${this.#id}-${id}`,
        scale: parameterScale(about),
        format: (value) => formatParameter(value, about),
        send: (value) => this.#actions.setParameter(this.#trackId, this.#id, id, value),
      });
      this.#sliders.set(id, slider);
      this.#find(".sliders").append(slider.element);
    }
  }

  #fold() {
    const folded = this.element.classList.toggle("folded");
    this.#find(".fold").setAttribute("aria-expanded", !folded);
  }

  #button(kind, label, onClick) {
    const button = this.#find(`.${kind}`);
    button.dataset.testid = `${kind}-${this.#id}`;
    button.ariaLabel = label;
    button.addEventListener("click", onClick);
  }

  #enable(selector, enabled) {
    const button = this.#find(selector);
    if (button) button.disabled = !enabled;
  }
}
