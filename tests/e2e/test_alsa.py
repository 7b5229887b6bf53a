"""`--backend alsa` on PCMs that need no hardware, and what `auto` takes. Real drivers: `tests/kernel`."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from jackd import Jackd, eventually
from rig import run
from sound import RATE, noise, read_wav, write_wav

FOLDERS = [path for path in Path("/usr/lib").glob("*-linux-gnu") if (path / "libasound.so.2").exists()]
pytestmark = pytest.mark.skipif(not FOLDERS, reason="libasound is not installed")

BLOCK = 64
PERIODS = 3
# A device's sound comes up within half a second; what comes before that is silent here.
LEAD = RATE // 2 + 1024
CODINGS = {
    "float": ("<f4", None),
    "s32": ("<i4", 2.0**31),
    "s24": ("<i4", 2.0**23),
    "s24_3": ("s24_3", 2.0**23),
    "s16": ("<i2", 2.0**15),
}


def encoded(samples, coding):
    """Frames × channels as a card has them."""
    kind, full = CODINGS[coding]
    if full is None:
        return samples.astype("<f4").tobytes()
    whole = np.clip(np.round(samples.astype(np.float64) * full), -full, full - 1)
    if kind == "s24_3":
        return whole.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3].tobytes()
    return whole.astype(kind).tobytes()


def decoded(data, channels, coding):
    kind, full = CODINGS[coding]
    if kind == "s24_3":
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data[: len(data) // 3 * 3], np.uint8).reshape(-1, 3)
        values = (padded.reshape(-1).view("<i4") >> 8).astype(np.float64)
    else:
        size = np.dtype(kind).itemsize
        values = np.frombuffer(data[: len(data) // size * size], kind).astype(np.float64)
    values = values if full is None else values / full
    return values[: len(values) // channels * channels].reshape(-1, channels)


@pytest.fixture
def played(tmp_path, start):
    """What a card would play, frames × channels, when this comes from the microphones. The card is two files,
    as fast as they go."""

    def play(sound, coding="float", channels=2, more="", map=""):
        conf, heard, recorded = (tmp_path / name for name in ["asound.conf", "heard", "recorded"])
        heard.write_bytes(encoded(sound, coding))
        chmap = f'chmap [ "{map}" ]' if map else ""
        conf.write_text(f"""
            pcm.heard {{ type file slave.pcm {{ type null }} file "/dev/null" infile "{heard}" format "raw" }}
            pcm.recorded {{ type file slave.pcm {{ type null {chmap} }} file "{recorded}" format "raw" }}
        """)
        settings = f"""
            [audio]
            backend = "alsa"
            block_frames = {BLOCK}
            [realtime]
            priority = 0
            [alsa]
            capture = "heard"
            playback = "recorded"
            format = "{coding}"
            periods = {PERIODS}
            capture_channels = {sound.shape[1]}
            playback_channels = {channels}
            {more}
        """
        rig = start("--backend", "alsa", settings=settings, env={"ALSA_CONFIG_PATH": str(conf)})
        size = len(encoded(np.zeros((1, channels)), coding))
        wanted = (len(sound) + PERIODS * BLOCK + 4096) * size
        eventually(lambda: recorded.exists() and recorded.stat().st_size >= wanted, "the sound")
        assert rig.stop() == 0
        said = decoded(recorded.read_bytes(), channels, coding)
        assert not said[: PERIODS * BLOCK].any(), "it starts with a buffer of silence"
        return said[PERIODS * BLOCK :][: len(sound)]

    return play


def two_voices():
    sound = np.zeros((RATE, 2), np.float32)
    sound[LEAD:, 0] = noise(1, 0.2, 1)[: RATE - LEAD]
    sound[LEAD:, 1] = noise(1, 0.2, 2)[: RATE - LEAD]
    return sound


def rendered(folder, sound, *options):
    write_wav(folder / "in.wav", sound)
    said = run(folder, "render", "--input", "in.wav", "--output", "out.wav", *options)
    assert said.returncode == 0, said.stderr
    return read_wav(folder / "out.wav")[1]


def test_the_same_input_gives_the_same_bits_by_render_null_and_alsa(tmp_path, start, played):
    sound = two_voices()
    by_render = rendered(tmp_path, sound)
    assert np.abs(by_render).max() > 0.1
    rig = start("--input", tmp_path / "in.wav", "--output", tmp_path / "null.wav")
    client = rig.client()
    eventually(lambda: client.ask("status.get")["data"]["frame"] > RATE, "a second of sound")
    assert rig.stop() == 0
    by_null = read_wav(tmp_path / "null.wav")[1][:RATE]
    by_alsa = played(sound)
    assert (by_null == by_render).all()
    assert (by_alsa == by_render).all()


@pytest.mark.parametrize("coding", ["s32", "s24", "s24_3", "s16"])
def test_whole_numbers_are_the_nearest_to_what_the_engine_says(tmp_path, played, coding):
    full = CODINGS[coding][1]
    sound = two_voices()
    sound = decoded(encoded(sound, coding), 2, coding).astype(np.float32)
    expected = rendered(tmp_path, sound)
    assert (played(sound, coding) == np.round(expected * full) / full).all()


TRACKS = """
[[tracks]]
track_id = "mic1"
kind = "mic"
input = "device:5"
[[tracks]]
track_id = "line"
kind = "stem"
input = "device:2-3"
[[tracks]]
track_id = "away"
kind = "mic"
input = "device:9"
"""


@pytest.mark.parametrize(
    "more, map, left, right",
    [("", "", 0, 1), ("master = [4, 3]", "", 3, 2), ("", "FC FR FL LFE", 2, 1)],
)
def test_tracks_find_their_channels_among_many_and_so_does_the_master(played, more, map, left, right):
    sound = np.zeros((RATE, 6), np.float32)
    sound[LEAD:] = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]
    said = played(sound, channels=4, more=more + TRACKS, map=map)[-1]
    expected = np.zeros(4)
    expected[left] = 0.05 * np.sqrt(0.5) + 0.02
    expected[right] = 0.05 * np.sqrt(0.5) + 0.03
    assert np.allclose(said, expected, atol=1e-6), "and the mic of a channel that is not there is silent"


def test_a_card_with_one_channel_plays_both_sides(played):
    sound = np.zeros((RATE, 2), np.float32)
    sound[LEAD:] = [0.1, 0.0]
    stereo = TRACKS.replace("device:2-3", "device:1-2").replace("device:5", "none")
    assert np.allclose(played(sound, channels=1, more=stereo)[-1], [0.05], atol=1e-6)


def refused(folder, settings, env=()):
    (folder / "settings.toml").write_text(settings)
    options = ["--backend", "alsa", "--state-dir", "state", "--listen", "127.0.0.1:0"]
    return run(folder, "serve", "--config", "settings.toml", *options, env=dict(env))


@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "asound.conf"
    path.write_text('pcm.nothing { type null }\npcm.bare { type hw card "Nowhere" }\n')
    return {"ALSA_CONFIG_PATH": str(path)}


@pytest.mark.parametrize(
    "settings, code, words",
    [
        ('[alsa]\ndevice = "bare"', 1, ["bare", "cannot be opened", "There is ", "alsa.device", "--backend null"]),
        ('[alsa]\ndevice = "nothing"\nmaster = [2, 3]\nplayback_channels = 2', 2, ["alsa.master", "has 2 to play"]),
        ('[alsa]\nmaster = [1]', 2, ["toml:2", "left and right"]),
        ('[alsa]\nformat = "s8"', 2, ["toml:2", "s24_3"]),
        ('[audio]\ninput = "in.wav"', 2, ["in.wav", "--backend null"]),
    ],
)  # fmt: skip
def test_what_cannot_start_says_what_is_there_and_what_to_do(tmp_path, conf, settings, code, words):
    said = refused(tmp_path, settings, conf)
    assert said.returncode == code, said.stderr
    assert all(word in said.stderr for word in words), said.stderr


def is_card_here():
    try:
        return "no soundcards" not in Path("/proc/asound/cards").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(is_card_here(), reason="there is a sound card")
def test_without_a_card_or_a_server_auto_is_null_and_says_why(tmp_path, start):
    said = refused(tmp_path, "")
    assert said.returncode == 1 and "no sound card" in said.stderr and "--backend null" in said.stderr
    rig = start("--backend", "auto", env={"JACK_DEFAULT_SERVER": "nobody", "JACK_NO_START_SERVER": "1"})
    rig.wait_for_log("backend null.*JACK.*no sound card")


def test_without_libasound_rigd_runs_and_says_what_to_install(tmp_path, start):
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "libasound.so.2").write_text("this is no library")
    env = {"LD_LIBRARY_PATH": str(folder), "JACK_DEFAULT_SERVER": "nobody", "JACK_NO_START_SERVER": "1"}
    said = refused(tmp_path, "", env)
    assert said.returncode == 1
    assert all(word in said.stderr for word in ["libasound", "install", "--backend null"]), said.stderr
    rig = start("--backend", "auto", env=env)
    rig.wait_for_log("backend null.*libasound")


PLUGINS = [path for folder in FOLDERS for path in folder.glob("alsa-lib/libasound_module_pcm_jack.so")]


@pytest.mark.skipif(not (PLUGINS and shutil.which("jackd")), reason="ALSA's jack plugin or jackd is not installed")
def test_a_paced_card_in_both_directions_goes_and_comes_back_with_its_state(tmp_path, start):
    server = Jackd()
    try:
        conf = tmp_path / "asound.conf"
        conf.write_text(f"""
            pcm_type.jack {{ lib "{PLUGINS[0]}" }}
            pcm.stage {{
                type jack
                playback_ports {{ 0 system:playback_1 1 system:playback_2 }}
                capture_ports {{ 0 system:capture_1 1 system:capture_2 }}
            }}
        """)
        settings = '[audio]\nblock_frames = 256\n[alsa]\ndevice = "stage"\nperiods = 4\n'
        env = {**server.env, "ALSA_CONFIG_PATH": str(conf)}
        rig = start("--backend", "alsa", settings=settings, env=env)
        client = rig.client()

        def status():
            return client.ask("status.get")["data"]

        eventually(lambda: status()["frame"] > RATE, "a second of sound")
        now = status()
        assert (now["backend"], now["sample_rate"], now["block_frames"]) == ("alsa", RATE, 256)
        ms = 256 * 1000 / RATE
        assert np.allclose([now["latency_ms"]["in"], now["latency_ms"]["out"]], [ms, 3 * ms], atol=0.01)
        client.ask("track.update", {"track_id": "mic1", "volume": 0.25})
        server.end()
        eventually(lambda: any("stage" in reason for reason in status()["degraded"]), "it is told")
        client.ask("track.update", {"track_id": "mic2", "mute": True})
        frame = status()["frame"]
        server.start()
        eventually(lambda: status()["frame"] > frame + RATE and status()["degraded"] == [], "sound is back")
        tracks = {track["track_id"]: track for track in client.ask("track.list")["data"]["tracks"]}
        assert (tracks["mic1"]["volume"], tracks["mic2"]["mute"]) == (0.25, True)
    finally:
        server.close()
