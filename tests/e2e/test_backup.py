"""Backups of a running gateway, and what comes back from them on a machine that has nothing else."""

import contextlib
import json
import os
import pty
import shutil
import subprocess
import threading
import uuid
from pathlib import Path

import pytest
from peers.bucket import ACCESS_KEY, NAME, REGION, SECRET_KEY, Bucket
from peers.gateway import EX_CONFIG, EX_OK, EX_TEMPFAIL, EX_USAGE
from peers.settings import settings, webhook
from peers.wire import until

PASSPHRASE = "correct horse battery staple"
KEY = "tenant-42-webhook:U1"
BACKUP = '\n[backup]\npassphrase = "${BACKUP_PASSPHRASE}"\n'
BUCKET = f"""s3_endpoint = "{{url}}"
s3_region = "{REGION}"
s3_access_key = "${{{{S3_ACCESS_KEY}}}}"
s3_secret_key = "${{{{S3_SECRET_KEY}}}}"
"""
SECRETS = {"BACKUP_PASSPHRASE": PASSPHRASE, "S3_ACCESS_KEY": ACCESS_KEY, "S3_SECRET_KEY": SECRET_KEY}


@pytest.fixture
def backed(gateway, model, hook, tmp_path):
    """A running gateway that can make backups; `more` of the section is added with `set_backup`."""
    gateway.env |= SECRETS
    place = tmp_path / "stick"
    place.mkdir()

    def set_backup(more=""):
        text = settings(gateway.port, model.openai_url, webhook(hook), BACKUP + more)
        gateway.write(text)
        if gateway.is_running:
            gateway.ok("gateway", "reload")

    gateway.place, gateway.set_backup = place, set_backup
    set_backup(f'to = "{place}"\n')
    gateway.start()
    # It takes messages a moment before it takes orders.
    until(lambda: gateway.cli("gateway", "status").code == EX_OK, 20, "a gateway that takes orders")
    return gateway


@pytest.fixture
def passphrase_file(tmp_path):
    file = tmp_path / "passphrase"
    file.write_text(PASSPHRASE + "\n")
    return str(file)


@pytest.fixture
def bucket():
    with Bucket() as bucket:
        yield bucket
        assert bucket.refused == []


@pytest.fixture
def fresh(new_gateway, backed, passphrase_file):
    """Another machine with nothing but the program: `fresh(backup, …)` restores there and returns the gateway."""

    def restore(*backups, **env):
        other = new_gateway(port=backed.port, env=SECRETS)
        other.ok("backup", "restore", *map(str, backups), "--passphrase-file", passphrase_file, env=env)
        return other

    return restore


def create(gateway, *arguments):
    return json.loads(gateway.ok("backup", "create", "--json", *arguments).out)


def verified(gateway, *backups):
    return json.loads(gateway.ok("backup", "verify", "--json", *map(str, backups)).out)


def seen(gateway):
    """Everything that lists and views show."""
    rows = json.loads(gateway.ok("sessions", "list", "--json").out)
    archived = json.loads(gateway.ok("sessions", "list", "--archived", "--json").out)
    shown = gateway.ok("sessions", "show", KEY, "--json").out
    return rows, archived, json.loads(shown)


def settle(gateway):
    def is_idle():
        queue = json.loads(gateway.ok("gateway", "status", "--json").out)["queue"]
        return queue["waiting"] == queue["undelivered"] == 0

    until(is_idle, 30, "an empty queue")


def test_a_fresh_card_shows_and_answers_what_the_old_one_did(backed, hook, fresh):
    hook.ask("remember heron")
    hook.ask("I am another", user="U2")
    settle(backed)
    backed.ok("sessions", "archive", "tenant-42-webhook:U2")
    before = seen(backed)
    made = create(backed)
    found = verified(backed, made["place"])
    assert (found["conversations"], found["archived"], found["messages"]) == (1, 1, 4)
    assert "config.toml" in found["files"]
    expected = hook.ask("what do you remember?")
    backed.stop()
    other = fresh(made["place"])
    other.start()
    assert seen(other) == before
    assert hook.ask("what do you remember?") == expected
    assert (other.home / "device.key").read_bytes() != (backed.home / "device.key").read_bytes()
    other.stop()
    for name in ("frontdesk.redb", "frontdesk.redb.journal"):
        assert b"heron" not in (other.home / name).read_bytes()


def test_files_that_the_configuration_names_come_along_wherever_they_lie(backed, model, hook, fresh, tmp_path):
    outside = tmp_path / "elsewhere" / "SOUL.md"
    outside.parent.mkdir()
    outside.write_text("You are Ada.")
    inside = backed.home / "souls" / "second.md"
    inside.parent.mkdir()
    inside.write_text("You are Bob.")
    secrets = backed.home / "secrets"
    secrets.mkdir()
    (secrets / "EXTRA").write_text("hush")
    (secrets / "EXTRA").chmod(0o600)
    text = settings(backed.port, model.openai_url, webhook(hook), BACKUP + f'to = "{backed.place}"\n')
    text = text.replace('name = "reception"\n', f'name = "reception"\nsoul = "{outside}"\n')
    backed.write(text + '\n[[agents]]\nname = "second"\nprovider = "model"\nsoul = "souls/second.md"\n')
    backed.ok("gateway", "reload")
    made = create(backed)
    backed.stop()
    shutil.rmtree(outside.parent)
    other = fresh(made["place"])
    assert outside.read_text() == "You are Ada."
    assert (other.home / "souls" / "second.md").read_text() == "You are Bob."
    assert (other.home / "secrets" / "EXTRA").stat().st_mode & 0o777 == 0o600
    assert (other.home / "config.toml").read_text() == (backed.home / "config.toml").read_text()
    assert list((other.home / "revisions").iterdir())
    other.start()
    hook.ask("who are you?")
    assert "You are Ada." in model.asked[-1].everything


def test_what_waited_is_answered_and_what_was_not_sent_goes_out_under_the_same_id(backed, hook, model, fresh):
    hook.planned.extend([(503, {"Retry-After": "600"})] * 2)
    said, _ = hook.say("one")
    attempted = until(lambda: hook.deliveries, 20, "an attempt")[0]
    assert attempted.answers == [said]
    model.gate.clear()
    waiting, _ = hook.say("two", user="U2")
    made = create(backed)
    found = verified(backed, made["place"])
    assert (found["waiting"], found["undelivered"]) == (1, 1)
    backed.kill()
    hook.planned.clear()
    model.gate.set()
    other = fresh(made["place"])
    other.start()
    assert hook.answer_to(said).id == attempted.id
    assert "two" in hook.answer_to(waiting).text
    settle(other)


class Talker(threading.Thread):
    """Says one thing after another until it is told to stop. `acknowledged` has the words."""

    def __init__(self, hook, user):
        super().__init__(daemon=True)
        self.hook, self.user, self.acknowledged, self.stopping = hook, user, [], threading.Event()

    def run(self):
        while not self.stopping.is_set():
            text = f"word-{uuid.uuid4().hex}"
            with contextlib.suppress(OSError, AssertionError):
                self.hook.say(text, user=self.user)
                self.acknowledged.append(text)


def test_a_backup_under_traffic_holds_everything_that_was_acknowledged_before_it(backed, hook, fresh):
    talkers = [Talker(hook, f"U{n}") for n in range(1, 7)]
    for talker in talkers:
        talker.start()
    until(lambda: len(hook.delivered) > 30, 60, "some traffic")
    before = [set(talker.acknowledged) for talker in talkers]
    made = create(backed)
    after_it = [len(talker.acknowledged) for talker in talkers]
    until(lambda: sum(len(t.acknowledged) for t in talkers) > sum(after_it) + 30, 60, "traffic that goes on")
    for talker in talkers:
        talker.stopping.set()
        talker.join(30)
    assert verified(backed, made["place"])["ok"]
    backed.kill()
    other = fresh(made["place"])
    other.start()
    settle(other)
    for talker, acknowledged in zip(talkers, before, strict=True):
        kept = other.ok("sessions", "export", f"tenant-42-webhook:{talker.user}", "--format", "jsonl", "--all").lines
        lines = [json.loads(line) for line in kept]
        said = [line["text"] for line in lines if line["role"] == "peer"]
        assert acknowledged and acknowledged <= set(said) and len(said) == len(set(said)), talker.user
        # What waited in the backup was answered by the new one.
        answers = " ".join(line["text"] for line in lines if line["role"] == "agent")
        assert all(text in answers for text in said), talker.user


def test_an_incremental_backup_is_small_and_needs_the_full_one(backed, hook, fresh):
    for n in range(12):
        hook.ask(os.urandom(1500).hex(), user=f"U{n}")
    settle(backed)
    refused = backed.cli("backup", "create", "--incremental")
    assert refused.code != EX_OK and "full backup" in refused.err
    full = create(backed)
    hook.ask("only this", user="U1")
    backed.ok("sessions", "archive", "tenant-42-webhook:U3")
    settle(backed)
    before = seen(backed)
    incremental = create(backed, "--incremental")
    assert incremental["incremental"] and incremental["bytes"] * 2 < full["bytes"]
    assert 0 < incremental["written"] < full["written"]
    alone = backed.cli("backup", "verify", incremental["place"])
    assert alone.code == EX_USAGE and "full one" in alone.err
    found = verified(backed, full["place"], incremental["place"])
    assert (found["conversations"], found["archived"]) == (11, 1)
    backed.stop()
    other = fresh(full["place"], incremental["place"])
    other.start()
    assert seen(other) == before
    assert "tenant-42-webhook:U3" not in other.ok("sessions", "list").out


def test_an_erased_conversation_is_in_nothing_that_backups_keep_in_the_home(backed, hook, fresh):
    hook.ask("heron", user="U3")
    settle(backed)
    create(backed)
    index = backed.home / "backup.index"
    assert b"webhook:U3" in index.read_bytes()
    backed.ok("sessions", "erase", "tenant-42-webhook:U3", "--yes")
    assert not index.exists()
    refused = backed.cli("backup", "create", "--incremental")
    assert refused.code != EX_OK and "full backup" in refused.err
    made = create(backed)
    assert b"webhook:U3" not in index.read_bytes()
    backed.stop()
    other = fresh(made["place"])
    assert b"webhook:U3" not in (other.home / "frontdesk.redb").read_bytes()


def test_a_restore_leaves_alone_what_is_there(backed, hook, fresh, passphrase_file):
    hook.ask("heron")
    made = create(backed)
    restore = ["backup", "restore", made["place"], "--passphrase-file", passphrase_file]
    running = backed.cli(*restore)
    assert running.code == EX_TEMPFAIL and "running" in running.err
    backed.stop()
    there = backed.cli(*restore)
    assert there.code == EX_USAGE and "--replace" in there.err
    store = (backed.home / "frontdesk.redb").read_bytes()
    (backed.home / "config.toml").write_text("# mine\n")
    out = backed.ok(*restore, "--replace").out
    assert "erased" in out
    assert (backed.home / "frontdesk.redb.before-restore").read_bytes() == store
    assert (backed.home / "config.toml.before-restore").read_text() == "# mine\n"
    again = backed.cli(*restore, "--replace")
    assert again.code == EX_USAGE and "before-restore" in again.err
    backed.start()
    assert "heron" in backed.ok("sessions", "show", KEY).out


def test_a_home_whose_device_key_is_lost_comes_back_under_another_one(backed, hook, passphrase_file):
    hook.ask("heron")
    made = create(backed)
    backed.stop()
    key = backed.home / "device.key"
    lost = key.read_bytes()
    key.unlink()
    restore = ["backup", "restore", made["place"], "--passphrase-file", passphrase_file]
    assert backed.cli(*restore).code == EX_USAGE
    assert not key.exists()
    assert str(key) in backed.ok(*restore, "--replace").out
    assert key.read_bytes() != lost and key.stat().st_mode & 0o777 == 0o600
    backed.start()
    assert "heron" in backed.ok("sessions", "show", KEY).out
    # Should the old one be found, what was there can be looked at in a home of its own.
    backed.stop()
    for name in ("frontdesk.redb", "frontdesk.redb.journal"):
        end = name.removeprefix("frontdesk.redb")
        (backed.home / f"frontdesk.redb.before-restore{end}").rename(backed.home / name)
    key.write_bytes(lost)
    backed.start()
    assert "heron" in backed.ok("sessions", "show", KEY).out


def test_a_damaged_backup_is_named_so_and_restores_nothing(backed, hook, new_gateway, passphrase_file):
    hook.ask("heron")
    made = create(backed)
    whole = Path(made["place"]).read_bytes()
    other = new_gateway()
    for damaged in (whole[:-1], whole[: len(whole) // 2], b"", whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:]):
        file = backed.place / "damaged.age"
        file.write_bytes(damaged)
        for command in ("verify", "restore"):
            outcome = other.cli("backup", command, str(file), "--passphrase-file", passphrase_file)
            assert outcome.code == EX_USAGE and "; " in outcome.err, outcome
        assert not (other.home / "frontdesk.redb").exists() and not list(other.home.glob("*.new"))
    wrong = backed.place / "wrong"
    wrong.write_text("another passphrase")
    refused = other.cli("backup", "verify", made["place"], "--passphrase-file", str(wrong))
    assert refused.code == EX_USAGE and "passphrase" in refused.err


def test_what_cannot_be_made_or_read_is_said_with_what_to_do(backed, hook, new_gateway, passphrase_file, tmp_path):
    hook.ask("heron")
    full, other = create(backed)["place"], create(backed)["place"]
    hook.ask("ibis")
    incremental = create(backed, "--incremental")["place"]
    box = new_gateway()

    def file(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        return str(path)

    whole = Path(full).read_bytes()
    empty, cut, text = file("empty", b""), file("cut", whole[:-9]), file("text", b"dear diary\n" * 99)
    wrong, short = file("wrong", b"another passphrase"), file("short", b"eleven char\n")
    unreadable = [
        ([empty], passphrase_file, "name another backup"),
        ([str(tmp_path)], passphrase_file, "name a backup in it"),
        ([str(tmp_path / "missing.age")], passphrase_file, "is not there"),
        ([text], passphrase_file, "`backup create`"),
        ([cut], passphrase_file, "use another one"),
        ([full], wrong, "name the one that it was made with"),
        # Whatever the length: an older one may have been shorter.
        ([full], short, "name the one that it was made with"),
        ([full], str(tmp_path / "missing"), "name another file"),
        ([full], empty, "name another file"),
        ([incremental], passphrase_file, "name the full one"),
        ([full, incremental], passphrase_file, "-on-"),
        ([other, empty], passphrase_file, "name another backup"),
    ]
    for files, passphrase, words in unreadable:
        for command in ("verify", "restore"):
            outcome = box.cli("backup", command, *files, "--passphrase-file", passphrase)
            assert outcome.code == EX_USAGE and words in outcome.err, (command, files, outcome)
            assert len(outcome.err.strip().splitlines()) == 1 and not outcome.out, outcome
    assert not (box.home / "frontdesk.redb").exists() and not (box.home / "config.toml").exists()

    not_made = [
        (["--to", full], EX_USAGE, "choose another name"),
        (["--to", str(tmp_path / "a.age"), "--passphrase-file", short], EX_USAGE, "at least 12 characters"),
        (["--to", str(tmp_path / "a.age"), "--incremental"], EX_USAGE, "leave --to out"),
        (["--to", str(tmp_path / "unplugged" / "a.age")], EX_TEMPFAIL, "see that it is there"),
        (["--to", f"s3://{NAME}/daily"], EX_USAGE, "set backup.s3_endpoint"),
    ]
    for arguments, code, words in not_made:
        outcome = backed.cli("backup", "create", *arguments)
        assert outcome.code == code and words in outcome.err, (arguments, outcome)
        told = backed.cli("backup", "create", "--json", *arguments)
        assert told.code == code and words in json.loads(told.out)["error"], told
    assert Path(full).read_bytes() == whole and not (tmp_path / "a.age").exists()
    assert len(list(backed.place.iterdir())) == 3


def test_a_restore_that_was_cut_short_keeps_the_gateway_from_starting_until_it_is_done_again(
    backed, hook, passphrase_file
):
    hook.ask("heron")
    made = create(backed)
    hook.ask("ibis")
    settle(backed)
    backed.stop()
    # As it lies there when the power goes before the first step.
    there = {name: (backed.home / name).exists() for name in ("frontdesk.redb", "frontdesk.redb.journal")}
    assert all(there.values())
    mark = {"store": "frontdesk.redb", "was_there": {"store": True, "journal": True}, "others": {"config.toml": True}}
    (backed.home / "restore.unfinished").write_text(json.dumps(mark))
    refused = backed.cli("gateway", "run")
    assert refused.code == EX_CONFIG and "run `frontdesk backup restore` again" in refused.err
    backed.ok("backup", "restore", made["place"], "--passphrase-file", passphrase_file, "--replace")
    assert not (backed.home / "restore.unfinished").exists()
    backed.start()
    shown = backed.ok("sessions", "show", KEY).out
    assert "heron" in shown and "ibis" not in shown


def test_nothing_is_written_in_clear(desk, hook, tmp_path):
    hook.ask("heron")
    refused = desk.cli("backup", "create", "--to", str(tmp_path / "clear.age"))
    assert refused.code == EX_CONFIG and "in clear" in refused.err
    assert not list(tmp_path.glob("clear*"))


def test_a_place_that_is_not_there_is_said_and_not_made(backed):
    missing = backed.place / "not" / "plugged-in"
    backed.set_backup(f'to = "{missing}"\n')
    refused = backed.cli("backup", "create")
    assert refused.code == EX_TEMPFAIL and "plugged-in" in refused.err
    assert not missing.exists()
    status = json.loads(backed.ok("gateway", "status", "--json").out)
    assert any("last backup failed" in warning for warning in status["warnings"])
    backed.set_backup(f'to = "{backed.place}"\n')
    create(backed)
    status = json.loads(backed.ok("gateway", "status", "--json").out)
    assert not any("last backup failed" in warning for warning in status["warnings"])
    assert status["backup"]["last"]["name"] in {file.name for file in backed.place.iterdir()}


def test_backups_are_made_by_the_clock_and_old_ones_go(backed, hook):
    hook.ask("heron")
    for _ in range(3):
        create(backed)
    assert len(list(backed.place.iterdir())) == 3
    (backed.place / "holiday.jpg").write_bytes(b"not ours")
    backed.stop()
    (backed.home / "backup.json").unlink()
    backed.write((backed.home / "config.toml").read_text() + "every_hours = 24\nkeep = 2\n")
    backed.start()
    until(lambda: len(list(backed.place.glob("*.age"))) == 2, 60, "two backups that are left")
    assert (backed.place / "holiday.jpg").exists()
    until(lambda: "none was made" not in backed.ok("backup", "schedule").out, 30, "a backup that is said")
    assert "every 24 hours" in backed.ok("backup", "schedule").out
    for file in backed.place.glob("*.age"):
        assert verified(backed, file)["ok"]


def test_a_backup_is_made_every_day_at_a_time_of_the_box(backed, hook):
    hook.ask("heron")
    backed.stop()
    text = (backed.home / "config.toml").read_text()
    backed.write(text + 'at = "03:00"\nevery_hours = 24\n')
    refused = backed.cli("config", "check")
    assert refused.code == EX_CONFIG and "not both" in refused.err + refused.out
    backed.write(text + 'at = "03:00"\n')
    # An hour before Greenwich all year, so that no file must say what its time is.
    backed.env["TZ"] = "<+01>-1"
    backed.start()
    until(lambda: len(list(backed.place.glob("*.age"))) == 1, 60, "the first one, which is made at once")
    until(lambda: "none was made" not in backed.ok("backup", "schedule").out, 30, "a backup that is said")
    assert "every day at 03:00, local time, to" in backed.ok("backup", "schedule").out
    said = json.loads(backed.ok("backup", "schedule", "--json").out)
    assert said["at"] == "03:00" and said["every_hours"] is None
    assert said["next"].endswith("T02:00:00Z") and said["next"] > said["last"]["at"]
    backed.stop()
    # A box that was off at that time makes it when it is on again.
    state = json.loads((backed.home / "backup.json").read_text())
    state["last"]["at_ms"] -= 2 * 24 * 60 * 60 * 1000
    (backed.home / "backup.json").write_text(json.dumps(state))
    backed.start()
    until(lambda: len(list(backed.place.glob("*.age"))) == 2, 60, "the one that was missed")


def age_with_passphrase(file):
    """Debian's age asks on its terminal; returns what it decrypts."""
    out = file.with_suffix(".plain")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("age", ["age", "--decrypt", "--output", str(out), str(file)])
    os.write(terminal, PASSPHRASE.encode() + b"\n")
    with contextlib.suppress(OSError):
        while os.read(terminal, 1024):
            pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return out.read_bytes()


ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@pytest.mark.skipif(not shutil.which("age") and os.environ.get("CI") != "true", reason="apt-get install age")
def test_the_outer_layer_is_that_of_the_age_program(backed, hook, tmp_path):
    hook.ask("heron")
    made = create(backed)
    plain = age_with_passphrase(backed.place / os.path.basename(made["place"]))
    assert plain.startswith(ZSTD_MAGIC) and b"heron" not in plain

    identity = tmp_path / "identity"
    subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True)
    public = subprocess.run(["age-keygen", "-y", identity], check=True, capture_output=True, text=True)
    recipient = public.stdout.strip()
    text = (backed.home / "config.toml").read_text()
    backed.write(text.replace('passphrase = "${BACKUP_PASSPHRASE}"', f'recipients = ["{recipient}"]'))
    backed.ok("gateway", "reload")
    made = create(backed)
    plain = subprocess.run(["age", "-d", "-i", identity, made["place"]], check=True, capture_output=True).stdout
    assert plain.startswith(ZSTD_MAGIC)
    assert json.loads(backed.ok("backup", "verify", "--json", made["place"], "--identity", str(identity)).out)["ok"]
    # And the other way round: what age wrote is opened here.
    again = tmp_path / "again.age"
    subprocess.run(["age", "-r", recipient, "-o", again], input=plain, check=True)
    assert json.loads(backed.ok("backup", "verify", "--json", str(again), "--identity", str(identity)).out)["ok"]


def test_a_bucket_takes_and_gives_a_backup(backed, hook, fresh, bucket):
    hook.ask("heron")
    secrets = backed.home / "secrets"
    secrets.mkdir()
    for n in range(20):
        (secrets / f"LARGE{n}").write_bytes(os.urandom(1024 * 1024))
    settle(backed)
    before = seen(backed)
    backed.set_backup(f'to = "s3://{NAME}/box one/daily"\n' + BUCKET.format(url=bucket.url))
    # A server that is slow once is asked again.
    bucket.failing.append(lambda method, query: method == "PUT")
    made = create(backed)
    assert len(bucket.parts_sent()) >= 3 and bucket.unfinished_uploads() == []
    [key] = bucket.keys()
    assert made["place"] == f"s3://{NAME}/{key}" and key.startswith("box one/daily/frontdesk-")
    assert len(bucket.read(key)) == made["bytes"]
    assert bucket.read(key).startswith(b"age-encryption.org/v1\n")
    assert verified(backed, made["place"])["ok"]
    incremental = create(backed, "--incremental")
    assert len(bucket.keys()) == 2
    backed.stop()
    environment = {
        "AWS_ENDPOINT_URL_S3": bucket.url, "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    other = fresh(made["place"], incremental["place"], **environment)
    other.start()
    assert seen(other) == before


def test_a_bucket_that_refuses_or_fails_is_said_and_nothing_is_left_in_it(backed, hook, bucket):
    hook.ask("heron")
    secrets = backed.home / "secrets"
    secrets.mkdir()
    for n in range(20):
        (secrets / f"LARGE{n}").write_bytes(os.urandom(1024 * 1024))
    section = f'to = "s3://{NAME}/daily"\n' + BUCKET.format(url=bucket.url)
    backed.set_backup(section)
    bucket.failing.extend([lambda method, query: "partNumber=2" in query] * 4)
    refused = backed.cli("backup", "create")
    assert refused.code == EX_TEMPFAIL and "503" in refused.err
    assert bucket.keys() == [] and bucket.unfinished_uploads() == []
    backed.set_backup(section.replace(REGION, "us-east-1"))
    refused = backed.cli("backup", "create")
    assert "SignatureDoesNotMatch" in refused.err and "s3_secret_key" in refused.err
    assert SECRET_KEY not in refused.err + backed.log and "X-Amz-Signature" not in refused.err + backed.log
    assert bucket.refused
    bucket.refused.clear()


def test_a_bucket_keeps_what_others_put_there(backed, hook, bucket):
    hook.ask("heron")
    backed.set_backup(f'to = "s3://{NAME}/daily"\nkeep = 2\n' + BUCKET.format(url=bucket.url))
    others = "daily/frontdesk-00000000-20200101T000000Z-00000000.age"
    bucket.write(others, b"another box's")
    places = [create(backed)["place"].removeprefix(f"s3://{NAME}/") for _ in range(4)]
    kept = bucket.keys()
    # Which of those of one second goes first is open.
    assert len(kept) == 3 and {others, places[-1]} < set(kept) <= {others, *places}


def test_a_bucket_keeps_the_full_one_that_an_incremental_one_needs(backed, hook, bucket):
    hook.ask("heron")
    backed.set_backup(f'to = "s3://{NAME}/daily"\nkeep = 1\n' + BUCKET.format(url=bucket.url))

    def key(made):
        return made["place"].removeprefix(f"s3://{NAME}/")

    full = create(backed)
    hook.ask("ibis")
    first, second = create(backed, "--incremental"), create(backed, "--incremental")
    assert set(bucket.keys()) == {key(full), key(second)} and second["removed"] == [key(first).removeprefix("daily/")]
    assert verified(backed, full["place"], second["place"])["ok"]
    last = create(backed)
    assert bucket.keys() == [key(last)] and len(last["removed"]) == 2
