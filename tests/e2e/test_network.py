"""What a local network makes of the box: its name, found by a resolver that is not ours."""

import json
import ssl
import subprocess

import pytest

from peers import network as lan
from peers.wire import until

NAMED = '[gateway]\nbind = "0.0.0.0"\nport = 18789\n'


@pytest.fixture
def network():
    why_not = lan.why_not()
    if why_not:
        pytest.skip(why_not)
    network = lan.Network()
    yield network
    network.remove()


@pytest.fixture
def new_box(new_gateway, network):
    """A gateway that runs on a machine of the network."""

    def make(machine, config=NAMED):
        box = new_gateway()
        box.move_to(network.on(machine))
        box.write(config)
        box.launch()
        until(lambda: box.cli("gateway", "status").code == 0, 30, lambda: f"it runs:\n{box.log}")
        return box

    return make


def status(box):
    return json.loads(box.ok("--json", "gateway", "status").out)


def name_is(box, name):
    until(lambda: status(box)["local_name"] == name, 20, lambda: f"it is {name}: {status(box)['local_name']}\n{box.log}")


def test_a_box_is_found_by_its_name_and_as_a_service(network, new_box):
    box = new_box(0)
    assert network.look_up(1, "address", "frontdesk.local", "10.77.0.1") == ["10.77.0.1"]
    for kind in ("_http._tcp", "_https._tcp"):
        assert network.look_up(1, "service", kind) == ["frontdesk.local", "18789"]
    assert "frontdesk.local:18789/admin/" in box.log
    # The certificate is for that name, seen from the other machine.
    curl = ["curl", "--silent", "--show-error", "--cacert", str(box.home / "tls.pem"), "--output", "/dev/null"]
    page = ["--write-out", "%{http_code}", "--resolve", "frontdesk.local:18789:10.77.0.1"]
    reached = [*network.on(1), *curl, *page, "https://frontdesk.local:18789/admin/claim"]
    done = subprocess.run(reached, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("200", "")


def test_of_two_boxes_the_second_takes_another_name_and_says_so(network, new_box):
    first = new_box(0)
    name_is(first, "frontdesk.local")
    assert network.look_up(1, "address", "frontdesk.local", "10.77.0.1") == ["10.77.0.1"]
    second = new_box(1)
    name_is(second, "frontdesk-2.local")
    name_is(first, "frontdesk.local")
    assert network.look_up(0, "address", "frontdesk-2.local", "10.77.0.2") == ["10.77.0.2"]
    assert network.look_up(1, "address", "frontdesk.local", "10.77.0.1") == ["10.77.0.1"]
    said = status(second)
    assert any("gateway.name" in warning for warning in said["warnings"]), said["warnings"]
    assert "this box is frontdesk-2.local" in second.log
    assert "frontdesk-2.local" in said["https"]["names"]
    # A name of its own ends it.
    second.write(NAMED + 'name = "desk"\n')
    second.ok("gateway", "reload")
    name_is(second, "desk.local")
    assert network.look_up(0, "address", "desk.local", "10.77.0.2") == ["10.77.0.2"]
    assert not any("gateway.name" in warning for warning in status(second)["warnings"])


def test_a_box_shares_the_port_with_a_responder_and_starts_without_it(network, new_box, tmp_path):
    holder = "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 5353)); print(flush=True); sys.stdin.read()"
    alone = subprocess.Popen(
        [*network.on(0), "python3", "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    alone.stdout.readline()
    box = new_box(0)
    said = status(box)
    assert said["local_name"] is None
    assert any("5353" in warning for warning in said["warnings"]), said["warnings"]
    alone.communicate()
    # As avahi and systemd-resolved do it.
    sharing = subprocess.Popen(
        [*network.on(1), "python3", "-c", holder.replace("s.bind", "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); s.bind")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    sharing.stdout.readline()
    new_box(1, NAMED + 'name = "desk"\n')
    assert network.look_up(0, "address", "desk.local", "10.77.0.2") == ["10.77.0.2"]
    sharing.communicate()
