"""The units and the Debian package, as systemd and dpkg see them."""

import gzip
import hashlib
import http.server
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from peers.gateway import binary

PROJECT = Path(__file__).resolve().parents[2]
UNITS = sorted((PROJECT / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
# What talks to anybody may see as little as possible; what changes the system sees more, for a moment.
EXPOSED = {"frontdesk.service": 15, "frontdesk-model.service": 15}
AT_MOST = 35
# As quick as can be.
SETTINGS = {"SOURCE_DATE_EPOCH": "1700000000", "DEB_LEVEL": "0"}


def needs(tool):
    missing = shutil.which(tool) is None and os.environ.get("CI") != "true"
    return pytest.mark.skipif(missing, reason=f"{tool} is not installed")


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **more)


@pytest.fixture(scope="module")
def units(tmp_path_factory):
    """The units, with the program where it is here."""
    folder = tmp_path_factory.mktemp("units")
    for unit in UNITS:
        text = unit.read_text().replace("/usr/bin/frontdesk", binary()).replace("/usr/bin/llama-server", "/bin/true")
        (folder / unit.name).write_text(text)
    return folder


@needs("systemd-analyze")
@pytest.mark.parametrize("unit", [unit.name for unit in UNITS])
def test_systemd_understands_every_line(units, unit):
    found = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(units / unit))
    # Of units of Debian that are not here, nothing can be said.
    said = [line for line in found.stderr.splitlines() if unit in line]
    assert not said and found.returncode == 0, found.stderr


@needs("systemd-analyze")
@pytest.mark.parametrize("unit", [unit.name for unit in SERVICES])
def test_no_unit_is_more_exposed_than_it_must_be(units, unit):
    threshold = EXPOSED.get(unit, AT_MOST)
    found = run("systemd-analyze", "security", "--offline=yes", f"--threshold={threshold}", str(units / unit))
    assert found.returncode == 0, found.stdout[-400:] + found.stderr


@pytest.mark.parametrize("unit", [unit.name for unit in SERVICES])
def test_the_program_knows_the_commands_that_units_run(unit):
    text = (PROJECT / "systemd" / unit).read_text().replace("\\\n", " ")
    commands = re.findall(r"^Exec\w+=/usr/bin/frontdesk (.*)$", text, re.MULTILINE)
    assert commands or unit in ["frontdesk-model.service", "frontdesk-restart.service"]
    for command in commands:
        words = re.findall(r'"[^"]*"|\S+', command)
        found = run(binary(), *[word.strip('"') for word in words], "--help")
        assert found.returncode == 0, f"{command}: {found.stderr}"


def test_units_that_change_the_system_are_told_apart_from_the_one_that_talks():
    text = (PROJECT / "systemd" / "frontdesk.service").read_text()
    for line in ["CapabilityBoundingSet=", "DynamicUser=yes", "Type=notify", "NoNewPrivileges=yes", "ProtectSystem=strict"]:
        assert line in text.splitlines(), line
    assert re.search(r"^WatchdogSec=\d+$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    made = []
    for name in ["one", "two"]:
        out = tmp_path_factory.mktemp(name)
        built = run("bash", str(PROJECT / "image/deb"), binary(), str(out), env=os.environ | SETTINGS)
        assert built.returncode == 0, built.stderr
        made.append(Path(built.stdout.strip()))
    assert made[0].read_bytes() == made[1].read_bytes(), "two builds give the same bytes"
    return made[0]


@needs("dpkg-deb")
def test_the_package_has_the_program_the_units_and_the_terms(package, tmp_path):
    fields = dict(line.split(": ", 1) for line in run("dpkg-deb", "-f", str(package)).stdout.splitlines() if ": " in line)
    version = run(binary(), "--version").stdout.split()[-1]
    assert (fields["Package"], fields["Version"]) == ("frontdesk", version)
    assert "Depends" not in fields
    listed = run("dpkg-deb", "-c", str(package)).stdout.splitlines()
    assert listed and all(line.split()[1] == "root/root" for line in listed)
    assert not any(line[3] in "sS" or line[6] in "sS" for line in listed), "nothing runs as somebody else"
    assert run("dpkg-deb", "-x", str(package), str(tmp_path)).returncode == 0
    assert version in run(str(tmp_path / "usr/bin/frontdesk"), "--version").stdout
    assert (tmp_path / "usr/bin/openclaw").readlink() == Path("frontdesk")
    units = tmp_path / "usr/lib/systemd/system"
    assert sorted(unit.name for unit in units.iterdir()) == [unit.name for unit in UNITS]
    documents = tmp_path / "usr/share/doc/frontdesk"
    terms = (documents / "copyright").read_text()
    assert "License: Apache-2.0" in terms and re.search(r"^  tokio \S+: MIT$", terms, re.MULTILINE)
    assert "proptest" not in terms, "what only tests use is not in the program"
    assert gzip.decompress((documents / "changelog.gz").read_bytes())


@needs("dpkg-deb")
def test_the_package_can_be_taken_in_and_out_where_no_systemd_runs(package, tmp_path):
    run("dpkg-deb", "-e", str(package), str(tmp_path))
    for script, arguments in [("postinst", ["configure", ""]), ("prerm", ["remove"]), ("postrm", ["purge"])]:
        done = run("/bin/sh", "-e", str(tmp_path / script), *arguments, env={"PATH": "/nowhere"})
        assert done.returncode == 0, f"{script}: {done.stderr}"
        assert (tmp_path / script).stat().st_mode & 0o777 == 0o755


MODEL = b"GGUF" + bytes(range(256)) * 5_000


@pytest.fixture
def models(tmp_path):
    """A directory with a model in it, and what is wrong with files that are none."""
    (tmp_path / "model.gguf").write_bytes(MODEL)
    (tmp_path / "page.html").write_text("<html>sign in first</html>")
    return tmp_path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def take(*arguments, to, **more):
    return run(binary(), "--home", str(to), "model", *arguments, "--to", str(to / "models"), **more)


def test_a_model_is_taken_from_a_stick_if_it_is_the_right_one(models):
    model, place = models / "model.gguf", models / "models" / "model.gguf"
    wrong = take("import", str(model), "--sha256", "0" * 64, to=models)
    assert wrong.returncode == 64 and "another one" in wrong.stderr and not place.exists()
    none = take("import", str(models / "page.html"), "--sha256", sha256(models / "page.html"), to=models)
    assert none.returncode == 64 and "GGUF" in none.stderr
    done = take("import", str(model), "--sha256", sha256(model).upper(), to=models)
    assert done.returncode == 0, done.stderr
    assert place.read_bytes() == MODEL and place.stat().st_mode & 0o777 == 0o644
    # What is there stays when another one is not right, and nothing of that is left.
    assert take("import", str(model), "--sha256", "1" * 64, to=models).returncode == 64
    assert place.read_bytes() == MODEL and [file.name for file in place.parent.iterdir()] == ["model.gguf"]


def test_a_model_is_fetched_and_one_that_is_cut_off_is_not_taken(models):
    class Cut(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(MODEL)))
            self.end_headers()
            self.wfile.write(MODEL if self.path == "/whole" else MODEL[:100_000])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cut) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url, digest = f"http://127.0.0.1:{server.server_port}", sha256(models / "model.gguf")
        env = {"NO_PROXY": "127.0.0.1", "HOME": str(models)}
        cut = take("fetch", f"{url}/cut", "--sha256", digest, to=models, env=env)
        assert cut.returncode == 75 and not list((models / "models").iterdir()), cut.stderr
        whole = take("fetch", f"{url}/whole", "--sha256", digest, to=models, env=env)
        assert whole.returncode == 0, whole.stderr
        server.shutdown()
    assert (models / "models" / "model.gguf").read_bytes() == MODEL


def apart(*command):
    """In a namespace of its own: the name of this machine stays what it is."""
    own = ["unshare", "--uts"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--uts"]
    return run(*own, *command)


def can_be_apart():
    return shutil.which("unshare") is not None and apart("true").returncode == 0


@pytest.mark.skipif(not can_be_apart() and os.environ.get("CI") != "true", reason="no namespaces here")
def test_the_first_start_names_the_machine_and_a_bad_file_does_not_stop_it(tmp_path):
    boot, system = tmp_path / "boot", tmp_path / "system"
    boot.mkdir()
    told = boot / "frontdesk.toml"
    script = f'{binary()} first-boot --boot {boot} --root-config {system} && uname -n'
    told.write_text('host_name = "praxis"\n[wifi]\nssid = "x"\npsk = "correct horse"\ncountry = "DE"\n')
    done = apart("sh", "-c", script)
    assert done.returncode == 0 and done.stdout.split()[-1] == "praxis", done.stdout + done.stderr
    assert "horse" not in told.read_text() and "horse" not in done.stdout
    told.write_text('host_name = "praxis!"\n')
    done = apart("sh", "-c", script)
    assert done.returncode == 0 and "not used: frontdesk.toml:1" in done.stdout, done.stdout + done.stderr
    assert done.stdout.split()[-1] == "praxis"
    made = run(binary(), "first-boot", "--make-claim-code")
    code, digest = re.search(r"code: (\S+)", made.stdout)[1], re.search(r'"([0-9a-f]{64})"', made.stdout)[1]
    assert hashlib.sha256(code.replace("-", "").encode()).hexdigest() == digest


def test_the_factory_reset_of_the_program_removes_what_was_kept(tmp_path):
    boot, home = tmp_path / "boot", tmp_path / "var/lib/private/frontdesk"
    boot.mkdir()
    home.mkdir(parents=True)
    (home / "device.key").write_text("secret")
    command = [binary(), "factory-reset", "--boot", str(boot), "--var", str(tmp_path / "var")]
    assert "nobody asked" in run(*command).stdout and (home / "device.key").exists()
    (boot / "factory-reset").touch()
    assert run(*command).returncode == 0
    assert not list(home.iterdir()) and not list(boot.iterdir())
