"""`rigd serve` and `rigd check`: settings, ports, refusals, exit codes (wire.md section 10)."""

import socket

import numpy as np
import pytest

from rig import Rig, run
from sound import RATE, read_wav, sine, write_wav


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def refused(folder, *options, code, env=()):
    """A serve that must not start; what it says."""
    result = run(folder, "serve", "--state-dir", folder / "state", "--backend", "null", *options, env=env)
    assert result.returncode == code, result.stderr
    assert "panicked" not in result.stderr
    assert len(result.stderr.strip()) > 20, "a sentence that says what to do"
    return result.stderr


def test_without_anything_it_listens_on_loopback_8000(folder):
    """Only looked at when nothing else is there."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8000)) == 0:
            pytest.skip("port 8000 is taken on this machine")
    rig = Rig(folder, "--listen", "127.0.0.1:8000")
    assert rig.port == 8000
    rig.finish()
    assert "127.0.0.1:8000" in run(folder, "check").stdout


def test_it_says_where_it_listens_and_which_backend_and_why(start):
    rig = start("--backend", "auto", env={"JACK_DEFAULT_SERVER": "nowhere", "ALSA_CONFIG_PATH": "/dev/null"})
    assert sum("listening on http://127.0.0.1:" in line for line in rig.lines) == 1
    assert sum("backend null" in line for line in rig.lines) == 1


@pytest.mark.parametrize("number", [15, 2])
def test_it_ends_with_0(start, number):
    rig = start()
    client = rig.client()
    assert rig.stop(number) == 0
    with pytest.raises(Exception):
        client.ask("status.get")


def test_several_addresses(start):
    rig = start("--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0")
    rig.wait_for_log(r"listening on http://127\.0\.0\.2:")


def test_a_port_in_use(folder, rig):
    said = refused(folder, "--listen", f"127.0.0.1:{rig.port}", code=1)
    assert str(rig.port) in said
    rig.client().ask("status.get")


@pytest.mark.parametrize("address", ["here", "127.0.0.1", "127.0.0.1:99999", "::", "localhost"])
def test_an_address_that_is_none(folder, address):
    assert address in refused(folder, "--listen", address, code=2)


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
def test_beyond_loopback_strangers_may_do_nothing(start, address):
    rig = start("--listen", address)
    rig.client().fail("UNAUTHORIZED", "state.get")


def test_beyond_loopback_when_told_so(start):
    rig = start("--listen", "0.0.0.0:0", settings='allow_anonymous = "host"\n')
    rig.client().ask("track.update", {"track_id": "mic1", "volume": 0.5})


def test_the_guides_variable_says_so_too(start):
    rig = start("--listen", "0.0.0.0:0", env={"ALLOW_ANONYMOUS": "true"})
    rig.client().ask("track.update", {"track_id": "mic1", "volume": 0.5})


def test_guests_may_look_and_not_touch(start):
    rig = start(settings='allow_anonymous = "guest"\n')
    guest = rig.client()
    guest.state(), guest.ask("plugin.list"), guest.ask("status.get"), guest.ask("heartbeat")
    for kind, data in [
        ("plugin.add", {"track_id": "mic1", "name": "gain"}),
        ("track.update", {"track_id": "mic1", "volume": 0.5}),
        ("plugin.parameter", {"track_id": "master", "plugin_id": "limiter", "parameter_id": "ceiling_db", "value": 0}),
    ]:
        details = guest.fail("UNAUTHORIZED", kind, data)
        assert details["user_id"] == "legacy_user"
        assert ":" in details["required_permission"]


def test_with_anonymous_off_only_who_signs_in_is_served(start):
    rig = start(settings='allow_anonymous = "off"\n')
    nobody = rig.client()
    nobody.ask("heartbeat")
    for kind in ("state.get", "plugin.list", "track.list", "status.get", "rig.restore"):
        nobody.fail("UNAUTHORIZED", kind)
    assert "reason" in nobody.fail("AUTH_FAILED", "AUTH", {"user_id": "ana"})
    assert "reason" in nobody.fail("AUTH_FAILED", "AUTH", {"token": "x"})


FAULTS = {
    "an unknown key": ("allow_anonymous = 'host'\nvolumne = 3\n", 2, "volumne"),
    "an unknown section": ("[audiooo]\nrate = 3\n", 1, "audiooo"),
    "an unknown key in a section": ("[audio]\n\nsample_rat = 48000\n", 3, "sample_rat"),
    "out of range": ("[audio]\nblock_frames = 3\n", 2, "block_frames"),
    "the wrong type": ("[limits]\nmessages_per_s = 'many'\n", 2, "messages_per_s"),
    "not TOML": ("[audio\n", 1, ""),
    "no such choice": ('allow_anonymous = "everyone"\n', 1, "allow_anonymous"),
}


@pytest.mark.parametrize("text,line,word", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("command", ["serve", "check"])
def test_faults_in_the_settings(folder, command, text, line, word):
    (folder / "rig.toml").write_text(text)
    result = run(folder, command, "--config", folder / "rig.toml", timeout=20)
    assert result.returncode == 2
    assert word in result.stderr
    assert f"rig.toml:{line}" in result.stderr or f"line {line}" in result.stderr
    assert "panicked" not in result.stderr


def test_every_fault_is_told_at_once(folder):
    (folder / "rig.toml").write_text("wobble = 1\n[audio]\nblock_frames = 3\nfoo = 2\n")
    said = run(folder, "check", "--config", folder / "rig.toml").stderr
    for line, word in ((1, "wobble"), (3, "block_frames"), (4, "foo")):
        assert word in said and str(line) in said


def test_a_settings_file_that_is_not_there(folder):
    assert "nowhere.toml" in refused(folder, "--config", folder / "nowhere.toml", code=2)


def test_check_prints_settings_that_are_settings(folder):
    printed = run(folder, "check")
    assert printed.returncode == 0
    (folder / "printed.toml").write_text(printed.stdout)
    again = run(folder, "check", "--config", folder / "printed.toml")
    assert (again.returncode, again.stdout) == (0, printed.stdout)


def test_the_state_folders_settings_are_found(folder):
    state = folder / "mine"
    state.mkdir()
    (state / "rigd.toml").write_text("[audio]\nblock_frames = 256\n")
    result = run(folder, "check", env={"RIGD_STATE_DIR": str(state)})
    assert "block_frames = 256" in result.stdout


def test_the_environment_overrides_the_file(start):
    rig = start(settings="[audio]\nblock_frames = 256\n", env={"RIGD_AUDIO_BLOCK_FRAMES": "128"})
    assert rig.client().ask("status.get")["data"]["block_frames"] == 128


def test_a_bad_environment_is_a_fault(folder):
    result = run(folder, "check", env={"RIGD_AUDIO_BLOCK_FRAMES": "many"})
    assert result.returncode == 2
    assert "RIGD_AUDIO_BLOCK_FRAMES" in result.stderr


def test_the_command_line_overrides_all(start):
    rig = start("--block", "512", settings="[audio]\nblock_frames = 256\n", env={"RIGD_AUDIO_BLOCK_FRAMES": "128"})
    assert rig.client().ask("status.get")["data"]["block_frames"] == 512


@pytest.mark.parametrize("options", [["--block", "0"], ["--block", "x"], ["--sample-rate", "-1"], ["--wobble"]])
def test_bad_options(folder, options):
    refused(folder, *options, code=2)


def wav_faults(folder):
    (folder / "text.wav").write_text("This is not a WAV file, whatever its name says.")
    (folder / "empty.wav").write_bytes(b"")
    write_wav(folder / "none.wav", np.zeros((0, 1)))
    write_wav(folder / "many.wav", np.zeros((100, 17)))


@pytest.mark.parametrize("name", ["text", "empty", "none", "many", "missing"])
@pytest.mark.parametrize("option", ["--input", "--music"])
def test_files_that_cannot_be_played(folder, name, option):
    wav_faults(folder)
    result = run(folder, "serve", "--backend", "null", "--listen", "127.0.0.1:0", option, folder / f"{name}.wav")
    assert result.returncode in (1, 2)
    assert f"{name}.wav" in result.stderr
    assert "panicked" not in result.stderr


def test_another_sample_rate_is_resampled(start, folder):
    tone = write_wav(folder / "tone.wav", sine(1000, 1.0, 0.2, 44100), rate=44100)
    rig = start("--input", tone, "--output", folder / "out.wav")
    alice = rig.client()
    alice.ask("meters.subscribe", {"rate_hz": 30, "format": "json"})
    alice.find(lambda m: m["type"] == "meters" and m["data"]["frame"] > RATE, "a second of sound")
    rig.stop()
    left = read_wav(folder / "out.wav")[1][RATE // 4 : 3 * RATE // 4, 0]
    crossings = np.count_nonzero((left[:-1] < 0) & (left[1:] >= 0))
    assert abs(crossings - 500) <= 2, "1000 Hz"


def test_an_output_that_cannot_be_written(folder):
    said = refused(folder, "--listen", "127.0.0.1:0", "--output", folder / "no/such/out.wav", code=1)
    assert "out.wav" in said


def test_nothing_is_listening_before_the_recording_is_possible(folder):
    said = refused(folder, "--listen", "127.0.0.1:0", "--output", folder, code=1)
    assert "listening on" not in said
