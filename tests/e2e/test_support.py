"""What a support person does to a conversation, with the commands as documented."""

import json
import signal
import subprocess
import uuid

import pytest
from peers.gateway import EX_OK, EX_TEMPFAIL, EX_USAGE
from peers.settings import settings, webhook
from peers.wire import until

KEY = "tenant-42-webhook:U1"


def settle(gateway):
    def is_idle():
        queue = json.loads(gateway.ok("gateway", "status", "--json").out)["queue"]
        return queue["waiting"] == queue["undelivered"] == 0

    until(is_idle, 30, "an empty queue")


def bytes_of_store(gateway):
    return (gateway.home / "frontdesk.redb").read_bytes()


def test_erased_words_are_nowhere_in_the_file_the_log_or_the_commands(desk, hook):
    word, other = f"canary-{uuid.uuid4().hex}", f"canary-{uuid.uuid4().hex}"
    hook.ask(f"remember {word}")
    hook.ask(f"remember {other}", user="U2")
    settle(desk)
    desk.ok("sessions", "archive", KEY)
    hook.ask(f"once more {word}")
    settle(desk)
    # Sealed: neither is in the file. What the commands find is what is kept.
    assert word.encode() not in bytes_of_store(desk) and other.encode() not in bytes_of_store(desk)
    size = len(bytes_of_store(desk))

    refused = desk.cli("sessions", "erase", KEY)
    assert refused.code == EX_USAGE and "--yes" in refused.err
    assert desk.ok("sessions", "search", word).lines != ["nothing was found"]
    desk.ok("sessions", "erase", KEY, "--yes")

    assert len(bytes_of_store(desk)) <= size
    assert desk.ok("sessions", "search", other).lines != ["nothing was found"]
    assert desk.ok("sessions", "search", word).lines == ["nothing was found"]
    assert desk.cli("sessions", "show", KEY).code == EX_USAGE
    assert desk.cli("sessions", "export", KEY, "--format", "jsonl").code == EX_USAGE
    assert word not in desk.log and other not in desk.log
    assert word not in hook.ask("what do you remember?")


def test_a_conversation_is_archived_exported_and_restored(desk, hook, tmp_path):
    hook.ask("<script>heron</script>")
    settle(desk)
    desk.ok("sessions", "archive", KEY)
    assert desk.ok("sessions", "list").lines == ["no sessions"]
    assert KEY in desk.ok("sessions", "list", "--archived").out
    assert KEY in desk.ok("sessions", "find", "--channel", "webhook", "--user", "U1").out
    assert "heron" in desk.ok("sessions", "show", KEY).out

    file = tmp_path / "export.html"
    desk.ok("sessions", "export", KEY, "--format", "html", "--out", str(file))
    page = file.read_text()
    assert page.startswith("<!doctype html>") and "<script>" not in page and "heron" in page
    assert file.stat().st_mode & 0o777 == 0o600
    lines = desk.ok("sessions", "export", KEY, "--format", "jsonl", "--all").lines
    assert [json.loads(line)["role"] for line in lines] == ["peer", "agent"]

    desk.ok("sessions", "restore", KEY)
    assert len(desk.session_rows()) == 1
    nothing = desk.cli("sessions", "restore", KEY)
    assert nothing.code == EX_USAGE
    noted = [line for line in desk.log.splitlines() if "access.what" in line]
    for what in ("archive", "show", "export", "restore"):
        assert any(f'access.what="{what}"' in line and KEY in line for line in noted), what
    assert not any("heron" in line for line in noted)


def test_tail_follows_until_it_is_interrupted(desk, hook):
    hook.ask("one")
    command = [*desk._command, "sessions", "tail", KEY, "--follow"]
    reader = subprocess.Popen(command, env=desk.env, stdout=subprocess.PIPE, text=True)
    try:
        assert "one" in reader.stdout.readline()
        reader.stdout.readline()
        hook.ask("two")
        assert reader.stdout.readline().endswith("two\n")
        reader.send_signal(signal.SIGINT)
        assert reader.wait(10) == EX_OK
    finally:
        reader.kill()


def test_tail_ends_when_the_gateway_does(desk, hook):
    hook.ask("one")
    command = [*desk._command, "sessions", "tail", KEY, "--follow"]
    reader = subprocess.Popen(command, env=desk.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert "one" in reader.stdout.readline()
        desk.stop()
        assert reader.wait(10) == EX_TEMPFAIL
    finally:
        reader.kill()


@pytest.mark.parametrize("flag", ["--dry-run", "--apply"])
def test_old_keys_are_told_before_during_and_after_a_change_of_scope(desk, hook, model, flag):
    message_id, old = hook.say("hello", channel_id="D1")
    hook.answer_to(message_id)
    settle(desk)
    desk.write(settings(desk.port, model.openai_url, webhook(hook), dm_scope="per-peer"))
    assert "1 conversation would get new keys" in desk.ok("config", "check").out
    assert "1 conversation would get new keys" in desk.ok("gateway", "reload").out
    listed = desk.ok("sessions", "rekey", flag).out
    assert f"{old} -> {KEY}" in listed
    where = KEY if flag == "--apply" else old
    assert "hello" in desk.ok("sessions", "show", where).out
    assert ("new keys" in desk.ok("gateway", "status").out) == (flag == "--dry-run")
