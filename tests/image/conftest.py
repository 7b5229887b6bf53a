"""Fixtures: cards, and boxes that are switched on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import vm as vms

# A box that is emulated answers slowly.
os.environ.setdefault("PATIENCE", "240")
sys.path.insert(0, str(vms.ROOT / "tests/e2e"))


@pytest.fixture(scope="session", autouse=True)
def built():
    why = vms.needed()
    if why:
        pytest.skip(why)


@pytest.fixture(scope="session")
def key(tmp_path_factory):
    """An SSH key, as an owner has one."""
    kept = os.environ.get("RECORDING")
    path = (Path(kept) if kept else tmp_path_factory.mktemp("key")) / "key"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@pytest.fixture(scope="module")
def switch_on(key):
    """Switches boxes on; all are off at the end."""
    running = []

    def switch_on(image, **more):
        vm = vms.Vm(image, key=key, **more)
        running.append(vm)
        return vm

    yield switch_on
    for vm in running:
        vm.off()
