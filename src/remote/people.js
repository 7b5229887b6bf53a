// Who is here, and what a host does about it: invites with a QR code, roles, signing out.

import { mayDo } from "./rights.js";

/** Performers are given a track of these kinds; what all share is the host's. */
const PERFORMED = ["mic", "stem"];

/** What somebody can be made: `{role, tracks?}`, by what it is called. */
function roles(tracks) {
  const performed = tracks.filter((track) => PERFORMED.includes(track.kind)).map((track) => track.track_id);
  const performers = performed.map((track_id) => ["performer", [track_id]]);
  return new Map([["guest"], ...performers, ["host"], ["display"]].map(([role, tracks]) => [called(role, tracks), { role, tracks }]));
}

const called = (role, tracks) => (tracks ? `${role}: ${tracks.join(", ")}` : role);

export class People {
  #actions;
  #status = null;
  #roles = roles([]);
  #find = (selector) => document.querySelector(selector);
  #dialog = this.#find(".people");

  /** `actions`: invite({role, tracks?}), giveRole(user_id, {role, tracks?}), end(user), signOut(). */
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

  /** Which tracks somebody can be let in to perform on. */
  tracks(tracks) {
    const now = roles(tracks);
    if ([...now.keys()].join("\n") === [...this.#roles.keys()].join("\n")) return;
    this.#roles = now;
    this.#offer(this.#find("#invite-role"), this.#find("#invite-role").value);
    if (this.#status) this.#list(this.#status);
  }

  /** `isSignedIn`: by a token, which can be forgotten. */
  show(status, isSignedIn) {
    if (status.users === this.#status?.users && status.me === this.#status?.me) return;
    this.#status = status;
    const isHost = mayDo(status.me, "session:manage");
    this.#find(".inviting").hidden = !isHost;
    this.#find(".sign-out").hidden = !isSignedIn;
    this.#list(status);
  }

  #list({ users, me }) {
    const isHost = mayDo(me, "session:manage");
    this.#find(".open-people .count").textContent = users.length || "";
    this.#find(".open-people").ariaLabel = `People: ${users.length}`;
    this.#find(".users").replaceChildren(...users.map((user) => this.#row(user, me, isHost)));
  }

  #row(user, me, isHost) {
    const row = document.querySelector("#user-row").content.firstElementChild.cloneNode(true);
    const isMe = user.connection_id === me?.connection_id;
    row.dataset.testid = `user-${user.user_id}`;
    row.querySelector(".name").textContent = isMe ? `${user.user_id} (you)` : user.user_id;
    row.querySelector(".role").textContent = called(user.role, user.tracks);
    const roles = row.querySelector("select");
    const end = row.querySelector(".end");
    if (isMe || !isHost) {
      roles.remove();
      end.remove();
      return row;
    }
    row.querySelector(".role").remove();
    this.#offer(roles, called(user.role, user.tracks));
    roles.ariaLabel = `Role of ${user.user_id}`;
    roles.addEventListener("change", () => this.#actions.giveRole(user.user_id, this.#roles.get(roles.value)));
    end.ariaLabel = `Sign out ${user.user_id}`;
    end.addEventListener("click", () => this.#actions.end(user));
    return row;
  }

  /** The roles to choose from; `present` is shown also when it is none of them. */
  #offer(select, present) {
    const names = [...this.#roles.keys()];
    const others = names.includes(present) ? [] : [new Option(present)];
    others.forEach((option) => (option.disabled = true));
    select.replaceChildren(...others, ...names.map((name) => new Option(name)));
    select.value = present;
  }

  async #invite() {
    const role = this.#roles.get(this.#find("#invite-role").value);
    const invite = role && (await this.#actions.invite(role));
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
