"""Starts that go wrong: one sentence what, one sentence what to do, and the exit code of SPEC 5."""

import os
import socket

import pytest

from peers.gateway import EX_CONFIG, EX_OK, EX_SOFTWARE, EX_TEMPFAIL, EX_USAGE
from peers.settings import settings, webhook
from peers.wire import call, free_port, until


def check_complaint(outcome, code, *words):
    """Few lines on the error output that say what and what to do; no panic, no stack."""
    assert outcome.code == code, f"exit {outcome.code}\n{outcome.out}{outcome.err}"
    for word in words:
        assert word in outcome.err, outcome.err
    assert "panicked" not in outcome.err and "RUST_BACKTRACE" not in outcome.err


def run(gateway):
    """`gateway run` that is expected to end by itself."""
    return gateway.cli("gateway", "run")


def test_taken_port_is_named(gateway):
    with socket.socket() as other:
        other.bind(("127.0.0.1", gateway.port))
        other.listen()
        gateway.write(f"[gateway]\nport = {gateway.port}\n")
        check_complaint(run(gateway), EX_TEMPFAIL, str(gateway.port))


def test_home_that_is_a_file_is_named(gateway):
    gateway.home.rmdir()
    gateway.home.write_text("not a folder")
    outcome = run(gateway)
    check_complaint(outcome, outcome.code, str(gateway.home))
    assert outcome.code in (EX_SOFTWARE, EX_CONFIG)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere, so no folder can refuse it")
def test_home_that_cannot_be_written_is_named(gateway):
    gateway.home.chmod(0o500)
    outcome = run(gateway)
    gateway.home.chmod(0o700)
    check_complaint(outcome, outcome.code, str(gateway.home))
    assert outcome.code in (EX_SOFTWARE, EX_CONFIG)


def test_second_gateway_on_the_same_home_is_refused(desk):
    good = (desk.home / "config.toml").read_text()
    desk.write(good.replace(f"port = {desk.port}", f"port = {free_port()}"))
    check_complaint(run(desk), EX_TEMPFAIL, str(desk.home))
    assert desk.readyz() == 200


def test_commands_without_a_gateway_say_so(gateway):
    for command in (["gateway", "status"], ["gateway", "reload"], ["sessions", "list"]):
        check_complaint(gateway.cli(*command), EX_TEMPFAIL)


@pytest.mark.parametrize("arguments", [["gateway", "dance"], ["--no-such-flag"], ["sessions", "show"], ["sesions"]])
def test_wrong_usage_is_exit_64(gateway, arguments):
    check_complaint(gateway.cli(*arguments), EX_USAGE)


def test_help_and_version_are_exit_0(gateway):
    assert "gateway" in gateway.ok("--help").out
    assert gateway.ok("--version").out.startswith("frontdesk ")


def test_environment_of_any_bytes_is_borne(gateway):
    gateway.env["ODD"] = "\udcff"
    gateway.env["\udcfe"] = "odd"
    assert gateway.ok("--version").out.startswith("frontdesk ")
    assert gateway.cli("config", "check").code == EX_OK


def test_status_names_the_configuration(desk):
    assert f"configuration: {desk.home}/config.toml\n" in desk.ok("gateway", "status").out


# Configuration

BAD = [
    ("[session]\ndm_scop = 'main'\n", ":2", "dm_scope"),
    ("[session]\ndm_scope = 'per-user'\n", ":2", "per-channel-peer"),
    ("[session]\nkey_format = '{channel}:{userid}'\n", ":2", "{user_id}"),
    ("[session]\nttl_days = 'long'\n", ":2", "ttl_days"),
    ("[gateway]\nport = 70000\n", ":2", "port"),
    ("routing = ['slack:* -> nobody']\n", ":1", "nobody"),
    ("[gateway\n", ":1", ""),
    ("[[channels]]\ntype = 'slak'\n", ":2", "slack"),
    ("[[channels]]\ntype = 'webhook'\nsecret = '${NO_SUCH_SECRET}'\nreply_url = 'http://x/'\n", ":3", "NO_SUCH_SECRET"),
]


@pytest.mark.parametrize(("text", "line", "word"), BAD)
def test_config_check_names_file_line_and_remedy(gateway, text, line, word):
    gateway.write(text)
    check_complaint(gateway.cli("config", "check"), EX_CONFIG, f"config.toml{line}", word)


def test_config_check_names_lines_of_yaml_too(gateway):
    gateway.write("session:\n  dmScope: per-channel-peer\n  ttlDay: 30\n", "config.yml")
    check_complaint(gateway.cli("config", "check"), EX_CONFIG, "config.yml:3", "ttlDays")


def test_config_check_accepts_a_good_file(gateway, model, hook):
    gateway.write(settings(gateway.port, model.openai_url, webhook(hook)))
    assert gateway.cli("config", "check").code == EX_OK


def test_secrets_are_not_shown(gateway, model, hook):
    text = settings(gateway.port, model.openai_url, webhook(hook))
    gateway.write(text.replace("${HOOK_SECRET}", gateway.env["HOOK_SECRET"]))
    shown = gateway.ok("config", "show", "--redacted").out
    assert "hook42" in shown and "${MODEL_KEY}" in shown
    assert gateway.env["HOOK_SECRET"] not in shown and gateway.env["MODEL_KEY"] not in shown


# Safe mode


def test_start_with_a_bad_file_is_safe_mode_and_mends_by_reload(gateway, model, hook):
    good = settings(gateway.port, model.openai_url, webhook(hook))
    gateway.write(good.replace("dm_scope =", "dm_scop ="))
    gateway.launch()
    until(lambda: gateway.readyz() == 503, 30, lambda: gateway.log)
    ready = call("GET", f"{gateway.url}/readyz")
    assert ready.text == "safe mode: see `gateway status`\n", "nothing of the configuration for anybody"
    status = gateway.cli("gateway", "status").out
    assert "config.toml" in status and "dm_scop" in status
    assert hook.post({"kind": "direct", "user_id": "U1", "text": "hello"}).status in (404, 503)
    gateway.write(good)
    gateway.ok("gateway", "reload")
    assert gateway.readyz() == 200
    assert "hello" in hook.ask("hello")


def test_reload_of_a_bad_file_changes_nothing(desk, hook):
    good = (desk.home / "config.toml").read_text()
    desk.write(good.replace("hook42", "hook99") + "\nnonsense = 1\n")
    outcome = desk.cli("gateway", "reload")
    check_complaint(outcome, EX_CONFIG, "nonsense")
    assert desk.readyz() == 200
    assert "hello" in hook.ask("hello")


def test_reload_keeps_sessions_and_the_turn_that_runs(desk, hook, model):
    hook.ask("my word is heron")
    model.gate.clear()
    message_id, _ = hook.say("what do you remember?")
    until(lambda: len(model.asked) == 2)
    desk.write((desk.home / "config.toml").read_text() + "\n[[agents]]\nname = 'second'\nprovider = 'model'\n")
    desk.ok("gateway", "reload")
    model.gate.set()
    assert "my word is heron" in hook.answer_to(message_id).text
    assert len(model.asked) == 2
