"""`rigd update`, and an update over the network: RAUC does it; what it says is passed on. There is no RAUC with
slots here: a `rauc` of the test's own stands in for it, which has what it is given, says what it is told to, and
ends when it is let."""

import json
import os
import socket
import time

from rig import PATIENCE, run
from test_device import Box

BUNDLE = {"Content-Type": "application/octet-stream"}


def box(folder, script=None):
    """An environment with a rauc of the test's own, or none."""
    tools = folder / "tools"
    tools.mkdir()
    if script:
        (tools / "rauc").write_text(f"#!/bin/sh\n{script}\n")
        (tools / "rauc").chmod(0o755)
    (folder / "new.raucb").write_bytes(b"a bundle")
    return {"PATH": str(tools)}.items()


def test_rauc_is_given_the_bundle(tmp_path):
    done = run(tmp_path, "update", "new.raucb", env=box(tmp_path, 'echo "told: $*"'))
    assert done.returncode == 0, done.stderr
    assert "told: install new.raucb" in done.stdout and "switched on again" in done.stdout


def test_what_rauc_refuses_is_not_installed(tmp_path):
    done = run(tmp_path, "update", "new.raucb", env=box(tmp_path, "echo bad signature >&2; exit 1"))
    assert done.returncode == 1 and "switched on again" not in done.stdout
    assert "bad signature" in done.stderr and "the version that runs stays" in done.stderr


def test_a_box_without_slots_says_so(tmp_path):
    done = run(tmp_path, "update", "new.raucb", env=box(tmp_path))
    assert done.returncode == 1 and "device image" in done.stderr


def test_a_file_that_is_not_there_is_bad_usage(tmp_path):
    done = run(tmp_path, "update", "old.raucb", env=box(tmp_path, "exit 0"))
    assert done.returncode == 2 and "old.raucb" in done.stderr


class Slots(Box):
    """A box with a rauc."""

    def __init__(self, start, folder, script="exit 0", settings=""):
        bin = folder / "bin"
        self.given, self.gate = folder / "given", folder / "gate"
        os.mkfifo(self.gate)
        super().__init__(start, folder, settings)
        fake = bin / "rauc"
        fake.write_text(f"#!/bin/sh\ncat $2 >{self.given}\n{script}\n".replace("WAIT", f"read x <{self.gate}"))
        fake.chmod(0o755)

    def open_gate(self):
        """Lets rauc go on."""
        self.gate.write_text("go\n")

    def update(self, data=b"a bundle", status=202, **headers):
        got, _, answer = self.http("POST", "/update", data, **{**BUNDLE, **headers})
        assert got == status, answer
        return answer

    def wait_for(self, stage, **headers):
        """What is told of the update, once it is so far."""
        while True:
            told = self.http("GET", "", **headers)[2]["update"]
            if told["stage"] == stage:
                return told
            time.sleep(0.05)  # between two looks, within what one may ask

    def left(self):
        return [name for name in os.listdir(self.state) if "raucb" in name or "part" in name]


def test_a_host_brings_an_update_and_is_told_how_far_it_is(start, tmp_path):
    box = Slots(start, tmp_path, "echo ' 40% Copying image to rootfs.1'; WAIT; echo 'Installing succeeded'")
    assert box.http("GET", "")[2]["update"] == {"stage": "none"}
    data = os.urandom(3 << 20)
    assert box.update(data)["update"]["stage"] == "installing"
    while (told := box.wait_for("installing"))["percent"] != 40:
        pass
    assert told["doing"] == "Copying image to rootfs.1"
    # One at a time, whatever it is.
    assert box.update(b"x", 429)["details"]["limit"] == "device_jobs"
    box.open_gate()
    box.wait_for("installed")
    assert box.given.read_bytes() == data and box.left() == []
    client = box.rig.client()
    begun, done = box.events(client, "device.update")
    assert begun["metadata"]["bytes"] == len(data) and done["metadata"]["installed"] is True
    assert begun["user_id"] == "legacy_user" and begun["address"] == "127.0.0.1"


def test_it_is_installed_when_the_phone_that_brought_it_is_away(start, tmp_path):
    box = Slots(start, tmp_path, "WAIT")
    with socket.create_connection(("127.0.0.1", box.rig.port), timeout=PATIENCE) as raw:
        raw.sendall(head(8) + b"a bundle")
        assert b" 202 " in raw.recv(4096)
    box.open_gate()
    box.wait_for("installed")


def test_what_rauc_refuses_is_told_with_its_reason_and_the_next_one_is_taken(start, tmp_path):
    refusal = "echo 'LastError: signature verification failed' >&2; echo Installing failed >&2; exit 1"
    box = Slots(start, tmp_path, refusal)
    box.update()
    told = box.wait_for("failed")
    assert told["reason"] == "RAUC does not install it: signature verification failed"
    assert box.left() == []
    assert "signature" in box.events(box.rig.client(), "device.update")[-1]["metadata"]["failed"]
    (tmp_path / "bin/rauc").write_text("#!/bin/sh\nexit 0\n")
    box.update()
    box.wait_for("installed")


def test_an_update_that_does_not_come_whole_leaves_nothing_and_no_rauc_is_asked(start, tmp_path):
    box = Slots(start, tmp_path)
    with socket.create_connection(("127.0.0.1", box.rig.port), timeout=PATIENCE) as raw:
        raw.sendall(head(9 << 20) + b"x" * 1000)
        box.wait_for("receiving")
    assert "whole" in box.wait_for("failed")["reason"]
    assert box.left() == [] and not box.given.exists()
    box.update()
    box.wait_for("installed")


def test_an_update_that_is_too_large_is_refused_before_it_comes(start, tmp_path):
    box = Slots(start, tmp_path, settings="[device]\nupdate_max_mb = 1\n")
    answer = box.update(b"x" * (3 << 20), 413)
    assert answer["details"]["limit"] == 1 << 20 and "update_max_mb" in answer["error"]
    assert box.update(b"{}", 415, **{"Content-Type": "application/json"})["code"] == "UNSUPPORTED_MEDIA_TYPE"
    with socket.create_connection(("127.0.0.1", box.rig.port), timeout=PATIENCE) as raw:
        raw.sendall(head(8).replace(b"Content-Length: 8", b"Transfer-Encoding: chunked") + b"0\r\n\r\n")
        assert b" 411 " in raw.recv(4096)
    assert not box.given.exists() and box.left() == []


def test_an_update_for_which_the_disk_has_no_room_is_refused(start, tmp_path):
    box = Slots(start, tmp_path, settings="[device]\nupdate_max_mb = 1000000\n")
    free = os.statvfs(box.state)
    with socket.create_connection(("127.0.0.1", box.rig.port), timeout=PATIENCE) as raw:
        raw.sendall(head(free.f_bavail * free.f_frsize))
        answer = raw.recv(4096)
    assert b" 507 " in answer and b"there is no room for it" in answer, answer
    assert box.left() == []


def test_who_is_no_host_brings_no_update(start, tmp_path):
    box = Slots(start, tmp_path)
    for role in ("guest", "display", "performer"):
        more = ("--tracks", "mic1") if role == "performer" else ()
        answer = box.update(b"x" * 1000, 403, Authorization=f"Bearer {box.rig.token(role, 'me', *more)}")
        assert answer["code"] == "UNAUTHORIZED", answer
    assert not box.given.exists()


def test_a_box_without_slots_takes_no_update(start, tmp_path):
    tools = tmp_path / "none"
    tools.mkdir()
    rig = start(env={"PATH": str(tools)})
    status, _, answer = rig.http("/api/device/update", "POST", BUNDLE, body=b"a bundle")
    answer = json.loads(answer)
    assert status == 409 and answer["code"] == "DEVICE_FAILED" and "device image" in answer["error"], answer


def test_what_a_rigd_that_was_killed_has_left_is_taken_away(start, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    (state / "update.raucb").write_bytes(b"half a bundle")
    start("--state-dir", state)
    assert not (state / "update.raucb").exists()


def head(length):
    return (
        "POST /api/device/update HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()
