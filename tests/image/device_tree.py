"""What a device of a board waits for, by its device tree: the kernel tries no driver before those of the device's
suppliers are there (its `drivers/of/property.c` has them)."""

import lzma
import re
import struct
from fnmatch import fnmatchcase

import libfdt

# A phandle, and as many numbers behind it as the node that it means says.
COUNTED = {
    "clocks": "#clock-cells",
    "resets": "#reset-cells",
    "power-domains": "#power-domain-cells",
    "mboxes": "#mbox-cells",
    "dmas": "#dma-cells",
    "phys": "#phy-cells",
    "iommus": "#iommu-cells",
    "msi-parent": "#msi-cells",
    "interrupts-extended": "#interrupt-cells",
}
GPIOS = re.compile(r"(.*-)?gpios?$")
# Phandles alone.
PLAIN = re.compile(r".*-supply$|pinctrl-\d+$")


class Tree:
    def __init__(self, blob):
        self.fdt = libfdt.FdtRo(blob)

    def nodes(self):
        """Every node's path."""
        node, depth, path = 0, 0, []
        while node >= 0 and depth >= 0:
            path[depth:] = [self.fdt.get_name(node)]
            yield "/".join(path) or "/"
            node, depth = self.fdt.next_node(node, depth, (libfdt.NOTFOUND,))

    def get(self, path, name):
        """A property's bytes, or None."""
        found = self.fdt.getprop(self.fdt.path_offset(path), name, (libfdt.NOTFOUND,))
        return None if isinstance(found, int) else bytes(found)

    def words(self, path, name):
        return (self.get(path, name) or b"").decode().split("\0")[:-1]

    def numbers(self, path, name):
        found = self.get(path, name) or b""
        return struct.unpack(f">{len(found) // 4}I", found)

    def is_used(self, path):
        return self.words(path, "status") in ([], ["okay"])

    def by_phandle(self, phandle):
        return self.fdt.get_path(self.fdt.node_offset_by_phandle(phandle))

    def properties(self, path):
        at = self.fdt.first_property_offset(self.fdt.path_offset(path), (libfdt.NOTFOUND,))
        while at >= 0:
            yield self.fdt.get_property_by_offset(at).name
            at = self.fdt.next_property_offset(at, (libfdt.NOTFOUND,))

    def counted(self, path, name, cells):
        numbers = self.numbers(path, name)
        while numbers:
            supplier = self.by_phandle(numbers[0])
            yield supplier
            numbers = numbers[1 + (self.numbers(supplier, cells) or (0,))[0] :]

    def suppliers(self, path):
        """What this node needs itself: what it is part of, and what it names."""
        parent = path.rpartition("/")[0]
        if parent:
            yield parent
        for name in self.properties(path):
            if name in COUNTED:
                yield from self.counted(path, name, COUNTED[name])
            elif GPIOS.match(name) and len(self.get(path, name)) > 4:
                yield from self.counted(path, name, "#gpio-cells")
            elif PLAIN.match(name):
                yield from map(self.by_phandle, self.numbers(path, name))
            elif name == "interrupts":
                holder = path
                while not self.numbers(holder, "interrupt-parent"):
                    holder = holder.rpartition("/")[0] or "/"
                yield self.by_phandle(self.numbers(holder, "interrupt-parent")[0])

    def needs(self, start):
        """All that must be there for the device `start`, itself among it."""
        seen, left = set(), [start]
        while left:
            path = left.pop()
            if path not in seen:
                seen.add(path)
                left += self.suppliers(path)
        return seen


class Drivers:
    """A kernel's modules, by what they drive."""

    def __init__(self, modules):
        lines = (modules / "modules.alias").read_text().splitlines()
        self.aliases = [line.split()[1:] for line in lines if line.startswith(("alias of:", "alias pci:v00001DE4"))]
        self.files = {module(file): file for file in modules.glob("kernel/**/*.ko*")}
        self.builtin = set(map(module, (modules / "modules.builtin").read_text().split()))

    def of(self, compatible):
        """The modules for what is compatible with that; none where the driver is built in, or there is none."""
        pci = re.fullmatch(r"pci([0-9a-f]+),([0-9a-f]+)", compatible)
        if pci:
            wanted = f"pci:v0000{pci[1].upper():0>4}d0000{pci[2].upper():0>4}sv00000000sd00000000bc00sc00i00"
        else:
            wanted = f"of:NxTxC{compatible}"
        return {name for alias, name in self.aliases if fnmatchcase(wanted, alias)}

    def depends(self, name):
        """The modules that this one calls, as it was built."""
        info = lzma.decompress(self.files[name].read_bytes())
        [names] = re.findall(rb"\0depends=([^\0]*)\0", info)
        return set(filter(None, names.decode().replace("-", "_").split(","))) - self.builtin

    def missing(self, names, there):
        """What these modules need, and is not there."""
        seen, left = set(), set(names)
        while left:
            seen |= left
            left = {other for name in left & there for other in self.depends(name)} - seen
        return seen - there


def module(path):
    """A module's name, by its file's."""
    return str(path).rpartition("/")[2].partition(".ko")[0].replace("-", "_")
