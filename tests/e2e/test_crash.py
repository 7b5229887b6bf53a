"""What was acknowledged as durable survives SIGKILL at any moment; state and log agree (wire.md sections 1,
3 and 6).

By hand, for thousands of kills:  RIGD_BIN=../../target/release/rigd python test_crash.py KILLS [SEED]
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from websockets.exceptions import ConnectionClosed

import ledger
import kept_state
from ledger import tmp_path  # noqa: F401 (a fixture)
from rig import NO_LIMITS, Rig, environment

KINDS = ("gain", "eq", "compressor", "gate", "echo", "hpf")
PRESETS = ("Default", "mine", "ours", "Voice", "Gentle", "Hall")
# Kills in CI, and the time (s) after which no further one is begun there.
KILLS, ENOUGH_S = 250, 40.0


class Changes:
    """Random changes: most make sense, some are refused."""

    def __init__(self, random, infos):
        self.random = random
        self.infos = infos
        # Plugin → kind, and → track.
        self.kinds = {}
        self.tracks = {}

    def know(self, state):
        """Which plugins there are."""
        for track in state["tracks"]:
            for plugin in track["plugins"]:
                self.kinds[plugin["plugin_id"]] = plugin["plugin_path"].removeprefix("builtin:")
                self.tracks[plugin["plugin_id"]] = track["track_id"]

    def next(self):
        weights = {
            self.parameter: 34, self.add: 14, self.batch: 8, self.remove: 5, self.bypass: 8,
            self.preset: 6, self.preset_save: 4, self.move: 6, self.update: 9, self.track_add: 4,
            self.track_remove: 3, self.panic: 2, self.restore: 3, self.chain: 2, self.chain_save: 1,
        }  # fmt: skip
        make = self.random.choices(list(weights), list(weights.values()))[0]
        return make()

    def at(self):
        plugin_id = f"p{self.random.randrange(6)}"
        return {"track_id": self.tracks.get(plugin_id, "mic1"), "plugin_id": plugin_id}

    def track(self):
        return self.random.choice(("mic1", "mic2", "music", "t0", "t1", "t2"))

    def value(self, at):
        """A parameter of what the plugin may be, and a value."""
        info = self.infos[self.kinds.get(at["plugin_id"], "gain")]
        name = self.random.choice(list(info))
        return name, self.random.uniform(info[name]["min"], info[name]["max"])

    def add(self):
        plugin_id, track_id = self.at()["plugin_id"], self.track()
        kind = self.random.choice(KINDS)
        if plugin_id not in self.kinds:
            self.kinds[plugin_id], self.tracks[plugin_id] = kind, track_id
        data = {"track_id": track_id, "name": kind, "plugin_id": plugin_id}
        if self.random.random() < 0.2:
            del data["plugin_id"]
        if self.random.random() < 0.2:
            data["plugin_path"] = "/usr/lib/lv2/x.lv2"
        return "plugin.add", data

    def remove(self):
        at = self.at()
        self.kinds.pop(at["plugin_id"], None)
        return "plugin.remove", at

    def parameter(self):
        at = self.at()
        name, value = self.value(at)
        return "plugin.parameter", {**at, "parameter_id": name, "value": value}

    def batch(self):
        changes = [self.parameter()[1] for _ in range(self.random.randrange(1, 5))]
        at_once = self.random.random() < 0.7
        return "plugin.parameter.batch", {"changes": changes, "apply_immediately": at_once}

    def bypass(self):
        return "plugin.bypass", {**self.at(), "bypass": self.random.random() < 0.5}

    def preset(self):
        return "plugin.preset", {**self.at(), "preset_name": self.random.choice(PRESETS)}

    def preset_save(self):
        return "plugin.preset.save", {**self.at(), "preset_name": self.random.choice(PRESETS)}

    def move(self):
        return "plugin.move", {**self.at(), "position": self.random.randrange(3)}

    def update(self):
        data = {"track_id": self.track()}
        for name, value in (
            ("volume", self.random.uniform(0, 2)),
            ("pan", self.random.uniform(-1, 1)),
            ("mute", self.random.random() < 0.5),
            ("name", self.random.choice(("Ana", "Bühne \U0001f3a4", "\x7f"))),
            ("sends", {"t1": self.random.choice((0, 0.5, 1.0))}),
        ):
            if self.random.random() < 0.4:
                data[name] = value
        return "track.update", data

    def track_add(self):
        kind = self.random.choice(("mic", "stem", "bus"))
        return "track.add", {"track_id": f"t{self.random.randrange(3)}", "kind": kind}

    def track_remove(self):
        return "track.remove", {"track_id": f"t{self.random.randrange(3)}"}

    def panic(self):
        return "rig.panic", {"mode": self.random.choice(("mute", "dry"))}

    def restore(self):
        return "rig.restore", {}

    def chain(self):
        name = self.random.choice(("natural", "off", "talk", "kept"))
        return "track.preset", {"track_id": "mic2", "preset_name": name}

    def chain_save(self):
        return "track.preset.save", {"track_id": "mic1", "preset_name": "kept"}


class Night:
    """One state folder, and a rig that is killed in it again and again."""

    def __init__(self, folder, seed, settings=NO_LIMITS):
        self.random = random.Random(seed)
        self.folder = folder
        self.database = folder / "state/rigd.db"
        self.settings = settings
        self.rig = None
        self.changes = None
        self.model = None
        self.newest = (0, ledger.GENESIS)
        # Of the whole night.
        self.kills = self.durable = self.answered = self.events = 0
        self.told = {}
        self.own = set()
        self.highest = 0
        # Of this run: (number, type, data, reply) of what was acknowledged as durable.
        self.promised = []
        self.last_state = None

    def start(self):
        self.rig = Rig(self.folder, settings=self.settings)

    def check(self):
        """The rig that has just started again is the one that the log tells of."""
        client = self.rig.client()
        state = kept_state.plain(client.state())
        if self.changes is None:
            plugins = client.ask("plugin.list")["data"]["plugins"]
            infos = {plugin["name"]: plugin["parameter_info"] for plugin in plugins}
            self.changes = Changes(self.random, infos)
            self.model = kept_state.Model(state)
        found, head = ledger.read(self.database, self.newest[0])
        key = (self.folder / "state/rigd.key").read_bytes()
        self.newest = ledger.check_chain(found, head, key, self.newest)
        for row in found:
            self.model.follow(row)
        self.events += len(found)
        _, own = ledger.numbers(found)
        assert len(set(own)) == len(own) and not self.own & set(own), "a number was used twice"
        self.own.update(own)
        self.check_promises(found)
        self.changes.know(state)
        expected = self.model.state
        assert state == expected, f"state and log disagree:\n{state}\n{expected}"
        if self.last_state is not None:
            assert state == self.last_state, "the state is not as it was before the end"
        for (path, name), values in self.model.presets.items():
            self.check_preset(client, state, path, name, values)
        client.close()

    def check_preset(self, client, state, path, name, values):
        """A kept preset is there with its values, if a plugin of its kind is there to ask."""
        of_kind = [
            {"track_id": track["track_id"], "plugin_id": plugin["plugin_id"]}
            for track in state["tracks"]
            for plugin in track["plugins"]
            if plugin["plugin_path"] == path
        ]
        if of_kind:
            reply = client.ask("plugin.presets.get", of_kind[0])
            presets = {preset["name"]: preset["data"] for preset in reply["data"]["presets"]}
            assert presets.get(name) == values, f"preset {name} of {path}"

    def check_promises(self, found):
        """Everything acknowledged as durable is in the log, as it was answered."""
        by_last = {row["seq_last"]: row for row in found}
        for seq, kind, data, reply in self.promised:
            row = by_last.get(seq)
            assert row, f"change {seq} ({kind}) was acknowledged as durable and is not in the log"
            action = "plugin.parameter" if kind == "plugin.parameter.batch" else kind
            assert row["action"] == action, f"change {seq} is {row['action']}, not {action}"
            if kind == "plugin.parameter":
                change = json.loads(row["details"])["changes"][data["parameter_id"]]
                assert change["to"] == data["value"], f"change {seq}: {change}, not {data['value']}"
            elif kind.startswith("plugin.") and action == kind:
                assert row["entity_id"] == reply["plugin_id"]
        self.promised = []

    def talk(self, messages):
        """Sends random changes; what was sent by its id."""
        client = self.rig.client()
        sent = {}
        self.awaited = 0
        for _ in range(messages):
            kind, data = self.changes.next()
            awaited = self.random.random() < 0.7
            self.awaited += awaited
            sent[client.send(kind, data, requires_ack=awaited)] = (kind, data)
        return client, sent

    def hear(self, client, sent, enough):
        """Reads answers until `enough` changes have been answered, or everything, or until the end."""
        replies, acks = self.heard
        while len(replies) < len(sent) or len(acks) < self.awaited:
            if sum("seq" in reply for reply in replies.values()) >= enough:
                return
            try:
                message = client.receive()
            except ConnectionClosed:
                return
            if message["type"] == "ack":
                acks[message["data"]["original_message_id"]] = message["data"]
            elif message["id"] in sent:
                replies[message["id"]] = message

    def take_down(self, sent, is_clean):
        """What the answers of a run promise."""
        replies, acks = self.heard
        for id, reply in replies.items():
            seq = reply.get("seq")
            if seq is None:
                continue
            self.answered += 1
            assert seq not in self.told, f"{seq} was given out twice: {reply} {self.told[seq]}"
            assert seq > self.highest, f"{seq} was given out after {self.highest}"
            kind, data = sent[id]
            self.told[seq] = kind
            ack = acks.get(id)
            # Where the machine stalled for 2 s it is not.
            is_durable = bool(ack and ack["durable"])
            self.durable += is_durable
            # The values of a gesture may end later than with this change.
            is_own = not kind.startswith("plugin.parameter")
            if is_durable or (is_clean and is_own):
                self.promised.append((seq, kind, data, reply["data"]))
        self.highest = max([self.highest, *(reply.get("seq", 0) for reply in replies.values())])

    def run(self, is_clean=False):
        """One life of the rig, to its end at a random moment."""
        self.start()
        self.check()
        messages = self.random.randrange(1, 120)
        self.heard = ({}, {})
        client, sent = self.talk(messages)
        self.last_state = None
        if is_clean:
            self.hear(client, sent, messages + 1)
            self.last_state = kept_state.plain(client.state())
            client.close()
            assert self.rig.stop() == 0, self.rig.log
            assert "panicked" not in self.rig.log, self.rig.log
        else:
            self.hear(client, sent, self.random.randrange(messages // 2 + 1))
            if self.random.random() < 0.5:
                # Not always right behind a reply: commits take some milliseconds.
                time.sleep(self.random.uniform(0, 0.03))
            self.kill()
            self.hear(client, sent, messages + 1)
            client.close()
        self.take_down(sent, is_clean)

    def kill(self):
        self.rig.process.kill()
        self.rig.process.wait()
        self.rig.reader.join()
        assert "panicked" not in self.rig.log, self.rig.log
        self.kills += 1

    def kill_while_it_starts(self):
        """A start that is cut short changes nothing."""
        command, env = self.rig.process.args, environment(self.folder)
        with subprocess.Popen(command, env=env, cwd=self.folder, stderr=subprocess.DEVNULL) as process:
            time.sleep(self.random.uniform(0, 0.04))
            process.kill()
        self.kills += 1

    def finish(self):
        """The end of the night: everything is checked once more, from the first row on."""
        self.start()
        self.check()
        found, head = ledger.read(self.database)
        key = (self.folder / "state/rigd.key").read_bytes()
        ledger.check_chain(found, head, key)
        assert self.rig.stop() == 0, self.rig.log
        left = sorted(path.name for path in (self.folder / "state").glob("rigd.*"))
        assert left == ["rigd.db", "rigd.key", "rigd.lock"], left

    def so_far(self):
        return (
            f"{self.kills} kills: {self.answered} changes answered, {self.durable} acknowledged as durable, "
            f"{self.events} rows; every one of them found"
        )


def night(folder, kills, seed, enough_s=float("inf")):
    began = time.monotonic()
    rig = Night(folder, seed)
    while rig.kills < kills and time.monotonic() - began < enough_s:
        rig.run(is_clean=rig.random.random() < 0.07)
        if rig.random.random() < 0.1:
            rig.kill_while_it_starts()
    rig.finish()
    return rig


def test_what_is_acknowledged_survives_kills_at_random_moments(tmp_path):
    seed = int(os.environ.get("RIGD_SEED", random.randrange(2**32)))
    print(f"RIGD_SEED={seed}")
    ended = night(tmp_path, int(os.environ.get("RIGD_KILLS", KILLS)), seed, ENOUGH_S)
    print(ended.so_far())
    assert ended.kills > 10 and ended.durable > 100


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32)
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        print(night(Path(folder), wanted, seed).so_far())
