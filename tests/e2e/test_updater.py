"""A program that replaces itself by releases that our own tool signed, and comes back by itself when they are no good."""

import contextlib
import functools
import http.server
import json
import os
import platform
import re
import shutil
import subprocess
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from peers import settings
from peers.gateway import EX_CONFIG, EX_OK, EX_TEMPFAIL, EX_USAGE, binary
from peers.wire import until

BOARD = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves a directory, with ranges; hangs up behind `cut` bytes of a file, if that is set."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        site = self.server.site
        path = site.folder / self.path.lstrip("/")
        site.asked.append((self.path, self.headers.get("Range")))
        if not path.is_file():
            return self.send_error(404)
        data = path.read_bytes()
        start = 0
        if wanted := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            start = int(wanted[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        cut = site.cut if "/targets/" in self.path else None
        with contextlib.suppress(OSError):
            self.wfile.write(data[start : start + cut] if cut else data[start:])
        self.close_connection = bool(cut)


class Site:
    def __init__(self, folder):
        self.folder, self.cut, self.asked = folder, None, []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
        self.server.site = self
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Releases:
    """A repository, made by `frontdesk-release`."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        for name in ("a", "b", "c", "online"):
            self.run("key", name)
        online = ["--targets", "online.pub", "--snapshot", "online.pub", "--timestamp", "online.pub"]
        self.run("draft", "--repository", "releases", *"--root a.pub --root b.pub --root c.pub".split(), *online, "draft.json")
        self.run("sign", "draft.json", "a")
        self.run("sign", "draft.json", "b")
        self.run("adopt", "draft.json", "--repository", "releases")
        self.root = folder / "releases" / "metadata" / "1.root.json"

    def run(self, *arguments):
        program = os.environ.get("FRONTDESK_RELEASE_BIN")
        assert program, "FRONTDESK_RELEASE_BIN must name image/release's program; tests/run sets it"
        subprocess.run([program, *arguments], cwd=self.folder, check=True, capture_output=True)

    def add(self, version, program, store_format, *more):
        arguments = ["--repository", "releases", "--key", "online", "--release", version, "--board", BOARD]
        self.run("add", *arguments, "--store-format", str(store_format), "--program", str(program), *more)


class Box:
    """A gateway whose program lies in a directory of its own, with something that restarts it."""

    def __init__(self, gateway, folder):
        self.gateway = gateway
        self.folder = folder / "opt"
        self.folder.mkdir()
        self.program = self.folder / "frontdesk"
        shutil.copy(binary(), self.program)
        self.version = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
        gateway.run_as(self.program)
        self.wanted = folder / "restart.wanted"
        script = folder / "restart"
        script.write_text(f"#!/bin/sh\n: > {self.wanted}\nwhile [ -e {self.wanted} ]; do sleep 0.05; done\n")
        script.chmod(0o755)
        gateway.env |= {"FRONTDESK_UPDATE_RESTART": str(script), "FRONTDESK_UPDATE_PATIENCE": "20"}
        self.restarts, self.is_kept_down = 0, False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self._thread.start()

    def _supervise(self):
        while not self._ended.wait(0.05):
            if self.wanted.exists():
                self.restarts += 1
                if self.gateway.is_running:
                    self.gateway.stop()
                if not self.is_kept_down:
                    self.gateway.launch()
                self.wanted.unlink()

    def close(self):
        self._ended.set()
        self._thread.join()

    @property
    def store_format(self):
        return int(self.gateway.ok("store", "format").out)

    @property
    def says(self):
        """The version of the program that lies there."""
        return subprocess.run([self.program, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]

    def next_version(self, step=1):
        numbers = [int(number) for number in self.version.split(".")]
        return ".".join(map(str, [*numbers[:2], numbers[2] + step]))

    def build(self, version):
        """The same program as another version: the number in it is another of the same length."""
        assert len(version) == len(self.version)
        path = self.folder.parent / f"frontdesk-{version}"
        path.write_bytes(binary_bytes().replace(self.version.encode(), version.encode()))
        path.chmod(0o755)
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
        assert said == f"frontdesk {version}\n"
        return path

    def wrap(self, version, run):
        """A program that says that it is this version, and does `run` in place of `gateway run`."""
        path = self.folder.parent / f"wrapped-{version}"
        real = self.folder.parent / "real"
        if not real.exists():
            shutil.copy(binary(), real)
        path.write_text(
            "#!/bin/sh\n"
            f'case "$*" in --version) echo frontdesk {version}; exit;; *"gateway run"*) {run};; esac\n'
            f'exec {real} "$@"\n'
        )
        path.chmod(0o755)
        return path

    def status(self):
        return json.loads(self.gateway.ok("update", "status", "--json").out)

    def last(self):
        return self.status()["outcomes"][0]["event"]

    def update(self, *arguments, **more):
        return self.gateway.cli("update", *arguments, **more)


@functools.cache
def binary_bytes():
    with open(binary(), "rb") as program:
        return program.read()


@pytest.fixture
def releases(tmp_path):
    return Releases(tmp_path / "signing")


@pytest.fixture
def site(releases):
    site = Site(releases.folder / "releases")
    yield site
    site.server.shutdown()
    site.server.server_close()


@pytest.fixture
def box(gateway, model, hook, releases, site, tmp_path):
    box = Box(gateway, tmp_path)
    configure(gateway, model, hook, site)
    (gateway.home / "updates").mkdir(mode=0o700)
    shutil.copy(releases.root, gateway.home / "updates" / "root.json")
    gateway.start()
    yield box
    box.close()


def configure(gateway, model, hook, site, updates="auto = false"):
    section = f'[updates]\nrepository = "{site.url}"\n{updates}\n'
    gateway.write(settings.settings(gateway.port, model.openai_url, settings.webhook(hook), section))


class Talk:
    """A customer who writes all the time, and notes what was acknowledged."""

    def __init__(self, hook):
        self.hook, self.acknowledged, self.refused = hook, [], 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def _run(self):
        n = 0
        while not self._ended.wait(0.05):
            n += 1
            message = {"kind": "direct", "user_id": f"U{n % 3}", "message_id": f"talk_{uuid.uuid4().hex}", "text": f"hello {n}"}
            try:
                response = self.hook.post(message)
            except OSError:
                self.refused += 1
                continue
            if response.status == 202:
                self.acknowledged.append(message["message_id"])
            else:
                assert response.status == 503, response
                self.refused += 1

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def check(self):
        """What was acknowledged is answered, once."""
        assert self.acknowledged
        for message in self.acknowledged:
            self.hook.answer_to(message)


def test_a_good_release_is_installed_and_brought_back(box, releases, hook):
    new = box.next_version()
    releases.add(new, box.build(new), box.store_format, "--notes", "What is new.", "--security")
    found = json.loads(box.update("check", "--json").out)
    assert (found["state"], found["version"], found["severity"]) == ("available", new, "security")
    status = box.status()
    assert status["state"] == {"code": "available", "version": new} and status["offer"]["notes"] == "What is new."
    with Talk(hook) as talk:
        until(lambda: talk.acknowledged, what="a message before")
        outcome = box.update("install")
        assert outcome.code == EX_OK and f"version {new} runs" in outcome.out, outcome
        n_before = len(talk.acknowledged)
        until(lambda: len(talk.acknowledged) > n_before, what="a message after")
    talk.check()
    assert box.says == new and box.restarts == 1
    assert json.loads(box.gateway.ok("gateway", "status", "--json").out)["version"] == new
    assert box.last() == {"code": "installed", "from": box.version, "to": new}
    status = box.status()
    assert (status["running"], status["way_back"], status["offer"]) == (new, box.version, None)
    assert "there is nothing newer" in box.update("install").out
    # And back, because somebody wants it; what it was brought back from is not taken again by itself.
    outcome = box.update("rollback")
    assert outcome.code == EX_OK and f"{box.version} runs again" in outcome.out, outcome
    assert box.says == box.version and hook.ask("still there?")
    assert box.last() == {"code": "went_back", "from": new, "to": box.version}
    assert json.loads(box.update("check", "--json").out)["state"] == "up_to_date"
    outcome = box.update("rollback")
    assert outcome.code == EX_USAGE and "no previous version" in outcome.err, outcome
    assert box.update("install", new).code == EX_OK and box.says == new
    assert sorted(path.name for path in box.folder.iterdir()) == ["frontdesk", "frontdesk.previous"]


@pytest.mark.parametrize(
    ("run", "code"),
    [("exit 1", "did_not_start"), ("exec sleep 1000", "did_not_start")],
    ids=["it crashes", "it never answers"],
)
def test_a_release_that_does_not_work_is_taken_back(box, releases, hook, run, code):
    new = box.next_version()
    box.gateway.env["FRONTDESK_UPDATE_PATIENCE"] = "3"
    releases.add(new, box.wrap(new, run), box.store_format)
    key = hook.say("before")[1]
    outcome = box.update("install")
    assert outcome.code == EX_TEMPFAIL and "the version before runs again" in outcome.err, outcome
    assert box.says == box.version and box.restarts == 2
    until(lambda: box.gateway.readyz() == 200, what="the version before is back")
    assert hook.say("after")[1] == key
    last = box.last()
    assert (last["code"], last["from"], last["to"], last["why"]["code"]) == ("fell_back", box.version, new, code)
    assert f"{new} was tried and given up" in box.update("status").out
    # It is not taken again by itself, and it may be asked for.
    assert json.loads(box.update("check", "--json").out)["state"] == "up_to_date"
    assert box.update("install").code == EX_TEMPFAIL


def test_another_shape_of_the_store_is_tried_on_a_copy(box, releases, hook):
    new, store = box.next_version(), box.gateway.home / "frontdesk.redb"
    # As a program that keeps the key in another place: it cannot open what is there.
    broken = "mkdir -p $HOME/c; head -c 32 /dev/urandom > $HOME/c/frontdesk.device-key; export CREDENTIALS_DIRECTORY=$HOME/c"
    real = box.build(new)
    releases.add(new, box.wrap(new, f"{broken}; exec {real} \"$@\""), box.store_format + 1)
    hook.ask("before")
    box.gateway.env["FRONTDESK_UPDATE_PATIENCE"] = "4"
    with Talk(hook) as talk:
        outcome = box.update("install")
        assert outcome.code == EX_TEMPFAIL, outcome
        until(lambda: box.gateway.readyz() == 200, what="the version before is back")
        n_before = len(talk.acknowledged)
        until(lambda: len(talk.acknowledged) > n_before, what="a message after")
    talk.check()
    assert box.last()["code"] == "fell_back" and box.says == box.version
    assert not list(store.parent.glob("frontdesk.redb.trial*")), "the copy is gone"
    # A good one: it takes nothing while it works on the copy, and everything afterwards.
    box.gateway.env["FRONTDESK_UPDATE_PATIENCE"] = "20"
    newer = box.next_version(2)
    releases.add(newer, box.build(newer), box.store_format + 1)
    with Talk(hook) as talk:
        until(lambda: talk.acknowledged, what="a message before")
        outcome = box.update("install")
        assert outcome.code == EX_OK, outcome
        n_before = len(talk.acknowledged)
        until(lambda: len(talk.acknowledged) > n_before, what="a message after")
    talk.check()
    assert "on a copy" in box.gateway.log
    assert box.says == newer and box.last() == {"code": "installed", "from": box.version, "to": newer}
    assert box.status()["on_copy"] is None and not list(store.parent.glob("frontdesk.redb.trial*"))


def test_what_does_not_run_here_is_never_started(box, releases, hook):
    new = box.next_version()
    releases.add(new, box.wrap(box.next_version(2), "exit 1"), box.store_format)
    outcome = box.update("install")
    assert outcome.code == EX_TEMPFAIL and "does not run on this machine" in outcome.err, outcome
    assert box.last()["why"]["code"] == "not_that_program"
    assert box.restarts == 0 and box.says == box.version and hook.ask("still there?")
    assert sorted(path.name for path in box.folder.iterdir()) == ["frontdesk"]


def test_a_download_that_was_cut_off_is_gone_on_with(box, releases, site):
    new = box.next_version()
    releases.add(new, box.build(new), box.store_format)
    site.cut = 1_000_000
    for _ in range(2):
        outcome = box.update("install")
        assert outcome.code == EX_TEMPFAIL and "cannot be reached" in outcome.err, outcome
    state = box.status()["state"]
    assert (state["code"], state["why"]["code"]) == ("failed", "unreachable")
    site.cut = None
    assert box.update("install").code == EX_OK and box.says == new
    ranges = [wanted for path, wanted in site.asked if path.startswith("/targets/")]
    assert ranges == [None, "bytes=1000000-", "bytes=2000000-"]
    assert not (box.gateway.home / "updates" / "download").exists()


def test_the_clock_installs_as_the_owner_wishes(box, releases, site, model, hook):
    new, now = box.next_version(), datetime.now(UTC)
    hours = "00:00-12:00", "12:00-24:00"
    is_morning = now.hour < 12
    assert (now + timedelta(minutes=5)).hour // 12 == now.hour // 12, "too near to noon or midnight to tell"
    shut, open_ = hours if not is_morning else hours[::-1]
    releases.add(new, box.build(new), box.store_format, "--wave", "0@2026-01-01T00:00:00Z")

    def runs(updates):
        configure(box.gateway, model, hook, site, updates + '\n[business]\nname = "A"\ntime_zone = "UTC"')
        # Its last look is of long ago.
        report = box.gateway.home / "updates" / "status.json"
        if report.exists():
            said = json.loads(report.read_text())
            said["checked"] = None
            report.write_text(json.dumps(said))
        outcome = box.update("run")
        assert outcome.code == EX_OK, outcome
        return box.status()["state"]

    # Nobody's turn, then everybody's.
    assert runs("auto = true") == {"code": "up_to_date"}
    releases.run("waves", "--repository", "releases", "--key", "online", "--release", new)
    assert runs("auto = false") == {"code": "available", "version": new}
    assert runs(f'auto = true\nwindow = "{shut}"') == {"code": "waiting_for_window", "version": new, "window": shut}
    assert box.says == box.version
    assert runs(f'auto = true\nwindow = "{open_}"') == {"code": "up_to_date"}
    assert box.says == new and box.last()["code"] == "installed"


def test_what_the_page_asks_for_is_done_and_answered(box, releases):
    new = box.next_version()
    releases.add(new, box.build(new), box.store_format)
    wanted = box.gateway.home / "updates" / "wanted.json"

    def asks(name, want, at=None, **more):
        at_ms = int((at or time.time()) * 1000)
        wanted.write_text(json.dumps({"id": name, "want": want, "by": "anna", "at_ms": at_ms} | more))
        outcome = box.update("run")
        return outcome.code, box.status()["request"]

    code, answer = asks("one", "check")
    assert code == EX_OK and answer == {"id": "one", "want": "check", "state": "done", "why": None}
    assert box.status()["state"]["code"] == "available" and box.says == box.version
    code, answer = asks("two", "install", version="9.9.9")
    assert (answer["state"], answer["why"]["code"]) == ("refused", "no_such_release")
    code, answer = asks("old", "install", at=time.time() - 90_000)
    assert (answer["state"], answer["why"]["code"]) == ("refused", "too_late") and box.says == box.version
    code, answer = asks("three", "install", version=new)
    assert (code, answer["state"]) == (EX_OK, "done") and box.says == new
    # Once: the same request does nothing again.
    restarts = box.restarts
    assert box.update("run").code == EX_OK and box.restarts == restarts
    code, answer = asks("four", "rollback")
    assert answer["state"] == "done" and box.says == box.version


def test_what_is_asked_for_while_the_updater_runs_is_heard(box):
    wanted = box.gateway.home / "updates" / "wanted.json"

    def asks(name):
        request = {"id": name, "want": "check", "by": "anna", "at_ms": int(time.time() * 1000)}
        wanted.with_suffix(".new").write_text(json.dumps(request))
        wanted.with_suffix(".new").replace(wanted)

    asks("one")
    updater = subprocess.Popen([box.program, "--home", box.gateway.home, "update", "run"], env=box.gateway.env)
    # There is no repository: that is an answer, too.
    until(lambda: (box.status().get("request") or {}).get("state") == "refused", what="the first is answered")
    asks("two")
    assert updater.wait(60) == EX_OK
    assert (box.status()["request"]["id"], box.status()["request"]["state"]) == ("two", "refused")


def test_an_update_whose_power_was_cut_is_undone_at_the_next_start(box, releases, hook):
    new = box.next_version()
    releases.add(new, box.build(new), box.store_format)
    hook.ask("before")
    box.is_kept_down = True
    updater = subprocess.Popen(
        [box.program, "--home", box.gateway.home, "update", "install"],
        env=box.gateway.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until(lambda: box.restarts == 1 and not box.wanted.exists(), what="the new version is in place")
    assert box.status()["state"]["code"] == "trial" and box.says == new
    assert "another update is under way" in box.update("install").err
    updater.kill()
    updater.wait()
    box.gateway.start()
    assert box.says == box.version and hook.ask("after")
    assert json.loads(box.gateway.ok("gateway", "status", "--json").out)["version"] == box.version
    assert box.last()["code"] == "fell_back"


def test_nobody_is_believed_or_restarted_without_being_named(box, releases):
    new = box.next_version()
    releases.add(new, box.build(new), box.store_format)
    del box.gateway.env["FRONTDESK_UPDATE_RESTART"]
    outcome = box.update("install")
    assert outcome.code == EX_CONFIG and "FRONTDESK_UPDATE_RESTART" in outcome.err, outcome
    (box.gateway.home / "updates" / "root.json").unlink()
    outcome = box.update("install")
    assert outcome.code == EX_CONFIG and "root.json" in outcome.err, outcome
    assert box.says == box.version
