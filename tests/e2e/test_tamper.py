"""Whoever changes the log with plain SQLite and without the rig's key is found, and the first bad row is
named; and what was found once stays found, whatever rigd writes behind it."""

import json
import shutil
import sqlite3

import pytest
from ledger import COLUMNS, GENESIS, link, rows, seal
from rig import NO_LIMITS, Rig, run

ROWS = 12
MIDDLE = 6


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The state folder of a rig that was stopped, with some rows in its log."""
    folder = tmp_path_factory.mktemp("original")
    rig = Rig(folder, settings=NO_LIMITS)
    client = rig.client()
    for step in range(ROWS):
        track = "mic1" if step % 2 else "mic2"
        client.ask("track.update", {"track_id": track, "pan": step / 20})
    rig.finish()
    found = rows(folder / "state/rigd.db")
    assert [row["row"] for row in found] == list(range(1, ROWS + 1))
    before = GENESIS
    for row in found:
        before = link(before, row)
        assert row["chain"] == before, "the formula of these tests is rigd's"
    return folder / "state"


@pytest.fixture
def state(original, tmp_path):
    """A copy to tamper with."""
    folder = tmp_path / "copy"
    shutil.copytree(original, folder)
    return folder


def change(state, *statements):
    """Runs statements on the log as anybody could."""
    with sqlite3.connect(state / "rigd.db") as db:
        for statement in statements:
            sql, values = statement if isinstance(statement, tuple) else (statement, ())
            db.execute(sql, values)
    db.close()


def verdict(state):
    done = run(state, "log", "verify", "--state-dir", state)
    told = json.loads(done.stdout)
    assert done.returncode == (0 if told["valid"] else 1), done
    assert ("first_bad" in told) == (not told["valid"])
    if not told["valid"]:
        assert str(told["first_bad"]) in done.stderr, "a sentence for a person"
    return told


def bad(row, count=ROWS):
    return {"valid": False, "rows": count, "first_bad": row}


def test_untouched(state):
    assert verdict(state) == {"valid": True, "rows": ROWS}


EDITS = {
    "id": "daid:v1.0:2020-01-01T00:00:00+00:00:rigd:track:mic1:0123456789abcdef",
    "user_id": "somebody_else",
    "action": "rig.panic",
    "details": '{"track_id":"mic2"}',
    "timestamp": "2020-01-01T00:00:00+00:00",
    "seq_first": 1,
    "seq_last": 10**6,
    "epoch": "another",
    "monotonic_us": 5,
    "applied_frame": None,
    "entity_type": "session",
    "entity_id": "mic9",
    "session_id": "another",
    "role": "guest",
    "verified": 1,
    "address": "10.0.0.1",
    "parents": "[]",
    "preimage": "{}",
    "chain": "0" * 64,
}


@pytest.mark.parametrize("row", [2, MIDDLE, ROWS])
@pytest.mark.parametrize("column", EDITS)
def test_each_column_of_a_row(state, column, row):
    wanted = EDITS[column]
    if column == "parents":
        wanted = json.dumps([rows(state / "rigd.db")[0]["id"]]) if row == 2 else "[]"
    change(state, (f"UPDATE daid_events SET {column} = ? WHERE row = ?", (wanted, row)))
    assert verdict(state) == bad(row)


def test_every_column_is_tried():
    assert set(EDITS) == {*COLUMNS, "chain"} - {"row"}


@pytest.mark.parametrize("value", ["2", "-1", "'yes'", "0.5", "x'00'"])
def test_what_rigd_cannot_have_written(state, value):
    change(state, f"UPDATE daid_events SET verified = {value} WHERE row = {MIDDLE}")
    assert verdict(state) == bad(MIDDLE)
    # The rest can be read all the same.
    done = run(state, "log", "query", "--state-dir", state)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == ROWS - 1


@pytest.mark.parametrize("row", [1, MIDDLE])
def test_a_row_is_taken_away(state, row):
    change(state, f"DELETE FROM daid_events WHERE row = {row}")
    assert verdict(state) == bad(row, ROWS - 1)


@pytest.mark.parametrize("row", [1, MIDDLE])
def test_a_row_is_taken_away_and_the_others_move_up(state, row):
    change(state, f"DELETE FROM daid_events WHERE row = {row}")
    for number in range(row + 1, ROWS + 1):
        change(state, f"UPDATE daid_events SET row = {number - 1} WHERE row = {number}")
    assert verdict(state) == bad(row, ROWS - 1)


@pytest.mark.parametrize("count", [1, 5, ROWS])
def test_the_end_is_taken_away(state, count):
    left = ROWS - count
    change(state, f"DELETE FROM daid_events WHERE row > {left}")
    assert verdict(state) == bad(left + 1, left)


@pytest.mark.parametrize("is_head_kept", [True, False])
def test_everything_is_taken_away(state, is_head_kept):
    change(state, "DELETE FROM daid_events")
    if not is_head_kept:
        change(state, "DELETE FROM daid_head")
    assert verdict(state) == bad(1, 0)


def test_the_head_is_taken_away(state):
    change(state, "DELETE FROM daid_head")
    assert verdict(state) == bad(ROWS + 1)


def insert(state, row):
    columns = [*COLUMNS, "chain"]
    marks = ", ".join("?" * len(columns))
    values = tuple(row[name] for name in columns)
    change(state, (f"INSERT INTO daid_events ({', '.join(columns)}) VALUES ({marks})", values))


def test_a_row_is_put_at_the_end(state):
    newest = rows(state / "rigd.db")[-1]
    row = {**newest, "row": ROWS + 1, "id": newest["id"] + "0", "user_id": "nobody"}
    insert(state, {**row, "chain": link(newest["chain"], row)})
    assert verdict(state) == bad(ROWS + 1, ROWS + 1)


@pytest.mark.parametrize("number", [0, -5])
def test_a_row_is_put_in_front(state, number):
    oldest = rows(state / "rigd.db")[0]
    insert(state, {**oldest, "row": number, "id": "daid:x"})
    assert verdict(state) == bad(number, ROWS + 1)


def test_a_row_is_put_in_between(state):
    found = rows(state / "rigd.db")
    for number in range(ROWS, MIDDLE, -1):
        change(state, f"UPDATE daid_events SET row = {number + 1} WHERE row = {number}")
    between = {**found[MIDDLE], "row": MIDDLE + 1, "id": "daid:x"}
    insert(state, {**between, "chain": link(found[MIDDLE - 1]["chain"], between)})
    # Its place in the chain is right, so it is its name that gives it away.
    assert verdict(state) == bad(MIDDLE + 1, ROWS + 1)


def test_two_rows_change_places(state):
    one, other = 3, 8
    change(
        state,
        f"UPDATE daid_events SET row = 1000 WHERE row = {one}",
        f"UPDATE daid_events SET row = {one} WHERE row = {other}",
        f"UPDATE daid_events SET row = {other} WHERE row = 1000",
    )
    assert verdict(state) == bad(one)


def forge(state, row, **columns):
    """Changes a row and makes the chain fit again; gives the new newest hash."""
    found = rows(state / "rigd.db")
    found[row - 1].update(columns)
    chain = found[row - 2]["chain"] if row > 1 else GENESIS
    for one in found[row - 1 :]:
        chain = link(chain, one)
        sets = ", ".join(f"{name} = ?" for name in [*columns, "chain"])
        values = (*(one[name] for name in columns), chain, one["row"])
        change(state, (f"UPDATE daid_events SET {sets} WHERE row = ?", values))
    return chain


@pytest.mark.parametrize("row", [1, MIDDLE, ROWS])
@pytest.mark.parametrize("head", ["left", "without a seal", "with another key's seal"])
def test_the_chain_is_made_anew_without_the_key(state, row, head):
    chain = forge(state, row, user_id="somebody_else")
    if head == "without a seal":
        change(state, ("UPDATE daid_head SET chain = ?", (chain,)))
    elif head == "with another key's seal":
        forged = seal(bytes(32), f"rigd head {ROWS} {chain}")
        change(state, ("UPDATE daid_head SET chain = ?, seal = ?", (chain, forged)))
    found = verdict(state)
    # Only the row after the change has a column `user_id` that fits its details; either way the seal
    # is not the key's.
    assert found == bad(ROWS + 1)


def test_with_the_key_it_is_not_found(state):
    """What the seal rests on: the key, and nothing else."""
    chain = forge(state, MIDDLE, user_id="somebody_else")
    key = (state / "rigd.key").read_bytes()
    sealed = seal(key, f"rigd head {ROWS} {chain}")
    change(state, ("UPDATE daid_head SET chain = ?, seal = ?", (chain, sealed)))
    assert verdict(state)["valid"] is True


def test_an_identifier_that_does_not_follow_from_its_row_is_found_even_with_the_key(state):
    chain = forge(state, MIDDLE, entity_id="mic9")
    key = (state / "rigd.key").read_bytes()
    sealed = seal(key, f"rigd head {ROWS} {chain}")
    change(state, ("UPDATE daid_head SET chain = ?, seal = ?", (chain, sealed)))
    assert verdict(state) == bad(MIDDLE)


CUTS = {
    "the end is gone": (lambda state: change(state, "DELETE FROM daid_events WHERE row > 8"), 9),
    "all is gone": (lambda state: change(state, "DELETE FROM daid_events"), 1),
    "rows and head are gone": (
        lambda state: change(state, "DELETE FROM daid_events", "DELETE FROM daid_head"),
        1,
    ),
    "an edit": (
        lambda state: change(state, "UPDATE daid_events SET user_id = 'x' WHERE row = 4"),
        4,
    ),
    "a chain made anew": (lambda state: forge(state, 4, user_id="x"), ROWS + 1),
    "an older head": (lambda state: change(state, "UPDATE daid_head SET rows = 8"), ROWS + 1),
}


@pytest.mark.parametrize("cut", CUTS)
def test_what_rigd_writes_behind_it_does_not_cover_it_up(start, state, cut):
    tamper, row = CUTS[cut]
    tamper(state)
    assert verdict(state)["first_bad"] == row
    for round in range(2):
        rig = start("--state-dir", state)
        client = rig.client()
        for _ in range(3):
            client.ask("track.update", {"track_id": "mic1", "mute": True}, requires_ack=True)
            assert client.wait("ack")["data"]["durable"] is True
        told = client.ask("daid.verify", {})["data"]
        assert told["valid"] is False and told["first_bad"] == row
        if cut != "an edit":
            degraded = client.ask("status.get")["data"]["degraded"]
            assert any(f"row {row} is not as it was written" in trouble for trouble in degraded)
        rig.finish()
        assert verdict(state)["first_bad"] == row
        # Nor does taking the note away.
        other = state.with_name(f"without{round}")
        shutil.copytree(state, other)
        change(other, "DELETE FROM daid_checkpoint")
        assert verdict(other)["valid"] is False


def test_while_rigd_runs(start):
    rig = start()
    client = rig.client()
    state = rig.state
    for step in range(6):
        client.ask("track.update", {"track_id": "mic1", "pan": step / 20}, requires_ack=True)
        client.wait("ack")
    change(state, "DELETE FROM daid_events WHERE row = 6")
    assert verdict(state) == bad(6, 5)
    client.ask("track.update", {"track_id": "mic1", "mute": True}, requires_ack=True)
    client.wait("ack")
    assert client.ask("daid.verify", {})["data"]["first_bad"] == 6


def test_a_lost_key(start, state):
    (state / "rigd.key").unlink()
    done = run(state, "log", "verify", "--state-dir", state)
    assert done.returncode == 1 and "rigd.key cannot be read" in done.stderr
    assert not (state / "rigd.key").exists(), "reading makes no key"
    rig = start("--state-dir", state)
    assert rig.client().ask("daid.verify", {})["data"]["first_bad"] == ROWS + 1
