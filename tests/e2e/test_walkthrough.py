"""The published guide to session keys, steps 1 to 7, with its commands as printed."""

import json
import re
import socket

import pytest

from peers.settings import MODEL_KEY
from peers.slack import SlackPeer
from peers.wire import until

QUESTION = "what do you remember?"

# The guide's two blocks, in the indentation that its page lost.
GUIDE_YML = """\
session:
  dmScope: per-channel-peer
  keyFormat: "tenant-{tenant_id}-{channel}:{server_id}:{channel_id}:{user_id}"
  ttlDays: 30
  storage: sqlite
  storagePath: ~/.openclaw/sessions.db
channels:
  - type: slack
    botToken: ${SLACK_BOT_TOKEN}
    signingSecret: ${SLACK_SIGNING_SECRET}
    tenant_id: "42"
  - type: webchat
    publicUrl: https://chat.example.com
    tenant_id: "42"
"""

ROUTING_YML = """\
agents:
  - name: agent-acme
routing:
  - "slack:T09ABC*:* -> agent-acme"
"""

MODEL_YML = """\
defaultAgent: reception
providers:
  - name: model
    kind: openai
    baseUrl: {url}
    apiKey: ${{MODEL_KEY}}
    model: echo
agents:
  - name: reception
    provider: model
"""


def assert_port_is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            pytest.fail(f"port {port} is taken; the guide's walkthrough needs it: stop what listens there")


@pytest.fixture
def claw(new_gateway):
    """A gateway as the guide's reader has it: called `openclaw`, on the default port, nothing configured."""
    assert_port_is_free(18789)
    secrets = {"SLACK_BOT_TOKEN": "xoxb-test", "SLACK_SIGNING_SECRET": "8f742231b10e8888abcd99yyyzzz85a5"}
    return new_gateway(port=18789, as_openclaw=True, env=secrets).start()


@pytest.fixture
def workspace(claw):
    with SlackPeer("slack", claw.env["SLACK_SIGNING_SECRET"], claw.env["SLACK_BOT_TOKEN"]) as peer:
        peer.gateway_url = claw.url
        yield peer
        assert peer.faults == []


def last_answer(conversation):
    return conversation.rpartition(QUESTION)[2]


def write_from_both_sides(claw, workspace, visitor):
    """Steps 6 and 7: one word from each side, and the same question to both. Returns both answers."""
    visitor.say("my word is otter")
    workspace.say("my word is heron", "U07DEF456", "D04XYZ789")
    until(lambda: len(claw.session_rows("--tenant", "42")) == 2, what="two sessions")
    visitor.say(QUESTION)
    workspace.say(QUESTION, "U07DEF456", "D04XYZ789")
    slack_key = "tenant-42-slack:T09ABC123:D04XYZ789:U07DEF456"
    in_slack = until(lambda: answer_with("heron", claw.ok("sessions", "show", slack_key).out), what="Slack's answer")
    in_webchat = until(lambda: answer_with("otter", visitor.conversation()), what="the answer in the web chat")
    return in_slack, in_webchat


def answer_with(word, conversation):
    answer = last_answer(conversation)
    return answer if word in answer else None


def test_step_1_gateway_is_running(claw):
    first = claw.ok("gateway", "status").lines[0]
    assert first.startswith("listening on :18789, 0 active sessions")


def test_steps_2_to_5_settings_are_live_after_a_reload(claw, workspace):
    assert workspace.post(workspace.event("hello", "U07DEF456", "D04XYZ789")).status == 404
    claw.write(GUIDE_YML, "config.yml")
    claw.ok("gateway", "reload")
    assert workspace.post(workspace.event("hello", "U07DEF456", "D04XYZ789")).status == 200
    status = claw.ok("gateway", "status").out
    assert "slack" in status and "webchat" in status
    assert "redb" in status  # `storage: sqlite` is served by the embedded store, and says so
    assert claw.readyz() == 200


def test_steps_6_and_7_two_sessions_that_know_only_their_own_words(claw, workspace, browser):
    claw.write(GUIDE_YML, "config.yml")
    claw.ok("gateway", "reload")
    visitor = browser.visit(f"{claw.url}/chat/webchat")
    in_slack, in_webchat = write_from_both_sides(claw, workspace, visitor)
    visitor.leave()

    rows = claw.session_rows("--tenant", "42")
    assert len(rows) == 2
    assert all(row.lstrip().startswith("tenant-42-") for row in rows)
    assert any("tenant-42-slack:T09ABC123:D04XYZ789:U07DEF456" in row for row in rows)
    assert any(re.search(r"tenant-42-webchat:\S+", row) for row in rows)
    assert claw.session_rows("--tenant", "43") == []

    assert in_slack != in_webchat
    assert "otter" not in in_slack
    assert "heron" not in in_webchat


def test_answers_arrive_in_slack_itself(claw, workspace, browser, model):
    claw.env["MODEL_KEY"] = MODEL_KEY
    claw.stop()
    with_api = GUIDE_YML.replace("  - type: slack\n", f"  - type: slack\n    baseUrl: {workspace.api_url}\n")
    claw.write(with_api + MODEL_YML.format(url=model.openai_url), "config.yml")
    claw.start()
    visitor = browser.visit(f"{claw.url}/chat/webchat")
    in_slack, in_webchat = write_from_both_sides(claw, workspace, visitor)
    visitor.leave()
    posts = until(lambda: len(workspace.posts) >= 2 and workspace.posts, what="two posts")
    assert {post.channel for post in posts} == {"D04XYZ789"}
    assert "heron" in posts[-1].text
    assert not any("otter" in post.text for post in posts)
    assert "otter" not in in_slack and "heron" not in in_webchat
    assert not any("otter" in asked.everything and "heron" in asked.everything for asked in model.asked)


def test_support_finds_a_session_by_its_user(claw, workspace):
    claw.write(GUIDE_YML, "config.yml")
    claw.ok("gateway", "reload")
    workspace.say("hello", "U07DEF456", "D04XYZ789")
    workspace.say("hello", "U07OTHER", "D04OTHER")
    found = claw.ok("sessions", "find", "--channel", "slack", "--user", "U07DEF456").out
    assert "tenant-42-slack:T09ABC123:D04XYZ789:U07DEF456" in found
    assert "U07OTHER" not in found


def test_forged_and_stale_slack_events_are_refused(claw, workspace):
    claw.write(GUIDE_YML, "config.yml")
    claw.ok("gateway", "reload")
    event = workspace.event("hello", "U07DEF456", "D04XYZ789")
    assert workspace.post(event, secret="wrong").status == 401
    assert workspace.post(event, age=400).status == 401
    assert claw.session_rows() == []


def test_debug_log_names_the_session_and_the_route(claw, workspace):
    claw.write(GUIDE_YML + ROUTING_YML, "config.yml")
    claw.stop()
    claw.env["OPENCLAW_LOG"] = "debug"
    claw.start()
    workspace.say("my word is heron", "U07DEF456", "D04XYZ789")
    resolved = until(lambda: [line for line in claw.log.splitlines() if "session resolved" in line])
    matched = until(lambda: [line for line in claw.log.splitlines() if "routing matched" in line])
    assert "tenant-42-slack:" in resolved[0]
    assert "agent-acme" in matched[0]
    assert "heron" not in claw.log


def test_route_explain_names_the_winning_rule(claw):
    claw.write(GUIDE_YML + ROUTING_YML, "config.yml")
    claw.ok("gateway", "reload")
    explained = claw.ok("route", "explain", "slack:T09ABC123:D04XYZ789:U07DEF456").out
    assert "agent-acme" in explained
    assert "slack:T09ABC*:*" in explained
    other = claw.ok("route", "explain", "slack:T99:D1:U1").out
    assert "slack:T09ABC*:* ->" not in other.splitlines()[0]


# SPEC 3.1: with no format configured these, to the letter.
DEFAULT_KEYS = [
    ({"channel": "slack", "server_id": "T09ABC123", "channel_id": "C04XYZ789", "user_id": "U07DEF456"},
     "slack:T09ABC123:C04XYZ789:U07DEF456"),
    ({"channel": "discord", "server_id": "guild_742", "channel_id": "channel_9981", "user_id": "user_4412"},
     "discord:guild_742:channel_9981:user_4412"),
    ({"channel": "whatsapp", "user_id": "+15551234567"}, "wa:+15551234567"),
    ({"channel": "telegram", "user_id": "chat_5839201"}, "telegram:chat_5839201"),
    ({"channel": "webchat", "user_id": "anon_9d2f1c"}, "webchat:anon_9d2f1c"),
    ({"channel": "slack", "server_id": "T09ABC", "channel_id": "C04XYZ", "user_id": "U07DEF", "tenant_id": "42"},
     "tenant-42-slack:T09ABC:C04XYZ:U07DEF"),
]


def test_default_keys_are_the_published_ones(gateway):
    gateway.write('[session]\ndm_scope = "per-channel-peer"\n')
    messages = "".join(json.dumps({"kind": "direct"} | bundle) + "\n" for bundle, _ in DEFAULT_KEYS)
    config = str(gateway.home / "config.toml")
    printed = gateway.ok("route", "explain", "--config", config, "--message", "-", stdin=messages)
    explained = [json.loads(line) for line in printed.lines]
    assert [e.get("session_key", e) for e in explained] == [key for _, key in DEFAULT_KEYS]


def test_a_message_that_cannot_be_explained_says_why(gateway):
    gateway.write('[session]\ndm_scope = "per-channel-peer"\n')
    config = str(gateway.home / "config.toml")
    message = json.dumps({"channel": "slack", "kind": "direct", "server_id": "T1", "channel_id": "C1", "user_id": ""})
    outcome = gateway.cli("route", "explain", "--config", config, "--message", "-", stdin=message + "\n")
    assert json.loads(outcome.lines[0])["error"]
