"""`rigd devices`, and the settings of a hardware mixer. Real cards: `tests/kernel`."""

import json
import shutil

import pytest

from jackd import Jackd
from rig import run


def devices(folder, **env):
    result = run(folder, "devices", "--json", env=env)
    assert result.returncode == 0, result.stderr
    paper = run(folder, "devices", env=env)
    assert paper.returncode == 0 and "JACK: " in paper.stdout and "ALSA: " in paper.stdout
    return json.loads(result.stdout), paper.stdout


@pytest.mark.skipif(not shutil.which("jackd"), reason="jackd is not installed")
def test_a_jack_server_and_its_physical_ports(tmp_path):
    jackd = Jackd()
    try:
        said, paper = devices(tmp_path, **jackd.env)
        jack = said["jack"]
        assert jack["running"] and jack["server"] == jackd.name
        assert (jack["sample_rate"], jack["block_frames"]) == (48000, 256)
        assert jack["inputs"] == ["system:capture_1", "system:capture_2"]
        assert jack["outputs"] == ["system:playback_1", "system:playback_2"]
        assert "system:playback_2" in paper
    finally:
        jackd.close()


def test_what_is_not_there_is_said_and_no_failure(tmp_path):
    empty = tmp_path / "lib"
    empty.mkdir()
    for library in ["libjack.so.0", "libasound.so.2"]:
        (empty / library).write_text("this is no library")
    said, _ = devices(tmp_path, LD_LIBRARY_PATH=str(empty))
    assert not said["jack"]["running"] and "install" in said["jack"]["reason"]
    assert not said["alsa"]["available"] and "install" in said["alsa"]["reason"]
    said, _ = devices(tmp_path, JACK_DEFAULT_SERVER="nowhere")
    assert "nowhere" in said["jack"]["reason"]


@pytest.mark.parametrize(
    "mixer, code, words",
    [
        ('set = ["Master"]', 2, ["toml:2", "Master", "80%"]),
        ('set = ["Master = 120%"]', 2, ["toml:2", "0 to 100"]),
        ('set = ["Master = 80%"]\ncard = "Nowhere"', 1, ["Nowhere", "rigd devices"]),
    ],
)
def test_a_mixer_that_cannot_be_set_is_told_at_the_start(tmp_path, mixer, code, words):
    (tmp_path / "settings.toml").write_text(f"[mixer]\n{mixer}\n")
    options = ["--backend", "null", "--state-dir", "state", "--listen", "127.0.0.1:0"]
    result = run(tmp_path, "serve", "--config", "settings.toml", *options)
    assert result.returncode == code, result.stderr
    assert all(word in result.stderr for word in words), result.stderr


def test_a_card_to_be_set_that_may_be_plugged_in_later_is_waited_for(start):
    """`auto` here is without a JACK server, and without a card."""
    settings = '[mixer]\nset = ["Master = 80%"]\ncard = "Nowhere"\n'
    rig = start(settings=settings, backend="auto", env={"JACK_DEFAULT_SERVER": "nowhere"})
    assert "Nowhere" in rig.log
    assert rig.client().ask("status.get")["data"]["backend"] == "null"
