"""A crowd that does everything at once, each with a model of the rig that is made only of what it is told.

    RIGD_BIN=… python model.py 1000 3 20261121     (clients, steps of each, seed)

Members speak all three dialects; they change things, send again, break off, come back by `state.resume`,
stop reading for a while. In the end every model equals the rig's `state.get`, everybody saw every number at
most once and in order, and every number belongs to exactly one answered message: nothing was applied twice.
"""

import asyncio
import json
import random
import resource
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from rig import NO_LIMITS, Rig

PATIENCE_S = 120
MICS = ["mic1", "mic2", "music"]
POOL = [f"p{number}" for number in range(10)]
BUSES = ["bus1", "bus2"]
PARAMETERS = {
    "reverb": [("wet_dry", 0, 1), ("room_size", 0, 1), ("pre_delay", 0, 200)],
    "echo": [("time_ms", 20, 1500), ("feedback", 0, 0.95)],
    "gain": [("volume", 0, 4)],
}
LEGACY = {
    "PLUGIN_ADDED": "plugin.add",
    "PLUGIN_REMOVED": "plugin.remove",
    "PARAMETER_UPDATED": "plugin.parameter",
    "PLUGIN_BYPASSED": "plugin.bypass",
    "PRESET_LOADED": "plugin.preset",
}
REFUSED = (0, 0)  # or nothing was left of it to apply: the numbers of its changes, first and last
LATE = ["TRACK_NOT_FOUND", "PLUGIN_NOT_FOUND", "PLUGIN_ADD_FAILED", "PARAMETER_UPDATE_FAILED", "INVALID_PARAMETER", "CAPACITY"]
FIELDS = ["name", "kind", "volume", "pan", "mute", "solo"]


def settings(clients):
    """Room for a crowd; a small backlog, so that who stalls is given a snapshot."""
    return f"{NO_LIMITS}connections = {2 * clients}\nconnections_per_user = 64\nbacklog_messages = 256\n"


class Model:
    """The rig, as one client has been told of it."""

    def __init__(self):
        self.tracks, self.chains, self.plugins, self.panic = {}, {}, {}, None

    def read(self, snapshot):
        self.panic = snapshot["panic"] and mode_of(snapshot["panic"])
        for track in snapshot["tracks"]:
            self.put_track(track)
            for plugin in track["plugins"]:
                self.put_plugin(plugin["plugin_id"], track["track_id"], plugin)
        return self

    def put_track(self, track):
        self.tracks[track["track_id"]] = {name: track[name] for name in FIELDS}
        self.chains.setdefault(track["track_id"], [])

    def put_plugin(self, plugin_id, track_id, plugin, position=None):
        chain = self.chains[track_id]
        chain.insert(len(chain) if position is None else position, plugin_id)
        bypassed = plugin.get("bypassed", False)
        self.plugins[plugin_id] = {"bypassed": bypassed, "parameters": dict(plugin["parameters"])}

    def apply(self, kind, data):
        """One change, as a reply or a broadcast tells of it."""
        plugin_id = data.get("plugin_id", data.get("pluginId"))
        if kind == "plugin.add":
            plugin = data.get("plugin", data)
            self.put_plugin(plugin_id, plugin.get("track_id", plugin.get("trackId")), plugin, plugin.get("position"))
        elif kind == "plugin.remove":
            self.drop(plugin_id)
        elif kind == "plugin.parameter":
            parameter_id = data.get("parameter_id", data.get("parameterId"))
            new = data.get("parameter_value", data.get("value"))
            self.plugins[plugin_id]["parameters"][parameter_id] = new
        elif kind == "plugin.parameter.batch":
            for change in data["changes"]:
                self.apply("plugin.parameter", change)
        elif kind == "plugin.bypass":
            self.plugins[plugin_id]["bypassed"] = data.get("bypass", data.get("bypassed"))
        elif kind == "plugin.preset":
            self.plugins[plugin_id]["parameters"].update(data["parameters"])
        elif kind == "plugin.move":
            self.chains[data["track_id"]] = list(data["order"])
        elif kind in ("track.add", "track.update"):
            self.put_track(data["track"])
        elif kind == "track.remove":
            for plugin_id in self.chains.pop(data["track_id"]):
                del self.plugins[plugin_id]
            del self.tracks[data["track_id"]]
        elif kind == "rig.panic":
            self.panic = data["mode"]
        elif kind == "rig.restore":
            self.panic = None
        else:
            raise AssertionError(f"a change of an unknown kind: {kind} {data}")

    def drop(self, plugin_id):
        del self.plugins[plugin_id]
        for chain in self.chains.values():
            if plugin_id in chain:
                chain.remove(plugin_id)

    def plain(self):
        return {"tracks": self.tracks, "chains": self.chains, "plugins": self.plugins, "panic": self.panic}


def mode_of(panic):
    return panic["mode"] if isinstance(panic, dict) else panic


class Message:
    """A change that a member wants, until it is answered."""

    def __init__(self, key, kind, data):
        self.key, self.kind, self.data = key, kind, data
        self.copies = 0
        self.answer = None
        self.answered = asyncio.Event()


class Member:
    """One client of the crowd. Whatever it finds wrong is an assertion in `fault`."""

    def __init__(self, url, number, seed, doors):
        self.url, self.name, self.doors = url, f"user{number}", doors
        self.dice = random.Random(f"{seed} {number}")
        self.dialect = ["dotted", "upper", "legacy"][number % 3]
        self.batches = number % 2 == 0
        self.model = Model()
        self.before = None  # the model that the newest snapshot replaced
        self.last = None  # the newest number that was heard
        self.epoch = None
        self.joining = None  # the question whose answer says where the stream begins
        self.joined = asyncio.Event()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.keys, self.ids = {}, {}
        self.asked = {}
        self.count = 0
        self.heard = self.repeats = self.resumes = self.snapshots = 0
        self.latest = deque(maxlen=30)
        self.fault = None
        self.ws = self.reader = None

    # -- the line

    async def connect(self):
        self.joined.clear()
        async with asyncio.timeout(PATIENCE_S):
            self.ws = await self.handshake()
        self.reader = asyncio.create_task(self.read(self.ws))
        await self.send("auth", {"user_id": self.name})
        await self.send("client.features", {"dialect": self.dialect, "batch": self.batches})
        if self.last is None:
            self.joining = await self.send("state.get")
        else:
            self.joining = await self.send("state.resume", {"since_seq": self.last, "epoch": self.epoch})
        async with asyncio.timeout(PATIENCE_S):
            await self.joined.wait()
        self.flowing.set()
        # What was refused may have been accepted when it came again.
        lost = [each for each in dict.fromkeys(self.ids.values()) if each.answer in (None, REFUSED)]
        self.ids.clear()
        for message in lost:
            await self.post(message)

    async def handshake(self):
        """Not all at the same moment: the system's queue is short. And the rig may have no room until it has
        noticed who has gone."""
        while True:
            try:
                async with self.doors:
                    return await connect(
                        self.url, compression=None, max_queue=4, ping_interval=None, proxy=None,
                        max_size=2**24, open_timeout=PATIENCE_S, close_timeout=1,
                    )  # fmt: skip
            except (InvalidHandshake, OSError):
                await asyncio.sleep(self.dice.random())

    async def break_off(self):
        """Without a word."""
        self.ws.transport.abort()
        self.flowing.set()
        await asyncio.wait([self.reader])
        self.raise_fault()

    async def read(self, ws):
        try:
            async for frame in ws:
                self.hear(json.loads(frame))
                if not self.flowing.is_set():
                    await self.flowing.wait()
        except ConnectionClosed:
            pass
        except Exception as fault:
            self.fault = fault
            self.fault.add_note("heard last: " + "; ".join(self.latest))
            ws.transport.abort()

    async def send(self, kind, data=None, **more):
        self.count += 1
        id = f"{self.name}.{self.count}"
        try:
            await self.ws.send(json.dumps({"id": id, "type": kind, "data": data or {}, **more}))
        except ConnectionClosed:
            self.raise_fault()
        return id

    async def post(self, message):
        """Sends a change, perhaps once more; every copy is a message of its own, with one key."""
        message.copies += 1
        self.ids[f"{self.name}.{self.count + 1}"] = message
        await self.send(message.kind, message.data, idempotency_key=message.key)

    def raise_fault(self):
        if self.fault:
            raise AssertionError(f"{self.name} ({self.dialect}): {self.fault!r}") from self.fault

    # -- what is heard

    def hear(self, message):
        kind, id, seq, data = message["type"], message["id"], message.get("seq"), message["data"]
        self.heard += 1
        self.latest.append(f"{kind} {id} {seq} {str(data)[:120]}")
        if kind == "PLUGIN_STATE_UPDATE":
            assert self.dialect == "upper", "a view for somebody else"
            return  # outside the order
        if id in self.asked:
            self.asked.pop(id).set_result(message)
        if kind == "state.snapshot":
            self.snapshots += 1
            assert self.joining or data["seq"] >= self.last, "a snapshot goes back"
            self.last, self.epoch = data["seq"], data["epoch"]
            self.before, self.model = self.model, Model().read(data)
        elif kind in ("state.resume", "STATE_RESUME"):
            self.resumes += 1
            self.last = data["since_seq"]
        elif id in self.ids:
            self.answered(self.ids.pop(id), kind, seq, data)
        elif seq is not None and not self.joining:
            self.changed(kind, seq, data)
        if id == self.joining:
            assert kind != "ERROR", message
            self.joining = None
            self.joined.set()

    def changed(self, kind, seq, data, first=None):
        first = first or seq
        assert first > self.last, f"{kind} {first}..{seq} after {self.last}"
        self.last = seq
        kind = LEGACY.get(kind) or kind.lower().replace("_", ".")
        self.model.apply(kind, data)

    def answered(self, message, kind, seq, data):
        if kind == "ERROR":
            # Somebody else was first: that is all that may be wrong with what members say.
            is_taken = data["code"] == "INVALID_MESSAGE" and "there already" in data["error"]
            assert is_taken or data["code"] in LATE, (data, message.data)
            answer = REFUSED
        else:
            assert data["success"] is True
            applied = data.get("applied", 1)
            assert (seq is None) == (applied == 0), data
            answer = (seq - applied + 1, seq) if applied else REFUSED
        is_known = message.answer not in (None, REFUSED)
        if is_known:
            assert answer == message.answer, "another answer to the same message"
        is_again = is_known or (message.copies > 1 and answer[1] <= self.last)
        message.answer = answer
        message.answered.set()
        if is_again:
            self.repeats += 1
        elif self.joining:
            pass  # it will be told again
        elif answer != REFUSED:
            if "superseded" in data and data["superseded"]:
                # Which values these were, the answer does not say.
                self.last = seq
                self.asked["whole"] = True
            else:
                told = message.data if "applied" in data else data
                self.changed(kind, seq, told, answer[0])

    # -- what is done

    def change(self):
        """A change, in the member's own dialect where it has a word for it."""
        dice = self.dice
        kind, track_id = dice.choice(list(PARAMETERS)), dice.choice(MICS)
        known = [id for id in POOL if id in self.model.plugins]
        plugin_id = dice.choice(known if known and dice.random() < 0.95 else POOL)
        new_id = dice.choice([id for id in POOL if id not in known] or POOL)
        at = {"track_id": self.track_of(plugin_id) or track_id, "plugin_id": plugin_id}
        name, low, high = dice.choice(PARAMETERS[self.kind_of(plugin_id) or kind])
        new = round(dice.uniform(low, high), 4)
        value = {**at, "parameter_id": name, "parameter_value": new}
        batch = {"changes": [{**at, "parameter_id": name, "value": round(dice.uniform(low, high), 4)}]}
        others = [each for each in PARAMETERS[self.kind_of(plugin_id) or kind] if each[0] != name]
        batch["changes"] += [{**at, "parameter_id": each, "value": low} for each, low, _ in others]
        ways = [
            (50, "plugin.parameter", value),
            (5, "plugin.parameter", {**value, "base_seq": self.last - dice.randrange(20)} if self.last > 20 else value),
            (6, "plugin.parameter.batch", {**batch, "apply_immediately": True}),
            (6, "plugin.parameter.batch", {**batch, "debounce_ms": 50}),
            (6, "plugin.bypass", {**at, "bypass": dice.random() < 0.5}),
            (8, "plugin.add", {"track_id": track_id, "plugin_id": new_id, "name": kind}),
            (3, "plugin.remove", at),
            (4, "plugin.move", {**at, "position": dice.randrange(3)}),
            (4, "plugin.preset", {**at, "preset_data": {name: new}}),
            (6, "track.update", {"track_id": track_id, dice.choice(["volume", "pan"]): round(dice.random(), 3)}),
            (2, "track.update", {"track_id": track_id, "mute": dice.random() < 0.5}),
            (1, "track.add", {"track_id": dice.choice(BUSES), "kind": "bus"}),
            (1, "track.remove", {"track_id": dice.choice(BUSES)}),
            (1, "rig.panic", {"mode": dice.choice(["mute", "dry"])}),
            (1, "rig.restore", {}),
        ]
        _, kind, data = dice.choices(ways, [weight for weight, *_ in ways])[0]
        self.count += 1
        message = Message(f"{self.name}/{self.count}", *self.spelt(kind, data))
        self.keys[message.key] = message
        return message

    def spelt(self, kind, data):
        if self.dialect == "upper":
            return kind.upper().replace(".", "_"), data
        if self.dialect == "legacy" and kind == "plugin.parameter" and "base_seq" not in data:
            flat = {"pluginId": data["plugin_id"], "parameterId": data["parameter_id"]}
            return "UPDATE_PARAMETER", {**flat, "value": data["parameter_value"]}
        if self.dialect == "legacy" and kind in ("plugin.remove", "plugin.bypass"):
            legacy = {"plugin.remove": "REMOVE_PLUGIN", "plugin.bypass": "BYPASS_PLUGIN"}[kind]
            return legacy, {"pluginId": data["plugin_id"], **({"bypass": data["bypass"]} if "bypass" in data else {})}
        return kind, data

    def track_of(self, plugin_id):
        return next((id for id, chain in self.model.chains.items() if plugin_id in chain), None)

    def kind_of(self, plugin_id):
        known = self.model.plugins.get(plugin_id, {}).get("parameters", {})
        return next((kind for kind, all in PARAMETERS.items() if all[0][0] in known), None)

    async def ask_whole(self):
        """The state anew, where an answer did not tell enough."""
        if self.asked.pop("whole", False):
            await self.ask("state.get")

    async def ask(self, kind):
        self.asked[f"{self.name}.{self.count + 1}"] = reply = asyncio.get_running_loop().create_future()
        await self.send(kind)
        async with asyncio.timeout(PATIENCE_S):
            return await reply

    async def step(self):
        dice = self.dice
        message = self.change()
        await self.post(message)
        luck = dice.random()
        if luck < 0.1:
            await self.post(message)  # twice, at once
        elif luck < 0.15:
            await self.break_off()
            await asyncio.sleep(dice.random() * 0.2)
            await self.connect()
        elif luck < 0.2 and self.last > 5:
            self.joined.clear()
            self.joining = await self.send("state.resume", {"since_seq": self.last, "epoch": self.epoch})
        elif luck < 0.23:
            self.flowing.clear()
            await asyncio.sleep(dice.random() * 2)
            self.flowing.set()
        elif luck < 0.6:
            async with asyncio.timeout(PATIENCE_S):
                await message.answered.wait()
            if dice.random() < 0.1:
                await self.post(message)  # again, after the answer
        await asyncio.sleep(dice.random() * 0.02)

    async def live(self, steps):
        await self.connect()
        for _ in range(steps):
            await self.step()
            self.raise_fault()
        await self.settle()

    async def settle(self):
        for message in self.keys.values():
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await message.answered.wait()
            except TimeoutError:
                what = f"{message.kind} {message.data}, sent {message.copies} times"
                raise AssertionError(f"{self.name} ({self.dialect}): no answer to {what}") from self.fault
        self.raise_fault()

    async def compare(self):
        """Nothing up to a snapshot's number may follow it, so all of it has been heard before."""
        await self.ask_whole()
        reply = await self.ask("state.get")
        self.raise_fault()
        mine, rigs = self.before.plain(), self.model.plain()
        other = {key: (mine[key], rigs[key]) for key in mine if mine[key] != rigs[key]}
        assert not other, f"{self.name} ({self.dialect}) has another state: {other}"
        self.ws.transport.abort()
        return reply["data"]


def numbers(members):
    """Every number that was given belongs to one answered message."""
    ranges = sorted(m.answer for each in members for m in each.keys.values() if m.answer != REFUSED)
    end = 0
    for first, last in ranges:
        assert first == end + 1, f"{end + 1}..{first - 1} belongs to nobody, or somebody's was applied twice"
        end = last
    return end


async def crowd(url, clients, steps, seed):
    """All of it; what happened, in numbers."""
    doors = asyncio.Semaphore(32)
    members = [Member(url, number, seed, doors) for number in range(clients)]
    started = time.monotonic()
    await asyncio.gather(*(member.live(steps) for member in members))
    snapshots = await asyncio.gather(*(member.compare() for member in members))
    newest = {snapshot["seq"] for snapshot in snapshots}
    assert newest == {numbers(members)}, newest
    tell = {
        "clients": clients,
        "seed": seed,
        "changes": newest.pop(),
        "refused": sum(m.answer == REFUSED for each in members for m in each.keys.values()),
        "seconds": round(time.monotonic() - started, 1),
    }
    for what in ("heard", "repeats", "resumes", "snapshots"):
        tell[what] = sum(getattr(member, what) for member in members)
    return tell


def run(clients, steps, seed):
    """By hand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * clients + 256)), hard))
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder), settings=settings(clients))
        try:
            return asyncio.run(crowd(rig.url, clients, steps, seed))
        finally:
            rig.finish()


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:4]))))
