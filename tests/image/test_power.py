"""Power cuts during an update, with a disk that forgets and tears what was not flushed.

`IMAGE_CUTS` real ones (6), and `IMAGE_REPLAYS` points (1000) at which a recorded update is cut again, judged as firmware, loader and first program
would: which names stand there, is each kernel whole, and is there a slot with its root?
"""

import os
import random
import re

from conftest import VERSION
from fat import Fat
from forgetful import ForgetfulDisk, fate_of, recorded
from machine import BOOT, MIB, SLOTS
from test_update import ask_for, ended, machine, releases  # noqa: F401
from webchat import Visitor

N_CUTS = int(os.environ.get("IMAGE_CUTS", "6"))
N_REPLAYS = int(os.environ.get("IMAGE_REPLAYS", "1000"))
#: Places on the disk, and how many bytes are written there in an update, in about.
DATA = (1281 * MIB, 1 << 40)
WHERE = {
    "while it downloads": (DATA, 30 * MIB),
    "in the slot": ((SLOTS["b"][0] * MIB, (SLOTS["b"][0] + 512) * MIB), 25 * MIB),
    "at the end of the slot": ((SLOTS["b"][0] * MIB, (SLOTS["b"][0] + 512) * MIB), 60 * MIB),
    "in the kernel": ((BOOT[0] * MIB, 257 * MIB), 8 * MIB),
    "at the end of the kernel": ((BOOT[0] * MIB, 257 * MIB), 16 * MIB),
    "around the name": ((BOOT[0] * MIB, 257 * MIB), 17 * MIB),
}


def test_every_cut_leaves_a_box_that_starts(x86, x86_next, machine, releases, tmp_path):  # noqa: F811
    releases.publish(x86_next.version, x86_next.kernel, x86_next.root)
    visitor, said = None, []
    socket = tmp_path / "nbd"
    machine.drive = f"if=none,id=disk,format=raw,file=nbd:unix:{socket}"
    # The first start is undisturbed: the box is somebody's, and has a conversation.
    for n, (name, ((begin, end), after)) in enumerate([("no cut", ((0, 0), 0)), *WHERE.items()][: N_CUTS + 1]):
        disk = ForgetfulDisk(machine.disk.path, socket, seed=n, record=None)
        with machine:
            machine.answers("/readyz")
            visitor = Visitor(machine, visitor and visitor.cookie)
            lines = machine.wait(lambda: visitor.lines() or not said, "the conversation is there")
            if said:
                texts = [line["text"] for line in lines if line["from"] == "you"]
                assert texts == said, f"every message that was accepted is there, after {name}"
            visitor.ask(f"number {n}")
            said.append(f"number {n}")
            if after:
                ask_for(machine, x86_next.version)
                disk.cut_after(after, begin, end)
                machine.wait(disk.was_cut.is_set, f"the power is cut {name}")
                print(f"cut {name}: {disk.lost}")
        disk.close()
    with machine:
        machine.answers("/readyz")


def test_a_recorded_update_may_be_cut_anywhere(x86, x86_next, machine, releases, tmp_path):  # noqa: F811
    releases.publish(x86_next.version, x86_next.kernel, x86_next.root)
    record = tmp_path / "record"
    machine.drive = f"if=none,id=disk,format=raw,file=nbd:unix:{tmp_path / 'nbd'}"
    with open(machine.disk.path, "rb") as disk:
        first = bytearray(disk.read(1281 * MIB))
    disk = ForgetfulDisk(machine.disk.path, tmp_path / "nbd", seed=0, record=record)
    with machine:
        ask_for(machine, x86_next.version)
        ended(machine, x86_next.version, "installed")
    disk.close()
    events = recorded(record)
    record.unlink()
    judged = replay(first, events, {VERSION: x86, x86_next.version: x86_next})
    print(f"{judged} of {N_REPLAYS} cuts, {len(events)} writes and flushes")
    assert judged == N_REPLAYS


def replay(disk: bytearray, events, versions) -> int:
    choice = random.Random(1)
    limit = len(disk)
    kernels = {version: files.kernel.read_bytes() for version, files in versions.items()}
    roots = {version: files.root.read_bytes() for version, files in versions.items()}
    ours = [n for n, event in enumerate(events) if event and event[0] < limit]
    boot = [n for n in ours if events[n][0] < (BOOT[0] + BOOT[1]) * MIB]
    # Half of them among the few and delicate writes to the boot partition.
    cuts = sorted([choice.choice(ours) for _ in range(N_REPLAYS // 2)] + [choice.choice(boot) for _ in range(N_REPLAYS - N_REPLAYS // 2)])
    flushed = 0
    for n, cut in enumerate(cuts):
        last = max((n for n in range(flushed, cut + 1) if events[n] is None), default=flushed)
        for event in events[flushed:last]:
            if event:
                put(disk, limit, *event)
        flushed = last
        undo = []
        for event in events[flushed : cut + 1]:
            if event and event[0] < limit:
                _, kept = fate_of(event[1], choice)
                undo.append((event[0], bytes(disk[event[0] : event[0] + len(kept)])))
                put(disk, limit, event[0], kept)
        assert_startable(disk, kernels, roots, f"cut {n} after event {cut}")
        for offset, content in reversed(undo):
            put(disk, limit, offset, content)
    return len(cuts)


def put(disk, limit, offset, content):
    if offset < limit:
        content = content[: limit - offset]
        disk[offset : offset + len(content)] = content


def assert_startable(disk, kernels, roots, where):
    """The loader takes the highest name that is not empty and has tries left. One that was confirmed must be whole, and so must its root."""
    files = Fat(disk, BOOT[0] * MIB).files("EFI", "Linux")
    whole = {}
    for name, content in files.items():
        if not (match := re.fullmatch(r"gw_(\d+\.\d+\.\d+)(\+\d+(-\d+)?)?\.efi", name)) or not content:
            continue
        version = match[1]
        starts = [start * MIB for start, _ in SLOTS.values()]
        has_root = any(disk[start : start + len(roots[version])] == roots[version] for start in starts)
        whole[name] = content == kernels[version] and has_root
        assert match[2] or whole[name], f"{where}: {name} is confirmed and not whole"
        assert not match[2] or whole[name], f"{where}: {name} would be started and is not whole"
    assert any(whole.values()), f"{where}: nothing to start among {sorted(files)}"
