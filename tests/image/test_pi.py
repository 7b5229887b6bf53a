"""The image for the Raspberry Pi, read. As far as it can be run here, `test_pi_3.py` does."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import vm as vms
from device_tree import Drivers, Tree, module

IMAGE = vms.OUT / "rig-pi.img"
# What may hold the card or the stick that the box starts from, by kind or by its place on the bus.
STARTS_FROM = {"brcm,bcm2711-emmc2", "brcm,bcm2712-sdhci", "snps,dwc3"}
STARTS_FROM_PCI = "/usb@0,0"


@pytest.fixture(scope="module", autouse=True)
def image():
    if not IMAGE.exists():
        pytest.skip("there is no image for the Pi: image/build pi")


@pytest.fixture(scope="module")
def drivers():
    [modules] = (vms.OUT / "root/usr/lib/modules").iterdir()
    return Drivers(modules)


def boards():
    """The device trees that the card has."""
    listing = subprocess.check_output(["mdir", "-b", "-i", f"{IMAGE}@@{vms.BOOT_AT}", "::"], text=True)
    names = [line.removeprefix("::/") for line in listing.split() if line.endswith(".dtb")]
    return {name: Tree(on_boot(name)) for name in names}


def sectors():
    table = json.loads(subprocess.check_output(["/sbin/sfdisk", "-J", IMAGE]))["partitiontable"]
    return table, [(part["start"], part["size"], part["type"]) for part in table["partitions"]]


def on_boot(name):
    return subprocess.check_output(["mtype", "-i", f"{IMAGE}@@{vms.BOOT_AT}", f"::{name}"])


def in_root(command):
    """What debugfs answers about slot A."""
    start = sectors()[1][1][0] * 512
    done = subprocess.run(["/sbin/debugfs", "-R", command, f"{IMAGE}?offset={start}"], capture_output=True, text=True, errors="replace")
    return done.stdout


def test_the_partitions_are_where_firmware_and_boot_script_look():
    table, parts = sectors()
    assert table["label"] == "dos" and table["id"] == "0x72696764"
    assert [part[2] for part in parts] == ["c", "83", "83", "83"]
    assert parts[0][0] * 512 == vms.BOOT_AT and parts[1][1] == parts[2][1]
    assert all(a[0] + a[1] <= b[0] for a, b in zip(parts, parts[1:]))
    with open(IMAGE, "rb") as file:
        file.seek(64 * 512)
        assert file.read(512) == bytes(512), "the slots' state is in a gap"
        file.seek(parts[2][0] * 512)
        assert file.read(1 << 20) == bytes(1 << 20), "slot B is empty"


def test_the_firmware_finds_what_it_wants():
    listing = subprocess.check_output(["mdir", "-b", "-i", f"{IMAGE}@@{vms.BOOT_AT}", "::"], text=True)
    names = {line.removeprefix("::/") for line in listing.split()}
    assert {"config.txt", "u-boot.bin", "boot.scr", "start4.elf", "fixup4.dat", "rig.txt", "rigd.toml", "rig-status.txt"} <= names
    assert {"bcm2711-rpi-4-b.dtb", "bcm2711-rpi-400.dtb", "bcm2712-rpi-5-b.dtb"} <= names
    config = on_boot("config.txt").decode()
    assert re.search(r"^kernel=u-boot\.bin$", config, re.M) and re.search(r"^arm_64bit=1$", config, re.M)
    assert all(len(line) < 98 for line in config.splitlines()), "the firmware reads no longer lines"
    uboot = on_boot("u-boot.bin")
    assert b"U-Boot 20" in uboot and b"boot.scr" in uboot
    assert on_boot("bcm2712-rpi-5-b.dtb")[:4] == b"\xd0\x0d\xfe\xed"
    assert len(on_boot("rig-status.txt")) == 4096


def test_a_pi_5_of_the_later_stepping_gets_the_tree_that_the_kernel_has_for_it(tmp_path):
    """The firmware lays that overlay over the tree of the first stepping, on boards that need it."""
    for name in ("bcm2712-rpi-5-b.dtb", "overlays/bcm2712d0.dtbo"):
        (tmp_path / Path(name).name).write_bytes(on_boot(name))
    laid_over = ["fdtoverlay", "-i", tmp_path / "bcm2712-rpi-5-b.dtb", "-o", tmp_path / "laid-over.dtb", tmp_path / "bcm2712d0.dtbo"]
    subprocess.run(laid_over, check=True)
    [kernels] = (vms.OUT / "root/usr/lib/modules").glob("*/dtb/broadcom/bcm2712-d-rpi-5-b.dtb")

    def tree(path):
        """What it says, but for the pins' names, which nothing goes by."""
        lines = subprocess.check_output(["dtc", "-q", "-I", "dtb", "-O", "dts", path], text=True).splitlines()
        return [line for line in lines if "gpio-line-names" not in line]

    assert tree(tmp_path / "laid-over.dtb") == tree(kernels)
    assert tree(tmp_path / "bcm2712-rpi-5-b.dtb") != tree(kernels)


def test_the_boot_script_takes_a_slot_and_hands_over_the_pis_own_device_tree():
    script = on_boot("boot.scr").decode(errors="replace")
    assert "fdt move ${fdt_addr}" in script and "root=PARTUUID=72696764-0${part}" in script
    assert in_root("cat /boot/cmdline.txt").split()[:2] == ["ro", "rootwait"]
    kernel = subprocess.run(["/sbin/debugfs", "-R", "stat /boot/vmlinuz", f"{IMAGE}?offset={sectors()[1][1][0] * 512}"], capture_output=True, text=True).stdout
    assert int(re.search(r"Size: (\d+)", kernel)[1]) < 0x0C000000 - 0x08000000, "it ends before the initramfs begins"


def test_the_initramfs_has_every_driver_on_the_way_to_the_card(drivers):
    """A driver is not tried before its device's clocks, regulators, pins… have theirs: one that is missing there, and
    the root is waited for in vain."""
    listing = subprocess.check_output(["lsinitramfs", vms.OUT / "root/boot/initrd.img"], text=True).splitlines()
    there = {module(line) for line in listing if ".ko" in line}
    assert drivers.missing(["ext4", "usb_storage", "uas", "sd_mod"], there) == set()
    for name, tree in boards().items():
        starts = [
            node
            for node in filter(tree.is_used, tree.nodes)
            if node.endswith(STARTS_FROM_PCI) or STARTS_FROM & set(tree.get(node, "compatible"))
        ]
        assert starts, name
        for start in starts:
            for node in tree.needs(start):
                driven = set().union(*map(drivers.of, tree.get(node, "compatible")))
                assert drivers.missing(driven, there) == set(), f"{name}: {start} needs {node}"


def test_no_driver_of_a_pi_or_of_usb_sound_lacks_a_part_that_was_left_out(drivers):
    names = {name for name, file in drivers.files.items() if "sound/usb" in str(file)}
    assert "snd_usb_audio" in names
    for tree in boards().values():
        for node in filter(tree.is_used, tree.nodes):
            names |= set().union(*map(drivers.of, tree.get(node, "compatible")))
    assert {"vc4", "macb", "genet", "sdhci_iproc", "bcm2711_thermal"} <= names
    assert drivers.missing(names | {"brcmfmac", "brcmfmac_wcc"}, drivers.files.keys()) == set()


def test_the_root_mounts_what_the_card_has_and_starts_what_it_must():
    fstab = in_root("cat /etc/fstab")
    assert re.search(r"^PARTUUID=72696764-04 /var ext4 ", fstab, re.M)
    assert re.search(r"^PARTUUID=72696764-01 /boot/firmware vfat ro,", fstab, re.M)
    wanted = in_root("ls /etc/systemd/system/multi-user.target.wants")
    for unit in ("rigd", "rig-settings", "rig-claim", "rig-health", "NetworkManager", "ssh"):
        assert f"{unit}.service" in wanted, unit
    assert "rig-grow.service" in in_root("ls /etc/systemd/system/local-fs.target.wants")
    assert "/dev/null" in in_root("stat /etc/systemd/system/getty@tty1.service")
    assert "RuntimeWatchdogSec=14s" in in_root("cat /etc/systemd/system.conf.d/rig.conf")


def test_nothing_secret_or_of_one_box_only_is_in_it():
    assert "ssh_host" not in in_root("ls /etc/ssh")
    assert in_root("cat /etc/machine-id").strip() == ""
    shadow = [line.split(":")[:2] for line in in_root("cat /etc/shadow").splitlines()]
    assert [name for name, password in shadow if password not in ("*", "!", "!*")] == []
    kept = {line.split()[-1] for line in in_root("ls -l /var").splitlines() if line.strip()}
    assert kept == {".", "..", "cache", "lib", "log", "tmp"}, "/var is the data partition's"


def test_the_list_of_packages_has_versions_and_licences():
    lines = (vms.OUT / "packages.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["package", "version", "source", "licences"] and len(lines) > 100
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in lines[1:]}
    assert rows["rigd"][2] == "MIT" and "GPL" in rows["network-manager"][2]
    assert all(len(row) == 3 and all(row) for row in rows.values())
