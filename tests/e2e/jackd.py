"""A real JACK server without sound hardware, and its own tools."""

import os
import signal
import subprocess
import time
from pathlib import Path

# A client that asks jackd while it starts is sometimes kept waiting for seconds, by jackd.
PATIENCE = 50.0


def eventually(look, what):
    """The first truth that `look` gives."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}; the last look gave {found!r}"
        time.sleep(0.02)


class Jackd:
    """jackd with its dummy driver. Synchronous: it waits for its clients however busy the machine is."""

    count = 0

    def __init__(self, realtime=False):
        Jackd.count += 1
        self.realtime = "-R" if realtime else "-r"
        self.name = f"rigd-e2e-{os.getpid()}-{Jackd.count}"
        self.env = {"JACK_DEFAULT_SERVER": self.name, "JACK_NO_START_SERVER": "1"}
        self.process = None
        self.start()
        eventually(lambda: self.tool("jack_lsp").returncode == 0, "the server answers")

    def start(self, rate=48000, block=256):
        """Begins; it takes a moment until it answers."""
        command = ["jackd", "-n", self.name, self.realtime, "-S", "-d", "dummy"]
        command += ["-r", str(rate), "-p", str(block), "-C", "2", "-P", "2"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(PATIENCE)

    def close(self):
        """Ends it, and leaves nothing behind: the machine has places for eight servers, and one that is
        killed keeps its place until a server of its name ends well."""
        if self.process.poll() is None:
            self.end()
        else:
            self.start()
            eventually(lambda: self.tool("jack_lsp").returncode == 0, "the server answers again")
            self.end()
        for left in Path("/dev/shm").glob(f"jack*_{self.name}_*"):
            left.unlink(missing_ok=True)

    def tool(self, *command):
        return subprocess.run(
            command, env={**os.environ, **self.env}, capture_output=True, text=True, timeout=PATIENCE
        )

    def ports(self):
        """Name of each port → names of those that it is connected with."""
        ports, name = {}, None
        for line in self.tool("jack_lsp", "-c").stdout.splitlines():
            if line.startswith(" "):
                ports[name].add(line.strip())
            elif ":" in line:
                name = line.strip()
                ports[name] = set()
        return ports

    def of(self, client="rigd"):
        """The ports of one client, without its name."""
        prefix = f"{client}:"
        return {name.removeprefix(prefix): to for name, to in self.ports().items() if name.startswith(prefix)}

    def wait_for(self, expected, client="rigd"):
        """Until a client's ports are exactly these, connected with exactly those."""
        found = {}

        def look():
            found.clear()
            found.update(self.of(client))
            return found == expected

        try:
            eventually(look, "the ports")
        except AssertionError:
            assert found == expected, f"{found} instead of {expected}"
            raise
