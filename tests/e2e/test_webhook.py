"""The generic webhook channel (SPEC 7.1), signed and verified by the `standardwebhooks` library."""

import time
from datetime import timedelta

import pytest

from conftest import HOOK_SECRET
from peers import model as models
from peers.settings import settings, webhook
from peers.webhook import WebhookPeer, new_secret
from peers.wire import call, until


def direct(text="hello", user="U1", **fields):
    return {"kind": "direct", "user_id": user, "text": text} | fields


# In


def test_message_is_accepted_with_its_session_key(desk, hook):
    response = hook.post(direct(server_id="S1", channel_id="C1"))
    assert response.status == 202
    assert response.json == {"accepted": True, "session_key": "tenant-42-webhook:S1:C1:U1"}
    assert len(desk.session_rows()) == 1


def test_key_without_tenant_and_room_has_no_empty_segments(gateway, model, hook):
    gateway.write(settings(gateway.port, model.openai_url, webhook(hook, tenant=None)))
    gateway.start()
    assert hook.post(direct()).json["session_key"] == "webhook:U1"


def test_same_webhook_id_is_a_duplicate(desk, hook):
    assert hook.post(direct(), webhook_id="w1").status == 202
    again = hook.post(direct(), webhook_id="w1")
    assert (again.status, again.json) == (200, {"duplicate": True})
    assert hook.answer_to("w1").body["in_reply_to"] == "w1"
    hook.stays_quiet(1)


def test_same_message_id_is_a_duplicate(desk, hook):
    assert hook.post(direct(message_id="m1")).status == 202
    again = hook.post(direct(message_id="m1"))
    assert (again.status, again.json) == (200, {"duplicate": True})
    hook.answer_to("m1")
    hook.stays_quiet(1)


def test_duplicate_is_known_after_a_restart(desk, hook):
    hook.post(direct(message_id="m1"))
    hook.answer_to("m1")
    desk.kill()
    desk.start()
    assert hook.post(direct(message_id="m1")).json == {"duplicate": True}
    hook.stays_quiet(1)


@pytest.mark.parametrize(
    "signing",
    [{"secrets": [new_secret("wrong")]}, {"age": timedelta(minutes=6)}, {"age": timedelta(minutes=-6)}],
    ids=["wrong secret", "too old", "too new"],
)
def test_bad_signature_is_refused_and_nothing_stored(desk, hook, signing):
    assert hook.post(direct(message_id="m1"), **signing).status == 401
    assert desk.session_rows() == []
    assert hook.post(direct(message_id="m1")).status == 202  # not taken for a duplicate


def test_missing_signature_is_refused(desk, hook):
    assert call("POST", f"{desk.url}/hooks/hook42", direct()).status == 401
    assert desk.session_rows() == []


def test_body_that_was_changed_is_refused(desk, hook):
    headers = hook.sign(b'{"kind":"direct","user_id":"U1","text":"pay 10"}', "w1")
    body = b'{"kind":"direct","user_id":"U1","text":"pay 99"}'
    assert call("POST", f"{desk.url}/hooks/hook42", body, headers).status == 401


def test_one_good_signature_of_several_is_enough(desk, hook):
    assert hook.post(direct(), secrets=[new_secret("retired"), HOOK_SECRET]).status == 202


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"user_id": "U1", "text": "x"}, "kind"),
        ({"kind": "broadcast", "user_id": "U1", "text": "x"}, "kind"),
        ({"kind": "direct", "text": "x"}, "user_id"),
        ({"kind": "direct", "user_id": "", "text": "x"}, "user_id"),
        ({"kind": "direct", "user_id": 7, "text": "x"}, "user_id"),
        ({"kind": "direct", "user_id": "U1"}, "text"),
        ({"kind": "direct", "user_id": "U1", "text": ["x"]}, "text"),
        ({"kind": "group", "user_id": "U1", "text": "x"}, "channel_id"),
        ({"kind": "thread", "channel_id": "C1", "user_id": "U1", "text": "x"}, "thread_id"),
    ],
)
def test_wrong_body_is_refused_with_its_field(desk, hook, message, field):
    response = hook.post(message)
    assert response.status == 422
    assert field in response.text
    assert desk.session_rows() == []


def test_broken_json_is_refused(desk, hook):
    assert hook.post(b'{"kind": "direct", ').status in (400, 422)
    assert desk.session_rows() == []


def test_endless_body_is_refused(desk, hook):
    assert hook.post(direct("x" * 3_000_000)).status == 413
    assert desk.session_rows() == []


def test_unknown_entry_is_not_found(desk, hook):
    hook.entry = "nobody"
    assert hook.post(direct()).status == 404


# Keys


def test_direct_group_and_thread_are_three_conversations(desk, hook):
    room = {"server_id": "S1", "channel_id": "C1"}
    keys = [
        hook.say("a", "U1", **room)[1],
        hook.say("b", "U1", kind="group", mentions_bot=True, **room)[1],
        hook.say("c", "U1", kind="thread", thread_id="T1", mentions_bot=True, **room)[1],
        hook.say("d", "U1", kind="thread", thread_id="T2", mentions_bot=True, **room)[1],
    ]
    assert len(set(keys)) == 4
    assert keys[0] == "tenant-42-webhook:S1:C1:U1"
    assert keys[1] == "tenant-42-webhook:S1:C1"
    assert keys[2].startswith(keys[1])


def test_members_share_group_and_thread_but_not_their_direct_chats(desk, hook):
    for fields in ({"kind": "group"}, {"kind": "thread", "thread_id": "T1"}):
        fields |= {"channel_id": "C1", "mentions_bot": True}
        assert hook.say("a", "U1", **fields)[1] == hook.say("b", "U2", **fields)[1]
    assert hook.say("a", "U1", channel_id="C1")[1] != hook.say("b", "U2", channel_id="C1")[1]


ADVERSARIAL = [
    "a:b", "a%3Ab", "a", "A", " a", "a ", "a/b", "{user_id}", "😀", "e\u0301", "\u00e9", "a\u0000b", "thread=T", "-",
    "a" * 10_000,
]


def test_ids_that_differ_in_any_byte_never_meet(desk, hook):
    ids = ADVERSARIAL
    keys = {hook.say("x", user)[1] for user in ids}
    assert len(keys) == len(ids)
    keys |= {hook.say("x", "U1", channel_id=room, server_id="a")[1] for room in ids}
    assert len(keys) == 2 * len(ids)
    assert all(key.isascii() and not set(key) & set(" '\"\\/\n\0") for key in keys)


# Out


def test_reply_goes_where_the_message_came_from(desk, hook):
    place = {"server_id": "S1", "channel_id": "C1", "thread_id": "T1"}
    message_id, key = hook.say("hello", "U1", kind="thread", mentions_bot=True, **place)
    body = hook.answer_to(message_id).body
    assert body == place | {
        "user_id": "U1", "session_key": key, "in_reply_to": message_id, "answers": [message_id],
        "text": body["text"],
    }
    assert "you said: " in body["text"] and "hello" in body["text"]


def test_conversation_is_remembered(desk, hook):
    hook.ask("my word is heron")
    assert "my word is heron" in hook.ask("what do you remember?")


def test_messages_that_wait_together_are_answered_once_each(desk, hook, model):
    model.gate.clear()
    first, _ = hook.say("one")
    until(lambda: model.asked)
    waiting = [hook.say(text)[0] for text in ("two", "three")]
    model.gate.set()
    for message_id in (first, *waiting):
        hook.answer_to(message_id)
    hook.stays_quiet(1)
    answered = [message_id for delivery in hook.delivered for message_id in delivery.answers]
    assert sorted(answered) == sorted([first, *waiting])
    assert all(d.body["in_reply_to"] == d.answers[-1] for d in hook.delivered)


def test_another_session_does_not_wait_for_a_slow_one(desk, hook, model):
    model.script.append(models.say("late", pause=3))
    slow, _ = hook.say("slow", "U1")
    until(lambda: model.asked)
    hook.ask("quick", "U2")
    assert hook.answers_to(slow) == []


def test_group_message_that_is_not_for_the_bot_is_not_answered(desk, hook):
    group = {"kind": "group", "channel_id": "C1"}
    response = hook.post({"user_id": "U1", "text": "lunch?", "mentions_bot": False} | group)
    assert response.status in (200, 202)
    hook.stays_quiet(1)
    hook.ask("are you there?", "U2", mentions_bot=True, **group)


@pytest.mark.parametrize("status", [500, 503, 404])
def test_failed_delivery_is_repeated_under_the_same_id(desk, hook, status):
    hook.planned.append((status, {}))
    message_id, _ = hook.say("hello")
    hook.answer_to(message_id, 60)
    assert [d.status for d in hook.deliveries] == [status, 200]
    assert len({d.id for d in hook.deliveries}) == 1
    assert hook.deliveries[0].body == hook.deliveries[1].body


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed(desk, hook, status):
    hook.planned.append((status, {"Retry-After": "4"}))
    message_id, _ = hook.say("hello")
    hook.answer_to(message_id, 60)
    first, second = hook.deliveries
    assert first.id == second.id
    assert second.at - first.at >= 3.9


def test_receiver_that_is_gone_is_left_alone(desk, hook):
    hook.planned.append((410, {}))
    hook.say("hello")
    until(lambda: hook.deliveries)
    hook.stays_quiet(5)
    assert len(hook.deliveries) == 1


def test_different_replies_have_different_ids(desk, hook):
    hook.ask("one")
    hook.ask("two")
    assert len({d.id for d in hook.delivered}) == 2


# Power cuts


def test_message_accepted_before_a_crash_is_answered_once(desk, hook, model):
    model.gate.clear()
    message_id, _ = hook.say("hello")
    until(lambda: model.asked)
    desk.kill()
    model.gate.set()
    desk.start()
    hook.answer_to(message_id, 60)
    hook.stays_quiet(2)
    assert len(hook.answers_to(message_id)) == 1


def test_reply_not_yet_delivered_at_a_crash_is_delivered_once(desk, hook, model):
    hook.planned.append((503, {"Retry-After": "2"}))
    message_id, _ = hook.say("hello")
    until(lambda: hook.deliveries)
    desk.kill()
    desk.start()
    hook.answer_to(message_id, 60)
    hook.stays_quiet(2)
    assert len({d.id for d in hook.deliveries}) == 1
    assert len(model.asked) == 1


def test_delivered_reply_is_not_repeated_after_a_restart(desk, hook):
    hook.ask("hello")
    time.sleep(0.5)  # the mark that it was delivered follows the delivery
    desk.kill()
    desk.start()
    hook.stays_quiet(3)
    assert "hello" in hook.ask("again")


def test_stop_waits_for_nobody_and_loses_nothing(desk, hook, model):
    model.gate.clear()
    message_id, _ = hook.say("hello")
    until(lambda: model.asked)
    desk.stop()
    model.gate.set()
    desk.start()
    hook.answer_to(message_id, 60)


# Two entries


def test_entries_of_two_tenants_share_nothing(desk, gateway, model, hook):
    with WebhookPeer("hook43", new_secret("hook43")) as other:
        other.gateway_url = gateway.url
        sections = [webhook(hook), webhook(other, tenant="43", secret=other.secret)]
        gateway.write(settings(gateway.port, model.openai_url, *sections))
        gateway.ok("gateway", "reload")
        hook.ask("my word is heron")
        assert "heron" not in other.ask("what do you remember?")
        assert len(gateway.session_rows("--tenant", "42")) == len(gateway.session_rows("--tenant", "43")) == 1
        assert hook.post(direct(), secrets=[other.secret]).status == 401
        assert other.faults == []


# Secrets that change


def test_old_and_new_secret_are_both_good_while_they_rotate(desk, gateway, model, hook):
    both = settings(gateway.port, model.openai_url, webhook(hook))
    gateway.env["NEW_SECRET"] = new_secret("rotated")
    gateway.write(both.replace('secret = "${HOOK_SECRET}"', 'secrets = ["${NEW_SECRET}", "${HOOK_SECRET}"]'))
    desk.stop()
    desk.start()
    for secret in (HOOK_SECRET, gateway.env["NEW_SECRET"]):
        hook.secret = secret  # the receiver verifies with the one secret that it has
        hook.ask("hello")


def test_retired_secret_is_refused_after_a_reload(desk, gateway, model, hook):
    secret = new_secret("rotated")
    gateway.write(settings(gateway.port, model.openai_url, webhook(hook, secret=secret)))
    gateway.ok("gateway", "reload")
    assert hook.post(direct(), secrets=[HOOK_SECRET]).status == 401
    hook.secret = secret
    hook.ask("hello")
