// What a host does to the box itself: files out and in, factory reset, reboot, power-off. What cannot be
// undone is asked about first. All of it goes by HTTP: the WebSocket's client says again what was not
// answered, and nobody wants a box that reboots twice.

import { mayDo } from "./rights.js";
import { Updating } from "./updating.js";
import { Wifi } from "./wifi.js";

const SURE = {
  restore: "Everything that the rig is now gives way to what the backup holds. The sound stops for a moment.",
  reset: "Tracks, presets, the log, people and their roles are deleted for good. Who is to come in again needs a new code.",
  reboot: "The sound stops, and everybody is away until the box is back.",
  "power-off": "The sound stops, and somebody has to go to the box to switch it on again.",
};

export class Device {
  #actions;
  #find = (selector) => document.querySelector(`.device ${selector}`);
  #sure = document.querySelector(".sure");
  #isHost = false;
  #updating;
  #wifi;

  /** `actions`: fetch(path, options), upload(path, file, heard(share)), tell(sentence). */
  constructor(actions) {
    this.#actions = actions;
    const upload = (path, ...more) => actions.upload(`/api/device${path}`, ...more);
    this.#updating = new Updating({ look: () => this.#about(), upload });
    this.#wifi = new Wifi({ fetch: actions.fetch });
    const on = (selector, act) => this.#find(selector).addEventListener("click", act);
    on(".backup", () => this.#download(`/backup?secrets=${this.#find(".keys").checked}`));
    on(".support", () => this.#download("/support"));
    on(".restore", () => this.#find(".file").click());
    on(".reset", () => this.#do("reset", "Delete everything", { factory: true }));
    on(".reboot", () => this.#do("reboot", "Reboot"));
    on(".power-off", () => this.#do("power-off", "Switch off"));
    this.#find(".file").addEventListener("change", () => this.#restore());
    document.querySelector(".device").addEventListener("toggle", (event) => {
      if (event.target.open) this.#look();
      else [this.#updating, this.#wifi].forEach((part) => part.rest());
    });
  }

  /** `me` is who one is, as the rig has said it. */
  rights(me) {
    this.#isHost = mayDo(me, "session:manage rig");
    const device = document.querySelector(".device");
    device.hidden = !this.#isHost;
    if (!this.#isHost) device.open = false;
  }

  async #look() {
    const box = await this.#about();
    if (!box) return;
    this.#find(".power").hidden = !box.allow_power;
    this.#updating.show(box);
    this.#find(".wifi").hidden = !box.allow_wifi;
    if (box.allow_wifi) this.#wifi.look();
  }

  /** What the box is, if it says so. */
  async #about() {
    return (await this.#fetch(""))?.json();
  }

  async #do(what, word, data = {}) {
    if (!(await this.#isSure(what, word))) return;
    const headers = { "Content-Type": "application/json" };
    await this.#fetch(`/${what}`, { method: "POST", headers, body: JSON.stringify(data) });
  }

  #isSure(what, word) {
    const sure = this.#sure;
    sure.querySelector("p").textContent = SURE[what];
    sure.querySelector(".yes").textContent = word;
    sure.returnValue = "";
    sure.showModal();
    return new Promise((answer) => {
      sure.addEventListener("close", () => answer(sure.returnValue === "yes"), { once: true });
    });
  }

  async #download(path) {
    const response = await this.#fetch(path);
    if (!response) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = response.headers.get("Content-Disposition")?.match(/filename="([^"]+)"/)?.[1] ?? "rigd.tar";
    link.click();
    URL.revokeObjectURL(link.href);
  }

  async #restore() {
    const chooser = this.#find(".file");
    const [file] = chooser.files;
    chooser.value = "";
    if (!file || !(await this.#isSure("restore", "Restore"))) return;
    const path = `/restore?secrets=${this.#find(".keys").checked}`;
    const response = await this.#fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/x-tar" },
      body: file,
    });
    const answer = await response?.json();
    if (answer) this.#actions.tell([`Restored: ${answer.takes.join(", ")}.`, ...answer.leaves.map((why) => `Not ${why}.`)].join(" "));
  }

  /** The response, when it is a good one; else it is told why not. */
  async #fetch(path, options) {
    this.#find(".files").disabled = true;
    try {
      const response = await this.#actions.fetch(`/api/device${path}`, options);
      if (response.ok) return response;
      this.#actions.tell((await response.json()).error);
    } catch {
      this.#actions.tell("The rig did not answer; try again.");
    } finally {
      this.#find(".files").disabled = false;
    }
  }
}
