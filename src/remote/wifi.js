// The Wi-Fi of the box: the networks in reach, and joining one. While the box has a network of its own, joining
// another one ends it, and with it the connection of the phone that asks.

const LOOK_EVERY_MS = 2000;

export class Wifi {
  #actions;
  #section = document.querySelector(".wifi");
  #find = (selector) => this.#section.querySelector(selector);
  #looking;

  /** `actions`: fetch(path, options) → Response. */
  constructor(actions) {
    this.#actions = actions;
    this.#find(".look").addEventListener("click", () => this.look());
    this.#find(".networks").addEventListener("change", () => this.#choose());
    this.#find(".join-wifi").addEventListener("click", () => this.#join());
  }

  /** Asks for the networks, and looks again while one is being joined. */
  async look() {
    this.rest();
    this.#find(".look").disabled = true;
    const data = await this.#ask();
    this.#find(".look").disabled = false;
    if (data) this.#show(data);
    return data;
  }

  /** Nobody looks any more. */
  rest() {
    clearTimeout(this.#looking);
  }

  #show({ networks, connected, own, join }) {
    const select = this.#find(".networks");
    const chosen = select.value;
    const named = networks.map(({ name, signal, is_open }) => new Option(`${name} (${is_open ? "open, " : ""}${signal} %)`, name));
    select.replaceChildren(...named, new Option("Another one…", ""));
    if (networks.some(({ name }) => name === (chosen || connected))) select.value = chosen || connected;
    this.#choose();
    this.#tell(sentence({ connected, own, join }));
    if (join.stage === "joining") this.#looking = setTimeout(() => this.look(), LOOK_EVERY_MS);
  }

  #choose() {
    this.#find(".other").hidden = this.#find(".networks").value !== "";
  }

  async #join() {
    const field = (selector) => this.#find(selector)?.value ?? "";
    const network = field(".networks") || field(".other input").trim();
    const data = { network, password: field(".password") };
    const code = field(".claim-code").trim();
    if (code) data.code = code;
    this.#find(".join-wifi").disabled = true;
    const headers = { "Content-Type": "application/json" };
    const answer = await this.#ask({ method: "POST", headers, body: JSON.stringify(data) });
    this.#find(".join-wifi").disabled = false;
    if (!answer) return;
    this.#find(".password").value = "";
    this.#tell(sentence(answer));
    this.#looking = setTimeout(() => this.look(), LOOK_EVERY_MS);
  }

  /** What the box answers, if it does. */
  async #ask(options) {
    try {
      const response = await this.#actions.fetch("/api/device/wifi", options);
      const data = await response.json();
      if (response.ok) return data;
      this.#tell(data.error);
    } catch {
      this.#tell("The rig does not answer here. It may have joined the network: connect this phone to the same one and open http://rig.local.");
    }
  }

  #tell(sentence) {
    this.#find(".wifi-state").textContent = sentence;
  }
}

function sentence({ connected, own, join }) {
  switch (join.stage) {
    case "joining":
      return `Joining ${join.network}… If this phone loses the rig, it has worked: connect the phone to ${join.network} and open http://rig.local. If the rig's own network comes back, open it again: it says what was wrong.`;
    case "joined":
      return `The rig is in ${join.network}.`;
    case "failed":
      return `${join.network} was not joined: ${join.reason}.`;
    default:
      if (own) return `The rig is in no network but its own, ${own}.`;
      return connected ? `The rig is in ${connected}.` : "The rig is in no Wi-Fi.";
  }
}
