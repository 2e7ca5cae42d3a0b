"""The program under test: a gateway in a home of its own, and its command line."""

import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from peers.wire import call, free_port, until

EX_OK, EX_USAGE, EX_SOFTWARE, EX_TEMPFAIL, EX_CONFIG = 0, 64, 70, 75, 78


def binary():
    path = os.environ.get("FRONTDESK_BIN")
    assert path, "FRONTDESK_BIN must name the program to test; tests/run sets it"
    assert os.access(path, os.X_OK), f"{path} is not a program"
    return str(Path(path).resolve())


@dataclass(frozen=True)
class Outcome:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self):
        return [line for line in self.out.splitlines() if line.strip()]


class Gateway:
    """A gateway, its home and its port. `start()` returns when it is ready for messages.

    Everything runs with an empty environment but for what is given here, and with a proxy for HTTPS that
    does not answer: a test that would reach a vendor's cloud fails instead.
    """

    def __init__(self, folder, port=None, env=None, as_openclaw=False):
        self.user_home = folder / "user"
        self.home = self.user_home / ".openclaw" if as_openclaw else folder / "home"
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = folder / "gateway.log"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.user_home),
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": "127.0.0.1,localhost",
            "RUST_BACKTRACE": "1",
        } | (env or {})
        self.handed = ()  # open files that it is given
        self._process = None
        self.home.mkdir(parents=True)
        self.user_home.mkdir(exist_ok=True)
        if as_openclaw:
            link = folder / "bin" / "openclaw"
            link.parent.mkdir()
            link.symlink_to(binary())
            self.env["PATH"] = f"{link.parent}:{self.env['PATH']}"
            self._command = ["openclaw"]
        else:
            self._command = [binary(), "--home", str(self.home)]

    def move_to(self, machine):
        """Runs everything behind this from now on, for example on a machine of a `Network`."""
        self._command = [*machine, *self._command]

    def run_as(self, program):
        """Runs this program from now on."""
        self._command = [str(program), "--home", str(self.home)]

    # Configuration

    def write(self, text, name="config.toml"):
        (self.home / name).write_text(text)

    # Life

    def launch(self):
        """Starts the process and returns at once."""
        assert self._process is None or self._process.poll() is not None
        with self.log_path.open("ab") as log:
            command = [*self._command, "gateway", "run"]
            self._process = subprocess.Popen(
                command, env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, pass_fds=self.handed,
            )

    def start(self, timeout=30):
        self.launch()
        until(lambda: self.readyz() == 200, timeout, lambda: f"/readyz says 200; it printed:\n{self.log}")
        return self

    def readyz(self):
        """The status of /readyz; None while nobody listens."""
        assert self._process.poll() is None, f"the gateway ended with {self._process.returncode}:\n{self.log}"
        try:
            return call("GET", f"{self.url}/readyz", timeout=5).status
        except OSError:
            return None

    def stop(self, timeout=20):
        """Asks it to end, as systemd does, and returns the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout)

    def kill(self):
        """Pulls the plug."""
        self._process.kill()
        self._process.wait()

    def wait(self, timeout=20):
        return self._process.wait(timeout)

    @property
    def is_running(self):
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self):
        return self._process.pid

    @property
    def log(self):
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return re.sub(r"\x1b\[[0-9;]*m", "", text)

    # Command line

    def cli(self, *arguments, stdin=None, env=None):
        done = subprocess.run(
            [*self._command, *arguments], env=self.env | (env or {}), input=stdin, capture_output=True, text=True,
            timeout=300,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments, **more):
        """A command that must succeed; returns what it printed."""
        outcome = self.cli(*arguments, **more)
        assert outcome.code == EX_OK, f"{' '.join(arguments)}: exit {outcome.code}\n{outcome.out}{outcome.err}"
        return outcome

    def session_rows(self, *arguments):
        """The rows of `sessions list` that show a session: their lines, headings left out."""
        lines = self.ok("sessions", "list", *arguments).lines
        return [line for line in lines if re.match(r"\s*(tenant-\S+|\w+:\S+|main)(\s|$)", line)]
