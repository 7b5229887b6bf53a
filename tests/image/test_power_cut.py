"""The plug is pulled at random moments of a first boot, of an evening and of an update: the box always comes back by
itself, the log is whole, and what was acknowledged as durable is there. Writes that were not flushed are lost in any
part."""

import os
import random
import subprocess

import pytest
import vm as vms
import writes
from updates import bundle, claim, person, send

CUTS = int(os.environ.get("CUTS", "10"))
SEED = int(os.environ.get("SEED", "20261121"))
CODE = "CUTS-CUTS-CUTS"
LIMITER = {"track_id": "master", "plugin_id": "limiter", "parameter_id": "release_ms"}
PERIODS = ["first-boot", "update", "evening"]


class Evening:
    """A recording of all writes: the card before, the log, where its periods begin, what was durable when."""

    def __init__(self, before, log):
        self.before, self.log = before, log
        self.begins = {"first-boot": 0}
        self.durable = []
        self.token = None

    def now(self):
        return self.log.stat().st_size

    def ends(self, period):
        """The offsets of the log at which the power may go."""
        order = sorted(self.begins.values()) + [1 << 62]
        begin = self.begins[period]
        end = order[order.index(begin) + 1]
        return [entry[0] for entry in writes.entries(self.log) if begin <= entry[0] < end]


@pytest.fixture(scope="module")
def evening(tmp_path_factory, key, switch_on):
    folder = tmp_path_factory.mktemp("evening")
    before = vms.card(folder / "before.img")
    vms.put(before, "rig.txt", f"claim_code={CODE}\n")
    vms.put(before, "ssh-key.pub", key.with_suffix(".pub").read_text())
    vms.put(before, "rigd.toml", 'preset = "karaoke"\n[audio]\nbackend = "null"\nblock_frames = 1024\n')
    update = bundle(folder, "v2")
    image = folder / "card.img"
    subprocess.run(["cp", "--sparse=always", before, image], check=True)
    evening = Evening(before, folder / "writes")
    box = switch_on(image, writes=evening.log)
    box.wait_healthy()
    evening.token = claim(box, CODE, "ana")
    evening.begins["evening"] = evening.now()
    host = person(box, evening.token)
    for value in range(11, 61):
        id = host.send("plugin.parameter", {**LIMITER, "parameter_value": value}, requires_ack=True)
        ack = host.wait("ack", original_message_id=id)
        assert ack["data"]["durable"] is True, ack
        evening.durable.append((evening.now(), value))
    host.close()
    box.wait_good()
    path = send(box, update)
    evening.begins["update"] = evening.now()
    print(box.run(f"rigd update {path}", timeout=1800))
    said = len(box.said())
    box.run("systemctl --no-block reboot", check=False)
    assert box.wait_said(r"rig: (\S+) is (good|not healthy)", after=said).groups() == ("v2", "good")
    box.run("sync")
    box.off()
    image.unlink()
    return evening


@pytest.mark.parametrize("number", range(CUTS), ids=lambda number: f"{number}-{PERIODS[number % 3]}")
def test_it_comes_back_by_itself(evening, number, tmp_path, switch_on):
    period = PERIODS[number % 3]
    end = random.Random(SEED + number).choice(evening.ends(period))
    image, lost = writes.cut(evening.before, evening.log, end, SEED + number, tmp_path / "card.img")
    print(f"{period}: cut at {end} of {evening.now()}, {lost} writes lost or torn")
    box = switch_on(image)
    box.wait_healthy()
    version = box.wait_good()
    print(f"back with {version}")
    assert period == "update" or version != "v2"
    verified = box.run("rigd log verify --state-dir /var/lib/rigd", check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert box.run("systemctl --failed --no-legend --plain").strip() == ""
    known = [value for at, value in evening.durable if at <= end]
    if known:
        host = person(box, evening.token)
        assert host.plugin("limiter")["parameters"]["release_ms"] >= known[-1]
        host.close()
    box.off()
    image.unlink()
