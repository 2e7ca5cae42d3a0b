"""Whoever is named under [alerts] is told when something is wrong: by a real mail server, and by a signed webhook."""

import email
import json
from email import policy
from queue import Empty, Queue

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from peers.gateway import EX_TEMPFAIL
from peers.wire import Server, free_port
from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PASSWORD = "correct-horse-mailbox"


class Mailbox:
    """What arrives."""

    def __init__(self):
        self.messages = Queue()

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.messages.put((envelope.rcpt_tos, email.message_from_bytes(envelope.content, policy=policy.default)))
        return "250 OK"


class Receiver(Server):
    def __init__(self):
        self.posts = Queue()
        super().__init__()

    def answer(self, exchange):
        self.posts.put((dict(exchange.headers), exchange.body))
        exchange.send(204, b"")


@pytest.fixture
def mailbox():
    box = Mailbox()

    def authenticate(_server, _session, _envelope, _mechanism, data):
        return AuthResult(success=(data.login, data.password) == (b"desk@pine.example", PASSWORD.encode()))

    port = free_port()
    options = {"authenticator": authenticate, "auth_required": True, "auth_require_tls": False}
    controller = Controller(box, hostname="127.0.0.1", port=port, **options)
    controller.start()
    box.port = port
    yield box
    controller.stop()


def config(port, mailbox, receiver, password=PASSWORD, api_key="k" * 32):
    return f"""
[gateway]
port = {port}

[[channels]]
type = "webchat"

[[api_keys]]
name = "crm"
key = "{api_key}"

[business]
name = "Pine Street Dental"

[alerts]
email = ["owner@pine.example"]
smtp_host = "127.0.0.1"
smtp_port = {mailbox.port}
smtp_security = "none"
smtp_user = "desk@pine.example"
smtp_password = "{password}"
webhook_url = "{receiver.url}/alerts"
webhook_secret = "{SECRET}"
"""


def test_a_test_arrives_and_what_keeps_it_from_arriving_is_said(gateway, mailbox):
    with Receiver() as receiver:
        gateway.write(config(gateway.port, mailbox, receiver, password="wrong-one"))
        gateway.start()
        failed = gateway.cli("alerts", "test")
        assert failed.code == EX_TEMPFAIL and "email" in failed.err and "wrong-one" not in failed.err, failed.err
        assert receiver.posts.get(timeout=10)
        gateway.write(config(gateway.port, mailbox, receiver))
        gateway.ok("gateway", "reload")
        gateway.ok("alerts", "test")
        to, message = mailbox.messages.get(timeout=10)
        assert to == ["owner@pine.example"]
        assert message["Subject"] == "Frontdesk (Pine Street Dental): a test"
        assert message["From"] == "Frontdesk <desk@pine.example>"
        assert "Nothing is wrong" in message.get_content()
        assert PASSWORD not in gateway.log


@pytest.mark.timeout(240)
def test_an_error_of_the_doctor_is_told_once(gateway, mailbox):
    with Receiver() as receiver:
        gateway.home.chmod(0o700)
        gateway.write(config(gateway.port, mailbox, receiver, api_key="guessable"))
        gateway.start()
        _, message = mailbox.messages.get(timeout=90)
        assert message["Subject"] == "Frontdesk (Pine Street Dental): something needs you"
        text = message.get_content()
        assert "so short that it can be guessed" in text and "openssl rand" in text and "guessable" not in text
        headers, body = receiver.posts.get(timeout=30)
        told = Webhook(SECRET).verify(body, {name.lower(): value for name, value in headers.items()})
        assert told["type"] == "alert" and told["data"]["new"][0]["id"] == "weak-api-key"
        shown = json.loads(gateway.ok("--json", "alerts", "show").out)
        assert [one["id"] for one in shown["told"]] == ["weak-api-key"] and not shown["failed"]
        gateway.stop()
        gateway.start()
        # Two looks of the new process.
        with pytest.raises(Empty):
            mailbox.messages.get(timeout=70)
