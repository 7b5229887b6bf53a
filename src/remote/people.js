// Who is here, and what a host does about it: invites with a QR code, roles, signing out.

import { mayDo } from "./rights.js";

const ROLES = ["guest", "performer", "host", "display"];

export class People {
  #actions;
  #status = null;
  #find = (selector) => document.querySelector(selector);
  #dialog = this.#find(".people");

  /** `actions`: invite(role), giveRole(user_id, role), end(user_id), signOut(). */
  constructor(actions) {
    this.#actions = actions;
    this.#find(".open-people").addEventListener("click", () => this.#dialog.showModal());
    this.#dialog.addEventListener("click", (event) => event.target === this.#dialog && this.#dialog.close());
    this.#dialog.addEventListener("close", () => this.#forgetInvite());
    this.#find(".invite").addEventListener("click", () => this.#invite());
    this.#find(".sign-out").addEventListener("click", () => {
      this.#dialog.close();
      actions.signOut();
    });
  }

  /** `isSignedIn`: by a token, which can be forgotten. */
  show(status, isSignedIn) {
    if (status.users === this.#status?.users && status.me === this.#status?.me) return;
    this.#status = status;
    const { users, me } = status;
    const isHost = mayDo(me, "session:manage");
    this.#find(".open-people .count").textContent = users.length || "";
    this.#find(".open-people").ariaLabel = `People: ${users.length}`;
    this.#find(".inviting").hidden = !isHost;
    this.#find(".sign-out").hidden = !isSignedIn;
    this.#find(".users").replaceChildren(...users.map((user) => this.#row(user, me, isHost)));
  }

  #row(user, me, isHost) {
    const row = document.querySelector("#user-row").content.firstElementChild.cloneNode(true);
    const isMe = user.connection_id === me?.connection_id;
    row.dataset.testid = `user-${user.user_id}`;
    row.querySelector(".name").textContent = isMe ? `${user.user_id} (you)` : user.user_id;
    row.querySelector(".role").textContent = user.tracks ? `${user.role}: ${user.tracks.join(", ")}` : user.role;
    const roles = row.querySelector("select");
    const end = row.querySelector(".end");
    if (isMe || !isHost) {
      roles.remove();
      end.remove();
      return row;
    }
    row.querySelector(".role").remove();
    roles.replaceChildren(...ROLES.map((role) => new Option(role, role, false, role === user.role)));
    roles.ariaLabel = `Role of ${user.user_id}`;
    roles.addEventListener("change", () => this.#actions.giveRole(user.user_id, roles.value));
    end.ariaLabel = `Sign out ${user.user_id}`;
    end.addEventListener("click", () => this.#actions.end(user));
    return row;
  }

  async #invite() {
    const invite = await this.#actions.invite(this.#find("#invite-role").value);
    if (!invite) return;
    // The rig's own drawing, as a document rather than as text in this one.
    const drawing = new DOMParser().parseFromString(invite.svg, "image/svg+xml").documentElement;
    this.#find(".qr").replaceChildren(drawing);
    this.#find(".invite-url").href = invite.url;
    this.#find(".invite-url").textContent = invite.url;
    this.#find(".invited").hidden = false;
  }

  /** A code is for one person: it does not stay on the screen. */
  #forgetInvite() {
    this.#find(".invited").hidden = true;
    this.#find(".qr").replaceChildren();
  }
}
