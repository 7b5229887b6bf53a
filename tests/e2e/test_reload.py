"""SIGHUP: the settings are read again, and what can be applied is, while sound and clients stay."""

import shutil
import signal
import socket

import pytest

from jackd import Jackd, eventually
from rig import PATIENCE, Rig


def reload(rig, settings, said):
    """Writes new settings, and waits for what is said about them."""
    count = len(rig.lines)
    rig.process_settings.write_text(settings)
    rig.process.send_signal(signal.SIGHUP)
    with rig.news:
        assert rig.news.wait_for(lambda: any(said in line for line in rig.lines[count:]), PATIENCE), rig.log
    return "\n".join(rig.lines[count:])


@pytest.fixture
def begin(tmp_path, start):
    """Starts a rig with settings that can be written again; the command line leaves the backend to them."""

    def begin(settings, **more):
        path = tmp_path / "again.toml"
        path.write_text(settings)
        # The helper's own choice of a backend would win over the file.
        rig = start("--config", path, "--backend", "null", **more)
        rig.process_settings = path
        return rig

    return begin


def status(client):
    return client.ask("status.get")["data"]


def test_a_faulty_file_changes_nothing_and_is_named_with_its_line(begin):
    rig = begin("[limits]\nmessages_per_s = 500\n")
    client = rig.client()
    before = status(client)
    said = reload(rig, "[limits]\nmessages_per_s = 1\nmessage_burst = 1\nwobble = 3\n", "stay as they were")
    assert "again.toml:4" in said and "wobble" in said
    for _ in range(20):
        client.ask("status.get")
    assert status(client)["epoch"] == before["epoch"]


def test_limits_hold_at_once_for_those_who_are_there(begin):
    rig = begin("")
    client = rig.client()
    reload(rig, "[limits]\nmessages_per_s = 1\nmessage_burst = 3\n", "in effect: limits.messages_per_s")

    def is_refused():
        return client.answer(client.send("status.get"))["type"] == "ERROR"

    eventually(is_refused, "the limit")
    reload(rig, "", "in effect: limits.messages_per_s")
    eventually(lambda: not is_refused(), "the limit is gone")


def test_what_people_without_a_token_may_do_holds_at_once(begin):
    rig = begin('allow_anonymous = "host"\n')
    alice, named, ana = rig.client(), rig.client(), rig.enter("host", "ana")
    named.ask("AUTH", {"user_id": "nina"})
    ana.ask("session.role", {"user_id": "nina", "role": "performer", "tracks": ["mic1"]})
    at = alice.add()
    louder = {**at, "parameter_id": "volume", "parameter_value": 0.5}
    reload(rig, 'allow_anonymous = "guest"\n', "in effect: allow_anonymous")
    eventually(lambda: "anonymous_guest" in status(alice)["features"], "it is told")
    assert alice.fail("UNAUTHORIZED", "plugin.parameter", louder)["required_permission"] == "plugin:write"
    for other in (named, ana):  # who was given something, and who has shown a token
        other.ask("plugin.parameter", louder)
    with rig.client() as late:
        late.fail("UNAUTHORIZED", "plugin.parameter", louder)
    roles = {user["user_id"]: user["role"] for user in ana.ask("session.list")["data"]["users"]}
    assert roles == {"legacy_user": "guest", "nina": "performer", "ana": "host"}
    reload(rig, 'allow_anonymous = "host"\n', "in effect: allow_anonymous")
    eventually(lambda: alice.answer(alice.send("plugin.parameter", louder))["type"] != "ERROR", "and back")


def test_another_block_and_rate_keep_tracks_and_effects(begin):
    rig = begin("")
    client = rig.client()
    client.add("reverb", "r")
    client.ask("track.update", {"track_id": "mic2", "volume": 0.25})
    before, frame = client.state()["tracks"], status(client)["frame"]
    said = reload(rig, "[audio]\nblock_frames = 256\nsample_rate = 44100\n", "in effect: audio.sample_rate")
    assert "audio.block_frames" in said
    now = eventually(lambda: status(client)["degraded"] == [] and status(client), "the sound is back")
    assert (now["block_frames"], now["sample_rate"]) == (256, 44100)
    assert now["frame"] >= frame, "frames are counted on"
    assert client.state()["tracks"] == before
    change = {"track_id": "mic1", "plugin_id": "r", "parameter_id": "wet_dry", "parameter_value": 0.5}

    def applied():
        return client.ask("plugin.parameter", change)["data"]["applied_frame"]

    eventually(applied, "a change is applied")


def test_what_takes_a_restart_is_named(begin):
    rig = begin("")
    said = reload(rig, 'listen = ["127.0.0.1:1"]\nlog_max_days = 3\n', "until rigd is started anew")
    assert "log_max_days" in said
    # The command line's own word wins.
    assert "listen" not in said
    said = reload(rig, "", "nothing that could change")


def test_a_backend_that_cannot_be_opened_leaves_the_old_one(tmp_path, start):
    path = tmp_path / "again.toml"
    path.write_text('[audio]\nbackend = "null"\n')
    rig = start("--config", path, "--backend", "null", env={"JACK_DEFAULT_SERVER": "nowhere"})
    client = rig.client()
    rig.process_settings = path
    music = tmp_path / "nothing.wav"
    said = reload(rig, f'[audio]\nmusic = "{music}"\n', "without effect: audio.music")
    assert "nothing.wav" in said and "still is" in said
    now = eventually(lambda: status(client)["degraded"] == [] and status(client), "the sound is back")
    assert now["backend"] == "null"


def test_systemd_is_told(begin, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        notify.settimeout(PATIENCE)
        rig = begin("", env={"NOTIFY_SOCKET": path})

        def next_state(wanted):
            while True:
                said = notify.recv(4096).decode()
                if wanted in said:
                    return said

        next_state("READY=1")
        reload(rig, "[realtime]\nload_max = 0.5\n", "in effect: realtime.load_max")
        assert "MONOTONIC_USEC=" in next_state("RELOADING=1")
        next_state("READY=1")


@pytest.mark.skipif(not shutil.which("jackd"), reason="jackd is not installed")
def test_from_no_device_to_jack_and_back(tmp_path):
    """The file alone decides, so without the helper's rig."""
    jackd = Jackd()
    folder = tmp_path / "rig"
    folder.mkdir()
    rig = None
    try:
        settings = folder / "again.toml"
        settings.write_text('[audio]\nbackend = "null"\n')
        rig = Rig(folder, "--config", settings, env=jackd.env, backend=None)
        rig.process_settings = settings
        client = rig.client()
        client.add("reverb", "r")
        before = client.state()["tracks"]
        for backend in ("jack", "null", "jack"):
            reload(rig, f'[audio]\nbackend = "{backend}"\n', "in effect: audio.backend")
            now = eventually(lambda: status(client)["degraded"] == [] and status(client), "the sound is back")
            assert now["backend"] == backend
            assert client.state()["tracks"] == before
        assert "mic1" in jackd.of()
    finally:
        if rig:
            rig.finish()
        jackd.close()
