"""Looking after a box from a phone: files out and in, factory reset, reboot and power-off (over HTTP and the
WebSocket). logind is not asked here: a `busctl` of the test's own takes the call."""

import http.client
import json
import os
import random
import socket
import stat
import tarfile
import time

import pytest

from rig import PATIENCE
from test_care import entry, keep, names, remade

KILLS = int(os.environ.get("RIGD_TEST_KILLS", "8"))
TAR = {"Content-Type": "application/x-tar"}
FILES = [("GET", "backup"), ("GET", "support"), ("POST", "restore")]
CALLS = [("POST", "reset", {"factory": True}), ("POST", "reboot", {}), ("POST", "power-off", {})]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Box:
    """A rig that can begin anew under the same address, and a logind that only takes notes."""

    def __init__(self, start, folder, settings="", refuses=""):
        self.asked = folder / "asked"
        bin = folder / "bin"
        bin.mkdir()
        fake = bin / "busctl"
        end = f"echo 'Call failed: {refuses}' >&2; exit 1" if refuses else "exit 0"
        fake.write_text(f'#!/bin/sh\necho "$@" >>{self.asked}\n{end}\n')
        fake.chmod(0o755)
        self.state = folder / "box"
        self.state.mkdir()
        (self.state / "rigd.toml").write_text(settings)
        env = {"PATH": f"{bin}:{os.environ['PATH']}"}
        self.rig = start("--state-dir", self.state, "--listen", f"127.0.0.1:{free_port()}", env=env)

    def http(self, method, path, body=None, **headers):
        """(status, headers, body as JSON or bytes)."""
        status, got, answer = self.rig.http(f"/api/device{path}", method, headers, body=body)
        got = {name.lower(): value for name, value in got.items()}
        return status, got, json.loads(answer) if got.get("content-type") == "application/json" else answer

    def starts(self):
        return sum("listening on" in line for line in self.rig.lines)

    def begun_anew(self, starts):
        """Waits until it has."""
        with self.rig.news:
            self.rig.news.wait_for(lambda: self.starts() > starts or self.rig.ended, PATIENCE)
        assert self.starts() == starts + 1, self.rig.log
        return self.rig.client()

    def backup(self, query="", path=None):
        status, headers, data = self.http("GET", f"/backup{query}")
        assert status == 200, data
        if path:
            path.write_bytes(data)
        return data

    def restore(self, data, query="", status=200, **headers):
        got, _, answer = self.http("POST", f"/restore{query}", data, **{**TAR, **headers})
        assert got == status, answer
        return answer

    def files(self):
        """What is in its state folder, but for what is written all the time."""
        skip = ("rigd.db-wal", "rigd.db-shm", "rigd.db", "rigd.lock", "listening")
        names = (name for name in os.listdir(self.state) if name not in skip)
        return {name: (self.state / name).read_bytes() for name in names if (self.state / name).is_file()}

    def events(self, client, operation):
        client.ask("track.update", {"track_id": "mic1", "volume": 1.0}, requires_ack=True)
        client.wait("ack")
        events = client.ask("daid.query", {"operation": operation})["data"]["events"]
        assert all(e["entity_type"] == "configuration" and e["entity_id"] == "rig" for e in events)
        return events


@pytest.fixture
def box(start, tmp_path):
    return Box(start, tmp_path, 'agent_id = "first"\n')


def test_what_was_backed_up_is_there_again_after_a_restore(box, tmp_path):
    client = box.rig.client()
    keep(client, "before")
    file = tmp_path / "backup.tar"
    status, headers, data = box.http("GET", "/backup")
    file.write_bytes(data)
    assert status == 200 and headers["content-type"] == "application/x-tar"
    assert headers["content-disposition"].startswith('attachment; filename="rigd-backup-')
    assert int(headers["content-length"]) == len(data)
    assert names(file) == ["backup.json", "rigd.db", "rigd.toml"], "and no key"
    wanted = client.state()
    keep(client, "after")
    numbers = client.state()["seq"]
    (box.state / "rigd.toml").write_text('agent_id = "second"\n')
    pid, starts = box.rig.process.pid, box.starts()
    answer = box.restore(data)
    assert answer["restarts"] and answer["takes"] == ["state", "log", "settings"] and answer["leaves"] == []
    assert answer["made"] == json.loads(entry(file, "backup.json"))["made"]
    back = box.begun_anew(starts)
    assert box.rig.process.pid == pid and box.rig.process.poll() is None, "in the same process"
    state = back.state()
    assert state["tracks"] == wanted["tracks"] and state["seq"] > numbers and state["epoch"] != wanted["epoch"]
    assert (box.state / "rigd.toml").read_text() == 'agent_id = "first"\n'
    assert back.ask("daid.verify")["data"]["valid"]
    (event,) = box.events(back, "device.restore")
    assert event["metadata"]["in_effect"] and event["metadata"]["made"] == answer["made"]
    assert event["user_id"] == "legacy_user" and event["address"] == "127.0.0.1", "whose wish it was"
    left = {name for name in os.listdir(box.state) if "restore" in name or "part" in name}
    assert left == {"rigd.before-restore.db", "rigd.toml.before-restore"}, "what was there before, and no more"


def test_phones_come_back_by_themselves_and_the_sound_with_them(box):
    box.rig.client().ask("status.get")
    data, starts = box.backup(), box.starts()
    box.restore(data)
    client = box.begun_anew(starts)
    client.ask("meters.subscribe", {"rate_hz": 20, "format": "json"})
    assert client.wait("meters")["data"]["frame"] > 0


def test_whoever_is_no_host_gets_no_file_and_does_nothing(box):
    before = box.rig.client().state()
    for role in ("guest", "display", "performer"):
        more = ("--tracks", "mic1") if role == "performer" else ()
        headers = {"Authorization": f"Bearer {box.rig.token(role, 'me', *more)}"}
        json_headers = {"Content-Type": "application/json", **headers}
        for method, path in FILES:
            status, _, answer = box.http(method, f"/{path}", b"x" * 1000 if method == "POST" else None, **TAR, **headers)
            assert (status, answer["code"]) == (403, "UNAUTHORIZED"), (role, path, answer)
            assert answer["details"]["required_permission"] == "session:manage"
        for method, path, body in CALLS:
            status, _, answer = box.http(method, f"/{path}", json.dumps(body), **json_headers)
            assert (status, answer["code"]) == (403, "UNAUTHORIZED"), (role, path, answer)
        assert box.http("GET", "", **headers)[0] == 403
        client = box.rig.enter(role, "me", *more)
        for kind, data in [("reset", {"factory": True}), ("reboot", {}), ("power_off", {}), ("get", {})]:
            client.fail("UNAUTHORIZED", f"device.{kind}", data)
        client.close()
    assert not box.asked.exists() and box.starts() == 1
    after = box.rig.client().state()
    assert after["tracks"] == before["tracks"] and after["epoch"] == before["epoch"]


def test_nobody_without_a_token_gets_anything_where_one_is_needed(start, tmp_path):
    box = Box(start, tmp_path, 'allow_anonymous = "off"\n')
    for method, path in FILES:
        status, _, answer = box.http(method, f"/{path}", b"x" if method == "POST" else None, **TAR)
        assert (status, answer["code"]) == (401, "UNAUTHORIZED"), (path, answer)
    host = box.rig.bearer()
    assert box.http("GET", "/backup", **host)[0] == 200


def test_keys_move_only_when_that_is_said(box, tmp_path):
    keys = {"rigd.key", "tokens.key"}
    file = tmp_path / "whole.tar"
    token = box.rig.token()
    box.backup("?secrets=true", file)
    assert keys <= set(names(file))
    status, _, answer = box.http("GET", "/backup?secrets=yes")
    assert (status, answer["details"]["field"]) == (400, "secrets")
    other = {name: bytes(reversed(entry(file, name))) for name in ("tokens.key",)}
    changed = remade(file, tmp_path / "other.tar", lambda e: {**e, **other})
    before = (box.state / "tokens.key").read_bytes()
    starts = box.starts()
    answer = box.restore(changed.read_bytes())
    assert answer["leaves"] == ["keys: they were not asked for"]
    box.begun_anew(starts)
    assert (box.state / "tokens.key").read_bytes() == before
    answer = box.restore(file.read_bytes(), "?secrets=true")
    assert "keys" in answer["takes"]
    box.begun_anew(starts + 1)
    assert (box.state / "tokens.key").read_bytes() == entry(file, "tokens.key")
    assert stat.S_IMODE((box.state / "tokens.key").stat().st_mode) == 0o600
    assert box.http("GET", "", Authorization=f"Bearer {token}")[0] == 200, "tokens of then are good again"


def test_keys_do_not_travel_where_others_can_read_them(start, tmp_path):
    address = next((a for a in addresses() if not a.startswith("127.")), None)
    if address is None:
        pytest.skip("this machine has no address but loopback")
    settings = f'listen = ["{address}:0"]\nallow_anonymous = "host"\n'
    rig = start(settings=settings, *["--listen", f"{address}:0"])
    connection = http.client.HTTPConnection(address, rig.port, timeout=PATIENCE)
    connection.request("GET", "/api/device/backup?secrets=true")
    answer = connection.getresponse()
    assert answer.status == 403 and "tls" in json.loads(answer.read())["error"]


def addresses():
    """This machine's, as the way out shows them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return [probe.getsockname()[0]]
        except OSError:
            return []


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("no backup", lambda e: {"x": b"y"}),
        ("another kind", lambda e: {**e, "backup.json": b"{}"}),
        ("a foreign file", lambda e: {**e, "../../etc/passwd": b"root"}),
        ("damaged", lambda e: {**e, "rigd.db": e["rigd.db"][:5000] + b"\xff" * (len(e["rigd.db"]) - 5000)}),
        ("without its settings", lambda e: {n: d for n, d in e.items() if n != "rigd.toml"}),
        ("bad settings", lambda e: {**e, "rigd.toml": b"agent = 1\n"}),
        ("cut short", None),
        ("nothing", None),
    ],
)
def test_what_is_no_good_backup_changes_nothing(box, tmp_path, what, change):
    client = box.rig.client()
    keep(client, "before")
    file = tmp_path / "backup.tar"
    data = box.backup(path=file)
    if what == "cut short":
        data = data[: len(data) // 2]
    elif what == "nothing":
        data = b""
    else:
        data = remade(file, tmp_path / "bad.tar", change).read_bytes()
    keep(client, "after")
    there = box.files()
    answer = box.restore(data, status=400)
    assert answer["code"] == "DEVICE_FAILED" and "nothing is changed" in answer["error"], answer
    assert box.files() == there
    assert client.plugin("after") and box.starts() == 1, "it plays on"
    events = box.events(client, "device.restore")
    assert "failed" in events[-1]["metadata"], "and what was tried is on record"


def test_a_backup_that_does_not_come_whole_changes_nothing(box):
    keep(box.rig.client(), "before")
    data = box.backup()
    there = box.files()
    with socket.create_connection(("127.0.0.1", box.rig.port), timeout=PATIENCE) as raw:
        head = f"POST /api/device/restore HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-tar\r\nContent-Length: {len(data) + 1}\r\n\r\n"
        raw.sendall(head.encode() + data)
    # The next one waits until it is let in: by then nothing of the first is left.
    client = box.rig.client()
    status = 429
    while status == 429:
        status, _, _ = box.http("GET", "/backup")
    assert status == 200 and box.files() == there and box.starts() == 1
    assert client.plugin("before")


def test_a_backup_that_is_too_large_is_refused_before_it_comes(start, tmp_path):
    box = Box(start, tmp_path, "[device]\nrestore_max_mb = 1\n")
    there = box.files()
    answer = box.restore(b"x" * (3 << 20), status=413)
    assert answer["details"]["limit"] == 1 << 20 and "restore_max_mb" in answer["error"]
    with socket.create_connection(("127.0.0.1", box.rig.port), timeout=PATIENCE) as raw:
        raw.sendall(b"POST /api/device/restore HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert b" 411 " in raw.recv(4096)
    status, _, answer = box.http("POST", "/restore", b"{}", **{"Content-Type": "application/json"})
    assert (status, answer["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert box.files() == there and box.starts() == 1


def test_a_tar_file_that_claims_to_be_huge_is_not_believed(box):
    info = tarfile.TarInfo("backup.json")
    info.size = 1 << 40
    answer = box.restore(info.tobuf() + b"\0" * 4096, status=400)
    assert "too large" in answer["error"], answer


def test_a_support_bundle_comes_over_the_network(box, tmp_path):
    status, headers, data = box.http("GET", "/support")
    assert status == 200 and 'filename="rigd-support-' in headers["content-disposition"]
    file = tmp_path / "support.tar"
    file.write_bytes(data)
    assert set(names(file)) == {"versions.txt", "doctor.json", "settings.toml", "state.json", "journal.txt"}
    assert b'agent_id = "first"' in entry(file, "settings.toml")
    for secret in ("rigd.key", "tokens.key"):
        assert (box.state / secret).read_bytes().strip() not in data
    assert not [name for name in os.listdir(box.state) if "part" in name]


@pytest.mark.parametrize("way", ["message", "http"])
def test_a_factory_reset_leaves_nothing_and_the_box_plays(box, way):
    (box.state / "mine.txt").write_text("mine")
    client = box.rig.client()
    keep(client, "before")
    assert client.fail("INVALID_MESSAGE", "device.reset")["field"] == "factory"
    assert client.plugin("before"), "not by accident"
    key, starts = (box.state / "tokens.key").read_bytes(), box.starts()
    if way == "message":
        assert client.ask("device.reset", {"factory": True})["data"]["restarts"]
    else:
        headers = {"Content-Type": "application/json"}
        assert box.http("POST", "/reset", "{}", **headers)[0] == 400
        status, _, answer = box.http("POST", "/reset", '{"factory": true}', **headers)
        assert status == 200 and answer["restarts"], answer
    back = box.begun_anew(starts)
    assert not back.plugin("before") and back.state()["tracks"]
    assert (box.state / "tokens.key").read_bytes() != key and (box.state / "mine.txt").exists()
    assert not (box.state / "rigd.toml").exists() and not (box.state / "rigd.reset").exists()
    (event,) = box.events(back, "device.reset")
    assert event["user_id"] == "rigd", "the new log knows nobody of then"


def test_a_reset_that_was_interrupted_is_finished_at_the_next_start(start, tmp_path):
    box = Box(start, tmp_path)
    keep(box.rig.client(), "before")
    box.rig.stop()
    (box.state / "rigd.reset").write_text("")
    again = start("--state-dir", box.state)
    assert not again.client().plugin("before")


def test_a_restore_that_was_accepted_is_finished_at_the_next_start(start, tmp_path):
    """The plug is pulled between the acceptance and the new beginning."""
    box = Box(start, tmp_path)
    client = box.rig.client()
    keep(client, "before")
    file = tmp_path / "backup.tar"
    box.backup(path=file)
    keep(client, "after")
    box.rig.stop()
    ready = box.state / "restore.ready"
    ready.mkdir()
    for name in names(file):
        (ready / name).write_bytes(entry(file, name))
    by = {"user_id": "ana", "session_id": "s", "role": "host", "verified": True, "address": "10.0.0.9"}
    plan = {"by": by, "made": "then", "secrets": False, "settings": True, "config": None}
    (ready / "plan.json").write_text(json.dumps(plan))
    again = start("--state-dir", box.state).client()
    assert again.plugin("before") and not again.plugin("after")
    (event,) = box.events(again, "device.restore")
    assert event["user_id"] == "ana" and event["address"] == "10.0.0.9"
    assert not ready.exists()


def test_whenever_it_is_killed_it_is_all_of_the_backup_or_nothing(start, tmp_path):
    """State and settings belong together: of now, or of then."""
    state, chance = tmp_path / "box", random.Random(20261121)
    state.mkdir()
    (state / "rigd.toml").write_text('agent_id = "then"\n')
    rig = start("--state-dir", state)
    keep(rig.client(), "then")
    status, _, data = rig.http("/api/device/backup")
    assert status == 200
    seen = set()
    for _ in range(KILLS):
        client = rig.client()
        if not client.plugin("now"):
            keep(client, "now")
        (state / "rigd.toml").write_text('agent_id = "now"\n')
        connection = http.client.HTTPConnection("127.0.0.1", rig.port, timeout=PATIENCE)
        connection.request("POST", "/api/device/restore", data, TAR)
        time.sleep(chance.uniform(0, 0.5))
        rig.process.kill()
        rig.process.wait()
        connection.close()
        killed, rig = rig, start("--state-dir", state)
        killed.process.returncode = 0  # as it should be
        client = rig.client()
        is_now, settings = bool(client.plugin("now")), (state / "rigd.toml").read_text()
        assert client.plugin("then") and settings == f'agent_id = "{"now" if is_now else "then"}"\n', (is_now, settings)
        assert client.ask("daid.verify")["data"]["valid"]
        assert not [name for name in os.listdir(state) if name == "restore.ready"]
        seen.add(is_now)
    assert seen == {True, False}, "both were seen"


def test_a_restore_that_fails_after_all_leaves_everything_and_says_so(start, tmp_path):
    """The disk does not take it, after it was accepted."""
    box = Box(start, tmp_path)
    client = box.rig.client()
    keep(client, "before")
    box.rig.stop()
    ready = box.state / "restore.ready"
    ready.mkdir()
    (ready / "rigd.db").write_bytes(b"no database, and not even close")
    by = {"user_id": "ana", "session_id": "s", "role": "host", "verified": True, "address": "10.0.0.9"}
    plan = {"by": by, "made": "then", "secrets": True, "settings": True, "config": None}
    (ready / "plan.json").write_text(json.dumps(plan))
    there = box.files()
    rig = start("--state-dir", box.state)
    again = rig.client()
    assert again.plugin("before"), rig.log
    assert "nothing is changed" in rig.log
    (event,) = box.events(again, "device.restore")
    assert event["user_id"] == "ana" and event["metadata"]["failed"]
    assert not ready.exists()
    assert box.files() == there


@pytest.mark.parametrize(
    ("kind", "path", "method"), [("device.reboot", "/reboot", "Reboot"), ("device.power_off", "/power-off", "PowerOff")]
)
def test_logind_is_asked_and_it_is_on_record(box, kind, path, method):
    client = box.rig.client()
    reply = client.ask(kind, {}, requires_ack=True)
    assert reply["data"] == {"restarts": False, "success": True} and client.wait("ack")["data"]["durable"]
    status, _, answer = box.http("POST", path, "{}", **{"Content-Type": "application/json"})
    assert status == 200 and answer["success"], answer
    call = f"org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager {method} b false"
    assert [line.endswith(call) for line in box.asked.read_text().splitlines()] == [True, True]
    events = box.events(client, kind)
    assert [e["user_id"] for e in events] == ["legacy_user"] * 2
    assert client.ask(kind.upper().replace(".", "_"))["type"] == kind.upper().replace(".", "_")


def test_what_the_settings_forbid_is_refused(start, tmp_path):
    box = Box(start, tmp_path, "[device]\nallow_power = false\n")
    client = box.rig.client()
    assert client.ask("device.get")["data"]["allow_power"] is False
    for kind in ("device.reboot", "device.power_off"):
        answer = client.answer(client.send(kind))
        assert answer["type"] == "ERROR" and "allow_power" in answer["data"]["error"], answer
    status, _, answer = box.http("POST", "/reboot", "{}", **{"Content-Type": "application/json"})
    assert status == 403 and "turned off" in answer["error"], answer
    assert not box.asked.exists()


def test_the_setting_is_followed_while_it_runs(box):
    client = box.rig.client()
    (box.state / "rigd.toml").write_text("[device]\nallow_power = false\n")
    box.rig.process.send_signal(1)
    box.rig.wait_for_log(r"in effect: device.allow_power")
    while client.ask("device.get")["data"]["allow_power"]:
        pass
    assert "allow_power" in client.answer(client.send("device.reboot"))["data"]["error"]


@pytest.mark.parametrize("refuses", ["Interactive authentication required.", "No such file or directory"])
def test_a_logind_that_refuses_is_told_of(start, tmp_path, refuses):
    box = Box(start, tmp_path, refuses=refuses)
    client = box.rig.client()
    details = client.fail("DEVICE_FAILED", "device.reboot")
    assert refuses in details["reason"]
    assert ("polkit" in details["reason"]) == ("authentication" in refuses)
    assert [("failed" in e["metadata"]) for e in box.events(client, "device.reboot")] == [False, True]
    assert client.ask("status.get"), "it plays on"


def test_one_thing_is_done_at_a_time(box):
    client = box.rig.client()
    keep(client, "before")
    data = box.backup()
    with socket.create_connection(("127.0.0.1", box.rig.port), timeout=PATIENCE) as raw:
        # One that never comes to its end.
        raw.sendall(b"POST /api/device/restore HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-tar\r\nContent-Length: 100000\r\n\r\n" + data[:1000])
        status = 200
        while status == 200:
            status, headers, answer = box.http("GET", "/backup")
        assert (status, answer["code"], answer["details"]["limit"]) == (429, "RATE_LIMITED", "device_jobs")
        assert client.fail("RATE_LIMITED", "device.reset", {"factory": True})["limit"] == "device_jobs"
    while box.http("GET", "/backup")[0] == 429:
        pass
    assert client.plugin("before")
