"""`--backend jack`: ports, connections, a server that goes and comes (a real jackd without hardware)."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from jackd import Jackd, eventually
from rig import NO_LIMITS, run
from test_realtime import thread_named, traced

pytestmark = pytest.mark.skipif(not shutil.which("jackd"), reason="jackd is not installed")

# What everybody has at the start.
PATCH = {
    "mic1": {"system:capture_1"},
    "mic2": {"system:capture_2"},
    "master_L": {"system:playback_1"},
    "master_R": {"system:playback_2"},
}


@pytest.fixture
def jackd(request):
    server = Jackd(**getattr(request, "param", {}))
    yield server
    server.close()


@pytest.fixture
def jack(jackd, start):
    """Starts rigs on the server; each is there with its connections when it is given."""

    def begin(*options, **more):
        env = {**jackd.env, **more.pop("env", {})}
        rig = start("--backend", "jack", *options, env=env, **more)
        rig.wait_for_log("backend jack")
        return rig

    return begin


def status(client):
    return client.ask("status.get")["data"]


def wait_until_well(client, frame):
    """The engine has gone on from `frame`, and nothing is wrong."""

    def look():
        now = status(client)
        return now["frame"] > frame and now["degraded"] == []

    eventually(look, f"all is well, beyond frame {frame}")


def test_ports_are_named_after_tracks_and_connected(jackd, jack):
    rig = jack()
    jackd.wait_for(PATCH)
    client = rig.client()
    wait_until_well(client, 0)
    data = status(client)
    assert (data["backend"], data["sample_rate"], data["block_frames"]) == ("jack", 48000, 256)
    # The dummy driver's latency is one block either way.
    eventually(lambda: status(client)["latency_ms"] == {"in": 256 / 48, "out": 256 / 48}, "the latency")


def test_ports_follow_tracks(jackd, jack):
    client = jack().client()
    jackd.wait_for(PATCH)
    client.ask("track.add", {"track_id": "line", "kind": "stem", "input": "device:1-2"})
    both = {"line_L": {"system:capture_1"}, "line_R": {"system:capture_2"}}
    jackd.wait_for({**PATCH, **both})
    client.ask("track.update", {"track_id": "line", "input": "device:2"})
    jackd.wait_for({**PATCH, "line": {"system:capture_2"}})
    client.ask("track.update", {"track_id": "line", "input": "device:1"})
    jackd.wait_for({**PATCH, "line": {"system:capture_1"}})
    client.ask("track.update", {"track_id": "line", "input": "device:9"})
    jackd.wait_for({**PATCH, "line": set()})
    client.ask("track.update", {"track_id": "line", "input": "none"})
    jackd.wait_for(PATCH)
    client.ask("track.remove", {"track_id": "mic2"})
    without = {name: to for name, to in PATCH.items() if name != "mic2"}
    jackd.wait_for(without)
    # At once again, under the name that has just been given up.
    client.ask("track.remove", {"track_id": "mic1"})
    client.ask("track.add", {"track_id": "mic1", "kind": "mic", "input": "device:2"})
    jackd.wait_for({**without, "mic1": {"system:capture_2"}})


def test_what_the_settings_say(jackd, jack):
    jack(settings='[jack]\nclient_name = "stage box"\nconnect = false\n')
    jackd.wait_for({name: set() for name in PATCH}, "stage box")


def test_two_rigs_on_one_server(jackd, jack):
    jack()
    jackd.wait_for(PATCH)
    second = jack()
    name = second.wait_for_log(r'JACK client "([^"]*)"')[1]
    assert name != "rigd"
    jackd.wait_for(PATCH, name)
    assert jackd.of() == PATCH, "the first one's are its own"


def test_the_graph_is_told_of_the_limiters_latency(jackd, jack):
    client = jack().client()
    jackd.wait_for(PATCH)

    def captured():
        """How late the microphone is at the loudspeaker's port, in frames."""
        said = jackd.tool("jack_lsp", "-l", "rigd:master_L").stdout
        return [int(frames) for frames in re.search(r"capture latency = \[ (\d+) (\d+) \]", said).groups()]

    eventually(lambda: captured() == [256 + 95] * 2, "the latency through the master's limiter")
    client.add("limiter", "another", "mic1")
    eventually(lambda: captured() == [256 + 2 * 95] * 2, "the latency through both")


def test_the_block_size_changes_while_it_runs(jackd, jack):
    client = jack().client()
    jackd.wait_for(PATCH)
    for block in (64, 1024):
        assert jackd.tool("jack_bufsize", str(block)).returncode == 0
        eventually(lambda block=block: status(client)["block_frames"] == block, "the size")
        wait_until_well(client, status(client)["frame"])
    jackd.wait_for(PATCH)


def applied(client, gain, volume):
    """The frame at which a change was applied, or None."""
    change = {**gain, "parameter_id": "volume", "parameter_value": volume}
    return client.ask("plugin.parameter", change)["data"]["applied_frame"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_server_goes_away_and_comes_back(jackd, jack, number):
    client = jack().client()
    jackd.wait_for(PATCH)
    gain = client.add("gain", "g", "mic1")
    # What a person has patched counts as much as what the settings say.
    jackd.tool("jack_connect", "system:capture_2", "rigd:mic1")
    jackd.tool("jack_disconnect", "rigd:master_R", "system:playback_2")
    patched = {**PATCH, "mic1": {"system:capture_1", "system:capture_2"}, "master_R": set()}
    jackd.wait_for(patched)
    wait_until_well(client, 0)
    # A connection that was cut is forgotten a second later: as many frames, by the sound's own clock.
    frame = status(client)["frame"]
    wait_until_well(client, frame + 2 * 48000)
    for rate in (44100, 48000):
        frame = status(client)["frame"]
        jackd.end(number)
        lost = eventually(lambda: status(client)["degraded"], "it is noticed")
        eventually(lambda: any("JACK server is gone" in one for one in status(client)["degraded"]), lost)
        assert applied(client, gain, 0.5) is None, "kept for the next engine"
        client.ask("track.update", {"track_id": "mic2", "volume": 0.25})
        before = client.state()["tracks"]
        jackd.start(rate=rate)
        wait_until_well(client, frame)
        assert status(client)["sample_rate"] == rate
        jackd.wait_for(patched)
        assert client.state()["tracks"] == before
        # On a busy machine a single block may come too late for its answer.
        assert eventually(lambda: applied(client, gain, 0.25), "a change is applied") >= frame
        assert client.plugin("g")["parameters"]["volume"] == 0.25


def test_it_is_patient_with_a_server_that_comes_and_goes(jackd, jack):
    rig = jack()
    client = rig.client()
    for _ in range(5):
        jackd.wait_for(PATCH)
        frame = status(client)["frame"]
        wait_until_well(client, frame)
        jackd.end(signal.SIGKILL)
        jackd.start()
        wait_until_well(client, frame)
    jackd.wait_for(PATCH)
    assert len(re.findall("JACK server is gone", rig.log)) == 5, "said once each time"


def test_late_cycles_are_counted(jackd, jack):
    client = jack().client()
    wait_until_well(client, 0)
    before = status(client)["xruns"]
    jackd.process.send_signal(signal.SIGSTOP)
    eventually(lambda: status(client)["degraded"], "the sound stands still")
    jackd.process.send_signal(signal.SIGCONT)
    eventually(lambda: status(client)["xruns"] > before, "an xrun")
    # They are those of the whole rig, not of one engine.
    after = status(client)["xruns"]
    jackd.end()
    jackd.start()
    wait_until_well(client, 0)
    assert status(client)["xruns"] >= after


def test_it_ends_while_sound_runs_and_leaves_the_server_alone(jackd, jack):
    rig = jack()
    jackd.wait_for(PATCH)
    assert rig.stop() == 0
    assert jackd.of() == {}
    assert jackd.process.poll() is None


def test_it_ends_while_the_server_is_gone(jackd, jack):
    rig = jack()
    jackd.wait_for(PATCH)
    jackd.end(signal.SIGKILL)
    client = rig.client()
    eventually(lambda: status(client)["degraded"], "it is noticed")
    assert rig.stop() == 0


def test_auto_takes_a_running_server(jackd, start):
    rig = start("--backend", "auto", env=jackd.env)
    jackd.wait_for(PATCH)
    assert sum("backend jack: " in line for line in rig.lines) == 1


def test_auto_with_a_file_is_null(jackd, start, tmp_path):
    rig = start("--backend", "auto", "--output", str(tmp_path / "out.wav"), env=jackd.env)
    rig.wait_for_log("backend null: .*out.wav")
    assert jackd.of() == {}


def refused(folder, *options, code=1, env=()):
    result = run(folder, "serve", "--backend", "jack", "--listen", "127.0.0.1:0", *options, env=env)
    assert result.returncode == code, result.stderr
    assert "panicked" not in result.stderr
    return result.stderr


def test_without_a_server_it_says_what_to_do(tmp_path):
    said = refused(tmp_path, env={"JACK_DEFAULT_SERVER": "nowhere"})
    assert '"nowhere"' in said and "jackd" in said and "--backend null" in said


@pytest.fixture
def no_library(tmp_path):
    """An environment in which libjack cannot be loaded."""
    folder = tmp_path / "lib"
    folder.mkdir()
    (folder / "libjack.so.0").write_text("this is no library")
    return {"LD_LIBRARY_PATH": str(folder)}


def test_without_the_library_it_says_what_to_do(tmp_path, no_library):
    said = refused(tmp_path, env=no_library)
    assert "libjack" in said and "install" in said and "--backend null" in said


def test_without_the_library_auto_is_null(start, no_library):
    rig = start("--backend", "auto", env=no_library)
    rig.wait_for_log("backend null.*libjack")
    wait_until_well(rig.client(), 0)


def test_files_are_refused(jackd, tmp_path):
    said = refused(tmp_path, "--output", "out.wav", code=2, env=jackd.env)
    assert "out.wav" in said and "null" in said


def test_the_callback_makes_no_system_call_but_libjacks_wait(jackd, jack):
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    rig = jack(settings=NO_LIMITS)
    client = rig.client()
    wait_until_well(client, 0)
    audio = thread_named(rig.process.pid, "rigd-audio")

    def busy(tracer):
        for index in range(100):
            client.ask("track.update", {"track_id": "mic1", "volume": index / 100})
            if tracer.poll() is not None:
                break

    said = traced(audio, busy)
    if re.search(r"attach: (ptrace|Operation not permitted)|PTRACE", said):
        pytest.skip(f"this machine does not allow tracing: {said.strip()}")
    calls = set(re.findall(r"^(?:<\.\.\. )?(\w+)", said, re.MULTILINE))
    assert calls, "the thread was seen at work"
    assert calls <= {"futex", "restart_syscall"}, calls


@pytest.mark.parametrize("jackd", [{"realtime": True}], indirect=True)
def test_the_callback_has_a_realtime_priority_and_all_its_memory(jackd, jack):
    servers = Path(f"/proc/{jackd.process.pid}/task").iterdir()
    if all(os.sched_getscheduler(int(task.name)) != os.SCHED_FIFO for task in servers):
        pytest.skip("this machine gives jackd no realtime priority")
    rig = jack()
    client = rig.client()
    jackd.wait_for(PATCH)
    audio = thread_named(rig.process.pid, "rigd-audio")
    assert os.sched_getscheduler(audio) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO

    def faults():
        fields = Path(f"/proc/{rig.process.pid}/task/{audio}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[7]) + int(fields[9])

    # The first blocks with all connections may still touch JACK's own memory.
    wait_until_well(client, status(client)["frame"] + 4800)
    before = faults()
    wait_until_well(client, status(client)["frame"] + 48000)
    assert faults() == before
