"""The JACK server is killed and restarted 20 times while 50 clients storm: sound is back each time, with its
connections, and nobody is thrown out. `python test_jack_storm.py 100` does it more often."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jackd import Jackd, eventually
from test_realtime import GENEROUS

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    not (shutil.which("jackd") and shutil.which("node") and (HERE / "node_modules/ws").exists()),
    reason="jackd, or Node and its packages, are not installed",
)
TIMES = 20
CLIENTS = 50
MASTER = {"master_L": {"system:playback_1"}, "master_R": {"system:playback_2"}}


def survive(start, times):
    jackd = Jackd()
    storm = None
    try:
        rig = start("--backend", "jack", settings=GENEROUS, env=jackd.env)
        watcher = rig.client()

        def status():
            return watcher.ask("status.get")["data"]

        def sounds(frame):
            now = status()
            # A busy machine may say that it is too slow, which is no matter here.
            troubles = [one for one in now["degraded"] if "JACK" in one or "engine" in one]
            return now["frame"] > frame and not troubles

        eventually(lambda: sounds(0), "the sound")
        storm = subprocess.Popen(
            ["node", HERE / "storm.mjs", rig.url, str(CLIENTS), "100000"], stdout=subprocess.DEVNULL
        )
        eventually(lambda: status()["clients"] == CLIENTS + 1, "the crowd")
        epoch, seq = status()["epoch"], status()["seq"]
        for _ in range(times):
            frame = status()["frame"]
            jackd.end(signal.SIGKILL)
            eventually(lambda: any("JACK server is gone" in one for one in status()["degraded"]), "it is noticed")
            jackd.start()
            eventually(lambda frame=frame: sounds(frame), "the sound is back")
        eventually(lambda: {**jackd.of(), **MASTER} == jackd.of(), "the master is connected again")
        now = status()
        assert now["clients"] == CLIENTS + 1, "nobody was thrown out"
        assert now["epoch"] == epoch and now["seq"] > seq
        assert rig.log.count("JACK server is gone") == times
        return now
    finally:
        if storm:
            storm.kill()
            storm.wait()
        jackd.close()


def test_the_server_is_killed_again_and_again_while_a_crowd_storms(start):
    survive(start, TIMES)


if __name__ == "__main__":
    import tempfile

    from rig import Rig

    with tempfile.TemporaryDirectory() as folder:
        rigs = []

        def begin(*options, **more):
            rigs.append(Rig(Path(folder), *options, **more))
            return rigs[-1]

        print(survive(begin, int(sys.argv[1])))
        rigs[-1].finish()
