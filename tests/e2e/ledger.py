"""The log as a script with plain SQLite sees it: its rows, its chain, and the state that they come to."""

import copy
import hashlib
import hmac
import json
import os
import sqlite3
import tempfile
from pathlib import Path

import pytest

GENESIS = "0" * 64
# What the chain is over, in this order.
COLUMNS = (
    "row id user_id action details timestamp seq_first seq_last epoch monotonic_us applied_frame"
    " entity_type entity_id session_id role verified address parents preimage"
).split()


@pytest.fixture
def tmp_path():
    """A folder in memory where there is one: what is shown here does not depend on a disk, and must not
    depend on one that stalls."""
    memory = "/dev/shm"
    where = memory if os.path.isdir(memory) and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        yield Path(folder)


def canonical(value):
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("\x7f", "\\u007f")


def connect(path):
    """For reading only, also while rigd is running: nothing of the file changes."""
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)


def rows(path, after=0):
    """The rows of the log behind one, as dictionaries; with the head."""
    db = connect(path)
    db.row_factory = sqlite3.Row
    try:
        db.execute("BEGIN")
        found = db.execute("SELECT * FROM daid_events WHERE row > ? ORDER BY row", [after]).fetchall()
        head = db.execute("SELECT rows, chain, seal FROM daid_head").fetchone()
        return [dict(row) for row in found], head and tuple(head)
    finally:
        db.close()


def check_chain(found, head, key, before=(0, GENESIS)):
    """Every row is linked to the one before it, and the head is sealed; gives the newest link."""
    number, chain = before
    for row in found:
        number += 1
        assert row["row"] == number, f"row {row['row']} where {number} should be"
        columns = [row[name] for name in COLUMNS]
        columns[COLUMNS.index("verified")] = bool(row["verified"])
        text = f"{chain}\n{canonical(columns)}"
        chain = hashlib.sha256(text.encode()).hexdigest()
        assert row["chain"] == chain, f"the chain breaks at row {number}"
        digest = hashlib.sha256(row["preimage"].encode()).hexdigest()[:16]
        assert row["id"].rsplit(":", 1)[1] == digest, f"the identifier of row {number}"
    if head:
        text = f"rigd head {number} {chain}"
        seal = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        assert head == (number, chain, seal), f"the head is not that of row {number}"
    else:
        assert number == 0, "rows without a head"
    return number, chain


def numbers(found):
    """How many changes the rows stand for, and the numbers that belong to one row alone."""
    count, own = 0, []
    for row in found:
        if row["action"] == "rig.gap":
            continue
        if row["action"] == "plugin.parameter":
            of_gesture = json.loads(row["details"])["changes"].values()
            count += sum(change["count"] for change in of_gesture)
            assert row["seq_first"] <= row["seq_last"]
            if row["seq_first"] == row["seq_last"]:
                own.append(row["seq_first"])
        else:
            assert row["seq_first"] == row["seq_last"]
            own.append(row["seq_first"])
            count += 1
    return count, own


TRACK_FIELDS = ("name", "kind", "input", "input_gain_db", "volume", "pan", "mute", "solo", "sends")
PLUGIN_FIELDS = ("plugin_id", "name", "plugin_path", "bypassed", "parameters", "substituted_for")


def plain(snapshot):
    """What of a `state.snapshot` has to survive."""
    tracks = []
    for track in snapshot["tracks"]:
        plugins = [{name: plugin.get(name) for name in PLUGIN_FIELDS} for plugin in track["plugins"]]
        fields = {name: track[name] for name in TRACK_FIELDS}
        tracks.append({"track_id": track["track_id"], **fields, "plugins": plugins})
    return {"tracks": tracks, "panic": snapshot["panic"]}


class Model:
    """The state that the rows of the log come to, from the state at its beginning."""

    def __init__(self, beginning):
        self.state = copy.deepcopy(beginning)
        self.presets = {}

    def track(self, track_id):
        return next(track for track in self.state["tracks"] if track["track_id"] == track_id)

    def plugin(self, plugin_id):
        """Its chain, and where it is in it."""
        for track in self.state["tracks"]:
            for index, plugin in enumerate(track["plugins"]):
                if plugin["plugin_id"] == plugin_id:
                    return track["plugins"], index
        raise AssertionError(f"the log tells of {plugin_id}, which is not there")

    def follow(self, row):
        details = json.loads(row["details"])
        entity = row["entity_id"]
        getattr(self, row["action"].replace(".", "_"))(entity, details)

    def plugin_add(self, plugin_id, details):
        plugin = {
            "plugin_id": plugin_id,
            "name": details["name"],
            "plugin_path": details["plugin_path"],
            "bypassed": False,
            "parameters": details["parameters"],
            "substituted_for": details.get("substituted_for"),
        }
        self.track(details["track_id"])["plugins"].insert(details["position"], plugin)

    def plugin_remove(self, plugin_id, _):
        chain, index = self.plugin(plugin_id)
        del chain[index]

    def plugin_parameter(self, plugin_id, details):
        chain, index = self.plugin(plugin_id)
        values = chain[index]["parameters"]
        for name, change in details["changes"].items():
            assert values[name] == change["from"], f"{plugin_id}.{name}: {change} from {values[name]}"
            assert change["count"] > 0
            values[name] = change["to"]

    def plugin_bypass(self, plugin_id, details):
        chain, index = self.plugin(plugin_id)
        chain[index]["bypassed"] = details["bypass"]

    def plugin_preset(self, plugin_id, details):
        chain, index = self.plugin(plugin_id)
        chain[index]["parameters"] = details["parameters"]

    def plugin_preset_save(self, plugin_id, details):
        chain, index = self.plugin(plugin_id)
        self.presets[chain[index]["plugin_path"], details["preset_name"]] = details["parameters"]

    def plugin_move(self, plugin_id, details):
        chain, _ = self.plugin(plugin_id)
        chain.sort(key=lambda plugin: details["order"].index(plugin["plugin_id"]))

    def track_add(self, track_id, details):
        track = {"track_id": track_id, **{name: details[name] for name in TRACK_FIELDS}, "plugins": []}
        self.state["tracks"].insert(-1, track)

    def track_remove(self, track_id, _):
        self.state["tracks"].remove(self.track(track_id))
        for track in self.state["tracks"]:
            track["sends"].pop(track_id, None)

    def track_update(self, track_id, details):
        track = self.track(track_id)
        for name, change in details["changes"].items():
            assert track[name] == change["from"], f"{track_id}.{name}: {change} from {track[name]}"
            track[name] = change["to"]

    def track_preset(self, track_id, details):
        """The changes before it made it so."""

    def track_preset_save(self, track_id, details):
        paths = [plugin["plugin_path"] for plugin in self.track(track_id)["plugins"]]
        assert paths == details["plugins"]

    def rig_panic(self, _, details):
        self.state["panic"] = details["mode"]

    def rig_restore(self, *_):
        self.state["panic"] = None

    def rig_gap(self, _, details):
        """What is missing is in the state and not in the log."""
