"""The log as the wire describes it, computed by Python's own means: nothing of rigd's is used here."""

import hashlib
import hmac
import json
import re
import sqlite3

# What a client sees of an event, and nothing else.
FIELDS = [
    "daid", "seq_first", "seq_last", "epoch", "timestamp", "monotonic_us", "applied_frame", "entity_type",
    "entity_id", "operation", "user_id", "session_id", "role", "verified", "address", "metadata", "parents",
    "preimage", "chain",
]  # fmt: skip
# The chained columns, in the order of the table; `chain` follows.
COLUMNS = [
    "row", "id", "user_id", "action", "details", "timestamp", "seq_first", "seq_last", "epoch", "monotonic_us",
    "applied_frame", "entity_type", "entity_id", "session_id", "role", "verified", "address", "parents", "preimage",
]  # fmt: skip
GENESIS = "0" * 64
DAID = re.compile(
    r"daid:v1\.0:(?P<timestamp>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00):(?P<agent_id>[^:]+)"
    r":(?P<entity_type>[^:]+):(?P<entity_id>[^:]+):(?P<hash>[0-9a-f]{16})"
)


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


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


def rows(path):
    """All rows of the log, in order."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        db.row_factory = sqlite3.Row
        found = [dict(row) for row in db.execute("SELECT * FROM daid_events ORDER BY row")]
    db.close()
    return found


def seal(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
