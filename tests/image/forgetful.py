"""A disk that forgets: served to QEMU as NBD, with a cache that a power cut loses.

Writes stay in the cache until they are flushed. When the power is cut, each one that is still there is kept, lost or torn
between two sectors, by a seeded choice, and the disk is gone. Killing QEMU alone would be kinder: the host keeps whatever was written.

Everything that was written and flushed may be recorded, to be replayed up to any point.
"""

import os
import random
import socket
import struct
import threading
from pathlib import Path

SECTOR = 512
OPTION_MAGIC, REPLY_MAGIC = 0x49484156454F5054, 0x3E889045565A9
REQUEST_MAGIC, SIMPLE_REPLY_MAGIC = 0x25609513, 0x67446698
OPT_EXPORT_NAME, OPT_ABORT, OPT_INFO, OPT_GO = 1, 2, 6, 7
REP_ACK, REP_INFO, REP_UNSUPPORTED = 1, 3, 0x80000001
#: It has flags, flushes, and writes that are durable at once.
FLAGS = 1 | 4 | 8
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
DURABLE = 1


class Cut(Exception):
    pass


class ForgetfulDisk:
    """Serves one image over a Unix socket, to one QEMU after the other."""

    def __init__(self, image: Path, path: Path, seed: int, record: Path | None = None):
        self.path, self.random = path, random.Random(seed)
        self.file = os.open(image, os.O_RDWR)
        self.size = os.fstat(self.file).st_size
        self.cache: list[tuple[int, bytes]] = []
        self.log = open(record, "wb") if record else None
        self.range, self.left = (0, 0), None
        self.was_cut = threading.Event()
        self.lost = {"kept": 0, "lost": 0, "torn": 0}
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(1)
        threading.Thread(target=self._serve, daemon=True).start()

    def cut_after(self, n_bytes: int, begin: int, end: int):
        """The power goes when so many more bytes were written between these places."""
        self.range, self.left = (begin, end), n_bytes

    def close(self):
        self.listener.close()
        os.close(self.file)
        if self.log:
            self.log.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                try:
                    self._greet(connection)
                    while self._answer(connection):
                        pass
                except Cut:
                    self.was_cut.set()
                except (ConnectionError, EOFError):
                    self._settle()

    def _greet(self, connection):
        connection.sendall(b"NBDMAGIC" + struct.pack(">QH", OPTION_MAGIC, 1))
        take(connection, 4)
        while True:
            _, option, length = struct.unpack(">QII", take(connection, 16))
            take(connection, length)
            if option == OPT_EXPORT_NAME:
                connection.sendall(struct.pack(">QH", self.size, FLAGS) + bytes(124))
                return

            def reply(kind, data=b"", option=option):
                connection.sendall(struct.pack(">QIII", REPLY_MAGIC, option, kind, len(data)) + data)

            if option in (OPT_INFO, OPT_GO):
                reply(REP_INFO, struct.pack(">HQH", 0, self.size, FLAGS))
                reply(REP_INFO, struct.pack(">HIII", 3, SECTOR, 4096, 1 << 25))
                reply(REP_ACK)
                if option == OPT_GO:
                    return
            elif option == OPT_ABORT:
                reply(REP_ACK)
                raise EOFError
            else:
                reply(REP_UNSUPPORTED)

    def _answer(self, connection) -> bool:
        _, flags, kind, cookie, offset, length = struct.unpack(">IHHQQI", take(connection, 28))
        content = b""
        if kind == READ:
            content = self._read(offset, length)
        elif kind == WRITE:
            self._write(offset, take(connection, length))
            if flags & DURABLE:
                self._settle()
        elif kind == FLUSH:
            self._settle()
        elif kind == DISCONNECT:
            self._settle()
            return False
        connection.sendall(struct.pack(">IIQ", SIMPLE_REPLY_MAGIC, 0, cookie) + content)
        return True

    def _read(self, offset, length):
        content = bytearray(os.pread(self.file, length, offset).ljust(length, b"\0"))
        for at, written in self.cache:
            begin, end = max(at, offset), min(at + len(written), offset + length)
            if begin < end:
                content[begin - offset : end - offset] = written[begin - at : end - at]
        return bytes(content)

    def _write(self, offset, content):
        self.cache.append((offset, content))
        if self.log:
            self.log.write(struct.pack("<QI", offset, len(content)) + content)
        if self.left is not None and self.range[0] <= offset < self.range[1]:
            self.left -= len(content)
            if self.left <= 0:
                self.left = None
                self._cut()

    def _settle(self):
        for offset, content in self.cache:
            os.pwrite(self.file, content, offset)
        self.cache.clear()
        if self.log:
            self.log.write(struct.pack("<QI", 0, 0))
            self.log.flush()

    def _cut(self):
        for offset, content in self.cache:
            fate, kept = fate_of(content, self.random)
            self.lost[fate] += 1
            os.pwrite(self.file, kept, offset)
        self.cache.clear()
        raise Cut


def fate_of(content: bytes, choice: random.Random) -> tuple[str, bytes]:
    """What of a write that was not flushed reaches the disk."""
    number = choice.random()
    if number < 0.4:
        return "kept", content
    if number < 0.8:
        return "lost", b""
    return "torn", content[: SECTOR * choice.randrange(0, len(content) // SECTOR + 1)]


def take(connection, length: int) -> bytes:
    content = bytearray()
    while len(content) < length:
        more = connection.recv(length - len(content))
        if not more:
            raise EOFError
        content += more
    return bytes(content)


def recorded(path: Path) -> list[tuple[int, bytes] | None]:
    """The writes of a record in their order; `None` is a flush."""
    log, events, at = path.read_bytes(), [], 0
    while at + 12 <= len(log):
        offset, length = struct.unpack_from("<QI", log, at)
        at += 12
        events.append((offset, log[at : at + length]) if length else None)
        at += length
    return events
