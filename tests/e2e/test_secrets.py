"""What is in memory stays there: a crash leaves no core, and nobody reads the process."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jackd import eventually
from rig import PATIENCE, Client, Rig
from test_tls import SELF_SIGNED, trusting

CLAIM_CODE = "KARA-OKE2-4567"
# Cores are wanted, whatever this shell's limit is.
CORES = ["sh", "-c", 'ulimit -c unlimited && exec "$@"', "sh"]
# Reads what a process may read of its memory for the parts on stdin; prints those that are there.
READER = """
import json, re, sys
parts = [part.encode() for part in json.load(sys.stdin)]
try:
    maps, memory = open(f"/proc/{sys.argv[1]}/maps"), open(f"/proc/{sys.argv[1]}/mem", "rb", 0)
except PermissionError:
    sys.exit("refused")
found = set()
for line in maps:
    start, end, rights = re.match(r"(\\w+)-(\\w+) (\\S+)", line).groups()
    if not rights.startswith("rw"):
        continue
    at, end = int(start, 16), int(end, 16)
    while at < end:
        try:
            memory.seek(at)
            data = memory.read(min(end - at, 1 << 22))
        except (OSError, ValueError):
            break
        if not data:
            break
        found |= {part.decode() for part in parts if part in data}
        at += max(len(data) - 256, 1) if at + len(data) < end else len(data)
json.dump(sorted(found), sys.stdout)
"""


def without_rights():
    """A user without any rights, the one that rigd runs as: this one, or root without what root may."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


def read(pid, parts, wrapper=()):
    """Those of the parts that are in the process's memory; None if it may not be read."""
    done = subprocess.run(
        [*wrapper, sys.executable, "-c", READER, str(pid)],
        input=json.dumps(parts), capture_output=True, text=True, timeout=PATIENCE * 4,
    )  # fmt: skip
    if "refused" in done.stderr:
        return None
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def leaves_core(pid, number):
    """Whether the kernel writes a core of this child of ours when a signal ends it."""

    def ended():
        # Rust's own handler lets a first SIGSEGV pass, since a fault would come again.
        os.kill(pid, number)
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)

    ended = eventually(ended, "it has ended")
    assert ended.si_status == number, ended
    return ended.si_code == os.CLD_DUMPED


def bystander(folder, wrapper=()):
    """A program that does nothing for its secrets."""
    other = subprocess.Popen([*wrapper, "sleep", "1000"], cwd=folder, env={**os.environ, "SECRET": CLAIM_CODE})
    assert eventually(lambda: Path(f"/proc/{other.pid}/comm").read_text() == "sleep\n", "it has begun")
    return other


@pytest.fixture
def full(tmp_path):
    """A rig with all the secrets that there are, in use; cores are allowed. What they look like."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "claim_code").write_text(CLAIM_CODE)
    rig = Rig(
        tmp_path, "--state-dir", str(state), settings=SELF_SIGNED,
        wrapper=[*without_rights(), *CORES],
    )  # fmt: skip
    token = rig.token()
    client = Client(f"wss://127.0.0.1:{rig.port}/ws", ssl=trusting(rig))
    client.ask("AUTH", {"token": token})
    connection = http.client.HTTPSConnection("127.0.0.1", rig.port, timeout=PATIENCE, context=trusting(rig))
    connection.request("POST", "/api/pair", json.dumps({"code": CLAIM_CODE, "user_id": "pia"}))
    assert json.load(connection.getresponse())["role"] == "host"
    yield rig, [(state / "tokens.key").read_text(), token, CLAIM_CODE, (state / "tls-key.pem").read_text()[64:128]]
    rig.process.kill()
    rig.process.wait()
    client.close()


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV])
def test_a_crash_leaves_no_core(full, tmp_path, number):
    rig, _ = full
    (tmp_path / "other").mkdir()
    other = bystander(tmp_path / "other", [*without_rights(), *CORES])
    leaves = leaves_core(other.pid, number)
    other.wait()
    if not leaves:
        pytest.skip("this kernel writes no cores here")
    assert not leaves_core(rig.process.pid, number)
    assert not [name for name in os.listdir(tmp_path) if name.startswith("core")]


def test_no_other_program_of_the_same_user_reads_the_memory(full, tmp_path):
    rig, secrets = full
    wrapper = without_rights()
    other = bystander(tmp_path, wrapper)
    try:
        readable = read(other.pid, [CLAIM_CODE], wrapper)
    finally:
        other.kill()
        other.wait()
    if readable != [CLAIM_CODE]:
        pytest.skip("here nobody may read another process anyway")
    assert read(rig.process.pid, secrets, wrapper) is None
    # It is worth it: root, who could read the files just as well, finds the key of all tokens there.
    if os.geteuid() == 0:
        assert secrets[0] in read(rig.process.pid, secrets)
