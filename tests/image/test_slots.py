"""Updates in two slots: a good one stays, a broken one goes back by itself, a stranger's is refused, one that is
cut off does no harm. One card; the tests follow each other."""

import json
import os
import subprocess

import pytest
import vm as vms
from updates import MAKE, bring, bundle, claim, device, person, send

CODE = "UPDA-TEUP-DATE"
DECIDED = r"rig: (\S+) is (good|not healthy)"
# A newer rigd that keeps a copy of the database, brings its tables up to date, and fails: `user_version` is the
# four bytes at 60.
NEWER = """#!/bin/sh
[ "$1" = serve ] || exit 0
cd /var/lib/rigd
version=$(od -An -j63 -N1 -tu1 rigd.db | tr -d ' ')
if [ ! -e newer ]; then
  cp rigd.db "rigd.v$version.backup"
  printf "\\\\$(printf %o $((version + 1)))" | dd of=rigd.db bs=1 seek=63 conv=notrunc status=none
  touch newer
  sync
fi
exit 1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("update")


@pytest.fixture(scope="module")
def box(folder, key, switch_on):
    image = vms.card(folder / "card.img", 4)
    vms.put(image, "rig.txt", f"claim_code={CODE}\n")
    vms.put(image, "ssh-key.pub", key.with_suffix(".pub").read_text())
    vms.put(image, "rigd.toml", 'preset = "karaoke"\n[audio]\nbackend = "null"\nblock_frames = 1024\n')
    box = switch_on(image)
    box.wait_healthy()
    box.wait_good()
    box.token = claim(box, CODE, "ana")
    host = person(box, box.token)
    host.ask("track.update", {"track_id": "music", "volume": 0.25}, requires_ack=True)
    host.wait("ack")
    host.close()
    return box


def slots(box):
    """What RAUC and U-Boot know."""
    status = json.loads(box.run("rauc status --output-format=json"))
    return status["booted"], status["boot_primary"], box.run("fw_printenv")


def restart(box):
    """Where the console stood before."""
    said = len(box.said())
    box.run("systemctl --no-block reboot", check=False)
    return said


def music(box):
    """The volume that the host has chosen, and what the rig says of itself."""
    host = person(box, box.token)
    [track] = [track for track in host.state()["tracks"] if track["track_id"] == "music"]
    degraded = host.ask("status.get")["data"]["degraded"]
    host.close()
    return track["volume"], degraded


def test_a_good_update_from_the_hosts_page_stays_and_state_with_it(box, folder):
    before = slots(box)
    # A box without a network may have been asleep since before the certificate began.
    box.run("systemctl stop systemd-timesyncd; date -s '2025-06-01 12:00'")
    end, stages = bring(box, box.token, bundle(folder, "v2"))
    assert end == {"stage": "installed"}, end
    assert any(told["stage"] == "installing" and told["percent"] > 0 for told in stages), stages[:3]
    assert "raucb" not in box.run("ls -A /var/lib/rigd")
    said = len(box.said())
    device(box, box.token, "POST", "/reboot", b"{}")
    assert box.wait_said(DECIDED, after=said).groups() == ("v2", "good")
    after = slots(box)
    assert (before[0], after[0]) == ("A", "B") and after[1] == "rootfs.1"
    box.wait_healthy()
    assert music(box) == (0.25, [])


def test_a_strangers_update_is_refused(box, folder):
    strange = folder / "stranger"
    subprocess.run([MAKE / "certificates", strange], check=True)
    before = slots(box)
    slot = folder / "slot.ext4"
    slot.write_bytes(bytes(1 << 20))  # what it holds is not looked at
    env = {**os.environ, "CERTIFICATES": str(strange)}
    subprocess.run([MAKE / "bundle", slot, "v9", folder / "v9.raucb"], check=True, env=env)
    path = send(box, folder / "v9.raucb")
    refused = box.run(f"rigd update {path}", check=False, timeout=600)
    box.run(f"rm {path}")
    assert refused.returncode == 1, refused.stdout
    assert "signature" in refused.stderr + refused.stdout
    assert slots(box) == before


def test_a_bundle_that_is_not_whole_is_refused(box, folder):
    whole = bundle(folder, "v3")
    part = folder / "part.raucb"
    with open(whole, "rb") as file:
        part.write_bytes(file.read(whole.stat().st_size // 2))
    before = slots(box)
    path = send(box, part)
    refused = box.run(f"rigd update {path}", check=False, timeout=600)
    box.run(f"rm {path}")
    assert refused.returncode == 1, refused.stdout
    assert "is not installed" in refused.stderr
    assert slots(box) == before


def test_one_that_is_cut_off_does_no_harm(box, folder):
    path = send(box, folder / "v3.raucb")

    def written():
        return int(box.run("awk '$3 == \"vda2\" {print $10}' /proc/diskstats"))

    box.run(f"systemd-run --no-block rigd update {path}")
    box.wait(lambda: written() > 100_000)  # 50 MB of the slot
    box.off()
    box.on()
    assert box.wait_good() == "v2"
    box.wait_healthy()
    assert slots(box)[0] == "B"
    box.run(f"rm {path}")


def test_a_broken_one_goes_back_by_itself_and_the_state_too(box, folder):
    path = send(box, bundle(folder, "v4", NEWER))
    box.run(f"rigd update {path}; done=$?; rm {path}; exit $done", timeout=1800)
    said = restart(box)
    tried = box.wait_said(DECIDED, after=said)
    assert tried.groups() == ("v4", "not healthy")
    assert box.wait_said(DECIDED, after=tried.end()).groups() == ("v2", "good")
    assert slots(box)[0] == "B"
    box.wait_healthy()
    volume, degraded = music(box)
    assert volume == 0.25
    assert len(degraded) == 1 and "newer rigd" in degraded[0], degraded
    assert box.run("rigd log verify --state-dir /var/lib/rigd", check=False).returncode == 0
    assert "rigd.newer-" in box.run("ls /var/lib/rigd")
