"""A disk that fails never takes the faders away: sound goes on, clients are told, and when it is back the
log is whole, or says what it lacks (wire.md sections 3 and 6)."""

import contextlib
import json
import resource
import sqlite3
import subprocess
import time

import pytest

import ledger
import kept_state
from ledger import tmp_path  # noqa: F401 (a fixture)
from rig import NO_LIMITS, PATIENCE, Rig, run

# rigd is not to end where a write is refused because of a limit: that is this file's failing disk.
REFUSES_WRITES = ("env", "--ignore-signal=XFSZ")


@contextlib.contextmanager
def failing_disk(rig):
    """Every write to a file fails with an I/O error."""
    before = resource.prlimit(rig.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(rig.process.pid, resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(rig.process.pid, resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB; the command that does something to it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        reason = f"no small disk can be mounted here: {mounted.stderr.strip()}"
        print(f"SKIP {reason}")
        pytest.skip(reason)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def acked(client, kind, data=None):
    """The reply to a change, and what its `ack` says."""
    id = client.send(kind, data, requires_ack=True)
    reply = client.answer(id)
    assert reply["type"] != "ERROR", reply
    return reply, client.wait("ack", original_message_id=id)["data"]["durable"]


def kept(client, kind, data=None):
    """A change that is durable, be it after some that were not because the machine stalled; its reply, and how
    many changes it took."""
    for count in range(1, 20):
        reply, durable = acked(client, kind, data)
        if durable:
            return reply, count
    raise AssertionError("no change was durable")


def volume(value):
    return "track.update", {"track_id": "music", "volume": value}


def status(client):
    return client.ask("status.get")["data"]


def wait_until(what, holds):
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come true"
        time.sleep(0.02)


def check_playable(rig, client):
    """Sound goes on, clients are told, and faders and buttons work."""
    before = status(client)
    assert any("disk" in trouble or "nothing is kept" in trouble for trouble in before["degraded"]), before
    wait_until("sound", lambda: status(client)["frame"] > before["frame"] + 480)

    def is_healthy():
        code, _, body = rig.http("/healthz")
        return code == 200 and json.loads(body)["status"] == "degraded"

    wait_until("healthz", is_healthy)
    client.ask("rig.panic", {"mode": "mute"})
    client.ask("rig.restore")


def check_log(folder, client, changes, promised):
    """The log is whole: these many changes, none twice, everything promised among them, and the state that
    they come to is the one that is shown."""
    found, head = ledger.read(folder / "rigd.db")
    ledger.check_chain(found, head, (folder / "rigd.key").read_bytes())
    count, own = ledger.numbers(found)
    assert len(own) == len(set(own)), "a change is told twice"
    gaps = [json.loads(row["details"]) for row in found if row["action"] == "rig.gap"]
    assert count + sum(gap["events"] for gap in gaps) == changes
    assert promised <= {row["seq_last"] for row in found}
    return gaps


def test_while_writes_fail_everything_is_played_and_afterwards_all_of_it_is_there(start, tmp_path):
    rig = start(settings=NO_LIMITS, wrapper=REFUSES_WRITES)
    state = tmp_path / "rig0/state"
    client = rig.client()
    promised, changes = set(), 0
    for step in range(3):
        reply, count = kept(client, *volume(step / 4))
        promised.add(reply["seq"])
        changes += count
    client.add("eq", "e")
    for _ in range(2):
        with failing_disk(rig):
            reply, durable = acked(client, *volume(1.25))
            assert durable is False
            changes += 1
            check_playable(rig, client)
            changes += 2
            reply, durable = acked(client, *volume(1.5))
            assert durable is False
            changes += 1
        wait_until("the disk is back", lambda: status(client)["degraded"] == [])
        reply, count = kept(client, *volume(1.75))
        promised.add(reply["seq"])
        changes += count
    shown = kept_state.plain(client.state())
    # What was acknowledged is behind everything else: all of it is there.
    assert check_log(state, client, changes + 1, promised) == []
    rig.process.kill()
    rig.process.wait()
    client.close()
    again = Rig(tmp_path / "rig0", settings=NO_LIMITS)
    assert kept_state.plain(again.client().state()) == shown
    again.finish()
    # The fixture looks at how the rig ended.
    rig.process.returncode = 0


def test_what_does_not_fit_into_memory_is_named(start, tmp_path):
    rig = start(settings=NO_LIMITS, wrapper=REFUSES_WRITES)
    client = rig.client()
    at = client.add("gain", "g")
    with failing_disk(rig):
        _, durable = acked(client, *volume(0.5))
        assert durable is False
        for step in range(6000):
            client.send("plugin.bypass", {**at, "bypass": step % 2 == 0})
        _, durable = acked(client, *volume(1.5))
        assert durable is False
        check_playable(rig, client)
    wait_until("the disk is back", lambda: status(client)["degraded"] == [])
    reply, count = kept(client, *volume(1.75))
    shown = kept_state.plain(client.state())
    gaps = check_log(tmp_path / "rig0/state", client, 6005 + count, {reply["seq"]})
    assert len(gaps) == 1 and 1000 < gaps[0]["events"] < 6006, gaps
    assert gaps[0]["seq_last"] - gaps[0]["seq_first"] == gaps[0]["events"] - 1, gaps
    assert gaps[0]["seq_last"] < reply["seq"]
    client.close()
    assert rig.stop() == 0
    again = Rig(tmp_path / "rig0", settings=NO_LIMITS)
    assert kept_state.plain(again.client().state()) == shown
    again.finish()


def test_a_rig_whose_disk_is_dead_ends_all_the_same(start):
    rig = start(wrapper=REFUSES_WRITES)
    client = rig.client()
    with failing_disk(rig):
        _, durable = acked(client, *volume(0.5))
        assert durable is False
        client.close()
        assert rig.stop() == 0
    assert "could not be kept" in rig.log


def test_a_disk_that_was_only_slow_loses_nothing(start, tmp_path):
    """The lock that a reader may hold for a while stands for a disk that is busy."""
    rig = start()
    client = rig.client()
    acked(client, *volume(0.25))
    other = sqlite3.connect(tmp_path / "rig0/state/rigd.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    id = client.send(*volume(0.5), requires_ack=True)
    client.answer(id)
    before, _ = client.fence()
    assert not any(message["type"] == "ack" and message["data"]["durable"] for message in before)
    other.execute("ROLLBACK")
    other.close()
    if time.monotonic() < began + 1:
        ack = client.wait("ack", original_message_id=id)["data"]
        assert ack["durable"] is True or time.monotonic() > began + 2
    client.close()
    assert rig.stop() == 0
    found = ledger.rows(tmp_path / "rig0/state/rigd.db")
    assert json.loads(found[-1]["details"])["changes"]["volume"]["to"] == 0.5


def test_a_full_disk(small_disk, tmp_path):
    folder = small_disk / "home"
    folder.mkdir()
    rig = Rig(folder, settings=NO_LIMITS)
    client = rig.client()
    promised, changes = set(), 0
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    durable = True
    # A few may still fit into what the log has claimed before.
    while durable and changes < 2000:
        reply, durable = acked(client, *volume(changes / 1000))
        changes += 1
        if durable:
            promised.add(reply["seq"])
    assert durable is False, "the disk is full"
    check_playable(rig, client)
    changes += 2
    filler.unlink()
    wait_until("the disk is back", lambda: status(client)["degraded"] == [])
    reply, count = kept(client, *volume(1.75))
    changes += count
    assert check_log(folder / "state", client, changes, promised | {reply["seq"]}) == []
    shown = kept_state.plain(client.state())
    rig.process.kill()
    rig.process.wait()
    client.close()
    # A start with no room left has its state all the same.
    with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    again = Rig(folder, settings="")
    client = again.client()
    assert kept_state.plain(client.state()) == shown
    filler.unlink()
    wait_until("the disk is back", lambda: status(client)["degraded"] == [])
    again.finish()


def test_a_disk_that_is_read_only_at_the_start(small_disk):
    folder = small_disk / "home"
    folder.mkdir()
    rig = Rig(folder)
    client = rig.client()
    first, before = kept(client, *volume(0.5))
    shown = kept_state.plain(client.state())
    rig.finish()

    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    rig = Rig(folder)
    client = rig.client()
    assert kept_state.plain(client.state()) == shown, "what can be read is there"
    second, durable = acked(client, *volume(0.75))
    assert durable is False
    assert second["seq"] > first["seq"]
    check_playable(rig, client)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    wait_until("the disk is back", lambda: status(client)["degraded"] == [])
    third, after = kept(client, *volume(1.0))
    shown = kept_state.plain(client.state())
    assert check_log(folder / "state", client, before + 3 + after, {first["seq"], third["seq"]}) == []
    rig.finish()

    rig = Rig(folder)
    client = rig.client()
    assert kept_state.plain(client.state()) == shown
    fourth, _ = acked(client, *volume(1.0))
    assert fourth["seq"] > third["seq"]
    rig.finish()


def test_a_damaged_log_is_set_aside_and_everyone_is_told(start, tmp_path):
    rig = start()
    client = rig.client()
    acked(client, *volume(0.5))
    client.close()
    assert rig.stop() == 0
    state = tmp_path / "rig0/state"
    damaged = b"no database " * 5000
    (state / "rigd.db").write_bytes(damaged)
    again = Rig(tmp_path / "rig0")
    client = again.client()
    told = status(client)["degraded"]
    assert len(told) == 1 and "set aside as" in told[0], told
    assert "set aside as" in again.log
    _, _, body = again.http("/healthz")
    assert json.loads(body)["status"] == "degraded"
    assert any(path.read_bytes() == damaged for path in state.glob("*damaged*"))
    kept(client, *volume(0.75))
    again.finish()


def test_a_log_from_a_newer_rigd_is_refused(start, tmp_path):
    rig = start()
    acked(rig.client(), *volume(0.5))
    rig.finish()
    db = sqlite3.connect(tmp_path / "rig0/state/rigd.db")
    db.execute("PRAGMA user_version = 999")
    db.close()
    refused = run(tmp_path, "serve", "--listen", "127.0.0.1:0", "--state-dir", tmp_path / "rig0/state")
    assert refused.returncode == 1
    assert "newer rigd" in refused.stderr and "--state-dir" in refused.stderr


def test_after_an_update_is_taken_back_the_rig_goes_on_with_the_copy_of_before(start, tmp_path):
    rig = start()
    acked(rig.client(), *volume(0.5))
    rig.finish()
    state = tmp_path / "rig0/state"
    path = state / "rigd.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        [[version]] = db.execute("PRAGMA user_version")
        db.execute("VACUUM INTO ?", [str(state / f"rigd.v{version}.backup")])
    # What the newer one did before it was taken back.
    again = Rig(tmp_path / "rig0")
    newest, _ = acked(again.client(), *volume(0.75))
    again.finish()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {version + 1}")
        db.execute("CREATE TABLE newer (x)")
    back = Rig(tmp_path / "rig0")
    client = back.client()
    [music] = [track for track in client.state()["tracks"] if track["track_id"] == "music"]
    assert music["volume"] == 0.5
    [told] = status(client)["degraded"]
    assert "newer rigd" in told and "set aside as" in told
    reply, durable = acked(client, *volume(1.0))
    assert durable and reply["seq"] > newest["seq"], "no number is used twice"
    back.finish()
    [aside] = state.glob("rigd.newer-*.db")
    assert ledger.rows(aside)[-1]["seq_last"] == newest["seq"], "nothing is gone"
    verified = run(tmp_path, "log", "verify", "--state-dir", state)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    once_more = Rig(tmp_path / "rig0")
    assert status(once_more.client())["degraded"] == []
    once_more.finish()


def test_a_copy_of_before_that_is_no_good_is_not_taken(start, tmp_path):
    rig = start()
    acked(rig.client(), *volume(0.5))
    rig.finish()
    state = tmp_path / "rig0/state"
    with contextlib.closing(sqlite3.connect(state / "rigd.db")) as db:
        [[version]] = db.execute("PRAGMA user_version")
        db.execute(f"PRAGMA user_version = {version + 1}")
    (state / f"rigd.v{version}.backup").write_bytes(b"no database " * 5000)
    refused = run(tmp_path, "serve", "--listen", "127.0.0.1:0", "--state-dir", state)
    assert refused.returncode == 1
    assert "newer rigd" in refused.stderr and "of no use" in refused.stderr
    assert (state / "rigd.db").exists() and not list(state.glob("rigd.newer-*"))


def test_two_rigs_do_not_write_one_log(start, tmp_path):
    rig = start()
    acked(rig.client(), *volume(0.5))
    second = Rig(tmp_path / "rig0")
    client = second.client()
    assert any("another rigd" in trouble for trouble in status(client)["degraded"])
    reply, durable = acked(client, *volume(0.75))
    assert durable is False
    check_playable(second, client)
    second.finish()
    found = ledger.rows(tmp_path / "rig0/state/rigd.db")
    assert reply["seq"] not in [row["seq_last"] for row in found]
    kept(rig.client(), *volume(1.0))


def test_a_state_folder_that_cannot_be_made(tmp_path):
    file = tmp_path / "state"
    file.write_text("in the way")
    rig = Rig(tmp_path)
    client = rig.client()
    _, durable = acked(client, *volume(0.75))
    assert durable is False
    check_playable(rig, client)
    rig.finish()


def test_a_start_with_other_settings_has_the_same_rig(start, tmp_path):
    """The state counts, not the settings that the first start had; a smaller memory takes what fits."""
    rig = start()
    client = rig.client()
    for index in range(4):
        client.ask("plugin.add", {"track_id": "mic1", "name": "echo", "plugin_id": f"e{index}"})
    shown = kept_state.plain(client.state())
    rig.finish()
    again = Rig(tmp_path / "rig0", "--sample-rate", "96000", "--block", "128")
    assert kept_state.plain(again.client().state()) == shown
    again.finish()
    small = Rig(tmp_path / "rig0", "--sample-rate", "96000", settings="[audio]\ndelay_pool_mb = 2\n")
    fits = kept_state.plain(small.client().state())
    assert fits != shown and "was dropped" in small.log
    small.finish()
    last = Rig(tmp_path / "rig0")
    client = last.client()
    assert kept_state.plain(client.state()) == fits, "log and state agree on what was dropped"
    client.add("echo", "e3")
    last.finish()
