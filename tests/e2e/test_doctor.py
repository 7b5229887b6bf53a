"""`rigd doctor` on this box, and its round trip through a real jackd."""

import json
import shutil

import pytest

from jackd import Jackd
from rig import run

VERDICTS = {"good", "unknown", "advice", "unfit"}


def test_it_says_what_it_found_and_whether_that_is_fit(tmp_path):
    result = run(tmp_path, "doctor", "--json")
    said = json.loads(result.stdout)
    assert result.returncode == (0 if said["fit"] else 1), result.stderr
    assert {"rtprio", "memlock", "preemption", "governor", "card", "held"} <= {
        finding["check"] for finding in said["findings"]
    }
    for finding in said["findings"]:
        assert finding["verdict"] in VERDICTS
        assert finding["verdict"] == "good" or finding["mend"], finding
    assert said["fit"] == all(finding["verdict"] != "unfit" for finding in said["findings"])
    paper = run(tmp_path, "doctor")
    assert paper.returncode == result.returncode
    for finding in said["findings"]:
        assert finding["check"] in paper.stdout


def test_faulty_settings_come_first(tmp_path):
    (tmp_path / "bad.toml").write_text("[realtime]\npriority = 170\n")
    result = run(tmp_path, "doctor", "--config", "bad.toml")
    assert result.returncode == 2
    assert "bad.toml:2" in result.stderr


@pytest.fixture
def jackd():
    if not shutil.which("jackd"):
        pytest.skip("jackd is not installed")
    server = Jackd()
    yield server
    server.close()


def test_the_round_trip_is_measured_to_the_sample(jackd, tmp_path):
    """JACK's own ports in a ring take one block: what is played is heard in the next one."""
    for block in (64, 256):
        assert jackd.tool("jack_bufsize", str(block)).returncode == 0
        result = run(tmp_path, "doctor", "--loopback", "--direct", "--json", env=jackd.env)
        assert result.returncode == 0, result.stderr
        said = json.loads(result.stdout)
        assert (said["backend"], said["block_frames"]) == ("jack", block)
        assert said["round_trip_frames"] == block
        assert said["round_trip_ms"] == pytest.approx(block / 48)
        assert said["gain_db"] == pytest.approx(0, abs=0.01)
        assert not said["inverted"]
    assert jackd.of() == {}, "nothing is left of it"


def test_a_round_trip_that_does_not_come_back_is_no_result(jackd, tmp_path):
    result = run(tmp_path, "doctor", "--loopback", env=jackd.env)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "Nothing came back" in result.stderr or "broke off" in result.stderr


def test_without_sound_there_is_nothing_to_measure(tmp_path):
    result = run(tmp_path, "doctor", "--loopback", env={"JACK_DEFAULT_SERVER": "nowhere"})
    assert result.returncode == 1
    assert "nothing to measure" in result.stderr
