"""`rigd log` and `rigd import-legacy` (wire.md section 10)."""

import csv
import io
import json
import sqlite3
import subprocess

import pytest
from ledger import FIELDS, check, rows
from rig import BINARY, NO_LIMITS, environment, run, value


# Thousands of changes at once.
PLENTY = NO_LIMITS.replace("operations_per_s = 1000", "operations_per_s = 100000")


@pytest.fixture
def rig(start):
    return start(settings=PLENTY)


@pytest.fixture
def night(rig):
    """A few changes, on disk, and rigd still running."""
    ana = rig.client()
    ana.ask("AUTH", {"user_id": "ana", "session_id": "stage"})
    at = ana.add("reverb", "verb")
    ana.ask("plugin.parameter", value(at, "wet_dry", 0.5), requires_ack=True)
    ana.ask("track.update", {"track_id": "mic2", "name": "Zoë, \"the\" 🎤"})
    ben = rig.client()
    ben.ask("AUTH", {"user_id": "ben"})
    ben.ask("rig.panic", {"mode": "mute"}, requires_ack=True)
    ben.wait("ack")
    return ana


def log(rig, *arguments, code=0):
    done = run(rig.state, "log", *arguments, "--state-dir", rig.state)
    assert done.returncode == code, done
    return done


def lines(done):
    events = [json.loads(line) for line in done.stdout.splitlines()]
    for event in events:
        check(event)
    return events


def test_query_is_the_message(rig, night):
    """Every filter, while rigd runs and after it was stopped."""
    cases = {
        (): {},
        ("--entity-type", "plugin_processing"): {"entity_type": "plugin_processing"},
        ("--entity-id", "verb"): {"entity_id": "verb"},
        ("--user", "ben"): {"user_id": "ben"},
        ("--user-id", "ben"): {"user_id": "ben"},
        ("--session", "stage"): {"session_id": "stage"},
        ("--operation", "track.update"): {"operation": "track.update"},
        ("--until", "2001-01-01"): {"until": "2001-01-01"},
        ("--since", "2001-01-01", "--user", "ana"): {"since": "2001-01-01", "user_id": "ana"},
        ("--limit", "2"): {"limit": 2},
    }
    told = {}
    for options, data in cases.items():
        told[options] = night.ask("daid.query", data)["data"]["events"]
        assert lines(log(rig, "query", *options)) == told[options], options
    assert len(told[()]) == 4 and len(told["--user", "ben"]) == 1
    rig.finish()
    for options in cases:
        assert lines(log(rig, "query", *options)) == told[options], options


def test_query_goes_on_at_its_cursor(rig, night):
    whole = lines(log(rig, "query"))
    first = log(rig, "query", "--limit", "3")
    assert lines(first) == whole[:3]
    assert "--cursor 3" in first.stderr
    rest = log(rig, "query", "--cursor", "3")
    assert lines(rest) == whole[3:] and rest.stderr == ""


def test_lineage(rig, night):
    verb = [event for event in lines(log(rig, "query")) if event["entity_id"] == "verb"]
    assert len(verb) == 2
    assert lines(log(rig, "lineage", "--entity-id", "verb")) == verb[::-1]
    assert lines(log(rig, "lineage", "--entity-id", "verb", "--direction", "forward")) == verb
    assert lines(log(rig, "lineage", "--daid", verb[0]["daid"])) == verb[:1]
    assert lines(log(rig, "lineage", "--entity-id", "nothing")) == []


def test_verify(rig, night):
    """While it runs and grows, too."""
    for step in range(5):
        night.send("track.update", {"track_id": "mic1", "pan": step / 10})
        told = json.loads(log(rig, "verify").stdout)
        assert told["valid"] is True and told["rows"] >= 4
    rig.finish()
    assert json.loads(log(rig, "verify").stdout) == {"valid": True, "rows": 9}
    with sqlite3.connect(rig.state / "rigd.db") as db:
        db.execute("UPDATE daid_events SET user_id = 'x' WHERE row = 2")
    db.close()
    done = log(rig, "verify", code=1)
    assert json.loads(done.stdout) == {"valid": False, "rows": 9, "first_bad": 2}
    assert "row 2" in done.stderr


def test_export(rig, night):
    whole = lines(log(rig, "query"))
    assert lines(log(rig, "export")) == whole
    assert lines(log(rig, "export", "--format", "jsonl", "--user", "ana")) == whole[:3]
    done = log(rig, "export", "--format", "csv")
    table = list(csv.DictReader(io.StringIO(done.stdout, newline="")))
    assert list(table[0]) == FIELDS
    for row, event in zip(table, whole, strict=True):
        for name in FIELDS:
            if name in ("metadata", "parents"):
                assert json.loads(row[name]) == event[name]
            elif name == "verified":
                assert row[name] == ("true" if event[name] else "false")
            else:
                assert row[name] == str(event[name])


def test_export_is_everything_and_ends_quietly_when_nobody_reads_on(rig):
    client = rig.client()
    for step in range(2500):
        client.send("track.update", {"track_id": "mic1", "mute": step % 2 == 0})
    client.ask("daid.query", {"limit": 1})
    assert len(lines(log(rig, "export"))) == 2500
    for form in ("jsonl", "csv"):
        command = [BINARY, "log", "export", "--format", form, "--state-dir", rig.state]
        process = subprocess.Popen(
            list(map(str, command)),
            env=environment(rig.state),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        first = process.stdout.readline()
        assert first.startswith(b'{"daid"' if form == "jsonl" else b"daid,")
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait(60) == 0


def test_nothing_is_written(rig, night):
    """Reading leaves the log as it was, byte by byte, and makes no folder."""
    rig.finish()
    before = (rig.state / "rigd.db").read_bytes()
    for command in (["query"], ["lineage", "--entity-id", "verb"], ["verify"], ["export"]):
        log(rig, *command)
    assert (rig.state / "rigd.db").read_bytes() == before
    nowhere = rig.state / "nowhere"
    done = run(rig.state, "log", "query", "--state-dir", nowhere)
    assert done.returncode == 1 and done.stderr.startswith("There is no log in ")
    assert not nowhere.exists()


@pytest.mark.parametrize("command", [["query"], ["lineage", "--entity-id", "a"], ["verify"], ["export"]])
def test_a_folder_without_a_log(tmp_path, command):
    done = run(tmp_path, "log", *command, "--state-dir", tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert "There is no log in" in done.stderr and "--state-dir" in done.stderr
    (tmp_path / "rigd.db").write_bytes(b"this is no database, however long it may be" * 50)
    done = run(tmp_path, "log", *command, "--state-dir", tmp_path)
    assert done.returncode == 1 and done.stdout == "" and done.stderr != ""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["query", "--limit", "0"],
        ["query", "--limit", "1001"],
        ["query", "--since", "yesterday"],
        ["query", "--cursor", "x"],
        ["lineage"],
        ["lineage", "--entity-id", "a", "--direction", "sideways"],
        ["lineage", "--entity-id", "a", "--daid", "b"],
        ["export", "--format", "xml"],
    ],
    ids=str,
)
def test_bad_usage(tmp_path, arguments):
    assert run(tmp_path, "log", *arguments).returncode == 2


def test_the_settings_name_the_folder(rig, night):
    rig.finish()
    done = run(rig.state, "log", "query", env={"RIGD_STATE_DIR": str(rig.state)})
    assert done.returncode == 0 and len(lines(done)) == 4


# Pruning.


def test_what_is_pruned_leaves_the_rest_proved(start):
    """More than the bound goes, a chunk behind each commit, and the file stays near it."""
    rig = start(settings="log_max_mb = 0\n" + PLENTY)
    client = rig.client()
    for step in range(3000):
        client.send("track.update", {"track_id": "mic1", "pan": (step % 200) / 200})
    client.ask("daid.query", {"limit": 1})
    rig.finish()
    assert len(rows(rig.state / "rigd.db")) == 3000, "0 is no bound"
    full = (rig.state / "rigd.db").stat().st_size
    rig = start("--state-dir", rig.state, settings="log_max_mb = 1\n" + PLENTY)
    client = rig.client()
    for step in range(10):
        client.ask("track.update", {"track_id": "mic1", "mute": step % 2 == 0}, requires_ack=True)
        client.wait("ack")
    told = client.ask("daid.verify", {})["data"]
    assert told["valid"] is True and 100 < told["rows"] < 1500
    events = client.ask("daid.query", {"limit": 1})["data"]["events"]
    assert events[0]["seq_first"] > 1000, "the oldest went"
    cursor = "17"
    assert client.ask("daid.query", {"limit": 1, "cursor": cursor})["data"]["events"] == events
    lineage = client.ask("daid.lineage", {"entity_id": "mic1", "direction": "backward"})["data"]
    assert 100 < len(lineage["nodes"]) <= 1000
    rig.finish()
    assert (rig.state / "rigd.db").stat().st_size < full + 100_000, "free pages are used again"
    left = rows(rig.state / "rigd.db")
    assert json.loads(log(rig, "verify").stdout) == {"valid": True, "rows": len(left)}
    # The rest is as well guarded as the whole was.
    first, last = left[0]["row"], left[-1]["row"]
    for statement, row in [
        (f"UPDATE daid_events SET address = 'x' WHERE row = {first}", first),
        (f"DELETE FROM daid_events WHERE row = {first}", first),
        (f"UPDATE daid_events SET address = 'x' WHERE row = {first + 50}", first + 50),
        (f"DELETE FROM daid_events WHERE row = {last}", last),
        ("DELETE FROM daid_checkpoint", 1),
        ("UPDATE daid_checkpoint SET row = row - 1", first - 1),
    ]:
        untouched = (rig.state / "rigd.db").read_bytes()
        with sqlite3.connect(rig.state / "rigd.db") as db:
            db.execute(statement)
        db.close()
        told = json.loads(log(rig, "verify", code=1).stdout)
        assert told["first_bad"] == row, statement
        (rig.state / "rigd.db").write_bytes(untouched)


# import-legacy.

OLD = """
CREATE TABLE plugin_configurations (id VARCHAR(255) PRIMARY KEY, track_id VARCHAR(255), name TEXT, plugin_path TEXT,
    parameters JSON, colour TEXT);
INSERT INTO plugin_configurations VALUES
    ('reverb_7', 'vocals', 'Reverb', '/plugins/reverb.vst3', '{"wet":0.5}', 'red'),
    ('é:1', NULL, NULL, NULL, NULL, NULL),
    ('taken', 'vocals', 'Old', 'builtin:gain', '{}', NULL);
"""
NEW = """
ALTER TABLE plugin_configurations ADD COLUMN session_id VARCHAR(255);
ALTER TABLE plugin_configurations ADD COLUMN created_by VARCHAR(255);
ALTER TABLE plugin_configurations ADD COLUMN created_at TIMESTAMP;
ALTER TABLE plugin_configurations ADD COLUMN updated_at TIMESTAMP;
ALTER TABLE plugin_configurations ADD COLUMN daid_id VARCHAR(255);
UPDATE plugin_configurations SET session_id = 'own', created_by = 'ana', daid_id = 'daid_own',
    created_at = '2020-01-02 03:04:05' WHERE id = 'reverb_7';
"""


def database(path, *scripts):
    with sqlite3.connect(path) as db:
        for script in scripts:
            db.executescript(script)
    db.close()
    return path


def table(state):
    with sqlite3.connect(f"file:{state / 'rigd.db'}?mode=ro", uri=True) as db:
        db.row_factory = sqlite3.Row
        found = {row["id"]: dict(row) for row in db.execute("SELECT * FROM plugin_configurations")}
    db.close()
    return found


def imported(state, file, code=0):
    done = run(file.parent, "import-legacy", file, "--state-dir", state)
    assert done.returncode == code, done
    assert (done.stdout if code == 0 else done.stderr).strip().endswith("."), "a sentence"
    return done


def test_import_into_a_rig_that_has_run(start, tmp_path):
    rig = start()
    rig.client().add("gain", "taken")
    rig.finish()
    mine = table(rig.state)["taken"]
    old = database(tmp_path / "old.db", OLD)
    before = old.read_bytes()
    done = imported(rig.state, old)
    assert "Of 3 plugin configurations" in done.stdout
    assert "2 were imported (2 of them" in done.stdout and "1 were here already" in done.stdout
    first = table(rig.state)
    assert first["taken"] == mine
    reverb = first["reverb_7"]
    assert (reverb["track_id"], reverb["name"]) == ("vocals", "Reverb")
    assert (reverb["plugin_path"], reverb["parameters"]) == ("/plugins/reverb.vst3", '{"wet":0.5}')
    for id in ("reverb_7", "é:1"):
        assert first[id]["session_id"] == "legacy_session"
        assert first[id]["created_by"] == "migration_script"
        assert first[id]["daid_id"] == "daid_" + id
        assert first[id]["created_at"] and first[id]["updated_at"]
    again = imported(rig.state, old)
    assert "0 were imported" in again.stdout and "3 were here already" in again.stdout
    assert table(rig.state) == first
    assert old.read_bytes() == before, "the old database is only read"
    # The rig goes on as it was, and leaves the old rows alone.
    rig = start("--state-dir", rig.state)
    client = rig.client()
    assert client.plugin("taken") and not client.plugin("reverb_7")
    assert client.ask("status.get")["data"]["degraded"] == []
    client.ask("plugin.remove", {"track_id": "mic1", "plugin_id": "taken"}, requires_ack=True)
    client.wait("ack")
    rig.finish()
    assert set(table(rig.state)) == {"reverb_7", "é:1", "limiter"}
    assert json.loads(log(rig, "verify").stdout)["valid"] is True


def test_import_into_a_new_folder_before_the_first_start(start, tmp_path):
    state = tmp_path / "new/state"
    old = database(tmp_path / "old.db", OLD, NEW)
    assert "3 were imported (2 of them" in imported(state, old).stdout
    reverb = table(state)["reverb_7"]
    assert (reverb["session_id"], reverb["created_by"], reverb["daid_id"]) == ("own", "ana", "daid_own")
    assert reverb["created_at"] == "2020-01-02 03:04:05"
    rig = start("--state-dir", state)
    client = rig.client()
    client.add("gain", "g")
    assert client.ask("daid.verify", {})["data"] == {"valid": True, "rows": 1, "success": True}
    rig.finish()
    assert set(table(state)) == {"reverb_7", "é:1", "taken", "limiter", "g"}


def test_import_numbers_as_ids(tmp_path):
    script = """CREATE TABLE plugin_configurations (id INTEGER PRIMARY KEY, settings BLOB);
        INSERT INTO plugin_configurations VALUES (7, x'00ff'), (8, NULL);"""
    imported(tmp_path / "state", database(tmp_path / "old.db", script))
    assert {id: row["daid_id"] for id, row in table(tmp_path / "state").items()} == {
        "7": "daid_7",
        "8": "daid_8",
    }


def test_import_refuses(rig, tmp_path):
    old = database(tmp_path / "old.db", OLD)
    running = imported(rig.state, old, code=1)
    assert "another rigd uses the state folder" in running.stderr
    assert "reverb_7" not in table(rig.state)
    state = tmp_path / "state"
    text = tmp_path / "text.db"
    text.write_text("this is no database" * 100)
    assert "no SQLite database" in imported(state, text, code=1).stderr
    other = database(tmp_path / "other.db", "CREATE TABLE songs (id TEXT);")
    assert "no table plugin_configurations" in imported(state, other, code=1).stderr
    assert "no such file" in imported(state, tmp_path / "gone.db", code=1).stderr
    strange = database(tmp_path / "strange.db", "CREATE TABLE plugin_configurations (name TEXT);")
    assert "no column id" in imported(state, strange, code=1).stderr
    assert not state.exists(), "nothing is made for what is refused"
