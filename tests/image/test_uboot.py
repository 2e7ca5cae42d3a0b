"""The boot script of the Raspberry Pi, in U-Boot for QEMU's arm64 board, with the image's own files. No board was there to try it."""

import zlib

import pytest
from conftest import WORK, next_version

UBOOT = WORK / "tools/usr/lib/u-boot/qemu_arm64/u-boot.bin"


def record(good, tried="none", left=0):
    """As src/update/boot/uboot_script.rs writes it, which has a test of its own for these bytes."""
    data = f"gw_good={good}\0gw_left={left}\0gw_try={tried}\0\0".encode().ljust(508, b"\0")
    return zlib.crc32(data).to_bytes(4, "little") + data


def read(content):
    assert zlib.crc32(content[4:]) == int.from_bytes(content[:4], "little")
    words = dict(pair.split("=") for pair in content[4:].split(b"\0\0")[0].decode().split("\0"))
    return words["gw_good"], words["gw_try"], int(words["gw_left"])


@pytest.fixture
def machine(arm, new_machine):
    machine = new_machine(arm.image("raspberry-pi"), "arm64", uboot=UBOOT)
    assert machine.disk.read("gwstate0.env") == record("a")
    return machine


def records(machine):
    return [machine.disk.read(f"gwstate{number}.env") for number in (0, 1)]


def write(machine, first, second):
    machine.disk.write("gwstate0.env", first)
    machine.disk.write("gwstate1.env", second)


def test_a_version_that_panics_is_tried_so_often_and_then_the_one_before_runs(arm, machine, tmp_path):
    panics = arm.kernel_with(tmp_path / "panics.efi", rdinit="/nothing", frontdesk__version=next_version())
    machine.disk.write("slot-b.efi", panics)
    # The first record was being written when the power was cut.
    write(machine, record("a", "b", 2)[:100] + b"\xff" * 412, record("a", "b", 2))
    with machine:
        machine.says(r"FRONTDESK slot=b good=a try=b left=1 record=gwstate1.env")
        machine.says(r"FRONTDESK slot=b good=a try=b left=0 record=gwstate0.env")
        machine.says(r"FRONTDESK slot=a good=a try=b left=0 record=gwstate0.env")
        machine.says(rf"version {arm.version} runs from slot a, started by uboot")
        machine.cut()
    assert machine.console().count("Kernel panic") == 2
    first, second = records(machine)
    assert first == second == record("a", "b", 0), "byte for byte what the program writes"


def test_without_a_whole_record_what_is_there_runs(arm, machine):
    # Slot a holds no kernel, and both records are torn: no single cut does that.
    machine.disk.rename("slot-a.efi", "slot-b.efi")
    write(machine, b"\xff" * 512, record("b")[:-1] + b"x")
    with machine:
        machine.says(r"FRONTDESK slot=a good=a try=none left=0 record=none")
        machine.says(r"FRONTDESK slot a does not start")
        machine.says(rf"version {arm.version} runs from slot a, started by uboot")
        machine.cut()
    assert records(machine)[0] == b"\xff" * 512, "nothing is written while nothing is tried"


def test_a_slot_that_goes_bad_gives_way_to_the_other(arm, machine, tmp_path):
    version = next_version()
    rootless = arm.kernel_with(
        tmp_path / "rootless.efi", frontdesk__hash=arm.command_line["frontdesk.hash"][::-1], frontdesk__version=version
    )
    machine.disk.write("slot-b.efi", rootless)
    machine.disk.write("slot-b.version", version.encode())
    write(machine, record("b"), record("b"))
    with machine:
        machine.says(rf"no slot holds version {version}")
        machine.says(rf"{version} is not started again")
        machine.says(r"FRONTDESK slot=a good=a try=none left=0 record=gwstate0.env")
        machine.cut()
    assert [read(one) for one in records(machine)] == [("a", "none", 0)] * 2
