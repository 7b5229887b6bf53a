"""U-Boot's script in U-Boot: which slot it takes, and that it never runs out of tries. The slots here have no
kernel, so each try fails."""

import re
import shutil
import subprocess
import time

import pytest
from conftest import IMAGE, partitions

UBOOT = "/usr/lib/u-boot/qemu_arm64/u-boot.bin"
PATIENCE_S = 240


@pytest.fixture
def card(stub, tmp_path):
    image = tmp_path / "card.img"
    subprocess.run(["cp", "--sparse=always", stub.disk("virt"), image], check=True)
    # In both slots.
    with open(image, "r+b") as file:
        file.seek(partitions(image)[1][2][0])
        file.write(stub.slot.read_bytes())
    return image


def state(card, **wanted):
    """RAUC's way to U-Boot's sector, on the card: reads all, or writes some."""
    config = card.with_suffix(".config")
    config.write_text(f"{card} 0x8000 0x200\n")
    for name, value in wanted.items():
        subprocess.run(["fw_setenv", "-c", config, name, value], check=True)
    said = subprocess.check_output(["fw_printenv", "-c", config], text=True)
    return dict(line.split("=", 1) for line in said.splitlines())


def tried(card, until, memory="256M"):
    """What the script says, up to a line that matches."""
    console = card.with_suffix(".console")
    console.write_bytes(b"")
    qemu = subprocess.Popen(
        ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a53", "-m", memory, "-display", "none", "-monitor", "none",
         "-bios", UBOOT, "-serial", f"file:{console}", "-drive", f"file={card},if=none,id=card,format=raw",
         "-device", "virtio-blk-pci,drive=card,romfile=", "-nic", "none"],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            said = re.findall(r"^rig: .*$", console.read_text(errors="replace").replace("\r", ""), re.M)
            matching = [number for number, line in enumerate(said) if re.search(until, line)]
            if matching:
                return said[: matching[0] + 1]
            assert qemu.poll() is None, "the emulator ended"
            time.sleep(0.2)
        raise AssertionError(f"no {until} came; the console ends:\n{console.read_text(errors='replace')[-2000:]}")
    finally:
        qemu.kill()
        qemu.wait()


def slots(said):
    return [line.split()[2] for line in said if re.fullmatch(r"rig: slot [AB]", line)]


def test_mkimage_takes_the_script():
    assert shutil.which("mkimage")
    lines = (IMAGE / "boot/boot.cmd").read_text().splitlines()
    assert all(len(line) < 500 for line in lines), "U-Boot's own lines are that long"


def test_a_new_card_tries_a_then_b_then_all_over_again(card):
    said = tried(card, "all over again")
    assert said[0] == "rig: no state of slots yet"
    assert slots(said) == ["A"] * 3 + ["B"] * 3
    assert state(card) == {"BOOT_ORDER": "A B", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "3"}


def test_what_rauc_has_made_first_is_tried_once_then_the_other(card):
    # A card that was started once has a sector that RAUC's tool knows.
    tried(card, "slot A$")
    state(card, BOOT_ORDER="B A", BOOT_B_LEFT="1", BOOT_A_LEFT="3")
    assert slots(tried(card, "slot A$")) == ["B", "A"]
    assert state(card)["BOOT_B_LEFT"] == "0"


def test_a_sector_that_is_not_whole_is_a_new_one(card):
    tried(card, "slot A$")
    with open(card, "r+b") as file:
        file.seek(64 * 512 + 7)
        file.write(b"?")
    said = tried(card, "slot A$")
    assert said[0] == "rig: no state of slots yet" and slots(said) == ["A"]
