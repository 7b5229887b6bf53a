"""What a power cut leaves on a card: QEMU's blklogwrites records every write and flush; up to the last flush all
is there, of what came after it any part, torn at a sector."""

import random
import struct
import subprocess
from pathlib import Path

MAGIC = 0x6A736677736872
SECTOR = 512
FLUSH, FUA, DISCARD = 1, 2, 4


def entries(log, end=None):
    """(offset behind it, sector, flags, offset of its data, sectors) of each entry up to an offset."""
    size = min(log.stat().st_size, end or 1 << 62)
    with open(log, "rb") as file:
        magic, version, _, sector = struct.unpack("<QQQI", file.read(28))
        assert (magic, version, sector) == (MAGIC, 1, SECTOR), "a log of writes"
        at = SECTOR
        while at + SECTOR <= size:
            file.seek(at)
            where, count, flags, _ = struct.unpack("<QQQQ", file.read(32))
            data = at + SECTOR
            at = data + (0 if flags & (DISCARD | FLUSH) and not count or flags & DISCARD else count * SECTOR)
            if at > size:
                return
            yield at, where, flags, data, count


def cut(pristine, log, end, seed, into):
    """The card as it may be when the power goes at this offset of the log."""
    chance = random.Random(seed)
    subprocess.run(["cp", "--sparse=always", pristine, into], check=True)
    all = list(entries(log, end))
    flushed = max((i for i, entry in enumerate(all) if entry[2] & FLUSH), default=-1)
    lost = 0
    with open(log, "rb") as file, open(into, "r+b") as card:
        for i, (_, where, flags, data, count) in enumerate(all):
            if not count or flags & DISCARD:
                continue
            file.seek(data)
            block = file.read(count * SECTOR)
            if i > flushed and not flags & FUA:
                fate = chance.random()
                if fate < 0.4:
                    lost += 1
                    continue
                if fate < 0.6:
                    lost += 1
                    block = block[: chance.randrange(count + 1) * SECTOR]
            card.seek(where * SECTOR)
            card.write(block)
    return Path(into), lost
