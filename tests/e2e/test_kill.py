"""The gateway is killed at random moments, hundreds of times, while people write on a webhook entry and on Slack.

What it acknowledged is in the transcript once, in order and without a gap. A webhook's peer gets one answer for each
message, however often a delivery is repeated. Slack cannot tell a repeat: nothing is posted twice, and every reply that
was not posted is shown to the operator.

FRONTDESK_KILLS=1000 FRONTDESK_SEED=7 make it longer, and begin with the same random numbers again.
"""

import itertools
import json
import os
import random
import re
import select
import socket
import threading
from collections import Counter

import pytest

from conftest import HOOK_SECRET
from peers import settings
from peers.gateway import Gateway
from peers.model import Model, say, text_of
from peers.slack import SlackPeer
from peers.webhook import WebhookPeer
from peers.wire import until

KILLS = int(os.environ.get("FRONTDESK_KILLS", "300"))
SEED = int(os.environ.get("FRONTDESK_SEED") or random.SystemRandom().randrange(1 << 32))
HOOK_USERS = [f"U{n}" for n in range(6)]
SLACK_USERS = [f"U{n}" for n in range(4)]
TOKEN = re.compile(r"word-\d+-\d+")


class Slowly:
    """A peer that takes a moment before it looks at a reply, and another before it answers. While it is `deaf` it takes
    none."""

    deaf = False

    def __init__(self, *arguments, seed):
        self.moments = random.Random(seed)
        super().__init__(*arguments)

    def pause(self, longest):
        threading.Event().wait(self.moments.uniform(0, longest))


class SlowHook(Slowly, WebhookPeer):
    def answer(self, exchange):
        if self.deaf:
            return exchange.send(503)
        self.pause(0.02)
        super().answer(exchange)


class SlowSlack(Slowly, SlackPeer):
    def __init__(self, *arguments, **more):
        self.queues = {f"D0{user}": threading.Lock() for user in SLACK_USERS}
        super().__init__(*arguments, **more)

    def answer(self, exchange):
        if not exchange.path.endswith("chat.postMessage"):
            return super().answer(exchange)
        if self.deaf:
            return exchange.send(429, headers={"Retry-After": "1"})
        # What came first is posted first, also when whoever sent it is gone by then.
        with self.queues[json.loads(exchange.body)["channel"]]:
            self.pause(0.02)
            if self.moments.random() < 0.5 and has_hung_up(exchange.connection):
                return exchange.drop()  # it was lost on its way
            super().answer(exchange)

    def call(self, method, fields):
        answer = super().call(method, fields)
        self.pause(0.02)  # it is posted, and the bot does not know it yet
        return answer


def has_hung_up(connection):
    readable, _, _ = select.select([connection], [], [], 0)
    try:
        return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


class Repeater:
    """The model's script that never ends: every answer names the messages that it answers."""

    def popleft(self):
        def behave(exchange, dialect, asked):
            last = [text_of(m["content"]) for m in asked.body["messages"] if m["role"] == "user"][-1]
            say(f"to {' '.join(TOKEN.findall(last))}", pause=0.005)(exchange, dialect, asked)

        return behave


class Talker(threading.Thread):
    """Says one thing after another as one peer. What is not acknowledged is said again, the very same."""

    quiet = threading.Event()
    stopping = threading.Event()
    failures = []

    def __init__(self, user, seed):
        super().__init__(daemon=True)
        self.user, self.moments = user, random.Random(seed)
        self.said = []  # what was acknowledged

    def run(self):
        try:
            for n in itertools.count():
                while self.quiet.is_set() and not self.stopping.is_set():
                    self.stopping.wait(0.01)
                if self.stopping.is_set():
                    return
                self.say(f"word-{self.ident % 10**6}-{n}")
                self.stopping.wait(self.moments.uniform(0, 0.2))
        except BaseException as failure:
            self.failures.append(failure)
            raise

    def say(self, token):
        offer = self.prepare(token)
        while not self.is_taken(offer):
            threading.Event().wait(0.02)
        self.said.append(token)

    def is_taken(self, offer):
        try:
            response = offer()
        except OSError:
            return False
        assert response.status in (200, 202, 503), f"{response.status}: {response.text}"
        return response.status != 503


class HookTalker(Talker):
    def __init__(self, hook, user, seed):
        super().__init__(user, seed)
        self.hook, self.key = hook, f"tenant-42-webhook:{user}"

    def prepare(self, token):
        message = {"kind": "direct", "user_id": self.user, "message_id": token, "text": token}
        return lambda: self.hook.post(message)


class SlackTalker(Talker):
    def __init__(self, slack, user, seed):
        super().__init__(user, seed)
        self.slack, self.channel = slack, f"D0{user}"
        self.key = f"tenant-42-slack:{slack.team}:{self.channel}:{user}"

    def prepare(self, token):
        event = self.slack.event(token, self.user, self.channel)
        return lambda: self.slack.post(event)


class Lives:
    """How long the next life lasts, and what happens in it."""

    def __init__(self, seed):
        self.moments = random.Random(seed)
        self.left, self.kind = 0, None
        self.n_of = Counter()

    def next(self):
        if self.left == 0:
            last = self.kind
            # What piled up while the peers were deaf drains while nobody adds to it.
            kinds = ["drain"] if last == "deaf" else ["talk", "talk", "start", "deaf"]
            self.kind = self.moments.choice(kinds)
            self.left = self.moments.randint(1, 5)
        self.left -= 1
        self.n_of[self.kind] += 1
        shortest, longest = {"talk": (0, 1.2), "start": (0, 0.02), "deaf": (0.05, 0.8), "drain": (0.02, 0.4)}[self.kind]
        return self.kind, self.moments.uniform(shortest, longest)


@pytest.mark.timeout(max(300, 3 * KILLS))
def test_killed_at_random_moments(tmp_path, capsys):
    with capsys.disabled():
        print(f"\n{KILLS} kills, FRONTDESK_SEED={SEED}")
    seeds = random.Random(SEED)
    new_seed = lambda: seeds.randrange(1 << 32)  # noqa: E731
    slack_arguments = ("slack", "8f742231b10e8888abcd99yyyzzz85a5", "xoxb-test")
    env = {"HOOK_SECRET": HOOK_SECRET, "MODEL_KEY": settings.MODEL_KEY}
    gateway = Gateway(tmp_path, env=env)
    Talker.quiet.clear(), Talker.stopping.clear(), Talker.failures.clear()
    with (
        Model(key=settings.MODEL_KEY) as model,
        SlowHook("hook42", HOOK_SECRET, seed=new_seed()) as hook,
        SlowSlack(*slack_arguments, seed=new_seed()) as slack,
    ):
        model.script = Repeater()
        hook.gateway_url = slack.gateway_url = gateway.url
        gateway.env |= {"SLACK_BOT_TOKEN": slack.bot_token, "SLACK_SIGNING_SECRET": slack.signing_secret}
        entries = [settings.webhook(hook), settings.slack(slack) + "messages_per_minute = 0\n"]
        gateway.write(settings.settings(gateway.port, model.openai_url, *entries))
        hook_talkers = [HookTalker(hook, user, new_seed()) for user in HOOK_USERS]
        slack_talkers = [SlackTalker(slack, user, new_seed()) for user in SLACK_USERS]
        lives = Lives(new_seed())
        try:
            storm(gateway, hook, slack, [*hook_talkers, *slack_talkers], lives)
            check(gateway, hook, slack, hook_talkers, slack_talkers, lives, capsys)
        except BaseException:
            with capsys.disabled():
                print(gateway.log[-5_000:])
            raise
        finally:
            Talker.stopping.set()
            if gateway.is_running:
                gateway.kill()


def storm(gateway, hook, slack, talkers, lives):
    for talker in talkers:
        talker.start()
    for _ in range(KILLS):
        kind, seconds = lives.next()
        hook.deaf = slack.deaf = kind == "deaf"
        (Talker.quiet.set if kind == "drain" else Talker.quiet.clear)()
        gateway.launch()
        threading.Event().wait(seconds)
        assert gateway.is_running, "it ended by itself"
        gateway.kill()
        assert not Talker.failures
    hook.deaf = slack.deaf = False
    Talker.stopping.set()
    gateway.start()
    for talker in talkers:
        talker.join(timeout=60)
        assert not talker.is_alive(), f"{talker.key} is not heard"
    assert not Talker.failures


def check(gateway, hook, slack, hook_talkers, slack_talkers, lives, capsys):
    def queue():
        return json.loads(gateway.ok("gateway", "status", "--json").out)["queue"]

    until(lambda: queue()["waiting"] == queue()["undelivered"] == 0, 120, lambda: f"an empty queue: {queue()}")
    n_parked = queue()["parked"]
    assert hook.faults == [] and slack.faults == []

    transcripts = {talker.key: transcript(gateway, talker) for talker in hook_talkers + slack_talkers}
    n_acknowledged = sum(len(talker.said) for talker in hook_talkers + slack_talkers)
    assert n_acknowledged > KILLS

    # A delivery may arrive many times under one id: that is how the peer tells a repeat from an answer.
    deliveries = {}
    for delivery in hook.delivered:
        assert deliveries.setdefault(delivery.id, delivery.body) == delivery.body, "one id, two replies"
    for talker in hook_talkers:
        bodies = [body for body in deliveries.values() if body["user_id"] == talker.user]
        compare([m for body in bodies for m in body["answers"]], talker.said, "answers")
        assert [body["text"] for body in bodies] == transcripts[talker.key]

    n_unposted = n_posted = n_listed = 0
    for talker in slack_talkers:
        posted = [post.text for post in slack.posts_in(talker.channel)]
        answered = [token for text in posted for token in TOKEN.findall(text)]
        assert len(answered) == len(set(answered)), "a message was answered twice on Slack"
        answers = transcripts[talker.key]
        compare([token for text in answers for token in TOKEN.findall(text)], talker.said, "answers in the transcript")
        assert posted == [text for text in answers if text in set(posted)], "posts keep the order"
        shown = json.loads(gateway.ok("sessions", "show", talker.key, "--json").out)
        parked = [item["text"] for item in shown["parked"]]
        assert {item["what"] for item in shown["parked"]} <= {"reply"}
        assert set(answers) - set(posted) <= set(parked), "what was not posted is shown to the operator"
        assert len(parked) == len(set(parked)) and set(parked) <= set(answers)
        n_posted += len(posted)
        n_listed += len(parked)
        n_unposted += len(set(answers) - set(posted))
    assert n_parked == n_listed, "status counts what is listed"
    assert "panicked" not in gateway.log
    n_repeats = len(hook.delivered) - len(deliveries)
    with capsys.disabled():
        print(
            f"{dict(lives.n_of)}: {n_acknowledged} messages acknowledged and answered; {len(deliveries)} deliveries, "
            f"{n_repeats} repeated under their ids; {n_posted} posts to Slack, {n_listed} replies set aside, of which "
            f"{n_unposted} were not posted"
        )


def compare(found, said, what):
    """Each that was said, once, in order."""
    lost = [token for token in said if token not in set(found)]
    assert lost == [], f"{len(lost)} of {len(said)} {what} are missing"
    doubled = [token for token, n in Counter(found).items() if n > 1]
    assert doubled == [], f"{len(doubled)} of {len(said)} {what} are doubled"
    assert found == said, f"{what} are not in order"


def transcript(gateway, talker):
    """What the agent said in this conversation, after a look at the rest of it."""
    out = gateway.ok("sessions", "export", talker.key, "--format", "jsonl", "--all").out
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1)), "positions have no gap"
    compare([line["text"] for line in lines if line["role"] == "peer"], talker.said, "messages in the transcript")
    return [line["text"] for line in lines if line["role"] == "agent"]
