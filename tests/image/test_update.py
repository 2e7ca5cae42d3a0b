"""Updates as owners get them: a signed repository, asked for through the API, taken by the updater of the image."""

import functools
import http.server
import json
import os
import secrets
import subprocess
import threading
from pathlib import Path

import pytest
from conftest import REPOSITORY, WORK, built, next_version, program_of
from machine import run
from webchat import Visitor


PROGRAM = program_of("x86_64")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Releases:
    """A repository with keys of its own, made by image/release and served on loopback."""

    def __init__(self, program: Path, folder: Path):
        self.program, self.folder, self.repository = program, folder, folder / "releases"
        self.call("key", "root")
        self.call("key", "online")
        keys = [word for name in ("targets", "snapshot", "timestamp") for word in (f"--{name}", "online.pub")]
        self.call("draft", "--repository", "releases", "--root", "root.pub", "--threshold", "1", *keys, "draft.json")
        self.call("sign", "draft.json", "root")
        self.call("adopt", "draft.json", "--repository", "releases")
        handler = functools.partial(Quiet, directory=str(self.repository))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        # What QEMU calls the machine it runs on.
        self.address = f"http://10.0.2.2:{self.server.server_port}/"

    def call(self, *words):
        run(self.program, *words, cwd=self.folder)

    @property
    def root(self) -> bytes:
        return (self.repository / "metadata/1.root.json").read_bytes()

    def publish(self, version: str, kernel: Path, root: Path):
        keys = [word for name in ("targets", "snapshot", "timestamp") for word in ("--key", "online")][:2]
        files = ["--kernel", str(kernel), "--root", str(root)]
        shape = run(PROGRAM, "store", "format").stdout.decode().strip()
        self.call("add", "--repository", "releases", *keys, "--release", version, "--board", "x86_64", "--store-format", shape, *files)


@pytest.fixture
def releases(tmp_path):
    built_program = os.environ.get("FRONTDESK_RELEASE_BIN") or REPOSITORY / "image/release/target/debug/frontdesk-release"
    if not Path(built_program).exists():
        run("cargo", "build", "--locked", "--manifest-path", REPOSITORY / "image/release/Cargo.toml")
    releases = Releases(Path(built_program), tmp_path)
    yield releases
    releases.server.shutdown()


@pytest.fixture
def machine(x86, new_machine, releases):
    """A box whose owner trusts that repository, and whose owner's token is known."""
    machine = new_machine(x86.image())
    machine.token = secrets.token_hex(32)
    disk = machine.disk
    disk.plant("/lib/frontdesk-update/root.json", releases.root)
    disk.plant("/lib/private/frontdesk/admin.token", machine.token.encode())
    settings = f'[updates]\nauto = false\nrepository = "{releases.address}"\n'
    disk.plant("/lib/private/frontdesk/config.toml", settings.encode())
    return machine


def api(machine, path, body=None, method=None):
    headers = {"Authorization": f"Bearer {machine.token}"}
    try:
        answer = machine.request(path, body, headers, method)
    except OSError:
        return {}
    text = answer.read()
    return json.loads(text) if answer.status < 300 else {}


def ask_for(machine, version):
    machine.answers("/readyz")
    known = machine.wait(lambda: api(machine, "/api/v1/updates"), "the API says how updates are")
    assert known["installation"] == "sd-boot" and known["set_up"]
    assert machine.wait(lambda: api(machine, "/api/v1/updates/check", method="POST"), "the updater is asked to look")
    machine.wait(lambda: api(machine, "/api/v1/updates").get("offer"), "the updater finds the release")
    assert machine.wait(lambda: api(machine, "/api/v1/updates/install", {"version": version}), "the updater is asked")


def ended(machine, version, how):
    def found():
        outcomes = api(machine, "/api/v1/updates").get("outcomes", [])
        return [one for one in outcomes if version in one["text"] and one["event"] == how]

    return machine.wait(found, f"{version} {how}")


def test_a_good_version_is_kept(x86, x86_next, machine, releases):
    releases.publish(x86_next.version, x86_next.kernel, x86_next.root)
    with machine:
        visitor = Visitor(machine) if machine.answers("/readyz") else None
        answer = visitor.ask("Before the update")
        ask_for(machine, x86_next.version)
        ended(machine, x86_next.version, "installed")
        assert api(machine, "/api/v1/updates")["running"] == x86_next.version
        visitor = Visitor(machine, visitor.cookie)
        assert [line["text"] for line in visitor.lines()][:2] == ["Before the update", answer], "the session is there"
        machine.cut()
    assert machine.disk.names("EFI/Linux") == [f"gw_{x86.version}.efi", f"gw_{x86_next.version}.efi"]


def test_a_version_whose_kernel_panics_is_given_up(x86, x86_next, machine, releases, tmp_path):
    panics = x86.kernel_with(tmp_path / "panics.efi", rdinit="/nothing", frontdesk__version=x86_next.version)
    releases.publish(x86_next.version, panics, x86_next.root)
    with machine:
        ask_for(machine, x86_next.version)
        ended(machine, x86_next.version, "fell_back")
        assert api(machine, "/api/v1/updates")["running"] == x86.version
        machine.cut()
    assert machine.console().count("Kernel panic") == 3


def test_a_version_whose_program_is_dead_is_given_up(x86, machine, releases):
    version = next_version(5)
    program = WORK / "dead"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    environment = {**os.environ, "IMAGE_VERSION": version, "FRONTDESK_PROGRAM": str(program)}
    subprocess.run(["image/build", "slot", "x86_64"], cwd=REPOSITORY, check=True, env=environment)
    dead = built("x86_64", version)
    releases.publish(version, dead.kernel, dead.root)
    with machine:
        ask_for(machine, version)
        ended(machine, version, "fell_back")
        assert api(machine, "/api/v1/updates")["running"] == x86.version
