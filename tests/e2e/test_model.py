"""Everybody at once, in all dialects: see model.py."""

import asyncio

from model import crowd, settings

CLIENTS, STEPS, SEED = 50, 40, 20261121


def test_fifty_models_of_one_rig(start):
    rig = start(settings=settings(CLIENTS))
    tell = asyncio.run(crowd(rig.url, CLIENTS, STEPS, SEED))
    print(tell)
    assert tell["changes"] > CLIENTS * STEPS / 3
    assert min(tell["repeats"], tell["resumes"], tell["refused"]) > 10, tell
