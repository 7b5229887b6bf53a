"""`rig.tone` and `rigd tone`: what is heard of it, who may, and that nothing of it stays."""

import numpy as np
import pytest

from rig import run
from sound import RATE, db, noise


def tone(client, **data):
    return client.ask("rig.tone", data)["data"]


def test_everyone_is_told_and_it_is_on_record(alice, bob):
    before = alice.state()["tracks"]
    said = tone(alice, track_id="mic1", freq_hz=440, level_db=-30, seconds=1)
    assert said["success"] and said["applied_frame"] is not None
    told = bob.wait("rig.tone")
    assert (told["data"]["track_id"], told["data"]["freq_hz"]) == ("mic1", 440)
    assert tone(alice)["track_id"] == "master"
    assert alice.state()["tracks"] == before
    events = alice.ask("daid.query", {"operation": "rig.tone"})["data"]["events"]
    assert [event["entity_id"] for event in events] == ["mic1", "master"]
    assert events[0]["metadata"]["level_db"] == -30


@pytest.mark.parametrize(
    "data, field",
    [
        ({"freq_hz": 5}, "freq_hz"),
        ({"freq_hz": 30000}, "freq_hz"),
        ({"level_db": 0}, "level_db"),
        ({"level_db": "loud"}, "level_db"),
        ({"seconds": 61}, "seconds"),
        ({"seconds": -1}, "seconds"),
    ],
)
def test_what_is_out_of_bounds_is_refused(alice, data, field):
    assert alice.fail("INVALID_PARAMETER", "rig.tone", data)["parameter_id"] == field


def test_an_unknown_track_is_refused(alice):
    alice.fail("TRACK_NOT_FOUND", "rig.tone", {"track_id": "nobody"})


def test_guests_may_not(start):
    guest = start(settings='allow_anonymous = "guest"\n').client()
    guest.fail("UNAUTHORIZED", "rig.tone")


def test_the_command_line_asks_a_rig_that_runs(start, tmp_path):
    rig = start()
    client = rig.client()
    where = ["--address", f"127.0.0.1:{rig.port}"]
    result = run(tmp_path, "tone", *where, "--track", "music", "--freq", 500, "--level-db", -40)
    assert result.returncode == 0, result.stderr
    assert client.wait("rig.tone")["data"]["freq_hz"] == 500
    result = run(tmp_path, "tone", *where, "--seconds", 100)
    assert result.returncode == 1
    assert "60" in result.stderr
    result = run(tmp_path, "tone", "--address", "127.0.0.1:1")
    assert result.returncode == 1
    assert "rigd serve" in result.stderr


def test_it_is_heard_as_loud_as_it_was_asked_for(render):
    data = {"track_id": "master", "freq_hz": 1000, "level_db": -12, "seconds": 1}
    heard = render(noise(3, 0), (RATE, "rig.tone", data))
    delay = 95  # the limiter's
    middle = heard[RATE + delay + 4800 : 2 * RATE - 4800]
    assert abs(db(np.abs(middle).max()) + 12) < 0.01
    assert not heard[: RATE + delay].any() and not heard[2 * RATE + delay :].any()
