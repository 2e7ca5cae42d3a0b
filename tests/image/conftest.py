"""What the tests of the image share. IMAGE_OUT holds what image/build wrote."""

import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from machine import Disk, Machine, run

REPOSITORY = Path(__file__).parents[2]
WORK = Path(os.environ.get("IMAGE_WORK", REPOSITORY / "target/image"))
OUT = Path(os.environ.get("IMAGE_OUT", WORK / "out"))
VERSION = re.search(r'^version = "(.*)"', (REPOSITORY / "Cargo.toml").read_text(), re.M)[1]


def next_version(n: int = 1) -> str:
    major, minor, patch = VERSION.split(".")
    return f"{major}.{minor}.{int(patch) + n}"


class Files:
    """The files of one version for one architecture."""

    def __init__(self, arch: str, version: str = VERSION):
        self.arch, self.version = arch, version
        self.kernel, self.root = (OUT / arch / f"gw_{version}.{kind}" for kind in ("efi", "root"))

    def image(self, board: str | None = None) -> Path:
        return OUT / f"frontdesk-{self.version}-{board or self.arch}.img"

    def section(self, name: str) -> bytes:
        """A part of the kernel's file, which is a PE program: .cmdline, .initrd, .linux."""
        content = self.kernel.read_bytes()
        (header,) = struct.unpack_from("<I", content, 0x3C)
        n_sections, optional = struct.unpack_from("<6xH12xH", content, header)
        for n in range(n_sections):
            at = header + 24 + optional + 40 * n
            its_name, size, _, stored, start = struct.unpack_from("<8sIIII", content, at)
            if its_name.rstrip(b"\0").decode() == name:
                return content[start : start + min(size, stored)]
        raise KeyError(name)

    @property
    def command_line(self) -> dict[str, str]:
        words = self.section(".cmdline").decode().rstrip("\0").split()
        return dict(word.split("=", 1) if "=" in word else (word, "") for word in words)

    def kernel_with(self, target: Path, **changes: str) -> Path:
        """The kernel's file with other words in its command line; a name's dots are written as __."""
        words = self.command_line | {name.replace("__", "."): value for name, value in changes.items()}
        inside = WORK / "tools/work" / f"kernel{os.getpid()}"
        shutil.rmtree(inside, ignore_errors=True)
        inside.mkdir(parents=True)
        for section in ("linux", "initrd"):
            (inside / section).write_bytes(self.section(f".{section}"))
        (inside / "cmdline").write_text(" ".join(f"{name}={value}" if value else name for name, value in words.items()))
        # The loader orders kernels by the version that stands in them.
        version = words["frontdesk.version"]
        system = f'ID=frontdesk\nIMAGE_ID=frontdesk\nVERSION_ID={version}\nIMAGE_VERSION={version}\nPRETTY_NAME="Frontdesk {version}"\n'
        (inside / "os-release").write_text(system)
        efi = {"x86_64": "x64", "arm64": "aa64"}[self.arch]
        stub = WORK / f"tree-{self.arch}/full/usr/lib/systemd/boot/efi/linux{efi}.efi.stub"
        shutil.copy(stub, inside / "stub")
        at = f"/work/{inside.name}"
        run(
            *("chroot", WORK / "tools", "ukify", "build", f"--linux={at}/linux", f"--initrd={at}/initrd", f"--efi-arch={efi}"),
            *(f"--cmdline=@{at}/cmdline", f"--stub={at}/stub", f"--output={at}/uki.efi", f"--os-release=@{at}/os-release"),
        )
        shutil.move(inside / "uki.efi", target)
        shutil.rmtree(inside)
        return target


@pytest.fixture(scope="session")
def x86() -> Files:
    files = Files("x86_64")
    if not files.image().exists():
        pytest.skip(f"no {files.image()}: run image/build x86_64")
    return files


@pytest.fixture(scope="session")
def arm() -> Files:
    files = Files("arm64")
    if not files.image().exists():
        pytest.skip(f"no {files.image()}: run image/build arm64")
    return files


@pytest.fixture(scope="session")
def x86_next(x86) -> Files:
    """The next version of the same program."""
    return built("x86_64", next_version())


def built(arch: str, version: str) -> Files:
    files = Files(arch, version)
    if not files.root.exists():
        program = WORK / f"frontdesk-{version}"
        program.write_bytes(saying(version, arch))
        program.chmod(0o755)
        environment = {**os.environ, "IMAGE_VERSION": version, "FRONTDESK_PROGRAM": str(program)}
        subprocess.run(["image/build", "slot", arch], cwd=REPOSITORY, check=True, env=environment)
    return files


def program_of(arch: str) -> Path:
    """What image/build puts into the image."""
    return Path(os.environ.get("FRONTDESK_PROGRAM") or REPOSITORY / "target/static" / arch.replace("arm64", "aarch64") / "frontdesk")


def saying(version: str, arch: str) -> bytes:
    """The program as if the next release were the same but for its number."""
    assert len(version) == len(VERSION)
    return program_of(arch).read_bytes().replace(VERSION.encode(), version.encode())


@pytest.fixture
def new_machine(tmp_path):
    """Makes a machine with a copy of an image. The copies are large, so they go at the end."""

    def make(image: Path, arch: str = "x86_64", **options) -> Machine:
        return Machine(Disk(image, tmp_path / "disk.img"), arch, tmp_path, **options)

    yield make
    for path in tmp_path.rglob("*.img"):
        path.unlink()
