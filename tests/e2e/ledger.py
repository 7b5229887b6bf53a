"""The log as a script with plain SQLite sees it, and as the wire describes it: its rows, its chain, its
events. Computed by Python's own means: nothing of rigd's is used here."""

import hashlib
import hmac
import json
import os
import re
import sqlite3
import tempfile
from pathlib import Path

import pytest

GENESIS = "0" * 64
# The chained columns, in the order of the table; `chain` follows.
COLUMNS = (
    "row id user_id action details timestamp seq_first seq_last epoch monotonic_us applied_frame"
    " entity_type entity_id session_id role verified address parents preimage"
).split()
# What a client sees of an event, and nothing else.
FIELDS = (
    "daid seq_first seq_last epoch timestamp monotonic_us applied_frame entity_type entity_id operation"
    " user_id session_id role verified address metadata parents preimage chain"
).split()
DAID = re.compile(
    r"daid:v1\.0:(?P<timestamp>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00):(?P<agent_id>[^:]+)"
    r":(?P<entity_type>[^:]+):(?P<entity_id>[^:]+):(?P<hash>[0-9a-f]{16})"
)


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


def preimage(event):
    return canonical(
        {
            "entity_id": event["entity_id"],
            "metadata": event["metadata"],
            "operation": event["operation"],
            "parents": sorted(event["parents"]),
        }
    )


def check(event):
    """An event has every field, and its identifier follows from them."""
    assert list(event) == FIELDS, list(event)
    assert event["preimage"] == preimage(event)
    parts = DAID.fullmatch(event["daid"])
    assert parts, event["daid"]
    assert parts["hash"] == hashlib.sha256(event["preimage"].encode()).hexdigest()[:16]
    for part in ("timestamp", "entity_type", "entity_id"):
        assert parts[part] == event[part]
    assert isinstance(event["metadata"], dict) and isinstance(event["parents"], list)
    assert isinstance(event["verified"], bool)
    assert event["metadata"]["user_id"] == event["user_id"]
    assert event["metadata"]["session_id"] == event["session_id"]


def link(before, row):
    """The chain hash of a row (a dict of its columns) behind a row with the hash `before`."""
    columns = [bool(row[name]) if name == "verified" else row[name] for name in COLUMNS]
    return hashlib.sha256(f"{before}\n{canonical(columns)}".encode()).hexdigest()


def seal(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def connect(path):
    """For reading only, also while rigd is running: nothing of the file changes."""
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)


def read(path, after=0):
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


def rows(path):
    """All rows of the log, in order."""
    return read(path)[0]


def check_chain(found, head, key, before=(0, GENESIS)):
    """Every row is linked to the one before it, and the head is sealed; gives the newest link."""
    number, chain = before
    for row in found:
        number += 1
        assert row["row"] == number, f"row {row['row']} where {number} should be"
        chain = link(chain, row)
        assert row["chain"] == chain, f"the chain breaks at row {number}"
        digest = hashlib.sha256(row["preimage"].encode()).hexdigest()[:16]
        assert row["id"].rsplit(":", 1)[1] == digest, f"the identifier of row {number}"
    if head:
        expected = (number, chain, seal(key, f"rigd head {number} {chain}"))
        assert head == expected, f"the head is not that of row {number}"
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
