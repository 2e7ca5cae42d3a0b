"""What can be seen of an image without starting it."""

import json
import re
import shutil
import stat
import subprocess
import sys

import pytest
from conftest import OUT, REPOSITORY, VERSION, WORK, Files
from machine import MIB, SLOTS, Disk, run

BOARDS = [("x86_64", "x86_64"), ("arm64", "arm64"), ("arm64", "raspberry-pi")]


def image_of(arch, board):
    path = Files(arch).image(board)
    if not path.exists():
        pytest.skip(f"no {path}: run image/build {arch}")
    return path


@pytest.fixture(params=BOARDS, ids=lambda one: one[1])
def disk(request, tmp_path):
    disk = Disk(image_of(*request.param), tmp_path / "disk.img", gib=2)
    disk.arch, disk.board = request.param
    yield disk
    disk.path.unlink()


@pytest.fixture(scope="module", params=["x86_64", "arm64"])
def files(request):
    files = Files(request.param)
    if not files.root.exists():
        pytest.skip(f"no {files.root}: run image/build {request.param}")
    return files


@pytest.fixture(scope="module")
def root(files, tmp_path_factory):
    """The root, unpacked by the program that checks it."""
    directory = WORK / "tools/work/unpacked"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copy(files.root, WORK / "tools/work/root.img")
    run("chroot", WORK / "tools", "fsck.erofs", "--extract=/work/unpacked", "--preserve", "/work/root.img")
    yield directory
    shutil.rmtree(directory)


def test_partitions_are_where_every_version_expects_them(disk):
    partitions = {one["name"]: one for one in disk.partitions()}
    assert list(partitions) == ["boot", "root-a", "root-b", "data"]
    for slot, (start, size) in SLOTS.items():
        assert partitions[f"root-{slot}"]["start"] * 512 == start * MIB
        assert partitions[f"root-{slot}"]["size"] * 512 == size * MIB == 512 * MIB
    assert run("fsck.vfat", "-n", one_partition(disk, partitions["boot"])).returncode == 0
    data = one_partition(disk, partitions["data"])
    assert run("e2fsck", "-fn", data).returncode == 0


def one_partition(disk, partition):
    target = disk.path.with_name(f"{partition['name']}.img")
    run("dd", f"if={disk.path}", f"of={target}", "bs=512", f"skip={partition['start']}", f"count={partition['size']}", "conv=sparse")
    return target


def test_every_computer_can_read_the_boot_partition(disk):
    label = run("mlabel", "-s", "-i", disk.fat, env={"MTOOLS_SKIP_CHECK": "1", "PATH": "/usr/bin"}).stdout
    assert b"FRONTDESK" in label
    assert "frontdesk.toml" in disk.names("")
    lines = disk.read("frontdesk.toml").decode().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == [], "nothing is set in an image that everybody gets"
    # What it proposes is what docs/appliance.md names.
    proposed = {key for key in re.findall(r"^# (\w+) = ", "\n".join(lines), re.M)}
    assert proposed <= set(re.findall(r"^(\w+) = ", (REPOSITORY / "docs/appliance.md").read_text(), re.M))


def test_the_loader_finds_its_kernel(disk):
    kernel = Files(disk.arch).kernel.read_bytes()
    if disk.board == "raspberry-pi":
        assert disk.read("slot-a.efi") == kernel
        assert disk.read("slot-a.version").decode() == VERSION
        assert "slot-b.efi" not in disk.names("")
    else:
        assert disk.names("EFI/Linux") == [f"gw_{VERSION}.efi"]
        assert disk.read(f"EFI/Linux/gw_{VERSION}.efi") == kernel
        assert disk.names("EFI/BOOT") == [{"x86_64": "BOOTX64.EFI", "arm64": "BOOTAA64.EFI"}[disk.arch]]
        assert b"timeout 0" in disk.read("loader/loader.conf")
        assert b"editor no" in disk.read("loader/loader.conf")


def test_the_raspberry_pi_has_what_its_firmware_reads(tmp_path):
    disk = Disk(image_of("arm64", "raspberry-pi"), tmp_path / "disk.img", gib=2)
    names = disk.names("")
    assert {"config.txt", "start4.elf", "fixup4.dat", "u-boot.bin", "boot.scr", "bcm2711-rpi-4-b.dtb", "LICENCE.firmware"} <= set(names)
    lines = [line for line in disk.read("config.txt").decode().splitlines() if line and not line.startswith("#")]
    settings = dict(line.split("=", 1) for line in lines)
    assert settings["kernel"] in names
    assert settings["arm_64bit"] == "1"
    full = WORK / "tree-arm64/full"
    (tree,) = full.glob("usr/lib/linux-image-*/broadcom/bcm2711-rpi-4-b.dtb")
    assert disk.read("bcm2711-rpi-4-b.dtb") == tree.read_bytes(), "the device tree is the kernel's"
    assert (REPOSITORY / "image/boot/boot.cmd").read_bytes() in disk.read("boot.scr")
    records = {disk.read(f"gwstate{number}.env") for number in (0, 1)}
    (record,) = records
    # As src/update/boot/uboot_script.rs reads it.
    assert len(record) == 512
    assert record[4:].rstrip(b"\0") == b"gw_good=a\0gw_left=0\0gw_try=none"
    disk.path.unlink()


def test_the_hash_in_the_kernel_is_that_of_the_root(files):
    words = files.command_line
    blocks = int(words["frontdesk.blocks"])
    inside = WORK / "tools/work/root.img"
    shutil.copy(files.root, inside)

    def verify():
        return subprocess.run(
            ["chroot", WORK / "tools", "veritysetup", "verify", "--no-superblock", f"--salt={words['frontdesk.salt']}"]
            + [f"--data-blocks={blocks}", f"--hash-offset={blocks * 4096}", "--data-block-size=4096", "--hash-block-size=4096"]
            + ["/work/root.img", "/work/root.img", words["frontdesk.hash"]],
            capture_output=True,
            text=True,
        )

    assert verify().returncode == 0
    with open(inside, "r+b") as file:
        file.seek(blocks * 4096 // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    changed = verify()
    inside.unlink()
    assert changed.returncode != 0, "one changed bit is noticed"


def test_the_kernel_starts_again_after_a_panic(files):
    words = files.command_line
    assert (words["panic"], words["oops"]) == ("10", "panic")
    assert words["frontdesk.version"] == files.version


def test_nobody_can_log_in(root):
    for name in ("usr/sbin/sshd", "usr/bin/ssh", "usr/sbin/dropbear", "usr/bin/login", "usr/sbin/agetty_"):
        assert not (root / name).exists(), name
    for line in (root / "etc/shadow").read_text().splitlines():
        name, password, *_ = line.split(":")
        assert password.startswith(("!", "*")), f"{name} has a password"
    for unit in ("getty@.service", "serial-getty@.service", "console-getty.service", "debug-shell.service"):
        assert (root / "etc/systemd/system" / unit).readlink().as_posix() == "/dev/null", unit
    wanted = {path.name for path in (root / "etc/systemd/system").rglob("*.wants/*")}
    assert not [name for name in wanted if "ssh" in name or "getty" in name]


def test_no_file_gives_rights_away(root):
    given = [path for path in root.rglob("*") if not path.is_symlink() and path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID) and path.is_file()]
    assert given == []
    writable = [path for path in root.rglob("*") if not path.is_symlink() and path.is_file() and path.lstat().st_mode & stat.S_IWOTH]
    assert writable == []


def test_no_secret_is_in_an_image_that_everybody_gets(root):
    assert (root / "etc/machine-id").read_bytes() == b""
    assert list((root / "var").iterdir()) == []
    assert list((root / "root").iterdir()) == []
    secret = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/=]{40}")
    for path in [*root.joinpath("etc").rglob("*"), *root.joinpath("usr/share").rglob("*")]:
        if path.is_file() and not path.is_symlink():
            assert not secret.search(path.read_bytes()), path


def test_every_link_leads_somewhere(root):
    told = ("/var/lib/frontdesk-system", "/run/", "/dev/null", "../proc/", "/proc/")
    lost = []
    for path in root.rglob("*"):
        if not path.is_symlink() or path.readlink().as_posix().startswith(told):
            continue
        to = path.readlink()
        seen = root / to.relative_to("/") if to.is_absolute() else path.parent / to
        if not (seen.exists() or seen.is_symlink()):
            lost.append(f"{path.relative_to(root)} -> {to}")
    assert [one for one in lost if "systemd/system" in one or "/bin/" in one or "lib/" in one and ".so" in one] == []


def test_what_is_started_is_there(root):
    units = root / "usr/lib/systemd/system"
    for link in (root / "etc/systemd/system").rglob("*.wants/*"):
        texts = [path.read_text() for path in [units / link.name, *sorted((units / f"{link.name}.d").glob("*.conf"))]]
        # An empty setting takes back what stands above it.
        reload = re.split(r"^ExecReload=$", "\n".join(texts), flags=re.M)
        for line in re.findall(r"^Exec\w+=[-+!:]*(/\S+)", reload[-1], re.M):
            assert (root / line.lstrip("/")).exists(), f"{link.name}: {line}"


def test_licences_are_in_it(files, root):
    gone = {line.split("#")[0].strip() for line in (REPOSITORY / "image/packages/removed").read_text().splitlines()}
    pieces = {line.split("#")[0].strip() for line in (REPOSITORY / "image/packages/pieces").read_text().splitlines()}
    for line in (WORK / f"tree-{files.arch}/packages").read_text().splitlines():
        package = line.split()[0]
        if package not in gone or package in pieces:
            path = root / "usr/share/doc" / package
            # Some packages share the directory of another one.
            assert path.is_symlink() or (path / "copyright").exists(), package
    assert "frontdesk" in [path.name for path in (root / "usr/share/doc").iterdir()]


def test_the_lists_name_everything(files):
    listed = (OUT / f"frontdesk-{VERSION}-{files.arch}.packages").read_text().splitlines()
    assert all(re.fullmatch(r"\S+ \S+ (all|amd64|arm64) [0-9a-f]{64}", line) for line in listed)
    document = json.loads((OUT / f"frontdesk-{VERSION}-{files.arch}.cdx.json").read_text())
    names = {component["name"] for component in document["components"]}
    assert {"frontdesk", "tokio", "redb", "rustls", "systemd", "libc6"} <= names
    assert any(name.startswith("linux-image-6") for name in names)
    without = [one["name"] for one in document["components"] if one["purl"].startswith("pkg:cargo/") and one["name"] != "frontdesk" and "licenses" not in one]
    assert without == []


def test_the_program_is_the_one_that_was_built(root):
    program = (root / "usr/bin/frontdesk").read_bytes()
    assert program[:4] == b"\x7fELF"


def test_an_update_and_an_image_are_small(disk):
    release = sum(path.stat().st_size for path in (Files(disk.arch).kernel, Files(disk.arch).root))
    packed = packed_size(disk.path)
    print(f"{disk.board}: update {release / 1e6:.1f} MB, image {packed / 1e6:.1f} MB compressed", file=sys.stderr)
    assert packed < 100e6


def packed_size(path) -> int:
    packed = subprocess.run(f"zstd -T1 -3 -q -c {path} | wc -c", shell=True, check=True, capture_output=True).stdout
    return int(packed)


def test_the_same_packages_give_the_same_bytes(x86, tmp_path):
    import os

    environment = {**os.environ, "IMAGE_OUT": str(tmp_path)}
    subprocess.run(["image/lib/slot", "x86_64"], cwd=REPOSITORY, check=True, env=environment, capture_output=True)
    subprocess.run(["image/lib/disk", "x86_64", "x86_64"], cwd=REPOSITORY, check=True, env=environment, capture_output=True)
    for mine in (x86.kernel, x86.root, x86.image()):
        other = tmp_path / mine.relative_to(OUT)
        assert run("cmp", mine, other).returncode == 0
        other.unlink()
