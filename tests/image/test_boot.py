"""The image starts, and does what it is for."""

import re
import ssl
import sys
import time
import urllib.request

import pytest
from conftest import Files
from machine import MIB, PATIENCE
from webchat import Visitor

#: Of memory, for the whole system.
IDLE_MIB = 100


@pytest.fixture(scope="module", params=["x86_64", "arm64"])
def files(request):
    files = Files(request.param)
    if not files.image().exists():
        pytest.skip(f"no {files.image()}: run image/build {request.param}")
    return files


def test_it_starts_serves_remembers_and_starts_again(files, new_machine, tmp_path):
    machine = new_machine(files.image(), files.arch)
    with machine:
        machine.answers("/readyz")
        # Whoever stands before it reads how to reach it, the code and the fingerprint.
        machine.says(r"[Cc]laim code:?\s+([0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{2})")
        said = machine.console()
        assert re.search(r"([0-9A-F]{2}:\s*){31}[0-9A-F]{2}", said), "the fingerprint of the certificate"
        assert "10.0.2.15" in said or "frontdesk.local" in said
        assert "login:" not in said
        page = machine.request("/admin/")
        assert page.status == 303 and page.headers["Location"].startswith("/admin/")
        assert_https(machine)
        visitor = Visitor(machine)
        answer = visitor.ask("Hello, are you there?")
        # The health check goes on for a while, and nothing shows from outside when it ends.
        time.sleep(PATIENCE / 5)
        used = machine.used_mib()
        print(f"{files.arch}: {used} MiB of memory are used when nobody does anything", file=sys.stderr)
        assert used < IDLE_MIB
        machine.switch_off()
    data = machine.disk.data(tmp_path / "data")
    first = data.messages()
    fingerprint = data.read("/lib/private/frontdesk/tls.pem")
    identity = data.read("/lib/frontdesk-system/machine-id").decode().strip()
    assert re.fullmatch("[0-9a-f]{32}", identity)
    assert_started_well(data)
    assert any("Finished frontdesk-health.service" in line for line in first)
    # The partition and the file system in it fill the disk.
    disk_mib = machine.disk.path.stat().st_size // MIB
    assert data.mib > disk_mib - 1281 - 32
    assert data.partition["size"] * 512 // MIB > disk_mib - 1281 - 32
    assert not any("slot a has gone bad" in line for line in first)

    with machine:
        machine.answers("/readyz")
        visitor = Visitor(machine, visitor.cookie)
        machine.wait(visitor.lines, "the session is there")
        assert [line["text"] for line in visitor.lines()][:2] == ["Hello, are you there?", answer]
        assert visitor.ask("And now?")
        machine.switch_off()
    data = machine.disk.data(tmp_path / "again")
    assert data.read("/lib/private/frontdesk/tls.pem") == fingerprint
    assert data.read("/lib/frontdesk-system/machine-id").decode().strip() == identity
    assert_started_well(data, "-b")


def assert_https(machine):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    assert opener.open(f"https://127.0.0.1:{machine.https_port}/admin/login", timeout=60).status == 200


def assert_started_well(data, *arguments):
    entries = data.journal(*arguments)
    said = [str(entry.get("MESSAGE", "")) for entry in entries]
    # What the switch ended is no failure.
    said = said[: next((n for n, line in enumerate(said) if line.startswith("Received SIGINT")), None)]
    failed = [line for line in said if re.search(r"Failed with result|Failed to start|ordering cycle|Dependency failed", line)]
    assert failed == []
    assert any("Startup finished" in line for line in said)
    assert any("Finished frontdesk-first-boot.service" in line for line in said)
    assert any("Finished frontdesk-update-recover.service" in line for line in said)
    # The firewall says itself that it is there: the unit lists the chain out of the kernel.
    assert any("hook input priority filter; policy drop" in line for line in said)
    assert any("Using hardware watchdog" in line for line in said) or "arm64" in str(data.directory)
