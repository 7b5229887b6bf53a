#!/usr/bin/env python3
"""Runs the tests of real cards (`tests/alsa`) in a guest that has them: `tests/kernel/run.py [TEST…]`.

With `RTSAN_ENABLE` in the environment, RealtimeSanitizer watches (see `.ci/rtsan`).
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import guest

SCRIPT = """#!/bin/busybox sh
b=/bin/busybox
$b mkdir /proc /sys /tmp
$b mount -t proc none /proc
$b mount -t sysfs none /sys
$b mount -t devtmpfs none /dev
for module in soundcore snd snd-timer snd-pcm; do $b insmod /modules/$module.ko; done
$b insmod /modules/snd-dummy.ko enable=1,1 pcm_substreams=4,4
$b insmod /modules/snd-aloop.ko pcm_substreams=2 timer_source=Dummy.0.0
$b cat /proc/asound/cards
PATH=/bin /bin/tests --test-threads=1 --nocapture {names}
echo "the tests ended with $?"
$b poweroff -f
"""


def program():
    """The test program, built here."""
    command = ["cargo", "test", "--test", "alsa", "--no-run", "--locked", "--message-format=json"]
    if "RTSAN_ENABLE" in os.environ:
        command += ["--features", "rtsan"]
    built = subprocess.run(command, cwd=guest.ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = map(json.loads, built.stdout.splitlines())
    targets = [m for m in messages if m.get("executable") and m["target"]["name"] == "alsa"]
    # What names its functions would be unpacked by the guest, which is slow.
    lean = guest.CACHE / "tests"
    guest.CACHE.mkdir(parents=True, exist_ok=True)
    subprocess.run(["strip", "-o", lean, targets[-1]["executable"]], check=True)
    return lean


def main():
    missing = [tool for tool in ["qemu-system-x86_64", "apt-get", "dpkg-deb", "strip"] if not shutil.which(tool)]
    if missing:
        print(f"SKIP: {', '.join(missing)} is not installed")
        return 0
    try:
        guest.kernel()
    except subprocess.CalledProcessError as error:
        print(f"SKIP: Debian's realtime kernel cannot be fetched: {error}")
        return 0
    programs = {"tests": program()}
    if shutil.which("strace"):
        programs["strace"] = Path(shutil.which("strace"))
    begun = time.monotonic()
    lines = guest.run(programs, SCRIPT.format(names=" ".join(sys.argv[1:])))
    print(f"the guest took {time.monotonic() - begun:.0f} s")
    ends = [match[1] for match in map(re.compile(r"the tests ended with (\d+)").search, lines) if match]
    return int(ends[0]) if ends else 1


sys.exit(main())
