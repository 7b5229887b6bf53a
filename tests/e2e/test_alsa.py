"""`--backend alsa` on PCMs that need no hardware, and what `auto` takes. Real drivers: `tests/kernel`."""

import os
import struct
from pathlib import Path

import pytest

from jackd import eventually
from rig import run

RATE = 48_000
LIBRARY = any(Path(folder).glob("*/libasound.so.2") for folder in ["/usr/lib", "/lib"])
pytestmark = pytest.mark.skipif(not LIBRARY, reason="libasound is not installed")
