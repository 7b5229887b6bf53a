"""Looking after a box: backup and restore, the support bundle, the factory reset."""

import io
import json
import os
import stat
import tarfile

import pytest

from rig import run


def names(file):
    with tarfile.open(file) as tar:
        return tar.getnames()


def entry(file, name):
    with tarfile.open(file) as tar:
        return tar.extractfile(name).read()


def keep(client, plugin_id):
    client.ask("plugin.add", {"track_id": "mic1", "name": "gain", "plugin_id": plugin_id}, requires_ack=True)
    assert client.wait("ack")["data"]["durable"]


def care(folder, what, *options, code=0):
    result = run(folder, what, *options)
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture
def kept(start, tmp_path):
    """A rig that runs, with something in it and with settings, and a backup of it."""
    state = tmp_path / "box"
    state.mkdir()
    (state / "rigd.toml").write_text('agent_id = "first"\n')
    rig = start("--state-dir", state)
    client = rig.client()
    keep(client, "before")
    file = tmp_path / "backup.tar"
    care(tmp_path, "backup", file, "--state-dir", state)
    keep(client, "after")
    return rig, state, file


def test_a_backup_of_a_running_rig_is_restored_as_it_was_then(kept, start, tmp_path):
    rig, state, file = kept
    assert names(file) == ["backup.json", "rigd.db", "rigd.toml"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not [name for name in os.listdir(state) if "part" in name], "nothing is left over"
    assert rig.client().ask("status.get")
    before = rig.client().state()["seq"]
    rig.stop()
    (state / "rigd.toml").write_text('agent_id = "second"\n')
    said = care(tmp_path, "restore", file, "--state-dir", state)
    assert "before-restore" in said and "another rig's key" not in said
    assert (state / "rigd.toml").read_text() == 'agent_id = "first"\n'
    client = start("--state-dir", state).client()
    assert client.plugin("before") and not client.plugin("after")
    assert client.state()["seq"] > before, "no number is given out twice"
    care(tmp_path, "log", "verify", "--state-dir", state)


def test_a_running_rig_is_not_restored_and_not_reset(kept, tmp_path):
    rig, state, file = kept
    for what in (["restore", file], ["reset", "--factory"]):
        said = care(tmp_path, *what, "--state-dir", state, code=1)
        assert "another rigd uses the state folder" in said, said
    assert rig.client().plugin("after")


def test_keys_are_in_it_only_when_asked_for(kept, start, tmp_path):
    rig, state, _ = kept
    file = tmp_path / "whole.tar"
    assert "keys" in care(tmp_path, "backup", file, "--state-dir", state, "--secrets")
    assert {"rigd.key", "tokens.key"} <= set(names(file))
    elsewhere = tmp_path / "elsewhere"
    said = care(tmp_path, "restore", file, "--state-dir", elsewhere)
    assert "left out" in said and "another rig's key" in said and not (elsewhere / "rigd.key").exists()
    care(tmp_path, "restore", file, "--state-dir", elsewhere, "--secrets")
    assert (elsewhere / "rigd.key").read_bytes() == (state / "rigd.key").read_bytes()
    assert stat.S_IMODE((elsewhere / "rigd.key").stat().st_mode) == 0o600
    care(tmp_path, "log", "verify", "--state-dir", elsewhere)
    assert start("--state-dir", elsewhere).client().plugin("before")


def remade(file, into, change):
    """The same backup with other entries."""
    entries = {name: entry(file, name) for name in names(file)}
    entries = change(entries)
    with tarfile.open(into, "w") as tar:
        for name, data in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return into


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("no backup", lambda e: {"x": b"y"}),
        ("another kind", lambda e: {**e, "backup.json": b"{}"}),
        ("no state", lambda e: {n: d for n, d in e.items() if n != "rigd.db"}),
        ("a foreign file", lambda e: {**e, "../../etc/passwd": b"root"}),
        ("damaged", lambda e: {**e, "rigd.db": e["rigd.db"][:5000] + b"\xff" * (len(e["rigd.db"]) - 5000)}),
        ("cut short", lambda e: {**e, "rigd.db": e["rigd.db"][: len(e["rigd.db"]) // 2]}),
        ("bad settings", lambda e: {**e, "rigd.toml": b"agent = 1\n"}),
    ],
)
def test_what_is_no_good_backup_changes_nothing(kept, start, tmp_path, what, change):
    rig, state, file = kept
    rig.stop()
    bad = remade(file, tmp_path / "bad.tar", change)
    there = {name: (state / name).read_bytes() for name in os.listdir(state) if not name.endswith(("-wal", "-shm"))}
    said = care(tmp_path, "restore", bad, "--state-dir", state, code=1)
    assert "nothing is changed" in said, said
    for name, data in there.items():
        assert (state / name).read_bytes() == data, name
    assert not (tmp_path.parent / "etc").exists() and "restore.part" not in os.listdir(state)
    assert start("--state-dir", state).client().plugin("after")


def test_a_file_that_is_there_is_not_written_over(kept, tmp_path):
    _, state, file = kept
    before = file.read_bytes()
    assert "there already" in care(tmp_path, "backup", file, "--state-dir", state, code=1)
    assert file.read_bytes() == before


def test_a_support_bundle_says_how_the_box_is_and_no_secret(kept, tmp_path):
    _, state, _ = kept
    file = tmp_path / "support.tar"
    care(tmp_path, "support", file, "--state-dir", state)
    assert set(names(file)) == {"versions.txt", "doctor.json", "settings.toml", "state.json", "journal.txt"}
    assert entry(file, "versions.txt").startswith(b"rigd ")
    assert json.loads(entry(file, "doctor.json"))["findings"]
    assert b'agent_id = "first"' in entry(file, "settings.toml")
    assert json.loads(entry(file, "state.json"))["log_rows"] >= 2
    for secret in ("rigd.key", "tokens.key"):
        for name in names(file):
            assert (state / secret).read_bytes().strip() not in entry(file, name)


def test_a_factory_reset_leaves_nothing_of_the_rig_and_what_is_not_its(kept, start, tmp_path):
    rig, state, _ = kept
    rig.stop()
    (state / "mine.txt").write_text("mine")
    (state / "claim_code").write_text("ABCD-EFGH-JKLM")
    (state / "claimed").touch()
    assert run(tmp_path, "reset", "--state-dir", state).returncode == 2, "not by accident"
    care(tmp_path, "reset", "--factory", "--state-dir", state)
    assert set(os.listdir(state)) <= {"mine.txt", "rigd.lock"}
    client = start("--state-dir", state).client()
    assert not client.plugin("before") and client.state()["tracks"]
