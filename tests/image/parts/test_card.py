"""The card that the image's scripts make: where its partitions are, and what is in them."""

import hashlib
import re
import subprocess

import pytest
from conftest import IMAGE, OVERLAY, partitions


@pytest.mark.parametrize("variant", ["virt", "pi"])
def test_a_card_has_boot_two_slots_and_data(stub, variant):
    image = stub.disk(variant)
    table, parts = partitions(image)
    assert (table["label"], table["id"]) == ("dos", "0x72696764")
    assert [part[2] for part in parts] == ["c", "83", "83", "83"]
    assert parts[1][1] == parts[2][1], "a slot takes what the other has"
    assert all(a[0] + a[1] <= b[0] for a, b in zip(parts, parts[1:]))
    assert parts[0][0] > 65 * 512, "the slots' state is in a gap"
    with open(image, "rb") as file:
        file.seek(parts[1][0] + 1024)
        assert file.read(58)[56:58] == b"\x53\xef", "slot A is ext4"
        file.seek(parts[2][0])
        assert file.read(1 << 20) == bytes(1 << 20), "slot B is empty"
        file.seek(parts[3][0] + 1024)
        assert file.read(58)[56:58] == b"\x53\xef", "so is the data"


def test_every_place_that_names_a_partition_means_the_same(stub):
    """The table, fstab, RAUC, the growing of the data partition, U-Boot's script, the state's sector."""
    script = stub.disk("virt")
    boot = subprocess.check_output(["mtype", "-i", f"{script}@@{partitions(script)[1][0][0]}", "::boot.scr"]).decode(errors="replace")
    texts = {name: (OVERLAY / name).read_text() for name in ["etc/fstab", "etc/rauc/system.conf", "usr/lib/rig/grow", "etc/fw_env.config"]}
    assert re.search(r"^PARTUUID=72696764-04 /var ext4 ", texts["etc/fstab"], re.M)
    assert re.search(r"^PARTUUID=72696764-01 /boot/firmware vfat ro,", texts["etc/fstab"], re.M)
    assert re.findall(r"by-partuuid/72696764-(\d\d)\n.*\nbootname=(.)", texts["etc/rauc/system.conf"]) == [("02", "A"), ("03", "B")]
    assert "by-partuuid/72696764-04" in texts["usr/lib/rig/grow"]
    assert "setenv slot A; setenv part 2" in boot and "setenv slot B; setenv part 3" in boot
    assert texts["etc/fw_env.config"].split()[1:] == [hex(64 * 512), hex(512)]
    assert "read ${buf} 40 1" in boot and "write ${buf} 40 1" in boot


def test_the_boot_partition_has_what_firmware_and_owner_want(stub):
    image = stub.disk("pi")
    at = partitions(image)[1][0][0]
    listing = subprocess.check_output(["mdir", "-b", "-i", f"{image}@@{at}", "::"], text=True)
    names = {line.removeprefix("::/") for line in listing.split()}
    assert {"config.txt", "u-boot.bin", "boot.scr", "start4.elf", "fixup4.dat", "LICENCE.firmware"} <= names
    assert {"bcm2711-rpi-4-b.dtb", "bcm2712-rpi-5-b.dtb"} <= names
    assert {"rig.txt", "rigd.toml", "rig-status.txt"} <= names
    uboot = subprocess.check_output(["mtype", "-i", f"{image}@@{at}", "::u-boot.bin"])
    assert uboot == b"U-Boot\0bootdelay=-2\0baudrate=1\0preboot=pci enum;          \0end", "no key stops it"
    overlay = subprocess.check_output(["mtype", "-i", f"{image}@@{at}", "::overlays/bcm2712d0.dtbo"])
    assert overlay[:4] == b"\xd0\x0d\xfe\xed", "for the later Pi 5, under the name that the firmware knows"
    config = subprocess.check_output(["mtype", "-i", f"{image}@@{at}", "::config.txt"], text=True)
    assert re.search(r"^kernel=u-boot\.bin$", config, re.M) and all(len(line) < 98 for line in config.splitlines())
    status = subprocess.check_output(["mtype", "-i", f"{image}@@{at}", "::rig-status.txt"])
    assert len(status) == 4096, "it is overwritten in place"


def test_the_kernel_is_told_to_take_the_root_read_only(stub):
    line = subprocess.check_output(["/sbin/debugfs", "-R", "cat /boot/cmdline.txt", stub.slot], text=True, stderr=subprocess.DEVNULL)
    assert line.split()[0] == "ro" and "rootwait" in line.split() and "panic=5" in line.split()


def test_the_boot_partition_is_the_same_when_it_is_made_again(stub, tmp_path):
    again = tmp_path / "again.img"
    stub.make("disk", "virt", stub.slot, again)
    _, parts = partitions(again)

    def digest(image):
        with open(image, "rb") as file:
            return hashlib.sha256(file.read(parts[1][0])).hexdigest()

    assert digest(again) == digest(stub.disk("virt"))


def test_a_root_that_is_larger_than_a_slot_is_refused(stub, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    with open(root / "large", "wb") as file:
        file.write(b"x")
        file.flush()
        subprocess.run(["fallocate", "-l", "800M", file.name], check=True)
    command = [IMAGE / "make/slot", root, tmp_path / "slot.ext4"]
    done = subprocess.run(command, env=stub.env, capture_output=True, text=True)
    assert done.returncode == 1 and "larger than a slot" in done.stderr, done.stderr
