// `OldPluginClient` and `NewPluginClient`, which the migration guide's test suite uses and nowhere shows:
// the formats are the guide's own ("Update Message Format", "Update Parameter Update Handling").

import { once } from "node:events";

import WebSocket from "ws";

class Client {
  #waiting = [];
  heard = [];

  constructor(url) {
    this.ws = new WebSocket(url);
    this.ws.on("message", (frame) => this.#hear(JSON.parse(frame)));
    this.opened = once(this.ws, "open");
  }

  #hear(message) {
    this.heard.push(message);
    this.#waiting = this.#waiting.filter(({ fits, done }) => !(fits(message) && (done(message), true)));
  }

  /** The first message from now on that fits. */
  next(fits) {
    return new Promise((done) => this.#waiting.push({ fits, done }));
  }

  /** The first message of that type, heard already or to come. */
  async waitForMessage(type) {
    return this.heard.find((message) => message.type === type) ?? this.next((message) => message.type === type);
  }

  async send(message) {
    await this.opened;
    this.ws.send(JSON.stringify(message));
  }

  async disconnect() {
    await this.opened;
    this.ws.close();
    await once(this.ws, "close");
  }
}

/** It knows no ids: an answer is what has the answer's type. */
export class OldPluginClient extends Client {
  async #ask(message, type) {
    const reply = this.next((each) => each.type === type || each.type === "ERROR");
    await this.send(message);
    return reply;
  }

  addPlugin(trackId, pluginName, pluginPath) {
    return this.#ask({ type: "ADD_PLUGIN", data: { trackId, pluginName, pluginPath } }, "PLUGIN_ADDED");
  }

  updateParameter(pluginId, parameterId, value) {
    return this.#ask({ type: "UPDATE_PARAMETER", data: { pluginId, parameterId, value } }, "PARAMETER_UPDATED");
  }
}

/** Gives an answer's data; an error's is thrown, with its `code` and `details`. */
export class NewPluginClient extends Client {
  async ask(type, data, user_id, session_id) {
    const id = `msg_${Date.now()}_${Math.random().toString(36).substr(2, 9)}`;
    const reply = this.next((message) => message.id === id);
    await this.send({ id, type, data, user_id, session_id });
    const message = await reply;
    if (message.type === "ERROR") throw Object.assign(new Error(message.data.error), message.data);
    return message.data;
  }

  authenticate(user_id, session_id, token) {
    return this.ask("AUTH", { user_id, session_id, token });
  }

  addPlugin(track_id, name, plugin_path, user_id, session_id) {
    return this.ask("PLUGIN_ADD", { track_id, name, plugin_path, plugin_id: "" }, user_id, session_id);
  }

  updateParameter(track_id, plugin_id, parameter_id, parameter_value, user_id, session_id) {
    const data = { track_id, plugin_id, parameter_id, parameter_value };
    return this.ask("PLUGIN_PARAMETER", data, user_id, session_id);
  }
}
