"""The Raspberry Pi's card on an emulated Pi 3, the nearest that there is: from its own U-Boot until the slot is kept.
Not the firmware, and neither the chips of a Pi 4 nor those of a 5. One boot serves all tests here."""

import os
import re
import struct
import subprocess
import threading
import zlib

import pytest
import vm as vms
from device_tree import Tree

CODE = "CARD-OFAP-I123"
PATIENCE = 900


class Pi:
    """A Pi 3 that is switched on. It speaks on a serial line, where something always comes in."""

    def __init__(self, card, uboot, tree):
        self.said = b""
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "qemu-system-aarch64", "-M", "raspi3b", "-kernel", uboot, "-dtb", tree,
             "-drive", f"file={card},if=sd,format=raw", "-display", "none", "-monitor", "none", "-serial", "null", "-serial", "stdio"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.patience = threading.Timer(PATIENCE, self.process.kill)
        self.patience.start()

    def off(self):
        self.patience.cancel()
        self.process.kill()
        self.process.wait()

    def wait_said(self, pattern):
        while not (found := re.search(pattern, self.said)):
            self.process.stdin.write(b" ")
            self.process.stdin.flush()
            some = os.read(self.process.stdout.fileno(), 4096)
            assert some, f"{pattern} did not come:\n{self.said[-3000:].decode(errors='replace')}"
            self.said += some
        return found


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    image = vms.OUT / "rig-pi.img"
    if not image.exists():
        pytest.skip("there is no image for the Pi: image/build pi")
    card = tmp_path_factory.mktemp("pi") / "card.img"
    subprocess.run(["cp", "--sparse=always", image, card], check=True)
    subprocess.run(["truncate", "-s", "4G", card], check=True)
    vms.put(card, "rig.txt", f"name=stage\nclaim_code={CODE}\n")
    return card


@pytest.fixture(scope="module")
def pi(card):
    folder = card.parent
    # On the serial line, which tests can read; and without the watchdog, whose emulation bites when it is set.
    script = (vms.ROOT / "image/boot/boot.cmd").read_text()
    changed = script.replace('console=tty1"', 'console=tty1 console=ttyS1,115200 module_blacklist=bcm2835_wdt"')
    assert changed != script
    (folder / "boot.cmd").write_text(changed)
    made = ["mkimage", "-A", "arm64", "-T", "script", "-C", "none", "-d", folder / "boot.cmd", folder / "boot.scr"]
    subprocess.run(made, check=True, capture_output=True)
    subprocess.run(["mcopy", "-o", "-i", f"{card}@@{vms.BOOT_AT}", folder / "boot.scr", "::boot.scr"], check=True)
    uboot = folder / "u-boot.bin"
    uboot.write_bytes(subprocess.check_output(["mtype", "-i", f"{card}@@{vms.BOOT_AT}", "::u-boot.bin"]))
    [tree] = (vms.OUT / "root/usr/lib/modules").glob("*/dtb/broadcom/bcm2837-rpi-3-b.dtb")
    assert "raspberrypi,3-model-b" in Tree(tree.read_bytes()).get("/", "compatible")
    pi = Pi(card, uboot, tree)
    yield pi
    pi.off()


def test_its_u_boot_starts_the_slots_kernel_whatever_comes_by_the_serial_line(pi):
    pi.wait_said(rb"Starting kernel|cannot be loaded")
    assert b"rig: slot A" in pi.said and b"Starting kernel" in pi.said, pi.said
    assert b"autoboot" not in pi.said and b"starting USB" not in pi.said


def test_it_comes_up_shows_its_code_and_keeps_the_slot(pi, card):
    pi.wait_said(f"The code {CODE} makes a host".encode())
    pi.wait_said(rb"rig: (\S+) is good")
    assert b"what has failed" not in pi.said
    assert f"http://stage.local/#pair={CODE}" in vms.get(card, "rig-status.txt")
    with open(card, "rb") as file:
        file.seek(64 * 512)
        state = file.read(512)
    assert struct.unpack_from("<I", state)[0] == zlib.crc32(state[4:]) and b"BOOT_A_LEFT=3" in state, state[:64]


def test_its_data_partition_reaches_to_the_end_of_the_card(pi, card):
    table = subprocess.check_output(["/sbin/sfdisk", "-d", card], text=True)
    start, size = map(int, re.search(r"card\.img4 : start= *(\d+), size= *(\d+)", table).groups())
    assert start + size == card.stat().st_size // 512
