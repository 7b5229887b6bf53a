"""Updates in two slots: a good one stays, a broken one goes back by itself, a stranger's is refused, one that is
cut off does no harm. One card; the tests follow each other."""

import json
import os
import shutil
import subprocess
import urllib.request

import pytest
import vm as vms
from rig import Client

MAKE = vms.ROOT / "image/make"
ROOT = vms.OUT / "root"
CODE = "UPDA-TEUP-DATE"


def bundle(folder, version, break_it=False):
    """A bundle of the root that was built, under another version."""
    path = folder / f"{version}.raucb"
    # Beside the root, since it is a copy by links.
    root = vms.OUT / "root.changed"
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run(["cp", "-al", ROOT, root], check=True)
    changed = {"usr/lib/rig/version": version + "\n"}
    if break_it:
        changed["usr/bin/rigd"] = "#!/bin/sh\nexit 1\n"
    for name, text in changed.items():
        (root / name).unlink()
        (root / name).write_text(text)
        (root / name).chmod(0o755)
    slot = folder / "slot.ext4"
    subprocess.run([MAKE / "slot", root, slot], check=True)
    subprocess.run([MAKE / "bundle", slot, version, path], check=True)
    shutil.rmtree(root)
    slot.unlink()
    return path


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
    body = json.dumps({"code": CODE, "user_id": "ana"}).encode()
    url = f"http://127.0.0.1:{box.ports[8000]}/api/pair"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=240) as answer:
        box.token = json.loads(answer.read())["token"]
    host = person(box)
    host.ask("track.update", {"track_id": "music", "volume": 0.25}, requires_ack=True)
    host.wait("ack")
    host.close()
    return box


def person(box):
    return Client(f"ws://127.0.0.1:{box.ports[8000]}/ws", additional_headers={"Authorization": f"Bearer {box.token}"})


def send(box, path):
    """The bundle is on the box."""
    command = ["ssh", "-q", "-i", box.key, "-p", str(box.ports[22]), "-o", "StrictHostKeyChecking=no",
               "-o", "UserKnownHostsFile=/dev/null", "root@127.0.0.1", f"cat > /var/tmp/{path.name}; sync"]  # fmt: skip
    with open(path, "rb") as file:
        subprocess.run(command, stdin=file, check=True, timeout=600)
    return f"/var/tmp/{path.name}"


def slots(box):
    """What RAUC and U-Boot know."""
    status = json.loads(box.run("rauc status --output-format=json"))
    return status["booted"], status["boot_primary"], box.run("fw_printenv")


def restart(box):
    """Where the console stood before."""
    said = len(box.said())
    box.run("systemctl --no-block reboot", check=False)
    return said


def test_a_good_update_stays_and_state_with_it(box, folder):
    before = slots(box)
    path = send(box, bundle(folder, "v2"))
    print(box.run(f"rigd update {path}; done=$?; rm {path}; exit $done", timeout=1800))
    said = restart(box)
    assert box.wait_said(r"rig: (\S+) is (good|not healthy)", after=said).groups() == ("v2", "good")
    after = slots(box)
    assert (before[0], after[0]) == ("A", "B") and after[1] == "rootfs.1"
    box.wait_healthy()
    host = person(box)
    music = next(track for track in host.state()["tracks"] if track["track_id"] == "music")
    assert music["volume"] == 0.25
    host.close()


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


def test_one_that_is_cut_off_does_no_harm(box, folder):
    path = send(box, bundle(folder, "v3"))

    def written():
        return int(box.run("awk '$3 == \"vda2\" {print $10}' /proc/diskstats"))

    box.run(f"systemd-run --no-block rigd update {path}")
    box.wait(lambda: written() > 100_000)  # 50 MB of the slot
    box.off()
    again = vms.Vm(box.image, key=box.key)
    box.__dict__.update({**again.__dict__, "token": box.token})
    assert box.wait_good() == "v2"
    box.wait_healthy()
    assert slots(box)[0] == "B"


def test_a_broken_one_goes_back_by_itself(box, folder):
    path = send(box, bundle(folder, "v4", break_it=True))
    box.run(f"rigd update {path}", timeout=1800)
    said = restart(box)
    assert box.wait_said(r"rig: (\S+) is (good|not healthy)", after=said).groups() == ("v4", "not healthy")
    said = len(box.said())
    assert box.wait_said(r"rig: (\S+) is (good|not healthy)", after=said).groups() == ("v2", "good")
    assert slots(box)[0] == "B"
    box.wait_healthy()
