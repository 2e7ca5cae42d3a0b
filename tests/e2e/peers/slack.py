"""Slack from the outside: signed events to `/hooks/<entry>`, and the few Web API methods a bot calls.

`certify/slack.mjs` holds both against Slack's own `@slack/bolt` and `@slack/web-api`.
"""

import hashlib
import hmac
import itertools
import json
import time
from dataclasses import dataclass
from urllib.parse import parse_qsl

from peers.wire import Server, call

_counter = itertools.count(1)


def sign(secret, body, timestamp):
    """`X-Slack-Signature` as Slack's page "Verifying requests from Slack" defines it."""
    digest = hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": str(timestamp), "X-Slack-Signature": f"v0={digest}"}


def new_ts():
    """A message's `ts`: seconds and a number that no other message has."""
    return f"{int(time.time())}.{next(_counter):06d}"


@dataclass(frozen=True)
class Post:
    """One `chat.postMessage`."""

    channel: str
    thread_ts: str | None
    text: str


class SlackPeer(Server):
    """Sends events as Slack does and records what the bot posts. Any token but the right one is refused."""

    def __init__(self, entry, signing_secret, bot_token, team="T09ABC123"):
        self.entry, self.signing_secret, self.bot_token, self.team = entry, signing_secret, bot_token, team
        self.gateway_url = None
        self.posts, self.faults = [], []
        super().__init__()

    @property
    def api_url(self):
        return f"{self.url}/api/"

    def answer(self, exchange):
        method = exchange.path.partition("?")[0].rsplit("/", 1)[-1]
        if "json" in exchange.headers.get("Content-Type", ""):
            fields = json.loads(exchange.body)
        else:
            fields = dict(parse_qsl(exchange.body.decode()))
        token = exchange.headers.get("Authorization", "").removeprefix("Bearer ") or fields.get("token")
        if token != self.bot_token:
            self.faults.append(f"{method} with a wrong token")
            return exchange.send(200, {"ok": False, "error": "invalid_auth"})
        exchange.send(200, self.call(method, fields))

    def call(self, method, fields):
        if method == "auth.test":
            return {"ok": True, "url": self.url, "team": "Acme", "user": "frontdesk", "team_id": self.team,
                    "user_id": "U0BOT", "bot_id": "B0BOT", "is_enterprise_install": False}
        if method == "chat.postMessage":
            if not fields.get("channel"):
                return {"ok": False, "error": "channel_not_found"}
            if not fields.get("text"):
                return {"ok": False, "error": "no_text"}
            self.posts.append(Post(fields["channel"], fields.get("thread_ts"), fields["text"]))
            message = {"type": "message", "text": fields["text"], "user": "U0BOT", "bot_id": "B0BOT", "ts": new_ts()}
            return {"ok": True, "channel": fields["channel"], "ts": message["ts"], "message": message}
        return {"ok": False, "error": "unknown_method"}

    def event(self, text, user, channel, kind="im", thread_ts=None, ts=None):
        """The body of an `event_callback` for one message. `kind`: im, channel, group or mpim."""
        ts = ts or new_ts()
        event = {"type": "message", "channel": channel, "channel_type": kind, "user": user, "text": text,
                 "ts": ts, "event_ts": ts, "team": self.team, "client_msg_id": f"client-{ts}"}
        if kind != "im":  # a bot is told of group messages that address it
            event |= {"type": "app_mention", "text": f"<@U0BOT> {text}"}
            del event["channel_type"]
        if thread_ts:
            event["thread_ts"] = thread_ts
        bot = {"enterprise_id": None, "team_id": self.team, "user_id": "U0BOT", "is_bot": True,
               "is_enterprise_install": False}
        return {"token": "unused", "team_id": self.team, "api_app_id": "A0APP", "type": "event_callback",
                "event_id": f"Ev{next(_counter):08d}", "event_time": int(time.time()), "event": event,
                "authorizations": [bot]}

    def post(self, event, age=0, secret=None):
        body = json.dumps(event, ensure_ascii=False).encode()
        headers = sign(secret or self.signing_secret, body, int(time.time()) - age)
        headers["Content-Type"] = "application/json"
        return call("POST", f"{self.gateway_url}/hooks/{self.entry}", body, headers)

    def say(self, text, user, channel, **fields):
        """A message that must be taken; returns its `ts`."""
        event = self.event(text, user, channel, **fields)
        response = self.post(event)
        assert response.status == 200, f"{response.status}: {response.text}"
        return event["event"]["ts"]

    def posts_in(self, channel, thread_ts=None):
        return [p for p in list(self.posts) if (p.channel, p.thread_ts) == (channel, thread_ts)]
