// An update for the box: a bundle goes to the rig, which writes it to the slot that is not running and tells
// how far it is. The box tries it when it is started again.

const LOOK_EVERY_MS = 1000;

export class Updating {
  #actions;
  #section = document.querySelector(".updating");
  #find = (selector) => this.#section.querySelector(selector);
  #looking;
  #isSending = false;

  /** `actions`: look() → what the box is, or nothing; upload(path, file, heard(share)) → {ok, data}. */
  constructor(actions) {
    this.#actions = actions;
    this.#find(".update").addEventListener("click", () => this.#find(".bundle").click());
    this.#find(".bundle").addEventListener("change", () => this.#send());
  }

  /** Shows what the box has said, and looks again while something goes on. */
  show({ version, update }) {
    this.#find(".version").textContent = version;
    clearTimeout(this.#looking);
    if (this.#isSending) return;
    this.#tell(sentence(update), update.stage === "installing" ? update.percent / 100 : undefined);
    const isBusy = update.stage === "installing" || update.stage === "receiving";
    this.#find(".update").disabled = isBusy;
    if (isBusy) this.#looking = setTimeout(() => this.#look(), LOOK_EVERY_MS);
  }

  /** Nobody looks any more. */
  rest() {
    clearTimeout(this.#looking);
  }

  async #look() {
    const box = await this.#actions.look();
    if (box) this.show(box);
  }

  async #send() {
    const chooser = this.#find(".bundle");
    const [file] = chooser.files;
    chooser.value = "";
    if (!file) return;
    this.#isSending = true;
    this.#find(".update").disabled = true;
    this.#tell("Sending…", 0);
    const sent = await this.#actions.upload("/update", file, (share) => this.#tell(`Sending… ${Math.floor(share * 100)} %`, share));
    this.#isSending = false;
    this.#find(".update").disabled = false;
    if (sent.ok) await this.#look();
    else this.#tell(sent.data?.error ?? "The update did not reach the rig; try again.");
  }

  #tell(sentence, share) {
    this.#find(".how-far").textContent = sentence;
    const bar = this.#find("progress");
    bar.hidden = share === undefined;
    bar.value = share ?? 0;
  }
}

function sentence(update) {
  switch (update.stage) {
    case "receiving":
      return "An update is on its way to the rig.";
    case "installing":
      return `Installing… ${update.percent} % ${update.doing}`;
    case "installed":
      return "The update is installed. Reboot tries it; if it does no good, the box goes back by itself.";
    case "failed":
      return `Not installed, and nothing is changed: ${update.reason}.`;
    default:
      return "";
  }
}
