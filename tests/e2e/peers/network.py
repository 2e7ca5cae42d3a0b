"""Machines of their own on a network of their own: namespaces of Linux, joined by a bridge. Needs root and iproute2."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def why_not():
    """Why there can be no such network here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "iproute2 is not installed: apt-get install iproute2"
    probe = subprocess.run(["ip", "netns", "exec", "no-such", "true"], capture_output=True, text=True)
    if "not permitted" in probe.stderr:
        return f"network namespaces are not allowed here: {probe.stderr.strip()}"
    return None


def ip(*arguments):
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


class Network:
    """Two machines, `10.77.0.1` and `10.77.0.2`, and nobody else. No packet leaves it."""

    def __init__(self):
        self.machines = [f"fd{os.getpid()}-{n}" for n in (1, 2)]
        self.addresses = ["10.77.0.1", "10.77.0.2"]
        for machine in self.machines:
            ip("netns", "add", machine)
        first, second = self.machines
        ip("-n", first, "link", "add", "lan0", "type", "veth", "peer", "name", "lan0", "netns", second)
        for machine, address in zip(self.machines, self.addresses, strict=True):
            ip("-n", machine, "link", "set", "lo", "up")
            ip("-n", machine, "addr", "add", f"{address}/24", "brd", "+", "dev", "lan0")
            ip("-n", machine, "link", "set", "lan0", "up")
            ip("-n", machine, "route", "add", "224.0.0.0/4", "dev", "lan0")

    def on(self, machine):
        """What to put before a command so that it runs there."""
        return ["ip", "netns", "exec", self.machines[machine]]

    def look_up(self, machine, *arguments):
        """What python-zeroconf finds out there; see `resolve.py`."""
        command = [*self.on(machine), sys.executable, str(HERE / "resolve.py"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    def remove(self):
        for machine in self.machines:
            subprocess.run(["ip", "netns", "delete", machine], capture_output=True)
