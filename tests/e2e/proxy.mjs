// A network that the test controls: a TCP proxy in front of the rig.

import { once } from "node:events";
import { connect, createServer } from "node:net";

/** `to` is the rig's port, or gives it. `port`; `cut()` ends all connections and takes no new ones, `restore()` does again; `hold()` lets nothing
 *  through and says nothing, as a phone behind a wall, `release()` does again; `deafen()` lets nothing of the rig's
 *  through; `close()`. */
export async function startProxy(to) {
  const pairs = new Set();
  let isCut = false;
  let isHeld = false;
  let connections = 0;
  const server = createServer((near) => {
    if (isCut) return near.destroy();
    connections += 1;
    const far = connect(typeof to === "function" ? to() : to, "127.0.0.1");
    const pair = [near, far];
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      pair.forEach((socket) => socket.destroy());
    };
    pair.forEach((socket) => socket.setNoDelay(true).on("error", end).on("close", end));
    near.pipe(far);
    far.pipe(near);
    if (isHeld) pair.forEach((socket) => socket.pause());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  const cut = () => {
    isCut = true;
    for (const pair of pairs) pair.forEach((socket) => socket.destroy());
  };
  return {
    port,
    url: `ws://127.0.0.1:${port}/ws`,
    http: `http://127.0.0.1:${port}/`,
    get connections() {
      return connections;
    },
    cut,
    restore: () => (isCut = false),
    hold: () => {
      isHeld = true;
      for (const pair of pairs) pair.forEach((socket) => socket.pause());
    },
    deafen: () => {
      for (const [, far] of pairs) far.pause();
    },
    release: () => {
      isHeld = false;
      for (const pair of pairs) pair.forEach((socket) => socket.resume());
    },
    close: () => {
      cut();
      server.close();
    },
  };
}
