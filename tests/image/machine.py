"""A box made of QEMU, and its disk looked at from outside: no login and no test program are in the image."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

MIB = 1 << 20
#: Start and size of each partition in MiB, as image/lib/settings.sh lays them out; the last one grows.
BOOT, SLOTS = (1, 256), {"a": (257, 512), "b": (769, 512)}
DATA_START = 1281
#: Everything is emulated, perhaps beside other work.
PATIENCE = float(os.environ.get("IMAGE_PATIENCE", "600"))


def run(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, **options)


class Disk:
    """A copy of an image, as large as a small card."""

    def __init__(self, image: Path, path: Path, gib: int = 3):
        run("cp", "--sparse=always", image, path)
        os.truncate(path, gib << 30)
        self.path = path

    @property
    def fat(self) -> str:
        return f"{self.path}@@{BOOT[0]}M"

    def _mtools(self, *command, **options):
        return run(*command, env={**os.environ, "MTOOLS_SKIP_CHECK": "1", "TZ": "UTC"}, **options)

    def names(self, directory: str) -> list[str]:
        listing = self._mtools("mdir", "-b", "-i", self.fat, f"::/{directory}").stdout.decode()
        return sorted(line.rstrip("/").rsplit("/", 1)[1] for line in listing.split("\n") if line)

    def read(self, path: str) -> bytes:
        return self._mtools("mtype", "-i", self.fat, f"::/{path}").stdout

    def write(self, path: str, content: bytes | Path):
        if isinstance(content, Path):
            self._mtools("mcopy", "-o", "-i", self.fat, content, f"::/{path}")
        else:
            self._mtools("mcopy", "-o", "-i", self.fat, "-", f"::/{path}", input=content)

    def rename(self, old: str, new: str):
        self._mtools("mren", "-i", self.fat, f"::/{old}", f"::/{new}")

    def remove(self, path: str):
        self._mtools("mdel", "-i", self.fat, f"::/{path}")

    def write_slot(self, slot: str, root: Path):
        run("dd", f"if={root}", f"of={self.path}", "bs=1M", f"seek={SLOTS[slot][0]}", "conv=notrunc")

    def rot(self, slot: str, at: int):
        """Changes one byte of a slot."""
        with open(self.path, "r+b") as disk:
            disk.seek(SLOTS[slot][0] * MIB + at)
            byte = disk.read(1)
            disk.seek(-1, os.SEEK_CUR)
            disk.write(bytes([byte[0] ^ 0xFF]))

    def partitions(self) -> list[dict]:
        return json.loads(run("sfdisk", "-J", self.path).stdout)["partitiontable"]["partitions"]

    def plant(self, path: str, content: bytes, mode: int = 0o600):
        """Puts a file onto the data partition of a disk that was never started, with the directories above it."""
        device = f"{self.path}?offset={DATA_START * MIB}"
        source = self.path.with_name("planted")
        source.write_bytes(content)
        above = path.strip("/").split("/")[:-1]
        requests = [f"mkdir /{'/'.join(above[: n + 1])}" for n in range(len(above))]
        requests += [f"write {source} {path}", f"sif {path} mode 0{0o100000 | mode:o}"]
        run("debugfs", "-w", "-f", "-", device, input="\n".join(requests).encode())

    def data(self, directory: Path) -> "Data":
        return Data(self, directory)


class Data:
    """The data partition, taken out of a disk that is switched off."""

    def __init__(self, disk: Disk, directory: Path):
        directory.mkdir(exist_ok=True)
        self.directory, self.file = directory, directory / "data.img"
        (self.partition,) = [one for one in disk.partitions() if one["name"] == "data"]
        run("dd", f"if={disk.path}", f"of={self.file}", "bs=1M", f"skip={DATA_START}", "conv=sparse")
        # What a power cut left in the journal of the file system.
        subprocess.run(["e2fsck", "-p", str(self.file)], check=False, capture_output=True)

    @property
    def mib(self) -> int:
        text = run("dumpe2fs", "-h", self.file).stdout.decode()
        blocks, size = (int(re.search(rf"^{name}: +(\d+)", text, re.M)[1]) for name in ("Block count", "Block size"))
        return blocks * size // MIB

    def debugfs(self, request: str) -> str:
        return run("debugfs", "-R", request, self.file).stdout.decode(errors="replace")

    def read(self, path: str) -> bytes:
        return run("debugfs", "-R", f"cat {path}", self.file).stdout

    def journal(self, *arguments) -> list[dict]:
        target = self.directory / "journal"
        if not target.exists():
            target.mkdir()
            self.debugfs(f"rdump /log/journal {target}")
        lines = run("journalctl", "-D", target / "journal", "-o", "json", "--all", *arguments).stdout.decode()
        return [json.loads(line) for line in lines.splitlines()]

    def messages(self, *arguments) -> list[str]:
        return [str(entry.get("MESSAGE", "")) for entry in self.journal(*arguments)]


class Machine:
    """One QEMU; leaving the block is a power cut."""

    def __init__(self, disk: Disk, arch: str, directory: Path, *, uboot: Path | None = None, smp: int = 2, memory: int = 512):
        self.disk, self.arch, self.directory, self.uboot = disk, arch, directory, uboot
        self.smp, self.memory = smp, memory
        self.serial = directory / "serial.log"
        self.drive = f"if=none,id=disk,format=raw,file={disk.path}"
        self.process: subprocess.Popen | None = None

    def command(self) -> list[str]:
        self.http_port, self.https_port = free_port(), free_port()
        forward = f"hostfwd=tcp:127.0.0.1:{self.http_port}-:80,hostfwd=tcp:127.0.0.1:{self.https_port}-:443"
        common = [
            *("-display", "none", "-serial", f"file:{self.serial}", "-smp", str(self.smp), "-m", str(self.memory)),
            *("-qmp", f"unix:{self.directory / 'qmp'},server=on,wait=off"),
            *("-drive", self.drive, "-device", "virtio-blk-pci,drive=disk,bootindex=0"),
            *("-netdev", f"user,id=net,{forward}", "-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"),
            *("-device", "virtio-balloon-pci,id=balloon"),
        ]
        if self.arch == "x86_64":
            code, variables = "/usr/share/OVMF/OVMF_CODE_4M.fd", Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
            machine = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "Haswell-v4"]
            machine += ["-device", "i6300esb", "-action", "watchdog=reset"]
        else:
            code, variables = "/usr/share/AAVMF/AAVMF_CODE.fd", Path("/usr/share/AAVMF/AAVMF_VARS.fd")
            machine = ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72"]
        if self.uboot:
            machine += ["-bios", str(self.uboot)]
        else:
            own = self.directory / "variables.fd"
            if not own.exists():
                shutil.copy(variables, own)
            machine += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}"]
            machine += ["-drive", f"if=pflash,unit=1,format=raw,file={own}"]
        return machine + common

    def __enter__(self):
        self.began = time.monotonic()
        self.serial.unlink(missing_ok=True)
        self.process = subprocess.Popen(["nice", "-n", "10", *self.command()], stdout=subprocess.DEVNULL, stderr=open(self.directory / "qemu.log", "wb"))
        return self

    def __exit__(self, *_):
        self.cut()

    def cut(self):
        """Pulls the plug."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def qmp(self, command: str, **arguments):
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(self.directory / "qmp"))
            stream = monitor.makefile("rw")
            stream.readline()
            for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                stream.write(json.dumps(request) + "\n")
                stream.flush()
                while "event" in (answer := json.loads(stream.readline())):
                    pass
        assert "return" in answer, answer
        return answer["return"]

    def used_mib(self) -> int:
        """What the guest says that it cannot give to a program, of all its memory."""
        balloon = "/machine/peripheral/balloon"
        self.qmp("qom-set", path=balloon, property="guest-stats-polling-interval", value=1)

        def stats():
            found = self.qmp("qom-get", path=balloon, property="guest-stats")["stats"]
            return found["stat-available-memory"] < 1 << 40 and found

        found = self.wait(stats, "the guest says how much memory it uses")
        return (found["stat-total-memory"] - found["stat-available-memory"]) // MIB

    def switch_off(self):
        """Ctrl, Alt and Delete start it again in order; QEMU ends where it would begin anew."""
        self.qmp("set-action", reboot="shutdown")
        keys = [{"type": "qcode", "data": key} for key in ("ctrl", "alt", "delete")]
        self.qmp("send-key", keys=keys)
        self.process.wait(PATIENCE)

    def console(self) -> str:
        text = self.serial.read_text(errors="replace") if self.serial.exists() else ""
        return re.sub(r"\x1b\[[0-9;?=]*[A-Za-z]", "", text).replace("\r", "")

    def wait(self, what, why: str):
        """Until `what()` gives something."""
        while time.monotonic() - self.began < PATIENCE:
            if found := what():
                return found
            assert self.process.poll() is None, f"QEMU ended: {(self.directory / 'qemu.log').read_text()}"
            time.sleep(1)
        raise AssertionError(f"{why}: not after {PATIENCE:.0f} s; the console ends with\n{self.console()[-3000:]}")

    def says(self, pattern: str) -> re.Match:
        return self.wait(lambda: re.search(pattern, self.console()), f"the console says {pattern!r}")

    def request(self, path: str, body: dict | None = None, headers: dict | None = None, method: str | None = None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", headers=headers or {}, method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)
        try:
            return opener.open(request, timeout=20)
        except urllib.error.HTTPError as error:
            return error

    def answers(self, path: str = "/readyz") -> bool:
        def ask():
            try:
                return self.request(path).status < 500
            except OSError:
                return False

        return self.wait(ask, f"{path} answers")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
