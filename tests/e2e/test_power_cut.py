"""A power cut loses what no finished sync covers, and nothing else (wire.md sections 1, 3 and 6).

strace records what rigd writes and syncs, and what it says to clients. From that the disk is rebuilt as a
cut at any moment may leave it: of what was written since a file's last sync any part may be there, torn at
512 bytes, and any part not. The index in shared memory is gone. Directory entries count as kept: SQLite
syncs the folder when it makes a write-ahead log.

By hand, for thousands of cuts:  RIGD_BIN=../../target/release/rigd python test_power_cut.py CUTS [SEED]
"""

import copy
import json
import os
import random
import re
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path

import pytest

import ledger
import kept_state
from ledger import tmp_path  # noqa: F401 (a fixture)
from rig import NO_LIMITS, Rig
from test_crash import Changes

CUTS = 150
CHANGES = 600
SECTOR = 512
CALLS = "openat,pwrite64,write,fsync,fdatasync,ftruncate,unlink,rename,sendto"


class Trace:
    """What happened, in order: ("write", file, offset, bytes), ("truncate", file, size), ("sync", file) and
    ("said", text)."""

    def __init__(self, lines, folder):
        self.folder = str(folder)
        self.events = []
        self.open = {}
        for line in lines:
            self.read(*line.split(maxsplit=1))

    def file(self, call):
        """The database or its log, if this call is about one of them."""
        path = text(re.search(r"\d+<([^>]*)>", call)[1])
        name = Path(path).name
        is_ours = path.startswith(self.folder) and name in ("rigd.db", "rigd.db-wal", "rigd.db-journal")
        return name if is_ours else None

    def read(self, thread, call):
        # A sync counts when it is over, a write from its beginning on.
        if re.match(r"<\.\.\. f(data)?sync resumed>", call):
            file, result = self.open.pop(thread), call.rsplit("= ", 1)[1]
            if file and result == "0":
                self.events.append(("sync", file))
        elif match := re.match(r"f(?:data)?sync\(", call):
            file = self.file(call)
            if call.endswith("<unfinished ...>"):
                self.open[thread] = file
            elif file:
                self.events.append(("sync", file))
        elif match := re.match(r'pwrite64\([^"]*"((?:\\x..)*)", (\d+), (\d+)', call):
            if file := self.file(call):
                data = bytes.fromhex(match[1].replace("\\x", ""))
                assert len(data) == int(match[2]), "strace has cut a write short"
                self.events.append(("write", file, int(match[3]), data))
        elif match := re.match(r"ftruncate\([^,]*, (\d+)", call):
            if file := self.file(call):
                self.events.append(("truncate", file, int(match[1])))
        elif match := re.match(r'sendto\([^"]*"((?:\\x..)*)"', call):
            said = bytes.fromhex(match[1].replace("\\x", "")).decode("utf-8", "replace")
            self.events.append(("said", said))
        elif call.startswith(("unlink(", "rename(")):
            names = [Path(text(name)).name for name in re.findall(r'"((?:\\x..)*)"', call)]
            assert not any(name.startswith("rigd.db") for name in names), f"not foreseen: {call}"
        elif re.match(r"write\(\d+<", call):
            assert self.file(call) is None, "SQLite writes by offset"


def text(escaped):
    return bytes.fromhex(escaped.replace("\\x", "")).decode()


class Disk:
    """A file: what is certainly on disk, and what may be."""

    def __init__(self, content):
        self.synced = bytearray(content)
        self.unsynced = []

    def apply(self, content, event):
        if event[0] == "truncate":
            del content[event[2] :]
            content.extend(bytes(event[2] - len(content)))
        else:
            _, _, offset, data = event
            content.extend(bytes(max(0, offset - len(content))))
            content[offset : offset + len(data)] = data

    def sync(self):
        for event in self.unsynced:
            self.apply(self.synced, event)
        self.unsynced = []

    def after_cut(self, random):
        """One of the things that may be left."""
        content = bytearray(self.synced)
        # From hardly anything to nearly everything.
        share = random.random()
        for event in self.unsynced:
            if random.random() >= share:
                continue
            if event[0] == "write" and random.random() < 0.2:
                _, file, offset, data = event
                for start in range(0, len(data), SECTOR):
                    if random.random() < 0.5:
                        part = data[start : start + SECTOR]
                        self.apply(content, ("write", file, offset + start, part))
            else:
                self.apply(content, event)
        return bytes(content)


def stored(db):
    """The state in the tables, as `kept_state.plain` shows one."""
    state = {key: json.loads(value) for key, value in db.execute("SELECT key, value FROM state")}
    columns = "id, name, plugin_path, bypassed, parameters, substituted_for, track_id"
    plugins = {}
    for id, name, path, bypassed, parameters, substituted, _ in db.execute(
        f"SELECT {columns} FROM plugin_configurations"
    ):
        plugins[id] = {
            "plugin_id": id,
            "name": name,
            "plugin_path": path,
            "bypassed": bool(bypassed),
            "parameters": json.loads(parameters),
            "substituted_for": substituted,
        }
    tracks = []
    for track_id in state["tracks"]:
        track = state[f"track/{track_id}"]
        fields = {name: track[name] for name in kept_state.TRACK_FIELDS}
        fields["sends"] = dict(map(tuple, track["sends"]))
        chain = [plugins.pop(id) for id in track["plugins"]]
        tracks.append({"track_id": track_id, **fields, "plugins": chain})
    assert not plugins, f"plugins on no track: {list(plugins)}"
    return {"tracks": tracks, "panic": state.get("panic")}


class Cuts:
    """One recorded evening, and the power cut at any moment of it."""

    def __init__(self, folder, seed):
        self.random = random.Random(seed)
        self.folder = folder
        home = folder / "home"
        home.mkdir()
        self.state = home / "state"
        # A first start makes the files; the record begins with them.
        first = Rig(home)
        beginning = kept_state.plain(first.client().state())
        infos = {p["name"]: p["parameter_info"] for p in first.client().ask("plugin.list")["data"]["plugins"]}
        first.finish()
        shutil.copytree(self.state, folder / "before")
        strace = ["strace", "-D", "-f", "-y", "-xx", "-s", "100000", "-e", f"trace={CALLS}"]
        rig = Rig(home, settings=NO_LIMITS, wrapper=[*strace, "-o", folder / "trace"])
        client = rig.client()
        changes = Changes(self.random, infos)
        for _ in range(CHANGES):
            kind, data = changes.next()
            awaited = self.random.random() < 0.7
            id = client.send(kind, data, requires_ack=awaited)
            # Some of what is sent goes together, and some waits for what was sent before.
            if self.random.random() < 0.6:
                client.answer(id)
                if awaited:
                    client.wait("ack", original_message_id=id)
        client.fence()
        client.close()
        rig.process.kill()
        rig.process.wait()
        rig.reader.join()
        self.read_log(beginning)
        lines = (folder / "trace").read_text().splitlines()
        self.trace = Trace(self.finished(lines), self.state)
        assert sum(event[0] == "sync" for event in self.trace.events) > 50

    def finished(self, lines):
        return [line for line in lines if " +++ " not in line and " --- " not in line]

    def read_log(self, beginning):
        """The rows that there are in the end, and the state after each of them."""
        self.rows, head = ledger.read(self.state / "rigd.db")
        ledger.check_chain(self.rows, head, (self.state / "rigd.key").read_bytes())
        followed = kept_state.Model(beginning)
        self.states = [copy.deepcopy(followed.state)]
        for row in self.rows:
            followed.follow(row)
            self.states.append(copy.deepcopy(followed.state))
        self.row_of = {row["seq_last"]: row["row"] for row in self.rows}

    def run(self, cuts):
        moments = sorted(self.random.randrange(1, len(self.trace.events)) for _ in range(cuts))
        before = self.folder / "before"
        disks = {"rigd.db": Disk((before / "rigd.db").read_bytes()), "rigd.db-wal": Disk(b"")}
        said = {"highest": 0, "seq": {}, "durable": set()}
        rows = set()
        done = 0
        for number, moment in enumerate(moments):
            for event in self.trace.events[done:moment]:
                if event[0] == "said":
                    self.hear(said, event[1])
                elif event[0] == "sync":
                    disks[event[1]].sync()
                else:
                    disks[event[1]].unsynced.append(event)
            done = moment
            rows.add(self.check(disks, said, with_rigd=number % 30 == 0))
        return len(rows), len(said["durable"])

    def hear(self, said, text):
        """What a client has been told by now."""
        for message in text.split('{"id":"')[1:]:
            if seq := re.search(r'"session_id":"[^"]*","seq":(\d+)', message):
                said["seq"][message.split('"', 1)[0]] = int(seq[1])
                said["highest"] = max(said["highest"], int(seq[1]))
        for id, rest in re.findall(r'"original_message_id":"(m\d+)"(.*?"durable":(?:true|false))', text):
            if rest.endswith("true") and id in said["seq"]:
                said["durable"].add(said["seq"][id])

    def check(self, disks, said, with_rigd):
        """Cuts the power, and looks at what is left; gives how many rows."""
        home = self.folder / "cut"
        shutil.rmtree(home, ignore_errors=True)
        state = home / "state"
        state.mkdir(parents=True)
        shutil.copy(self.folder / "before/rigd.key", state)
        for name, disk in disks.items():
            (state / name).write_bytes(disk.after_cut(self.random))
        if with_rigd:
            shutil.copytree(home, self.folder / "for-rigd", dirs_exist_ok=True)
        db = sqlite3.connect(state / "rigd.db", isolation_level=None)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (count,) = db.execute("SELECT count(*) FROM daid_events").fetchone()
        chain = db.execute("SELECT chain FROM daid_events ORDER BY row").fetchall()
        assert chain == [(row["chain"],) for row in self.rows[:count]], "not what was written"
        head = db.execute("SELECT rows, chain FROM daid_head").fetchall()
        newest = self.rows[count - 1]["chain"] if count else ledger.GENESIS
        assert head == [(count, newest)] or (head == [] and count == 0)
        assert stored(db) == self.states[count], f"state and log disagree at row {count}"
        lost = {seq for seq in said["durable"] if self.row_of[seq] > count}
        assert not lost, f"acknowledged as durable and lost: {lost}"
        (mark,) = db.execute("SELECT value FROM meta WHERE key = 'seq_mark'").fetchone()
        assert mark >= said["highest"], f"{said['highest']} was told, and could be given out again"
        db.close()
        if with_rigd:
            rig = Rig(self.folder / "for-rigd")
            client = rig.client()
            assert kept_state.plain(client.state()) == self.states[count]
            assert client.ask("status.get")["data"]["degraded"] == []
            rig.finish()
            shutil.rmtree(self.folder / "for-rigd")
        return count


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_a_power_cut_loses_only_what_was_not_synced(tmp_path):
    seed = int(os.environ.get("RIGD_SEED", random.randrange(2**32)))
    print(f"RIGD_SEED={seed}")
    rows, durable = Cuts(tmp_path, seed).run(int(os.environ.get("RIGD_CUTS", CUTS)))
    assert rows > 20 and durable > 50, (rows, durable)


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32)
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        rows, durable = Cuts(Path(folder), seed).run(wanted)
    print(f"{wanted} cuts, which left logs of {rows} different lengths; {durable} changes were durable in the end")
