// Coming in: by the link of an invitation (its code is behind the `#`, where no server and no log sees it),
// or by typing that code. The code is exchanged for a token, which this browser keeps.

const CODE = /^#pair=(.+)$/;

export class Joining {
  isNeeded = false; // nothing is shown before
  #joined;
  #dialog = document.querySelector(".joining");
  #find = (selector) => this.#dialog.querySelector(selector);

  /** `joined({ userId, token })` is called once somebody has come in. */
  constructor(joined) {
    this.#joined = joined;
    this.#find("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#join();
    });
    this.#dialog.addEventListener("cancel", (event) => this.isNeeded && event.preventDefault());
    addEventListener("hashchange", () => this.readLink());
  }

  /** Whether the page was opened by an invitation's link; then its code is taken from the address bar. */
  readLink() {
    const code = location.hash.match(CODE)?.[1];
    if (!code) return false;
    history.replaceState(null, "", location.pathname);
    this.#find("#code").value = decodeURIComponent(code);
    this.#find(".code").hidden = true;
    this.#open();
    return true;
  }

  /** Somebody has to come in before anything is shown. */
  ask() {
    this.isNeeded = true;
    if (this.#dialog.open) return;
    this.#find(".code").hidden = false;
    this.#open();
  }

  #open() {
    this.#find(".fault").textContent = "";
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  async #join() {
    const user_id = this.#find("#join-name").value.trim();
    const code = this.#find("#code").value.trim();
    const fault = this.#find(".fault");
    try {
      const headers = { "Content-Type": "application/json" };
      const answer = await fetch("/api/pair", { method: "POST", headers, body: JSON.stringify({ code, user_id }) });
      const data = await answer.json();
      if (!answer.ok) {
        fault.textContent = data.error;
        this.#find(".code").hidden = false; // perhaps another one is good
        return;
      }
      this.#find("#code").value = "";
      this.isNeeded = false;
      this.#dialog.close();
      this.#joined({ userId: data.user_id, token: data.token });
    } catch {
      fault.textContent = "The rig cannot be reached; try again.";
    }
  }
}
