"""What of the device image can be tried within minutes, on any Debian 12 and without root: a card around a root
that holds next to nothing, updates for it, U-Boot's script in U-Boot, the box's own scripts."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
IMAGE = ROOT / "image"
OVERLAY = IMAGE / "root"
SCRIPTS = OVERLAY / "usr/lib/rig"
NATIVE = {"MKE2FS": "/sbin/mke2fs", "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}


@pytest.fixture(scope="session", autouse=True)
def built():
    """No image is needed here."""


class Stub:
    """An output folder of the image's scripts, with a root that has what they look at."""

    def __init__(self, folder):
        self.out = folder / "out"
        root = self.root = self.out / "root"
        for name, text in {
            "boot/cmdline.txt": (IMAGE / "boot/cmdline.txt").read_text(),
            "etc/rigd/rigd.toml": 'preset = "karaoke"\n',
            "usr/lib/rig/version": "stub\n",
            "usr/lib/modules/7/dtb/broadcom/bcm2711-rpi-4-b.dtb": "tree",
            "usr/lib/modules/7/dtb/broadcom/bcm2712-rpi-5-b.dtb": "tree",
        }.items():
            self.put(root / name, text)
        (root / "var").mkdir()
        firmware = self.out / "firmware/tree"
        self.put(firmware / "usr/lib/u-boot/rpi_arm64/u-boot.bin", "U-Boot\0bootdelay=2\0baudrate=1\0preboot=pci enum; usb start;\0end")
        self.put(firmware / "usr/share/doc/raspi-firmware/copyright", "licence")
        for name in ["start4.elf", "start4cd.elf", "start4x.elf", "fixup4.dat", "fixup4cd.dat", "fixup4x.dat"]:
            self.put(firmware / "usr/lib/raspi-firmware" / name, name)
        self.env = {**os.environ, **NATIVE, "OUT": str(self.out), "SOURCE_DATE_EPOCH": "1700000000"}
        self.make("certificates")
        self.slot = self.out / "root.ext4"
        self.make("slot", root, self.slot)

    @staticmethod
    def put(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def make(self, step, *args, **env):
        """Runs one of image/make."""
        subprocess.run([IMAGE / "make" / step, *args], check=True, env={**self.env, **env})

    def disk(self, variant):
        image = self.out / f"{variant}.img"
        if not image.exists():
            self.make("disk", variant, self.slot, image)
        return image


@pytest.fixture(scope="session")
def stub(tmp_path_factory):
    return Stub(tmp_path_factory.mktemp("stub"))


def partitions(image):
    table = json.loads(subprocess.check_output(["/sbin/sfdisk", "-J", image]))["partitiontable"]
    return table, [(part["start"] * 512, part["size"] * 512, part["type"]) for part in table["partitions"]]
