"""Fixtures: packages, and a machine that has one installed."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

import machine as machines

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


@pytest.fixture(scope="session")
def package():
    """Makes a package; its version may be another one than the binary's."""

    @cache
    def package(version, architecture="amd64", **more):
        env = {**os.environ, "VERSION": version, "COMPRESSION": "none", **more}
        command = [ROOT / ".ci/package", architecture]
        made = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
        return Path(made.stdout.splitlines()[-1])

    return package


@pytest.fixture(scope="module")
def machine(tmp_path_factory, package):
    """A machine with rigd installed, booted. Its tests follow each other."""
    why = machines.missing()
    if why:
        pytest.skip(why)
    machine = machines.Machine(tmp_path_factory.mktemp("machine"), machines.base(TARGET))
    machine.dpkg("--install", package("1.0"))
    try:
        machine.boot()
        yield machine
    finally:
        machine.halt()
