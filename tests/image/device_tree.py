"""What a device of a board waits for, by its device tree: the kernel tries no driver before those of the device's
suppliers are there (its `drivers/of/property.c` has them)."""

import lzma
import re
from fnmatch import fnmatchcase

import fdt

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
    """Nodes by their paths."""

    def __init__(self, blob):
        self.nodes, self.by_phandle = {}, {}
        self._add(fdt.parse_dtb(blob).root, "")

    def _add(self, node, path):
        # A property without a value has no data.
        self.nodes[path or "/"] = {item.name: getattr(item, "data", []) for item in node.props}
        for phandle in self.get(path or "/", "phandle"):
            self.by_phandle[phandle] = path or "/"
        for below in node.nodes:
            self._add(below, f"{path}/{below.name}")

    def get(self, path, name):
        """A property's numbers, or its words; nothing where there is none."""
        return list(self.nodes[path].get(name, []))

    def is_used(self, path):
        return self.get(path, "status") in ([], ["okay"])

    def counted(self, path, name, cells):
        numbers = self.get(path, name)
        while numbers:
            supplier = self.by_phandle[numbers[0]]
            yield supplier
            numbers = numbers[1 + sum(self.get(supplier, cells)) :]

    def suppliers(self, path):
        """What this node needs itself: what it is part of, and what it names."""
        parent = path.rpartition("/")[0]
        if parent:
            yield parent
        for name in self.nodes[path]:
            if name in COUNTED:
                yield from self.counted(path, name, COUNTED[name])
            elif GPIOS.match(name) and len(self.get(path, name)) > 1:
                yield from self.counted(path, name, "#gpio-cells")
            elif PLAIN.match(name):
                yield from map(self.by_phandle.get, self.get(path, name))
            elif name == "interrupts":
                holder = path
                while not self.get(holder, "interrupt-parent"):
                    holder = holder.rpartition("/")[0] or "/"
                yield self.by_phandle[self.get(holder, "interrupt-parent")[0]]

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
