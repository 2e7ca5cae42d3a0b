"""The program as a service: what it says to systemd, and the sockets that it is handed. The other end of both is this test."""

import os
import signal
import socket

import pytest

from peers.wire import call, until

DEMO = '[gateway]\nport = {port}\n\n[[providers]]\nname = "demo"\nkind = "demo"\n'


class Manager:
    """Hears what a service says, as systemd does."""

    def __init__(self, name):
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.settimeout(30)

    def next(self):
        """The next thing that is said, and is not about how it is in words or that it lives."""
        while True:
            said = dict(line.split("=", 1) for line in self.socket.recv(4096).decode().split("\n"))
            if set(said) - {"STATUS", "WATCHDOG"}:
                return said

    def lives(self, times):
        """Waits until it said so often that it lives."""
        while times:
            times -= b"WATCHDOG=1" in self.socket.recv(4096).split(b"\n")


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    name = str(tmp_path / "notify") if request.param == "path" else f"@frontdesk-{os.getpid()}"
    manager = Manager(name)
    yield manager
    manager.socket.close()


def test_it_says_when_it_serves_reloads_and_stops(new_gateway, manager):
    gateway = new_gateway(env={"NOTIFY_SOCKET": manager.name})
    gateway.write(DEMO.format(port=gateway.port))
    gateway.launch()
    said = manager.next()
    assert said["READY"] == "1" and f":{gateway.port}" in said["STATUS"], said
    # Not later than it said so.
    assert gateway.readyz() == 200
    os.kill(gateway.pid, signal.SIGHUP)
    reloading, ready = manager.next(), manager.next()
    assert reloading["RELOADING"] == "1" and int(reloading["MONOTONIC_USEC"]) > 0
    assert ready["READY"] == "1"
    os.kill(gateway.pid, signal.SIGTERM)
    assert manager.next()["STOPPING"] == "1"
    assert gateway.wait() == 0


def test_it_says_that_it_lives_and_one_that_stands_still_does_not(new_gateway, manager):
    gateway = new_gateway(env={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "400000"})
    gateway.write(DEMO.format(port=gateway.port))
    gateway.start()
    manager.lives(times=3)
    os.kill(gateway.pid, signal.SIGSTOP)
    manager.socket.setblocking(False)
    drain(manager.socket)
    manager.socket.settimeout(2)
    with pytest.raises(TimeoutError):
        manager.lives(times=1)
    os.kill(gateway.pid, signal.SIGCONT)
    manager.socket.settimeout(30)
    manager.lives(times=2)


def drain(messages):
    while True:
        try:
            messages.recv(4096)
        except BlockingIOError:
            return


def test_a_configuration_that_cannot_be_used_is_said_and_the_service_is_ready(new_gateway, manager):
    gateway = new_gateway(env={"NOTIFY_SOCKET": manager.name})
    gateway.write("nonsense = 1\n")
    gateway.launch()
    said = manager.next()
    assert said["READY"] == "1" and "safe mode" in said["STATUS"], said


def handed(gateway, *sockets):
    """Starts the gateway with these sockets, as systemd does: as files 3, 4, …"""
    gateway.handed = tuple(opened.fileno() for opened in sockets)
    # Numbers that nobody has first: one of them may be in the way of another.
    moves = [f"exec {30 + n}<&{opened.fileno()}" for n, opened in enumerate(sockets)]
    moves += [f"exec {3 + n}<&{30 + n} {30 + n}<&-" for n in range(len(sockets))]
    script = "; ".join([*moves, f'LISTEN_FDS={len(sockets)} LISTEN_PID=$$ exec "$@"'])
    gateway.move_to(["bash", "-c", script, "-"])


def listening(family=socket.AF_INET, address="127.0.0.1"):
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.bind((address, 0))
    opened.listen()
    return opened


def test_it_serves_the_sockets_that_it_is_handed_beside_its_own(new_gateway):
    gateway = new_gateway()
    gateway.write(DEMO.format(port=gateway.port))
    one, other = listening(), listening(socket.AF_INET6, "::1")
    command = gateway._command
    handed(gateway, one, other)
    gateway.start()
    gateway._command = command
    addresses = [f"127.0.0.1:{one.getsockname()[1]}", f"[::1]:{other.getsockname()[1]}"]
    for address in [f"127.0.0.1:{gateway.port}", *addresses]:
        assert call("GET", f"http://{address}/healthz").status == 200, address
    for address in addresses:
        assert f"listening at {address} too" in gateway.ok("gateway", "status").out
    # They stay over a reload, and over a restart, whose callers wait in the queue of the socket.
    gateway.ok("gateway", "reload")
    assert call("GET", f"http://{addresses[0]}/healthz").status == 200
    assert gateway.stop() == 0
    waiting = socket.create_connection(one.getsockname())
    waiting.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    handed(gateway, one, other)
    gateway.start()
    assert waiting.recv(64).startswith(b"HTTP/1.1 200")


def test_what_is_no_listening_socket_of_tcp_stops_nobody(new_gateway):
    gateway = new_gateway()
    gateway.write(DEMO.format(port=gateway.port))
    good, bad = listening(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    handed(gateway, bad, good)
    gateway.start()
    until(lambda: "cannot be used" in gateway.log, 5, "the log says so")
    assert call("GET", f"http://127.0.0.1:{good.getsockname()[1]}/healthz").status == 200
