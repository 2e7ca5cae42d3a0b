"""The other end of a generic webhook channel, signed and verified by the specification's own library."""

import base64
import json
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from standardwebhooks import Webhook, WebhookVerificationError

from peers.wire import Server, call, until


def new_secret(seed):
    return "whsec_" + base64.b64encode(seed.encode().ljust(32, b".")).decode()


@dataclass(frozen=True)
class Delivery:
    """One request to the reply address, verified, and what it was answered with."""

    id: str
    body: dict
    at: float
    status: int

    @property
    def text(self):
        return self.body["text"]

    @property
    def answers(self):
        return self.body["answers"]


class WebhookPeer(Server):
    """Sends signed messages to `/hooks/<entry>` and receives the replies.

    `planned` holds (status, headers) for the next deliveries; without a plan each is answered 200.
    What fails verification is answered 401 and kept in `faults`; fixtures insist that it stays empty.
    """

    def __init__(self, entry, secret, port=0):
        self.entry, self.secret = entry, secret
        self.gateway_url = None
        self.deliveries, self.faults, self.planned = [], [], deque()
        self._lock = threading.Lock()
        super().__init__(port)

    # Receiving

    def answer(self, exchange):
        headers = {k.lower(): v for k, v in exchange.headers.items()}
        try:
            body = Webhook(self.secret).verify(exchange.body, headers)
        except (WebhookVerificationError, ValueError) as refused:
            self.faults.append(f"{refused}: {exchange.body[:200]!r}")
            return exchange.send(401)
        with self._lock:
            status, answer_headers = self.planned.popleft() if self.planned else (200, {})
            self.deliveries.append(Delivery(headers["webhook-id"], body, time.monotonic(), status))
        exchange.send(status, b"", answer_headers)

    @property
    def delivered(self):
        """Deliveries that we took."""
        return [d for d in list(self.deliveries) if 200 <= d.status < 300]

    def answers_to(self, message_id):
        return [d for d in self.delivered if message_id in d.answers]

    def answer_to(self, message_id, timeout=30):
        """The one delivery that answers this message."""
        found = until(lambda: self.answers_to(message_id), timeout, f"an answer to {message_id}")
        assert len(found) == 1, f"{message_id} was answered {len(found)} times"
        return found[0]

    def stays_quiet(self, seconds):
        """Nothing at all arrives for a while."""
        before = len(self.deliveries)
        time.sleep(seconds)
        assert self.deliveries[before:] == []

    # Sending

    def sign(self, body, webhook_id, secrets=None, age=timedelta()):
        moment = datetime.now(UTC) - age
        signatures = [Webhook(s).sign(webhook_id, moment, body.decode()) for s in secrets or [self.secret]]
        return {
            "Content-Type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": " ".join(signatures),
        }

    def post(self, message, webhook_id=None, **signing):
        """Posts a message, or raw bytes, and returns the gateway's response."""
        body = message if isinstance(message, bytes) else json.dumps(message, ensure_ascii=False).encode()
        headers = self.sign(body, webhook_id or f"in_{uuid.uuid4().hex}", **signing)
        return call("POST", f"{self.gateway_url}/hooks/{self.entry}", body, headers)

    def say(self, text, user="U1", **fields):
        """Posts a message that must be accepted; direct unless `fields` say otherwise. Returns (message id, key)."""
        message = {"kind": "direct", "user_id": user, "message_id": f"m_{uuid.uuid4().hex}", "text": text} | fields
        response = self.post(message)
        assert response.status == 202, f"{response.status}: {response.text}"
        assert response.json["accepted"] is True
        return message["message_id"], response.json["session_key"]

    def ask(self, text, user="U1", **fields):
        """Says something and waits for the answer's text."""
        message_id, _ = self.say(text, user, **fields)
        return self.answer_to(message_id).text
