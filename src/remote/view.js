// The page: one card per track, the emergency bar, the chooser of effects and presets, messages.
//
// `show(state)` may be called with every change: it draws once per animation frame and only what
// differs from what is on the page.

import { Meters } from "./meters.js";
import { allow } from "./rights.js";
import { arrange, TrackCard } from "./track-card.js";

const TOAST_MS = 6_000;
const TOASTS_MAX = 3;

const CONNECTIONS = {
  connecting: ["connecting", "connecting…"],
  online: ["connected", "connected"],
  offline: ["reconnecting", "reconnecting…"],
  "signed-out": ["signed-out", "not signed in"],
};
const PANIC_TEXT = {
  mute: ["Muted", "Restore brings the sound back."],
  dry: ["Mics made dry", "Restore brings their effects back."],
};

export class View {
  #actions;
  #me = null;
  #name = null;
  #catalogue = [];
  #state = null;
  #drawn = new Map(); // track_id -> the track as it was last drawn
  #cards = new Map(); // track_id -> TrackCard
  #meters = new Meters();
  #scheduled = false;
  #choices = []; // what the open chooser offers: {name, testid, take()}
  #find = (selector) => document.querySelector(selector);

  constructor(actions) {
    this.#actions = {
      ...actions,
      chooseEffect: (track) => this.#chooseEffect(track),
      chooseSound: (track) => this.#chooseSound(track),
      choosePreset: (track, plugin) => this.#choosePreset(track, plugin),
    };
    this.#find(".panic-mute").addEventListener("click", () => actions.panic("mute"));
    this.#find(".panic-dry").addEventListener("click", () => actions.panic("dry"));
    this.#find(".panic-restore").addEventListener("click", () => actions.restore());
    const name = this.#find("#user-id");
    name.addEventListener("change", () => actions.rename(name.value.trim()));
    name.addEventListener("keydown", (event) => event.key === "Enter" && name.blur());
    const chooser = this.#find(".chooser");
    chooser.addEventListener("close", () => this.#chosen(chooser.returnValue));
    chooser.addEventListener("click", (event) => event.target === chooser && chooser.close(""));
  }

  connection({ connection, latencyMs }) {
    const element = this.#find(".connection");
    const [state, text] = CONNECTIONS[connection];
    element.dataset.state = state;
    if (element.textContent !== text) element.textContent = text;
    const isMeasured = connection === "online" && latencyMs !== null;
    this.#find(".latency").textContent = isMeasured ? `${Math.round(latencyMs)} ms` : "";
    document.body.classList.toggle("offline", connection !== "online");
  }

  /** Whose page this is; a name that a token proves cannot be changed. */
  user(userId, isProved = false) {
    const name = this.#find("#user-id");
    name.readOnly = isProved;
    if (document.activeElement !== name) name.value = userId;
    if (userId === this.#name) return;
    this.#name = userId;
    this.#redrawAll();
  }

  /** What they may do, as the rig has said. */
  rights(me) {
    if (me === this.#me) return;
    this.#me = me;
    allow(this.#find("footer"), me);
    this.#redrawAll();
  }

  /** What the box can load: `plugin.list`'s plugins. */
  catalogue(plugins) {
    this.#catalogue = plugins;
    this.#redrawAll();
  }

  show(state) {
    this.#state = state;
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => this.#draw());
  }

  meters(buffer) {
    if (this.#state) this.#meters.receive(buffer, this.#state.tracks.map((track) => track.track_id));
  }

  toast(sentence) {
    const list = this.#find(".toasts");
    const same = [...list.children].find((each) => each.textContent === sentence);
    same?.remove();
    const toast = document.createElement("p");
    toast.className = "toast";
    toast.textContent = sentence;
    toast.addEventListener("click", () => toast.remove());
    list.append(toast);
    while (list.children.length > TOASTS_MAX) list.firstElementChild.remove();
    setTimeout(() => toast.remove(), TOAST_MS);
  }

  #redrawAll() {
    this.#drawn.clear();
    if (this.#state) this.show(this.#state);
  }

  #draw() {
    this.#scheduled = false;
    const { tracks, panic, panicBy } = this.#state;
    const buses = tracks.filter((track) => track.kind === "bus");
    const busNames = buses.map((bus) => `${bus.track_id} ${bus.name}`).join("\n");

    for (const id of this.#cards.keys()) {
      if (tracks.some((track) => track.track_id === id && this.#cards.get(id).fits(track))) continue;
      this.#cards.delete(id);
      this.#drawn.delete(id);
      this.#meters.detach(id);
    }
    for (const track of tracks) {
      const id = track.track_id;
      if (!this.#cards.has(id)) {
        this.#cards.set(id, new TrackCard(track, this.#actions));
        this.#meters.attach(id, this.#cards.get(id).meter);
      }
      const drawn = this.#drawn.get(id);
      if (drawn?.track === track && drawn.busNames === busNames) continue;
      this.#drawn.set(id, { track, busNames });
      const sendsTo = track.kind === "mic" || track.kind === "stem" ? buses : [];
      this.#cards.get(id).show(track, sendsTo, (plugin) => this.#infoOf(plugin), (by) => this.#nameOf(by));
      allow(this.#cards.get(id).element, this.#me, id);
    }
    arrange(this.#find("main"), tracks.map((track) => this.#cards.get(track.track_id).element));
    this.#drawPanic(panic, panicBy);
  }

  #drawPanic(panic, by) {
    const banner = this.#find(".banner");
    const [what, then] = PANIC_TEXT[panic] ?? ["", ""];
    const text = `${what}${by ? ` by ${this.#nameOf(by)}` : ""}. ${then}`;
    if (banner.textContent !== text) banner.textContent = text;
    banner.hidden = !panic;
    document.body.dataset.panic = panic ?? "";
    this.#find(".panic-mute").setAttribute("aria-pressed", panic === "mute");
    this.#find(".panic-dry").setAttribute("aria-pressed", panic === "dry");
  }

  #nameOf(by) {
    if (!by) return "";
    return by === this.#name ? "you" : by;
  }

  #infoOf(plugin) {
    return plugin.parameter_info ?? this.#kindOf(plugin)?.parameter_info ?? NO_INFO;
  }

  #kindOf({ plugin_path, name }) {
    return this.#catalogue.find((kind) => kind.plugin_path === plugin_path) ?? this.#catalogue.find((kind) => kind.name === name);
  }

  #chooseEffect(track) {
    const choices = this.#catalogue.map((kind) => ({
      name: kind.name,
      testid: `effect-choice-${kind.plugin_path?.replace(/^builtin:/, "") ?? kind.name}`,
      take: () => this.#actions.addPlugin(track.track_id, kind),
    }));
    this.#open(`Add an effect to ${track.name}`, choices);
  }

  async #chooseSound(track) {
    const presets = await this.#actions.chainPresets();
    const choices = presets.map(({ name }) => ({
      name,
      testid: `sound-choice-${name}`,
      take: () => this.#actions.loadChain(track.track_id, name),
    }));
    this.#open(`Sound of ${track.name}`, choices);
  }

  async #choosePreset(track, plugin) {
    const presets = await this.#actions.pluginPresets(track.track_id, plugin.plugin_id);
    const choices = presets.map(({ name }) => ({
      name,
      testid: `preset-choice-${name}`,
      take: () => this.#actions.loadPreset(track.track_id, plugin.plugin_id, name),
    }));
    this.#open(`Presets of ${plugin.name}`, choices);
  }

  #open(title, choices) {
    const chooser = this.#find(".chooser");
    if (chooser.open) return;
    this.#choices = choices;
    this.#find("#chooser-title").textContent = title;
    const buttons = choices.map(({ name, testid }, index) => {
      const button = document.createElement("button");
      button.value = index;
      button.className = "choice";
      button.textContent = name;
      button.dataset.testid = testid;
      return button;
    });
    this.#find(".choices").replaceChildren(...buttons);
    chooser.returnValue = "";
    chooser.showModal();
  }

  #chosen(index) {
    if (index !== "") this.#choices[Number(index)]?.take();
  }
}

const NO_INFO = Object.freeze({});
