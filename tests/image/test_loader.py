"""systemd-boot and the first program, with files written as the updater writes them. What is wrong with each version is in the test's words."""

from conftest import next_version
from machine import MIB


def names(machine):
    return machine.disk.names("EFI/Linux")


def test_a_kernel_that_panics_one_without_root_and_an_empty_one_end_with_the_version_before(x86, new_machine, tmp_path):
    machine = new_machine(x86.image())
    disk = machine.disk
    panics, rootless, empty = next_version(2), next_version(1), next_version(3)
    # Linux panics when it finds nothing to start.
    kernel = x86.kernel_with(tmp_path / "panics.efi", rdinit="/nothing", frontdesk__version=panics)
    disk.write(f"EFI/Linux/gw_{panics}+1.efi", kernel)
    other_hash = x86.command_line["frontdesk.hash"][::-1]
    kernel = x86.kernel_with(tmp_path / "rootless.efi", frontdesk__hash=other_hash, frontdesk__version=rootless)
    disk.write(f"EFI/Linux/gw_{rootless}+1.efi", kernel)
    # What is left of a rename that the power cuts.
    disk.write(f"EFI/Linux/gw_{empty}+3.efi", b"")
    with machine:
        machine.says(rf"no slot holds version {rootless}")
        machine.says(rf"version {x86.version} runs from slot a, started by sd-boot")
    assert "Kernel panic" in machine.console()
    tried = {name for name in names(machine) if not name.startswith(f"gw_{empty}")}
    assert tried == {f"gw_{panics}+0-1.efi", f"gw_{rootless}+0-1.efi", f"gw_{x86.version}.efi"}


def test_a_confirmed_slot_that_goes_bad_gives_way_to_the_other(x86, x86_next, new_machine):
    machine = new_machine(x86.image())
    disk = machine.disk
    disk.write_slot("b", x86_next.root)
    disk.write(f"EFI/Linux/gw_{x86_next.version}.efi", x86_next.kernel)
    disk.rot("b", 20 * MIB)
    with machine:
        machine.says("slot b has gone bad")
        machine.says(f"no slot holds version {x86_next.version}")
        machine.says(f"{x86_next.version} is not started again")
        machine.says(rf"version {x86.version} runs from slot a, started by sd-boot")
    assert set(names(machine)) == {f"gw_{x86_next.version}+0.efi", f"gw_{x86.version}.efi"}


def test_the_only_version_is_not_taken_out_of_the_choice(x86, new_machine):
    machine = new_machine(x86.image())
    machine.disk.rot("a", 20 * MIB)
    with machine:
        machine.says("slot a has gone bad")
        machine.says(f"(?s)no slot holds version {x86.version}.*no slot holds version {x86.version}")
    assert names(machine) == [f"gw_{x86.version}.efi"]
