// The `PluginController` of the integration guide ("Vanilla JavaScript Implementation"), as it
// stands there but for these mends, without which it cannot run:
//
// 1. `WebSocket` is imported: Node 18 and 20 have no global one.
// 2. `updateParameter` sent the undefined variable `parameter_id`; it is `parameterId`.
// 3. `scheduleReconnect` was called and did not exist.
// 4. Sending before the socket was open threw (its own usage example does that): `send` waits.
// 5. `this.onX?.()` with no callback registered called the registering method of the same name,
//    which overwrote itself with undefined; `#tell` calls registered callbacks only.

import WebSocket from "ws";

export class PluginController {
  constructor(trackId, pluginId, wsUrl) {
    this.trackId = trackId;
    this.pluginId = pluginId;
    this.wsUrl = wsUrl;
    this.parameters = {};
    this.bypass = false;
    this.isConnected = false;

    this.connect();
  }

  connect() {
    this.ws = new WebSocket(this.wsUrl);

    this.ws.onopen = () => {
      this.isConnected = true;
      this.refreshParameters();
      this.#tell("onConnected"); // mend 5, as below
    };

    this.ws.onmessage = (event) => {
      const message = JSON.parse(event.data);
      this.handleMessage(message);
    };

    this.ws.onclose = () => {
      this.isConnected = false;
      this.#tell("onDisconnected");
      this.scheduleReconnect();
    };

    this.ws.onerror = (error) => {
      console.error("WebSocket error:", error);
      this.#tell("onError", error);
    };
  }

  handleMessage(message) {
    switch (message.type) {
      case "plugin.parameters.get":
        this.parameters = message.data.parameters;
        this.#tell("onParametersUpdated", this.parameters);
        break;

      case "plugin.bypass":
        this.bypass = message.data.bypass;
        this.#tell("onBypassChanged", this.bypass);
        break;

      case "plugin.parameter":
        this.parameters[message.data.parameter_id] = message.data.parameter_value;
        this.#tell("onParameterChanged", message.data.parameter_id, message.data.parameter_value);
        break;

      default:
        console.log("Unhandled message type:", message.type);
    }
  }

  // Public methods
  updateParameter(parameterId, value) {
    this.parameters[parameterId] = value;

    this.send(JSON.stringify({
      type: "plugin.parameter",
      timestamp: new Date().toISOString(),
      data: {
        track_id: this.trackId,
        plugin_id: this.pluginId,
        parameter_id: parameterId, // mend 2
        parameter_value: value,
      },
    }));
  }

  batchUpdateParameter(changes) {
    this.send(JSON.stringify({
      type: "plugin.parameter.batch",
      timestamp: new Date().toISOString(),
      data: {
        changes,
        debounce_ms: 50,
        apply_immediately: false,
      },
    }));
  }

  refreshParameters() {
    this.send(JSON.stringify({
      type: "plugin.parameters.get",
      timestamp: new Date().toISOString(),
      data: {
        track_id: this.trackId,
        plugin_id: this.pluginId,
      },
    }));
  }

  toggleBypass() {
    this.bypass = !this.bypass;

    this.send(JSON.stringify({
      type: "plugin.bypass",
      timestamp: new Date().toISOString(),
      data: {
        track_id: this.trackId,
        plugin_id: this.pluginId,
        bypass: this.bypass,
      },
    }));
  }

  loadPreset(presetData) {
    this.batchUpdateParameter(
      Object.entries(presetData).map(([key, value]) => ({
        track_id: this.trackId,
        plugin_id: this.pluginId,
        parameter_id: key,
        value,
      })),
    );

    this.#tell("onPresetLoaded", presetData);
  }

  // Event callbacks
  onConnected(callback) { this.onConnected = callback; }
  onDisconnected(callback) { this.onDisconnected = callback; }
  onParameterChanged(callback) { this.onParameterChanged = callback; }
  onParametersUpdated(callback) { this.onParametersUpdated = callback; }
  onBypassChanged(callback) { this.onBypassChanged = callback; }
  onError(callback) { this.onError = callback; }
  onPresetLoaded(callback) { this.onPresetLoaded = callback; }

  disconnect() {
    this.isLeaving = true; // mend 3
    if (this.ws) {
      this.ws.close();
    }
  }

  scheduleReconnect() { // mend 3
    if (!this.isLeaving) setTimeout(() => this.connect(), 100);
  }

  send(text) { // mend 4
    if (this.ws.readyState === WebSocket.OPEN) this.ws.send(text);
    else this.ws.addEventListener("open", () => this.ws.send(text), { once: true });
  }

  #tell(name, ...values) { // mend 5
    if (Object.hasOwn(this, name)) this[name](...values);
  }
}
