// The box on the page: a host takes a backup from it and gives it back, and is asked before that and before a
// factory reset; a guest does not see it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { artefacts, faults, launch, phone, skip } from "./phone.mjs";
import { Probe, startRig, until } from "./rig.mjs";

let rig;
let address;
let browser;
let ana;
let backup;
let tools;

/** What the rig is, or null while it begins anew. */
async function plugins() {
  const response = await fetch(`http://${address}/api/state`).catch(() => null);
  const state = await response?.json().catch(() => null);
  return state && { epoch: state.epoch, ids: state.tracks[0].plugins.map(({ plugin_id }) => plugin_id) };
}

async function add(plugin_id) {
  const probe = await Probe.open(`ws://${address}/ws`);
  await probe.ask("plugin.add", { track_id: "mic1", name: "gain", plugin_id });
  probe.close();
}

async function openBox({ by }) {
  await by("people").tap();
  await by("device").locator("summary").tap();
  await by("device-power-off").waitFor();
}

before(async () => {
  if (skip) return;
  // An address that is the same when it has begun anew.
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  address = `127.0.0.1:${listener.address().port}`;
  listener.close();
  await once(listener, "close");
  // There is no RAUC with slots here: one of the test's own that goes on when it is let.
  tools = await mkdtemp(join(tmpdir(), "rigd-tools-"));
  const rauc = `#!/bin/sh\necho " 40% Copying image to rootfs.1"\nread x <${tools}/gate\n`;
  await writeFile(join(tools, "rauc"), rauc, { mode: 0o755 });
  execFileSync("mkfifo", [join(tools, "gate")]);
  rig = await startRig({ PATH: `${tools}:${process.env.PATH}` }, "--listen", address);
  browser = await launch();
  ana = await phone(browser, `http://${address}/`, "ana");
});

after(async () => {
  await browser?.close();
  await rig?.stop();
  if (tools) await rm(tools, { recursive: true });
});

test("a backup is downloaded under a name of its own", { skip }, async () => {
  await add("before");
  await openBox(ana);
  await ana.page.screenshot({ path: join(artefacts, "device.png") });
  const coming = ana.page.waitForEvent("download");
  await ana.by("device-backup").tap();
  const download = await coming;
  assert.match(download.suggestedFilename(), /^rigd-backup-[\d-]+\.tar$/);
  backup = await readFile(await download.path());
  assert.ok(backup.includes("backup.json") && !backup.includes("tokens.key"));
});

test("it is asked before a restore, and no changes nothing", { skip }, async () => {
  await add("after");
  const { epoch } = await plugins();
  await ana.by("device-file").setInputFiles({ name: "b.tar", mimeType: "application/x-tar", buffer: backup });
  await ana.by("sure-no").tap();
  await ana.by("sure").waitFor({ state: "hidden" });
  assert.deepEqual(await plugins(), { epoch, ids: ["before", "after"] });
});

test("a file that is no backup is refused, and why", { skip }, async () => {
  const { epoch } = await plugins();
  await ana.by("device-file").setInputFiles({ name: "b.tar", mimeType: "application/x-tar", buffer: Buffer.from("no") });
  await ana.by("sure-yes").tap();
  await until(async () => (await ana.by("toasts").textContent()).includes("nothing is changed"), "why not");
  assert.equal((await plugins()).epoch, epoch);
  faults.splice(0, faults.length, ...faults.filter((fault) => !fault.includes("400 (Bad Request)")));
});

test("a restore brings back what was, and the phone comes back by itself", { skip }, async () => {
  const { epoch } = await plugins();
  await ana.by("device-file").setInputFiles({ name: "b.tar", mimeType: "application/x-tar", buffer: backup });
  await ana.by("sure-yes").tap();
  await until(async () => {
    const now = await plugins();
    return now && now.epoch !== epoch && now.ids.join() === "before";
  }, "the state of then");
  await until(async () => (await ana.by("connection").textContent()) === "connected", "the phone is back");
});

test("an update is sent, installed, and told about", { skip }, async () => {
  const bundle = { name: "rig.raucb", mimeType: "application/octet-stream", buffer: Buffer.alloc(2 << 20, "bundle") };
  await ana.by("device-bundle").setInputFiles(bundle);
  await until(async () => (await ana.by("update-progress").textContent()).includes("40 % Copying image"), "how far it is");
  assert.ok(await ana.by("device-update").isDisabled());
  await writeFile(join(tools, "gate"), "go\n");
  await until(async () => (await ana.by("update-progress").textContent()).includes("is installed"), "that it is there");
  await ana.by("updating").scrollIntoViewIfNeeded();
  await ana.page.screenshot({ path: join(artefacts, "update.png") });
});

test("an update that is refused says why", { skip }, async () => {
  await writeFile(join(tools, "rauc"), "#!/bin/sh\necho 'LastError: signature verification failed' >&2\nexit 1\n");
  await ana.by("device-bundle").setInputFiles({ name: "x.raucb", mimeType: "", buffer: Buffer.from("x") });
  await until(async () => (await ana.by("update-progress").textContent()).includes("signature verification failed"), "why not");
});

test("a factory reset is asked about, too", { skip }, async () => {
  await ana.by("device-reset").tap();
  assert.match(await ana.by("sure").textContent(), /deleted for good/);
  await ana.by("sure-yes").tap();
  await until(async () => (await plugins())?.ids.length === 0, "a rig as new");
});

test("who is no host does not see the box", { skip }, async () => {
  const guests = await startRig({ ALLOW_ANONYMOUS: "guest" });
  try {
    const gus = await phone(browser, guests.http, "gus");
    await gus.by("people").tap();
    await gus.by("users").waitFor();
    assert.equal(await gus.by("device").isVisible(), false);
  } finally {
    await guests.stop();
  }
});

test("nothing went wrong on the way", { skip }, () => {
  const own = faults.filter((fault) => !/WebSocket connection|ERR_CONNECTION_REFUSED/.test(fault));
  assert.deepEqual(own, []);
});
