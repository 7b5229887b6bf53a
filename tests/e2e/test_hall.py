"""A hall full of phones: all at once behind one address, and what each of them costs."""

import asyncio
import json
import time

import pytest
from websockets.asyncio.client import connect

from raw import Raw
from rig import PATIENCE, own_address
from test_auth import signed

PHONES = 200
# A page that comes back waits about so long before it tries again.
AGAIN_S = 0.5


def token(rig, user):
    """Signed here: a process for each of 200 would take a while."""
    return signed(rig, {"sub": user, "role": "guest", "exp": int(time.time()) + 3600})


async def come(url, user, bearer):
    """A phone with its token, as often as it takes; what it was told, and how often it was turned away."""
    for refused in range(20):
        try:
            phone = await connect(
                url,
                subprotocols=["rigd", f"bearer.{bearer}"],
                compression=None,
                proxy=None,
                open_timeout=PATIENCE,
                ping_interval=None,
            )
            await phone.send('{"id": "m", "type": "state.resume", "data": {"since_seq": 1}}')
            while True:
                message = json.loads(await phone.recv())
                if message["id"] == "m":
                    return phone, message, refused
        except (OSError, EOFError):
            await asyncio.sleep(AGAIN_S)
    raise AssertionError(f"{user} never came in")


def test_a_hall_comes_back_at_once_behind_one_address(start):
    """With the limits as they are: who has a token is in within seconds, whatever the address."""
    address = own_address()
    if not address:
        pytest.skip("this machine has no address but its loopback")
    rig = start("--listen", "0.0.0.0:0")
    host = rig.enter("host", "ana")
    url = f"ws://{address}:{rig.port}/ws"
    tokens = {f"phone{number}": token(rig, f"phone{number}") for number in range(PHONES)}

    async def hall():
        started = time.monotonic()
        comers = await asyncio.gather(*(come(url, user, bearer) for user, bearer in tokens.items()))
        took = time.monotonic() - started
        assert rig.metrics()["rigd_connections",] == PHONES + 1
        for phone, _, _ in comers:
            phone.transport.abort()  # it may have more to hear than anybody waits for
        return took, comers

    took, comers = asyncio.run(hall())
    assert all(message["type"] in ("state.snapshot", "state.resume") for _, message, _ in comers)
    refused = sum(times for _, _, times in comers)
    print(f"{PHONES} phones were back after {took:.2f} s; {refused} attempts were turned away")
    assert took < 15
    host.ask("state.get")


def test_a_long_message_comes_in_pieces_that_are_one(rig):
    """So that no client costs a buffer of its size."""
    raw = Raw(rig.port)
    raw.text('{"id": "long", "type": "plugin.list"}')
    sizes = []
    while True:
        pieces, whole = raw.pieces()
        sizes += [len(piece) for piece in pieces]
        message = json.loads(whole)
        if message["id"] == "long":
            break
    assert len(whole) > 6000 and max(sizes) <= 2048
    raw.close()


def test_a_hall_costs_little_however_often_everyone_is_told_who_is_here(start):
    """The list of 200 is 40 KB long; nobody keeps room for it."""
    rig = start()
    before = rig.metrics()["rigd_resident_memory_bytes",]

    async def hall():
        phones = [await connect(rig.url, compression=None, proxy=None, ping_interval=None) for _ in range(PHONES)]

        async def hear(phone):
            async for text in phone:
                message = json.loads(text)
                if message["type"] == "session.presence" and len(message["data"]["users"]) == PHONES:
                    return

        # The last one is not told that it is here itself.
        await asyncio.wait_for(asyncio.gather(*map(hear, phones[:-1])), PATIENCE)
        grown = rig.metrics()["rigd_resident_memory_bytes",] - before
        for phone in phones:
            phone.transport.abort()
        return grown

    each_kib = asyncio.run(hall()) / PHONES / 1024
    print(f"{each_kib:.1f} KiB each")
    assert each_kib < 36  # 51 and more before, without what the process touches for the first time
