"""Fixtures: a rig that is running, and people at it."""

import pytest

from rig import Rig
from sound import Render


@pytest.fixture
def start(tmp_path):
    """Starts rigs; each must end well."""
    rigs = []

    def start(*options, **more):
        folder = tmp_path / f"rig{len(rigs)}"
        folder.mkdir()
        rig = Rig(folder, *options, **more)
        rigs.append(rig)
        return rig

    yield start
    for rig in rigs:
        rig.finish()


@pytest.fixture
def rig(start):
    """A rig as it is without settings."""
    return start()


@pytest.fixture
def alice(rig):
    return rig.client()


@pytest.fixture
def bob(rig, alice):
    return rig.client()


@pytest.fixture
def render(tmp_path):
    """`rigd render`."""
    folder = tmp_path / "render"
    folder.mkdir()
    return Render(folder)
