// The page on the box's own Wi-Fi network: a phone that joins it is led here. It may be in a window that keeps
// nothing, so nobody signs in here; as long as the box has no host, its code is enough to enter a network.

import { Wifi } from "./wifi.js";

const TOKEN_KEY = "rigd.token";

function remembered() {
  try {
    return localStorage.getItem(TOKEN_KEY);
  } catch {
    return null; // storage may be forbidden
  }
}

const token = remembered();
const wifi = new Wifi({
  fetch: (path, options = {}) => {
    const proof = token ? { Authorization: `Bearer ${token}` } : {};
    return fetch(path, { ...options, headers: { ...options.headers, ...proof } });
  },
});

const known = await wifi.look();
document.querySelector(".with-code").hidden = known?.is_host ?? false;
