"""The disk is full, goes bad, or holds a store with wrong bits: it is said, nothing acknowledged is lost, and it goes on."""

import json
import os
import subprocess
import threading

import pytest

from peers.gateway import EX_OK, EX_TEMPFAIL
from peers.settings import settings, webhook
from peers.wire import call, until


def direct(text="hello", user="U1", **fields):
    return {"kind": "direct", "user_id": user, "text": text} | fields


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def mounted(gateway, tmp_path):
    """Mounts something as the home of the gateway: `mounted("ext4")`, `mounted("tmpfs")`."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    mounts = []

    def mount(kind, megabytes):
        if kind == "tmpfs":
            done = run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(gateway.home))
        else:
            image = tmp_path / "disk"
            image.touch()
            os.truncate(image, megabytes * 1024 * 1024)
            made = run("mkfs.ext4", "-q", "-O", "^has_journal", str(image))
            if made.returncode != 0:
                pytest.skip(f"no file system can be made here: {made.stderr}")
            done = run("mount", "-o", "loop,errors=remount-ro", str(image), str(gateway.home))
        if done.returncode != 0:
            pytest.skip(f"nothing can be mounted here: {done.stderr}")
        mounts.append(gateway.home)
        return gateway.home

    yield mount
    if gateway.is_running:
        gateway.kill()
    for home in mounts:
        assert run("umount", str(home)).returncode == 0


@pytest.fixture
def configured(gateway, model, hook):
    """Call it when the home is where it should be."""

    def write():
        gateway.write(settings(gateway.port, model.openai_url, webhook(hook)))
        return gateway

    return write


def fill(folder, name="ballast"):
    """Writes until nothing more fits."""
    path = folder / name
    with path.open("wb", buffering=0) as ballast:
        try:
            while ballast.write(b"x" * 4096):
                pass
        except OSError as error:
            assert error.errno == 28, error
    return path


def status(gateway):
    return "\n".join(gateway.ok("gateway", "status").lines)


def test_full_disk_refuses_messages_and_loses_none_and_goes_on_by_itself(mounted, configured, model, hook):
    home = mounted("tmpfs", 40)
    desk = configured().start()
    hook.post(direct(message_id="before"))
    hook.answer_to("before")
    ballast = fill(home)

    # It is looked at once a second; what is taken before goes where there is room for it.
    filling = (hook.post(direct(message_id=f"filling-{n}")) for n in range(1000))
    refused = until(lambda: (said := next(filling)).status == 503 and said, 10, "messages are refused")
    assert int(refused.headers["retry-after"]) > 0
    assert "the disk is full" in status(desk) and "make room" in status(desk)
    assert "the disk is full" in desk.cli("doctor").out
    assert desk.readyz() == 503
    assert "hello" in desk.ok("sessions", "show", "tenant-42-webhook:U1").out, "what is there can be read"

    # Even the room that is kept is gone. To stop is possible, and to start again.
    assert desk.stop() == EX_OK
    desk.launch()
    until(lambda: desk.readyz() == 503, 30, lambda: f"/readyz says 503\n{desk.log}")
    assert hook.post(direct(message_id="full")).status == 503

    ballast.unlink()
    until(lambda: desk.readyz() == 200, 30, lambda: f"it goes on\n{status(desk)}")
    assert hook.post(direct(message_id="full")).status == 202
    hook.answer_to("full")
    assert hook.post(direct(message_id="before")).json == {"duplicate": True}
    assert "the disk is full" not in status(desk)


class Sender(threading.Thread):
    """Posts messages of ever new people until it is stopped; knows what it was told."""

    def __init__(self, hook):
        super().__init__()
        self.hook, self.ended = hook, threading.Event()
        self.statuses, self.taken = set(), []

    def run(self):
        n = 0
        while not self.ended.is_set():
            n += 1
            said = self.hook.post(direct(message_id=f"s{n}", user=f"S{n}"))
            self.statuses.add(said.status)
            if said.status == 202:
                self.taken.append(f"s{n}")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


def test_disk_that_somebody_fills_to_the_last_byte_while_messages_come(mounted, configured, model, hook):
    home = mounted("tmpfs", 24)
    desk = configured().start()
    hook.post(direct(message_id="before"))
    hook.answer_to("before")
    with Sender(hook) as sender:
        until(lambda: len(sender.taken) > 20, 30, "messages are taken")
        ballast = [fill(home, "ballast-1")]
        until(lambda: 503 in sender.statuses, 30, "messages are refused")
        ballast.append(fill(home, "ballast-2"))
        for _ in range(3):
            assert "the disk is full" in status(desk)
            assert "webhook:U1" in desk.ok("sessions", "list").out
            assert "hello" in desk.ok("sessions", "show", "tenant-42-webhook:U1").out
    assert sender.statuses == {202, 503}
    assert os.statvfs(home).f_bavail == 0

    # The plug, and a start on the disk as it is.
    desk.kill()
    desk.launch()
    until(lambda: desk.readyz() == 503, 30, lambda: f"/readyz says 503\n{desk.log}")
    until(lambda: desk.cli("gateway", "status").code == EX_OK, 10, lambda: desk.log)
    for _ in range(3):
        assert "the disk is full" in status(desk) and "safe mode" not in status(desk)
        assert "hello" in desk.ok("sessions", "show", "tenant-42-webhook:U1").out
        assert f"webhook:{sender.taken[-1].upper()}" in "\n".join(desk.session_rows())
        refused = hook.post(direct(message_id="full"))
        assert refused.status == 503 and refused.headers["retry-after"]
    erasure = desk.cli("sessions", "erase", "tenant-42-webhook:U1", "--yes")
    assert erasure.code == EX_TEMPFAIL and "disk" in erasure.err
    assert "hello" in desk.ok("sessions", "show", "tenant-42-webhook:U1").out

    for path in ballast:
        path.unlink()
    until(lambda: desk.readyz() == 200, 30, lambda: f"it goes on\n{status(desk)}\n{desk.log}")
    assert hook.post(direct(message_id="full")).status == 202
    for message_id in ["full", *sender.taken]:
        until(lambda: hook.answers_to(message_id), 30, f"an answer to {message_id}")  # noqa: B023
    # What was sent and could not be noted is sent again, under the id that it had.
    ids = {message_id: {said.id for said in hook.answers_to(message_id)} for message_id in sender.taken}
    assert all(len(of_one) == 1 for of_one in ids.values()), ids
    assert "the disk is full" not in status(desk)
    assert "panicked" not in desk.log
    assert desk.stop() == EX_OK


def test_safe_mode_for_a_full_disk_ends_when_there_is_room(mounted, configured, model, hook):
    home = mounted("tmpfs", 24)
    desk = configured().start()
    assert desk.stop() == EX_OK
    # A store must be made anew, and there is no room for one.
    for name in ["frontdesk.redb", "frontdesk.redb.journal"]:
        (home / name).unlink()
    ballast = fill(home)
    desk.launch()
    until(lambda: desk.readyz() == 503, 30, lambda: desk.log)
    until(lambda: desk.cli("gateway", "status").code == EX_OK, 10, lambda: desk.log)
    assert "safe mode" in status(desk) and "make room" in status(desk) and "goes on by itself" in status(desk)
    assert hook.post(direct(message_id="m1")).status == 503
    assert desk.cli("sessions", "list").code == EX_TEMPFAIL

    ballast.unlink()
    until(lambda: desk.readyz() == 200, 30, lambda: f"it goes on\n{desk.log}")
    assert "safe mode" not in status(desk)
    assert hook.post(direct(message_id="m1")).status == 202
    hook.answer_to("m1")


@pytest.mark.parametrize("has_runtime_dir", [True, False], ids=["runtime directory", "no runtime directory"])
def test_home_that_can_only_be_read_is_served_to_be_read(mounted, configured, hook, tmp_path, has_runtime_dir):
    home = mounted("tmpfs", 24)
    desk = configured().start()
    hook.post(direct(message_id="before"))
    hook.answer_to("before")
    desk.kill()
    if has_runtime_dir:
        (tmp_path / "run").mkdir(mode=0o700)
        desk.env["XDG_RUNTIME_DIR"] = str(tmp_path / "run")
    files = {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()}
    assert run("mount", "-o", "remount,ro", str(home)).returncode == 0
    desk.launch()
    until(lambda: desk.readyz() == 503, 30, lambda: desk.log)
    assert "the disk" in call("GET", f"{desk.url}/readyz").text
    refused = hook.post(direct(message_id="refused"))
    assert refused.status == 503 and refused.headers["retry-after"]
    if has_runtime_dir:
        until(lambda: desk.cli("gateway", "status").code == EX_OK, 10, lambda: desk.log)
        assert "read-only" in status(desk)
        assert "hello" in desk.ok("sessions", "show", "tenant-42-webhook:U1").out
    else:
        until(lambda: "no command reaches the gateway" in desk.log, 10, lambda: desk.log)
    assert {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()} == files

    assert run("mount", "-o", "remount,rw", str(home)).returncode == 0
    until(lambda: desk.readyz() == 200, 30, lambda: f"it goes on\n{desk.log}")
    assert hook.post(direct(message_id="refused")).status == 202
    hook.answer_to("refused")
    assert "hello" in desk.ok("sessions", "show", "tenant-42-webhook:U1").out
    assert desk.stop() == EX_OK
    assert not has_runtime_dir or list((tmp_path / "run").iterdir()) == []


def test_there_is_room_to_answer_to_erase_and_to_stop_when_new_messages_are_refused(mounted, configured, model, hook):
    home = mounted("tmpfs", 64)
    desk = configured().start()
    model.gate.clear()
    assert hook.post(direct("a canary", message_id="slow")).status == 202
    # Under the reserve, and not to the brim.
    ballast = fill(home)
    os.truncate(ballast, ballast.stat().st_size - 3 * 1024 * 1024)
    until(lambda: hook.post(direct(message_id="new", user="U2")).status == 503, 10, lambda: "messages are refused")
    model.gate.set()
    hook.answer_to("slow")
    erased = desk.ok("sessions", "erase", "tenant-42-webhook:U1", "--yes")
    assert erased.out
    assert desk.cli("sessions", "show", "tenant-42-webhook:U1").code != EX_OK
    assert desk.stop() == EX_OK


def test_disk_that_becomes_read_only_is_read_and_said(mounted, configured, hook):
    home = mounted("ext4", 64)
    device = run("findmnt", "-no", "SOURCE", str(home)).stdout.strip()
    trigger = f"/sys/fs/ext4/{os.path.basename(device)}/trigger_fs_error"
    if not os.access(trigger, os.W_OK):
        pytest.skip("this system cannot be made to find an error on a disk")
    desk = configured().start()
    hook.post(direct(message_id="before"))
    hook.answer_to("before")
    until(lambda: "0 undelivered" in status(desk), 10, lambda: status(desk))

    # As when the card reports an error. What was not synced is lost with it.
    os.sync()
    with open(trigger, "w") as file:
        file.write("a test")
    until(lambda: hook.post(direct(message_id="refused")).status == 503, 10, lambda: "messages are refused")
    assert "hello" in desk.ok("sessions", "show", "tenant-42-webhook:U1").out
    assert "read-only" in status(desk)
    assert "read-only" in desk.cli("doctor").out
    assert desk.readyz() == 503
    assert desk.stop() == EX_OK

    # After a repair of the disk all is there.
    assert run("umount", str(home)).returncode == 0
    run("fsck.ext4", "-fy", device_image(home))
    assert run("mount", "-o", "loop", device_image(home), str(home)).returncode == 0
    desk.start()
    assert hook.post(direct(message_id="before")).json == {"duplicate": True}
    assert hook.post(direct(message_id="refused")).status == 202
    hook.answer_to("refused")


def device_image(home):
    return str(home.parent.parent / "disk")


# A damaged store


def damage(path):
    """One wrong bit in every page but the first."""
    data = bytearray(path.read_bytes())
    for at in range(4096 + 100, len(data), 4096):
        data[at] ^= 1
    path.write_bytes(data)


WRONG = {
    "wrong bits": damage,
    "cut off": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "another file": lambda path: path.write_bytes(b"{}" * 5000),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_store_that_cannot_be_opened_does_not_stop_the_gateway_and_is_left_alone(desk, hook, wrong):
    hook.post(direct(message_id="m1"))
    hook.answer_to("m1")
    desk.stop()
    store = desk.home / "frontdesk.redb"
    wrong(store)
    before = store.read_bytes()

    desk.launch()
    until(lambda: desk.readyz() == 503, 30, lambda: f"it listens\n{desk.log}")
    refused = hook.post(direct(message_id="m2"))
    assert refused.status == 503 and refused.headers["retry-after"]
    for path in ["/chat/webchat", "/v1/models", "/v1/chat/completions"]:
        assert call("GET", f"{desk.url}{path}").status == 503
    said = status(desk)
    assert "safe mode" in said and "store check" in said and "store repair" in said and "backup restore" in said
    shown = desk.cli("sessions", "list")
    assert shown.code != EX_OK and "the store cannot be used" in shown.err
    doctor = desk.cli("doctor")
    assert doctor.code == EX_TEMPFAIL and "store repair" in doctor.out
    assert desk.cli("gateway", "reload").code != EX_OK
    assert desk.stop() == EX_OK
    assert "panicked" not in shown.err + doctor.err
    assert "2-phase" not in said and "DB corrupted" not in said, "in words for people"
    assert store.read_bytes() == before, "it is left alone"


def test_journal_that_is_gone_is_missed_after_a_kill_and_not_after_a_stop(desk, hook):
    journal = desk.home / "frontdesk.redb.journal"
    hook.post(direct(message_id="m1"))
    hook.answer_to("m1")
    assert desk.stop() == EX_OK
    journal.unlink()
    desk.start()
    assert hook.post(direct(message_id="m1")).json == {"duplicate": True}

    hook.post(direct(message_id="m2"))
    hook.answer_to("m2")
    desk.kill()
    journal.unlink()
    desk.launch()
    until(lambda: desk.readyz() == 503, 30, lambda: desk.log)
    until(lambda: desk.cli("gateway", "status").code == EX_OK, 10, lambda: desk.log)
    said = status(desk)
    assert "safe mode" in said and "journal" in said and "may be missing" in said and "store repair" in said
    assert hook.post(direct(message_id="m3")).status == 503
    assert desk.stop() == EX_OK
    assert not journal.exists()
    assert desk.cli("store", "check").code == EX_TEMPFAIL
    desk.ok("store", "repair")
    desk.start()
    assert hook.post(direct(message_id="m1")).json == {"duplicate": True}
    assert hook.post(direct(message_id="m3")).status == 202
    hook.answer_to("m3")


def test_damaged_store_is_found_and_repaired(desk, hook):
    for user in ["U1", "U2", "U3"]:
        hook.post(direct(user=user, message_id=f"m-{user}"))
        hook.answer_to(f"m-{user}")
    assert desk.cli("store", "check").code == EX_TEMPFAIL, "while the gateway has it"
    desk.stop()
    assert "nothing is wrong" in desk.ok("store", "check").out
    store = desk.home / "frontdesk.redb"
    data = bytearray(store.read_bytes())
    # In the middle of a line of somebody: a page in use.
    page = next(at for at in range(len(data) - 4096, 4096, -4096) if b"webhook:U2" in data[at : at + 4096])
    data[page + data[page : page + 4096].index(b"webhook:U2") + 9] ^= 4
    store.write_bytes(data)

    found = desk.cli("store", "check", "--json")
    assert found.code == EX_TEMPFAIL and json.loads(found.out)["n_problems"] > 0
    assert store.read_bytes() == data, "checking changes nothing"
    repaired = desk.ok("store", "repair").out
    assert "is kept" in repaired
    assert (desk.home / "frontdesk.redb.damaged-1").read_bytes() == data
    assert "nothing is wrong" in desk.ok("store", "check").out
    assert "nothing is wrong" in desk.ok("store", "repair").out
    desk.start()
    rows = "\n".join(desk.session_rows())
    assert "webhook:U1" in rows and "webhook:U3" in rows
    assert hook.post(direct(user="U1", message_id="after")).status == 202
    hook.answer_to("after")


def test_store_that_lost_its_first_page_is_repaired_and_nothing_else_is_lost(desk, hook):
    for user in ["U1", "U2"]:
        hook.post(direct(user=user, message_id=f"m-{user}"))
        hook.answer_to(f"m-{user}")
    desk.stop()
    store = desk.home / "frontdesk.redb"
    data = bytes(4096) + store.read_bytes()[4096:]
    store.write_bytes(data)
    doctor = desk.cli("doctor")
    assert doctor.code == EX_TEMPFAIL and "[store]" in doctor.out and "store repair" in doctor.out
    repaired = desk.ok("store", "repair").out
    assert "taken over: transcript: 4" in repaired and "lost:" not in repaired and "lost, at least" not in repaired
    assert (desk.home / "frontdesk.redb.damaged-1").read_bytes() == data
    assert "nothing is wrong" in desk.ok("store", "check").out
    desk.start()
    rows = "\n".join(desk.session_rows())
    assert "webhook:U1" in rows and "webhook:U2" in rows
