"""A hall full of phones: all at once behind one address, and what each of them costs."""

import asyncio
import json
import time

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidMessage

from raw import Raw
from rig import NO_LIMITS, PATIENCE, own_address
from test_auth import signed
from test_tls import SELF_SIGNED, trusting

PHONES = 200
# A page that comes back waits about so long before it tries again.
AGAIN_S = 0.5


def token(rig, user):
    """Signed here: a process for each of 200 would take a while."""
    return signed(rig, {"sub": user, "role": "guest", "exp": int(time.time()) + 3600})


@pytest.fixture(params=["plain", "TLS"])
def way(request):
    """How phones come: the settings for it, and what they need of a rig to do so."""
    if request.param == "plain":
        return "", lambda rig, address="127.0.0.1": (f"ws://{address}:{rig.port}/ws", None)
    return SELF_SIGNED, lambda rig, address="127.0.0.1": (f"wss://{address}:{rig.port}/ws", trusting(rig))


async def come(url, user, bearer, tls):
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
                ssl=tls,
            )
            await phone.send('{"id": "m", "type": "state.resume", "data": {"since_seq": 1}}')
            while True:
                message = json.loads(await phone.recv())
                if message["id"] == "m":
                    return phone, message, refused
        except (OSError, EOFError, InvalidMessage):  # closed before the handshake's end
            await asyncio.sleep(AGAIN_S)
    raise AssertionError(f"{user} never came in")


def test_a_hall_comes_back_at_once_behind_one_address(start, way):
    """With the limits as they are: who has a token is in within seconds, whatever the address."""
    settings, at = way
    address = own_address()
    if not address:
        pytest.skip("this machine has no address but its loopback")
    rig = start("--listen", "0.0.0.0:0", settings=settings)
    url, tls = at(rig, address)
    if tls:
        tls.check_hostname = False  # who takes a box by its address today knows its fingerprint
    by, host_tls = at(rig)
    host = rig.enter("host", "ana", url=by, ssl=host_tls)
    tokens = {f"phone{number}": token(rig, f"phone{number}") for number in range(PHONES)}

    async def hall():
        started = time.monotonic()
        comers = await asyncio.gather(*(come(url, user, bearer, tls) for user, bearer in tokens.items()))
        took = time.monotonic() - started
        assert rig.metrics(tls)["rigd_connections",] == PHONES + 1
        for phone, _, _ in comers:
            phone.transport.abort()  # it may have more to hear than anybody waits for
        return took, comers

    took, comers = asyncio.run(hall())
    assert all(message["type"] in ("state.snapshot", "state.resume") for _, message, _ in comers)
    refused = sum(times for _, _, times in comers)
    print(f"{PHONES} phones were back after {took:.2f} s; {refused} attempts were turned away")
    assert took < 15
    host.ask("state.get")


class Follower:
    """A phone that knows what it has seen."""

    def __init__(self):
        self.phone, self.seq, self.volume = None, 0, None

    async def come(self, url, tls):
        """Comes, or comes back: what it has missed follows."""
        self.phone = await connect(
            url, ssl=tls, compression=None, proxy=None, open_timeout=PATIENCE, ping_interval=None
        )
        await self.phone.send(json.dumps({"id": "m", "type": "state.resume", "data": {"since_seq": self.seq}}))
        await self.hear(lambda message: message["id"] == "m")

    async def hear(self, is_last):
        """Everything until then. Changes come in order, each once."""
        while True:
            message = json.loads(await self.phone.recv())
            data = message["data"]
            if message["type"] == "state.snapshot":
                self.seq = data["seq"]
                self.volume = next(track["volume"] for track in data["tracks"] if track["track_id"] == "music")
            elif message["type"] == "track.update":
                assert message["seq"] > self.seq, "in order, each once"
                self.seq, self.volume = message["seq"], data["volume"]
            if is_last(message):
                return

    async def sees(self, volume):
        if self.volume != volume:
            await self.hear(lambda _: self.volume == volume)


def test_a_hall_follows_and_is_back_at_once_when_it_was_cut_off(start, way):
    """Everybody sees every change; then the access point is started anew."""
    settings, at = way
    rig = start(settings=settings + NO_LIMITS)
    url, tls = at(rig)
    host = rig.client(url=url, ssl=at(rig)[1])
    phones = [Follower() for _ in range(PHONES)]

    def change(volume):
        host.ask("track.update", {"track_id": "music", "volume": volume})

    async def come_back(phone):
        await phone.come(url, tls)
        await phone.sees(0.75)

    async def together(does):
        started = time.monotonic()
        await asyncio.wait_for(asyncio.gather(*map(does, phones)), 2 * PATIENCE)
        return time.monotonic() - started

    async def hall():
        came = await together(lambda phone: phone.come(url, tls))
        for step in range(50):
            await asyncio.to_thread(change, step / 100)
        followed = await together(lambda phone: phone.sees(0.49))
        for phone in phones:
            phone.phone.transport.abort()
        await asyncio.to_thread(change, 0.75)
        back = await together(come_back)
        assert len({phone.seq for phone in phones}) == 1
        await asyncio.to_thread(change, 1.0)
        await together(lambda phone: phone.sees(1.0))
        for phone in phones:
            phone.phone.transport.abort()
        return came, followed, back

    came, followed, back = asyncio.run(hall())
    print(f"{PHONES} came within {came:.2f} s, had followed {followed:.2f} s later, were back within {back:.2f} s")
    host.ask("state.get")
    assert back < 15


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


def test_a_hall_costs_little_however_often_everyone_is_told_who_is_here(start, way):
    """The list of 200 is 40 KB long; nobody keeps room for it."""
    settings, at = way
    rig = start(settings=settings)
    url, tls = at(rig)
    before = rig.metrics(tls)["rigd_resident_memory_bytes",]

    async def hall():
        options = {"ssl": tls, "compression": None, "proxy": None, "ping_interval": None}
        phones = [await connect(url, **options) for _ in range(PHONES)]

        async def hear(phone):
            async for text in phone:
                message = json.loads(text)
                if message["type"] == "session.presence" and len(message["data"]["users"]) == PHONES:
                    return

        # The last one is not told that it is here itself.
        await asyncio.wait_for(asyncio.gather(*map(hear, phones[:-1])), PATIENCE)
        grown = rig.metrics(tls)["rigd_resident_memory_bytes",] - before
        for phone in phones:
            phone.transport.abort()
        return grown

    each_kib = asyncio.run(hall()) / PHONES / 1024
    print(f"{each_kib:.1f} KiB each")
    assert each_kib < 36  # 51 and more before, without what the process touches for the first time
