"""The plug is pulled at random moments of a first boot, of an evening and of an update: the box always comes back by
itself, the log is whole, and what was acknowledged as durable is there. Writes that were not flushed are lost in any
part. Some cards are switched on again (CUTS); more are read (CARDS). RECORDING names a folder for the recording, which
is made if it is not there; SEED begins other cuts."""

import hashlib
import json
import os
import random
import shutil
import sqlite3
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
import vm as vms
import writes
from updates import bundle, claim, person, send

CUTS = int(os.environ.get("CUTS", "10"))
CARDS = int(os.environ.get("CARDS", "30"))
SEED = int(os.environ.get("SEED", "20261121"))
# The box's own, unless there is one for this machine.
BOXS = ["qemu-aarch64-static", "-L", vms.OUT / "root", vms.OUT / "root/usr/bin/rigd"]
RIGD = [os.environ["RIGD_BIN"]] if "RIGD_BIN" in os.environ else BOXS
CODE = "CUTS-CUTS-CUTS"
LIMITER = {"track_id": "master", "plugin_id": "limiter", "parameter_id": "release_ms"}
# A slower processor, by which U-Boot's pauses take less of this one.
SHIFT = 2
PERIODS = ["first-boot", "update", "trial", "evening"]
# In sectors: where U-Boot and RAUC keep which slot is next, the slots, the data.
STATE_AT, SLOTS_AT, DATA_AT = 64, {"A": 270336, "B": 1843200}, 3416064


class Evening:
    """A recording of all writes: the card before, the log, where its periods begin, what was durable when."""

    def __init__(self, folder):
        self.before, self.log, self.notes = folder / "before.img", folder / "writes", folder / "notes"
        self.begins = {"first-boot": 0}
        self.durable = []
        self.slots = None

    def keep(self):
        names = ("begins", "durable", "slots")
        self.notes.write_text(json.dumps({name: getattr(self, name) for name in names}))

    def now(self):
        return self.log.stat().st_size

    def ends(self, period):
        """The offsets of the log at which the power may go."""
        order = sorted(self.begins.values()) + [1 << 62]
        begin = self.begins[period]
        end = order[order.index(begin) + 1]
        return [entry[0] for entry in writes.entries(self.log) if begin <= entry[0] < end]

    def cut(self, number, into):
        """The card as a cut may leave it: (its file, the period, where in the log, the newest durable value)."""
        period = PERIODS[number % len(PERIODS)]
        end = random.Random(SEED + number).choice(self.ends(period))
        card, lost = writes.cut(self.before, self.log, end, SEED + number, into / "card.img")
        print(f"{period}: cut at {end} of {self.now()}, {lost} writes lost or torn")
        return card, period, ([value for at, value in self.durable if at <= end] or [None])[-1]


def slot(card, name):
    """The digest of the file system in a slot, as long as it says that it is; None where there is none."""
    with open(card, "rb") as file:
        file.seek(SLOTS_AT[name] * 512 + 1024)
        block = file.read(1024)
        if block[56:58] != b"\x53\xef":
            return None
        length = struct.unpack_from("<I", block, 4)[0] << (10 + struct.unpack_from("<I", block, 24)[0])
        file.seek(SLOTS_AT[name] * 512)
        return hashlib.sha256(file.read(length)).hexdigest()


def check_data(card, durable, folder):
    """The data partition's journal can be replayed, the log is whole, and what was durable is there."""
    # By itself: e2fsck forgets where on a card it is once it has replayed the journal.
    data = folder / "data.ext4"
    subprocess.run(["dd", f"if={card}", f"of={data}", "bs=1M", f"skip={DATA_AT // 2048}", "conv=sparse", "status=none"], check=True)
    checked = subprocess.run(["/sbin/e2fsck", "-fy", data], capture_output=True, text=True)
    assert checked.returncode in (0, 1), checked.stdout
    state = folder / "state"
    state.mkdir()
    subprocess.run(["/sbin/debugfs", "-R", f"rdump lib/rigd {state}", data], capture_output=True, check=True)
    database = state / "rigd/rigd.db"
    if durable is not None or database.exists():
        verified = subprocess.run([*RIGD, "log", "verify", "--state-dir", database.parent], capture_output=True, text=True)
        empty = durable is None and database.stat().st_size == 0
        assert empty or verified.returncode == 0, verified.stdout + verified.stderr
    if durable is not None:
        with sqlite3.connect(database) as db:
            [[values]] = db.execute("SELECT parameters FROM plugin_configurations WHERE id = 'limiter'")
        assert json.loads(values)["release_ms"] >= durable
    shutil.rmtree(state)
    data.unlink()


@pytest.fixture(scope="module")
def evening(tmp_path_factory, key, switch_on):
    folder = Path(os.environ.get("RECORDING") or tmp_path_factory.mktemp("evening"))
    folder.mkdir(exist_ok=True)
    evening = Evening(folder)
    if evening.notes.exists():
        evening.__dict__.update(json.loads(evening.notes.read_text()))
        return evening
    vms.card(evening.before)
    vms.put(evening.before, "rig.txt", f"claim_code={CODE}\n")
    vms.put(evening.before, "ssh-key.pub", key.with_suffix(".pub").read_text())
    vms.put(evening.before, "rigd.toml", 'preset = "karaoke"\n[audio]\nbackend = "null"\nblock_frames = 4096\nsample_rate = 8000\n')
    update = bundle(folder, "v2")
    image = folder / "card.img"
    subprocess.run(["cp", "--sparse=always", evening.before, image], check=True)
    evening.log.unlink(missing_ok=True)
    box = switch_on(image, writes=evening.log)
    box.wait_healthy()
    evening.begins["evening"] = evening.now()
    host = person(box, claim(box, CODE, "ana"))
    for value in range(11, 61):
        id = host.send("plugin.parameter", {**LIMITER, "parameter_value": value}, requires_ack=True)
        ack = host.wait("ack", original_message_id=id)
        assert ack["data"]["durable"] is True, ack
        evening.durable.append((evening.now(), value))
    host.close()
    box.wait_good()
    evening.begins["transfer"] = evening.now()
    path = send(box, update)
    evening.begins["update"] = evening.now()
    print(box.run(f"rigd update {path}", timeout=1800))
    evening.begins["trial"] = evening.now()
    said = len(box.said())
    box.run("systemctl --no-block reboot", check=False)
    assert box.wait_said(r"rig: (\S+) is (good|not healthy)", after=said).groups() == ("v2", "good")
    box.run("sync")
    box.off()
    evening.slots = {name: slot(image, name) for name in "AB"}
    image.unlink()
    evening.keep()
    return evening


@pytest.mark.parametrize("number", range(CARDS), ids=lambda number: f"{number}-{PERIODS[number % len(PERIODS)]}")
def test_what_is_left_on_the_card_is_whole(evening, number, tmp_path):
    """The slot that is next is one that was written to its end; the data's journal is replayed and the log verified."""
    card, period, durable = evening.cut(number, tmp_path)
    with open(card, "rb") as file:
        file.seek(STATE_AT * 512)
        state = file.read(512)
    names = dict(entry.split(b"=", 1) for entry in state[4:].split(b"\0") if entry)
    if any(state):
        assert struct.unpack_from("<I", state)[0] == zlib.crc32(state[4:]), "the slots' state is one sector, whole"
        left = [name for name in names[b"BOOT_ORDER"].decode().split() if int(names[b"BOOT_" + name.encode() + b"_LEFT"])]
    else:
        left = ["A"]
    if left:
        assert slot(card, left[0]) == evening.slots[left[0]], names
    assert slot(card, "A") == evening.slots["A"], "nothing writes the slot that runs"
    boot = subprocess.check_output(["mtype", "-i", f"{card}@@{vms.BOOT_AT}", "::boot.scr"])
    assert boot == subprocess.check_output(["mtype", "-i", f"{evening.before}@@{vms.BOOT_AT}", "::boot.scr"])

    check_data(card, durable, tmp_path)
    card.unlink()


@pytest.mark.parametrize("number", range(CUTS), ids=lambda number: f"{number}-{PERIODS[number % len(PERIODS)]}")
def test_it_comes_back_by_itself(evening, number, tmp_path, switch_on):
    card, period, durable = evening.cut(number, tmp_path)
    box = switch_on(card, shift=SHIFT)
    box.wait_healthy()
    version = box.wait_good()
    print(f"back with {version}")
    assert period in ("update", "trial") or version != "v2"
    assert "what has failed" not in box.said()
    box.off()
    # What it has made of it. Asked from outside: to log in is as much work for an emulated box as to start.
    check_data(card, durable, tmp_path)
    card.unlink()
