"""Repositories of releases that other programs made, and one of ours that another program reads."""

import functools
import http.server
import json
import os
import platform
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import Updater

from peers.gateway import EX_CONFIG, EX_OK, EX_TEMPFAIL, EX_USAGE

BOARD = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
PROGRAM = b"the program of version 99" * 5_000


def in_days(days):
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)


class Repository:
    """Made by the reference implementation of TUF: two of three sign the root, keys are of two kinds."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "metadata").mkdir(parents=True)
        (folder / "targets").mkdir()
        self.roots = [CryptoSigner.generate_ed25519() for _ in range(3)]
        self.targets, self.snapshot = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ecdsa()
        self.timestamp = CryptoSigner.generate_ecdsa()
        self.version = 0
        root = Root(expires=in_days(30))
        for signer in self.roots:
            root.add_key(signer.public_key, "root")
        root.roles["root"].threshold = 2
        root.add_key(self.targets.public_key, "targets")
        root.add_key(self.snapshot.public_key, "snapshot")
        root.add_key(self.timestamp.public_key, "timestamp")
        self.root = self.adopt(root, self.roots[:2])

    def adopt(self, root, signers):
        metadata = Metadata(root)
        for signer in signers:
            metadata.sign(signer, append=True)
        path = self.folder / "metadata" / f"{root.version}.root.json"
        metadata.to_file(str(path))
        return path

    def publish(self, version, board=BOARD, expires=None):
        self.version += 1
        name = f"frontdesk-{version}-{board}.program"
        target = TargetFile.from_data(name, PROGRAM, ["sha256"])
        target.unrecognized_fields["custom"] = {
            "frontdesk": {
                "version": version,
                "board": board,
                "kind": "program",
                "store_format": 999_999,
                "notes": "Naïve “quotes”, and a second line:\nhere it is.",
            }
        }
        (self.folder / "targets" / f"{target.hashes['sha256']}.{name}").write_bytes(PROGRAM)
        targets = Metadata(Targets(version=self.version, expires=in_days(30), targets={name: target}))
        targets.sign(self.targets)
        data = targets.to_bytes()
        self.write(f"{self.version}.targets.json", data)
        meta = {"targets.json": MetaFile.from_data(self.version, data, ["sha256"])}
        snapshot = Metadata(Snapshot(version=self.version, expires=in_days(30), meta=meta))
        snapshot.sign(self.snapshot)
        data = snapshot.to_bytes()
        self.write(f"{self.version}.snapshot.json", data)
        meta = MetaFile.from_data(self.version, data, ["sha256"])
        timestamp = Metadata(Timestamp(version=self.version, expires=expires or in_days(1), snapshot_meta=meta))
        timestamp.sign(self.timestamp)
        self.write("timestamp.json", timestamp.to_bytes())

    def write(self, name, data):
        (self.folder / "metadata" / name).write_bytes(data)


@pytest.fixture
def serve():
    """Serves a directory on loopback and says where."""
    servers = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    def serve(folder):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def repository(tmp_path, gateway):
    """One that the device trusts."""
    repository = Repository(tmp_path / "releases")
    trust(gateway, repository.root)
    return repository


def trust(gateway, root):
    (gateway.home / "updates").mkdir(exist_ok=True)
    (gateway.home / "updates" / "root.json").write_bytes(root.read_bytes())


def check(gateway, address):
    outcome = gateway.cli("update", "check", "--repository", address, "--json")
    return outcome.code, json.loads(outcome.out)


def test_a_repository_of_the_reference_implementation_is_accepted(gateway, repository, serve):
    repository.publish("99.0.0")
    code, found = check(gateway, serve(repository.folder))
    assert (code, found["state"], found["version"], found["bytes"]) == (EX_OK, "available", "99.0.0", len(PROGRAM))
    assert found["notes"].startswith("Naïve “quotes”")
    # And from a stick.
    assert check(gateway, f"file://{repository.folder}") == (code, found)
    outcome = gateway.cli("update", "check", "--repository", f"file://{repository.folder}")
    assert "99.0.0 is there" in outcome.out, outcome


def test_its_keys_are_rotated(gateway, repository, serve):
    address = serve(repository.folder)
    repository.publish("99.0.0")
    assert check(gateway, address)[0] == EX_OK
    root = Root.from_dict(json.loads(repository.root.read_bytes())["signed"])
    root.version = 2
    old, repository.timestamp = repository.timestamp, CryptoSigner.generate_ed25519()
    root.revoke_key(old.public_key.keyid, "timestamp")
    root.add_key(repository.timestamp.public_key, "timestamp")
    repository.adopt(root, repository.roots[1:])
    code, found = check(gateway, address)
    assert code == EX_TEMPFAIL and "not signed" in found["error"], found
    repository.publish("99.0.1")
    assert check(gateway, address)[1]["version"] == "99.0.1"


def test_what_it_says_wrongly_is_refused(gateway, repository, serve):
    address = serve(repository.folder)
    repository.publish("99.0.0")
    repository.publish("99.0.1")
    newest = (repository.folder / "metadata" / "timestamp.json").read_bytes()
    assert check(gateway, address)[0] == EX_OK
    repository.publish("99.0.2", expires=in_days(-1))
    assert "expired" in check(gateway, address)[1]["error"]
    repository.version = 0
    repository.publish("99.0.0")
    assert "older" in check(gateway, address)[1]["error"]
    changed = newest.replace(b'"version":2', b'"version":9')
    assert changed != newest
    repository.write("timestamp.json", changed)
    assert "not signed" in check(gateway, address)[1]["error"]
    repository.write("timestamp.json", newest[:-40])
    assert "cannot be read" in check(gateway, address)[1]["error"]


def test_releases_for_another_board_are_none(gateway, repository):
    repository.publish("99.0.0", board="arm64" if BOARD == "x86_64" else "x86_64")
    code, found = check(gateway, f"file://{repository.folder}")
    assert code == EX_TEMPFAIL and f"none for {BOARD}" in found["error"], found


def test_without_somebody_to_trust_nothing_is_looked_at(gateway, tmp_path):
    code, found = check(gateway, f"file://{tmp_path}")
    assert code == EX_CONFIG and "root.json" in found["error"], found
    outcome = gateway.cli("update", "check", "--repository", "ftp://example.com")
    assert outcome.code in (EX_USAGE, EX_CONFIG), outcome


def test_the_reference_implementation_reads_what_our_program_signs(gateway, serve, tmp_path):
    program = os.environ.get("FRONTDESK_RELEASE_BIN")
    assert program, "FRONTDESK_RELEASE_BIN must name image/release's program; tests/run sets it"

    def run(arguments):
        subprocess.run([program, *arguments.split()], cwd=tmp_path, check=True, capture_output=True)

    for name in ("a", "b", "c", "online"):
        run(f"key {name}")
    online = "--targets online.pub --snapshot online.pub --timestamp online.pub"
    run(f"draft --repository releases --root a.pub --root b.pub --root c.pub {online} draft.json")
    run("sign draft.json a")
    run("sign draft.json b")
    run("adopt draft.json --repository releases")
    (tmp_path / "frontdesk").write_bytes(PROGRAM)
    run(
        "add --repository releases --key online --release 99.0.0 --store-format 999999 --program frontdesk "
        f"--board {BOARD} --wave 100@2026-01-01T00:00:00Z"
    )
    releases = tmp_path / "releases"
    trust(gateway, releases / "metadata" / "1.root.json")
    address = serve(releases)
    assert check(gateway, address)[1]["version"] == "99.0.0"
    for folder in ("seen", "came"):
        (tmp_path / folder).mkdir()
    updater = Updater(
        metadata_dir=str(tmp_path / "seen"),
        metadata_base_url=f"{address}metadata/",
        target_dir=str(tmp_path / "came"),
        target_base_url=f"{address}targets/",
        bootstrap=(releases / "metadata" / "1.root.json").read_bytes(),
    )
    updater.refresh()
    target = updater.get_targetinfo(f"frontdesk-99.0.0-{BOARD}.program")
    assert Path(updater.download_target(target)).read_bytes() == PROGRAM
