// The other clients of the two guides, their message handling as it stands there, without React.
//
// `PluginWebSocketClient` and `PluginControl`: the integration guide. Mends: types removed;
// `WebSocket` imported; no reconnect after `disconnect`; the component asks for its parameters when
// `connection.status` has come (before the socket is open, the guide's `sendJsonMessage` sends nothing).
//
// `OldHook`, `NewHook`, `PluginSessionManager`: the migration guide. Mends: the old hook's
// `updatePluginParameter` is a method; the new one signs in without the placeholder token.

import WebSocket from "ws";

export class PluginWebSocketClient {
  constructor(url) {
    this.url = url;
    this.messageHandlers = new Map();
    this.connect();
  }

  connect() {
    this.ws = new WebSocket(this.url);
    this.ws.onmessage = (event) => this.handleMessage(JSON.parse(event.data));
  }

  handleMessage(message) {
    const handler = this.messageHandlers.get(message.type);
    if (handler) {
      handler(message);
    }
  }

  sendJsonMessage(message) {
    if (this.ws && this.ws.readyState === WebSocket.OPEN) {
      const messageWithTimestamp = {
        ...message,
        timestamp: new Date().toISOString(),
        t0_timestamp: new Date().toISOString(), // For latency measurement
      };
      this.ws.send(JSON.stringify(messageWithTimestamp));
    }
  }

  onMessage(type, handler) {
    this.messageHandlers.set(type, handler);
  }

  disconnect() {
    this.ws.close();
  }
}

/** The component's effects and controls; its state is in plain fields. */
export class PluginControl {
  parameters = {};
  isConnected = false;
  bypass = false;
  batches = 0;

  constructor(url, trackId, pluginId) {
    Object.assign(this, { trackId, pluginId, client: new PluginWebSocketClient(url) });
    const { client } = this;
    client.onMessage("plugin.parameters.get", (data) => {
      this.parameters = data.data.parameters;
    });
    client.onMessage("plugin.bypass", (data) => {
      this.bypass = data.data.bypass;
    });
    client.onMessage("plugin.parameter", (data) => {
      this.parameters = { ...this.parameters, [data.data.parameter_id]: data.data.parameter_value };
    });
    client.onMessage("plugin.parameter.batch", () => {
      this.batches += 1;
    });
    client.onMessage("connection.status", (data) => {
      this.isConnected = data.data.connected;
      client.sendJsonMessage({ type: "plugin.parameters.get", data: { trackId, pluginId } });
    });
  }

  updateParameter(id, value) {
    this.parameters = { ...this.parameters, [id]: value };
    this.client.sendJsonMessage({
      type: "plugin.parameter",
      data: { track_id: this.trackId, plugin_id: this.pluginId, parameter_id: id, parameter_value: value },
    });
  }

  /** `usePluginControl`'s debounced update. */
  debouncedUpdate(values) {
    const changes = Object.entries(values).map(([id, val]) => ({
      track_id: this.trackId,
      plugin_id: this.pluginId,
      parameter_id: id,
      value: val,
    }));
    this.client.sendJsonMessage({
      type: "plugin.parameter.batch",
      data: { changes, debounce_ms: 50, apply_immediately: false },
    });
  }

  toggleBypass() {
    this.bypass = !this.bypass;
    this.client.sendJsonMessage({
      type: "plugin.bypass",
      data: { track_id: this.trackId, plugin_id: this.pluginId, bypass: this.bypass },
    });
  }

  disconnect() {
    this.client.disconnect();
  }
}

/** `usePluginControls` before the migration. */
export class OldHook {
  plugins = [];
  updates = [];

  constructor(url, trackId) {
    this.trackId = trackId;
    this.ws = new WebSocket(url);
    this.ws.onmessage = (event) => {
      const data = JSON.parse(event.data);

      switch (data.type) {
        case "PLUGIN_ADDED":
          this.plugins = [...this.plugins, data.plugin];
          break;
        case "PARAMETER_UPDATED":
          this.updates.push([data.pluginId, data.parameterId, data.value]);
          break;
      }
    };
  }

  addPlugin(name, path) {
    this.ws.send(JSON.stringify({ type: "ADD_PLUGIN", data: { trackId: this.trackId, name, path } }));
  }

  updatePluginParameter(pluginId, parameterId, value) {
    this.ws.send(JSON.stringify({ type: "UPDATE_PARAMETER", data: { pluginId, parameterId, value } }));
  }

  disconnect() {
    this.ws.close();
  }
}

/** `usePluginControls` after it. */
export class NewHook {
  plugins = [];
  isConnected = false;
  isAuthenticated = false;
  errors = [];

  constructor(url, trackId, sessionId, userId) {
    Object.assign(this, { trackId, sessionId, userId });
    const ws = new WebSocket(url);
    this.ws = ws;
    ws.onopen = () => {
      this.isConnected = true;
      this.sendMessage({ type: "AUTH", data: { user_id: userId, session_id: sessionId } });
    };
    ws.onmessage = (event) => {
      const message = JSON.parse(event.data);

      switch (message.type) {
        case "AUTH_SUCCESS":
          this.isAuthenticated = true;
          break;
        case "PLUGIN_ADD":
          this.handlePluginAdded(message.data);
          break;
        case "PLUGIN_PARAMETER":
          this.handleParameterUpdated(message.data);
          break;
        case "PLUGIN_STATE_UPDATE":
          this.handleStateBroadcast(message.data);
          break;
        case "ERROR":
          this.errors.push(message.data);
          break;
      }
    };
  }

  sendMessage(message) {
    const id = `msg_${Date.now()}_${Math.random().toString(36).substr(2, 9)}`;
    this.ws.send(JSON.stringify({ ...message, id }));
  }

  handlePluginAdded(data) {
    this.plugins = [
      ...this.plugins,
      {
        id: data.plugin_id,
        name: data.name,
        trackId: data.track_id,
        parameters: data.parameters || {},
        bypassed: false,
      },
    ];
  }

  handleParameterUpdated(data) {
    this.plugins = this.plugins.map((plugin) =>
      plugin.id === data.plugin_id
        ? { ...plugin, parameters: { ...plugin.parameters, [data.parameter_id]: data.parameter_value } }
        : plugin,
    );
  }

  handleStateBroadcast(data) {
    // Handle updates from other users in the session
    if (data.changed_by !== this.userId) {
      this.plugins = this.plugins.map((plugin) =>
        plugin.id === data.plugin_id ? { ...plugin, lastModified: data.timestamp } : plugin,
      );
    }
  }

  addPlugin(name, pluginPath) {
    this.sendMessage({
      type: "PLUGIN_ADD",
      data: { track_id: this.trackId, name, plugin_path: pluginPath || name, plugin_id: "" },
      user_id: this.userId,
      session_id: this.sessionId,
    });
  }

  updateParameter(pluginId, parameterId, value) {
    this.sendMessage({
      type: "PLUGIN_PARAMETER",
      data: { track_id: this.trackId, plugin_id: pluginId, parameter_id: parameterId, parameter_value: value },
      user_id: this.userId,
      session_id: this.sessionId,
    });
  }

  disconnect() {
    this.ws.close();
  }
}

export class PluginSessionManager {
  constructor(userId) {
    this.userId = userId;
    this.plugins = new Map();
    this.cursors = [];
    this.refreshed = [];
  }

  handleBroadcast(message) {
    switch (message.type) {
      case "PLUGIN_STATE_UPDATE":
        this.updatePluginState(message.data);
        break;
      case "USER_CURSOR_UPDATE":
        this.cursors.push(message.data);
        break;
    }
  }

  updatePluginState(data) {
    const plugin = this.plugins.get(data.plugin_id);
    if (plugin) {
      // Update local plugin state
      plugin.state = data.state;
      plugin.lastModified = data.timestamp;
      plugin.modifiedBy = data.changed_by;

      // Refresh UI if not the current user
      if (data.changed_by !== this.userId) {
        this.refreshed.push(data.plugin_id);
      }
    }
  }
}
