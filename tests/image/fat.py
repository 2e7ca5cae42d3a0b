"""Reads FAT32 out of bytes, as firmware does: it follows names and clusters and repairs nothing."""

import struct


class Fat:
    def __init__(self, disk, start: int):
        self.disk, self.start = disk, start
        boot = self._bytes(0, 512)
        self.sector, self.per_cluster, reserved, n_fats = struct.unpack_from("<HBHB", boot, 11)
        (fat_sectors,) = struct.unpack_from("<I", boot, 36)
        (self.root,) = struct.unpack_from("<I", boot, 44)
        self.table = reserved * self.sector
        self.data = self.table + n_fats * fat_sectors * self.sector
        self.cluster = self.sector * self.per_cluster

    def _bytes(self, at, length):
        return bytes(self.disk[self.start + at : self.start + at + length])

    def _chain(self, cluster):
        seen = set()
        while 2 <= cluster < 0x0FFFFFF8 and cluster not in seen:
            seen.add(cluster)
            yield cluster
            cluster = struct.unpack("<I", self._bytes(self.table + 4 * cluster, 4))[0] & 0x0FFFFFFF

    def _content(self, cluster, size=None):
        content = bytearray()
        for one in self._chain(cluster):
            if size is not None and len(content) >= size:
                break
            content += self._bytes(self.data + (one - 2) * self.cluster, self.cluster)
        return bytes(content if size is None else content[:size])

    def _entries(self, cluster):
        long: dict[int, str] = {}
        content = self._content(cluster)
        for at in range(0, len(content), 32):
            entry = content[at : at + 32]
            if entry[0] == 0:
                return
            if entry[0] == 0xE5:
                long = {}
            elif entry[11] == 0x0F:
                part = (entry[1:11] + entry[14:26] + entry[28:32]).decode("utf-16-le", "replace")
                long[entry[0] & 0x1F] = part.split("\0")[0].rstrip("\uffff")
            elif entry[11] & 0x08:
                long = {}
            else:
                short = entry[:8].decode("ascii", "replace").rstrip() + "." + entry[8:11].decode("ascii", "replace").rstrip()
                name = "".join(long[n] for n in sorted(long)) or short.rstrip(".")
                long = {}
                high, low, size = struct.unpack_from("<H4xHI", entry, 20)
                yield name, entry[11] & 0x10 != 0, (high << 16) | low, size

    def files(self, *directories: str) -> dict[str, bytes]:
        """Names and contents in a directory."""
        cluster = self.root
        for wanted in directories:
            found = [one[2] for one in self._entries(cluster) if one[1] and one[0].upper() == wanted.upper()]
            if not found:
                return {}
            cluster = found[0]
        return {name: self._content(first, size) if first else b"" for name, is_directory, first, size in self._entries(cluster) if not is_directory}
