"""The peers themselves, held against the vendors' own clients. None of these needs a gateway."""

import json
import threading
from datetime import timedelta

import anthropic
import httpx2
import openai
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from models import make
from peers import model as models
from peers.slack import SlackPeer
from peers.webhook import WebhookPeer, new_secret
from peers.wire import Server, call, until

TALK = [
    {"role": "user", "content": "my word is heron"},
    {"role": "assistant", "content": "noted"},
    {"role": "user", "content": "what do you remember?"},
]
ECHO = "you said: what do you remember? / what I remember: my word is heron"

BROKEN_STREAM = (json.JSONDecodeError, openai.APIConnectionError, httpx2.TransportError)


def openai_client(server, **more):
    return openai.OpenAI(base_url=server.openai_url, api_key="sk-model-test", max_retries=0, **more)


def anthropic_client(server, **more):
    return anthropic.Anthropic(base_url=server.url, api_key="sk-model-test", max_retries=0, **more)


def openai_text(client, **more):
    with client.chat.completions.create(model="echo", messages=TALK, stream=True, **more) as stream:
        return "".join(c.choices[0].delta.content or "" for c in stream if c.choices)


def anthropic_text(client):
    with client.messages.stream(model="echo", messages=TALK, max_tokens=999) as stream:
        return stream.get_final_text()


# The echo model


def test_openai_client_reads_the_echo_model(model):
    client = openai_client(model)
    whole = client.chat.completions.create(model="echo", messages=TALK)
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (ECHO, "stop")
    assert openai_text(client) == ECHO
    assert [m.id for m in client.models.list()] == ["echo"]
    assert model.asked[-1].said == ["my word is heron", "what do you remember?"]


def test_openai_usage_comes_in_a_last_chunk_without_choices(model):
    options = {"include_usage": True}
    chunks = list(openai_client(model).chat.completions.create(
        model="echo", messages=TALK, stream=True, stream_options=options))
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 5
    assert chunks[-2].choices[0].finish_reason == "stop"


def test_openai_stop_and_limit_end_the_answer(model):
    client = openai_client(model)
    stopped = client.chat.completions.create(model="echo", messages=TALK, stop=["remember?"])
    assert stopped.choices[0].message.content == "you said: what do you "
    short = client.chat.completions.create(model="echo", messages=TALK, max_completion_tokens=2)
    assert (short.choices[0].message.content, short.choices[0].finish_reason) == ("you said:", "length")


def test_anthropic_client_reads_the_echo_model(model):
    client = anthropic_client(model)
    whole = client.messages.create(model="echo", messages=TALK, max_tokens=999)
    assert (whole.content[0].text, whole.stop_reason) == (ECHO, "end_turn")
    assert anthropic_text(client) == ECHO
    short = client.messages.create(model="echo", messages=TALK, max_tokens=2)
    assert (short.content[0].text, short.stop_reason) == ("you said:", "max_tokens")


def test_wrong_key_is_refused_in_both_dialects(model):
    model.key = "another"
    with pytest.raises(openai.AuthenticationError):
        openai_text(openai_client(model))
    with pytest.raises(anthropic.AuthenticationError):
        anthropic_text(anthropic_client(model))


def test_anthropic_refuses_sampling_parameters_of_the_new_version(model):
    client = anthropic_client(model, default_headers={"anthropic-version": "2026-10-21"})
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model="echo", messages=TALK, max_tokens=9, extra_body={"temperature": 1})


@pytest.mark.parametrize(("client", "text"), [(openai_client, openai_text), (anthropic_client, anthropic_text)])
class TestMisbehaviour:
    """Each fault is one that the vendor's client reports as that fault."""

    def test_rate_limit_names_the_wait(self, model, client, text):
        model.script.append(models.fail(429, retry_after=1, kind="rate_limit_error"))
        with pytest.raises((openai.RateLimitError, anthropic.RateLimitError)) as refused:
            text(client(model))
        assert refused.value.response.headers["retry-after"] == "1"
        assert text(client(model)) == ECHO

    def test_client_that_retries_gets_through(self, model, client, text):
        model.script.extend([models.fail(429, retry_after=0), models.fail(500)])
        assert text(client(model).with_options(max_retries=2)) == ECHO
        assert len(model.asked) == 3

    def test_server_error(self, model, client, text):
        model.script.append(models.fail(500))
        with pytest.raises((openai.InternalServerError, anthropic.InternalServerError)):
            text(client(model))

    def test_hanging_server_times_out(self, model, client, text):
        model.script.append(models.hang(3))
        with pytest.raises((openai.APITimeoutError, anthropic.APITimeoutError)):
            text(client(model, timeout=0.5))

    def test_malformed_stream_is_an_error(self, model, client, text):
        model.script.append(models.malformed())
        with pytest.raises(BROKEN_STREAM):
            text(client(model))

    def test_cut_stream_is_an_error(self, model, client, text):
        model.script.append(models.cut())
        with pytest.raises(BROKEN_STREAM):
            text(client(model))

    def test_slow_stream_arrives_whole(self, model, client, text):
        model.script.append(models.say(pause=0.02))
        assert text(client(model)) == ECHO


def test_client_that_leaves_is_noticed(model):
    model.script.append(models.say("word " * 500, pause=0.01))
    with openai_client(model).chat.completions.create(model="echo", messages=TALK, stream=True) as stream:
        next(iter(stream))
    until(lambda: model.hung_up, 5, "the model sees that its client left")


def test_closed_gate_holds_answers_back(model):
    model.gate.clear()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(openai_text(openai_client(model))))
    thread.start()
    until(lambda: model.asked)
    assert answers == []
    model.gate.set()
    thread.join(5)
    assert answers == [ECHO]


# llama.cpp


def test_llama_answers_both_dialects(new_llama):
    llama = new_llama("scripted")
    sentence = make.SENTENCE.replace(" ,", ",").replace(" .", ".")
    client = openai.OpenAI(base_url=f"{llama.url}/v1", api_key="none")
    assert openai_text(client).strip() == sentence
    client = anthropic.Anthropic(base_url=llama.url, api_key="none")
    assert anthropic_text(client).strip() == sentence


def test_llama_asks_for_a_tool_and_answers_with_its_result(new_llama):
    client = openai.OpenAI(base_url=f"{new_llama('tool').url}/v1", api_key="none")
    function = {"name": "book", "parameters": {"type": "object", "properties": {"slot": {"type": "string"}}}}
    tools = [{"type": "function", "function": function}]
    asked = client.chat.completions.create(model="tool", messages=TALK, tools=tools).choices[0].message
    assert (asked.tool_calls[0].function.name, asked.tool_calls[0].function.arguments) == ("book", '{"slot": "9am"}')
    result = {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "done"}
    final = client.chat.completions.create(
        model="tool", messages=[*TALK, asked.model_dump(exclude_none=True), result], tools=tools)
    assert final.choices[0].message.content.strip() == make.ANSWER.replace(" .", ".")


def test_llama_babbles_to_the_limit(new_llama):
    client = openai.OpenAI(base_url=f"{new_llama('random').url}/v1", api_key="none")
    answer = client.chat.completions.create(model="random", messages=TALK, max_tokens=40)
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (40, "length")


def test_recorder_passes_streams_on_and_keeps_prompts(new_llama, recorder):
    recorder.upstream = new_llama("scripted").url
    client = openai.OpenAI(base_url=f"{recorder.url}/v1", api_key="none", max_retries=0)
    assert "the desk is open" in openai_text(client)
    assert recorder.asked[0].said == ["my word is heron", "what do you remember?"]
    recorder.upstream = None
    with pytest.raises(openai.InternalServerError):
        openai_text(client)


# Webhook


class Gate(Server):
    """Stands where the gateway will: keeps what comes in."""

    def __init__(self):
        self.taken = []
        super().__init__()

    def answer(self, exchange):
        self.taken.append((exchange.path, dict(exchange.headers), exchange.body))
        exchange.send(202, {"accepted": True, "session_key": "webhook:U1"})


def test_webhook_peer_signs_as_the_library_verifies():
    old, new = new_secret("old"), new_secret("new")
    with Gate() as gate, WebhookPeer("hook42", new) as peer:
        peer.gateway_url = gate.url
        peer.say("grüße 😀")
        peer.post({"kind": "direct"}, secrets=[old, new])
        peer.post({"kind": "direct"}, age=timedelta(minutes=6))
        (path, headers, body), (_, rotated, rotated_body), (_, stale, stale_body) = gate.taken
        assert path == "/hooks/hook42"
        assert Webhook(new).verify(body, headers)["text"] == "grüße 😀"
        for secret in (old, new):
            assert Webhook(secret).verify(rotated_body, rotated)
        with pytest.raises(WebhookVerificationError):
            Webhook(old).verify(body, headers)
        with pytest.raises(WebhookVerificationError, match="too old"):
            Webhook(new).verify(stale_body, stale)


def test_webhook_peer_takes_only_what_verifies():
    secret = new_secret("hook")
    with WebhookPeer("hook42", secret) as peer:
        body = b'{"answers":["m1"],"text":"hello"}'
        peer.planned.append((429, {"Retry-After": "2"}))
        url = f"{peer.url}/replies"
        assert call("POST", url, body, peer.sign(body, "d1")).headers["retry-after"] == "2"
        assert call("POST", url, body, peer.sign(body, "d1")).status == 200
        assert call("POST", url, body, peer.sign(body, "d2", secrets=[new_secret("other")])).status == 401
        assert [d.status for d in peer.deliveries] == [429, 200]
        assert peer.answer_to("m1").text == "hello"
        assert len(peer.faults) == 1


# Slack


def test_slack_peer_satisfies_slacks_own_packages(node):
    with SlackPeer("slack", "signing-secret", "xoxb-test") as peer:
        node("certify/slack.mjs", peer.api_url)
        assert [(p.channel, p.thread_ts, p.text) for p in peer.posts] == [
            ("D04XYZ789", None, "hello"), ("C1", "1700000000.000100", "in a thread")]
        assert peer.faults == ["auth.test with a wrong token"]


def test_slack_signature_satisfies_slacks_own_verifier(node):
    with Gate() as gate, SlackPeer("slack", "signing-secret", "xoxb-test") as peer:
        peer.gateway_url = gate.url
        for age in (0, 400):
            peer.post(peer.event("grüße 😀", "U07DEF456", "D04XYZ789"), age=age)
        for (_, headers, body), verdict in zip(gate.taken, ("valid", "stale"), strict=True):
            request = {"headers": {k.lower(): v for k, v in headers.items()}, "body": body.decode()}
            assert node("certify/slack_signature.mjs", json.dumps(request)).strip() == verdict


# npm clients


def test_npm_clients_read_the_echo_model(model, node):
    assert node("certify/models.mjs", model.url, "sk-model-test").splitlines() == [ECHO, ECHO, "echo"]


# Browser


class Page(Server):
    """A chat page in the smallest form that has the agreed roles and names."""

    HTML = b"""<!doctype html><title>Chat</title><div role=log></div>
    <form><input aria-label=Message><button>Send</button></form><script>
    document.forms[0].onsubmit = (event) => {
      event.preventDefault();
      const said = document.querySelector('input').value;
      document.querySelector('[role=log]').innerHTML += `<p>${said}</p><p>you said: ${said}</p>`;
    };</script>"""

    def answer(self, exchange):
        exchange.send(200, self.HTML, {"Content-Type": "text/html"})


def test_browser_uses_the_page_by_role_and_name(browser):
    with Page() as page:
        first, second = browser.visit(page.url), browser.visit(page.url)
        assert "you said: heron" in first.ask("heron")
        assert second.conversation() == ""
        first.leave()
        second.leave()
