"""The HTTP API (SPEC 7.2) through OpenAI's own clients."""

import json
import socket
import threading

import openai
import pytest

from peers import model as models
from peers.model import text_of
from peers.settings import api_key, settings, webhook
from peers.wire import call, until

KEYS = {"CRM_KEY": "fd-crm-0123456789abcdef", "SHOP_KEY": "fd-shop-0123456789abcdef"}
ECHO = "you said: hello / what I remember: nothing"


@pytest.fixture
def api(gateway, model, hook):
    """A gateway with one API key for each of two tenants, `crm` (42) and `shop` (43)."""
    gateway.env |= KEYS
    sections = [api_key("crm", "42", agent="reception"), api_key("shop", "43"), webhook(hook)]
    gateway.write(settings(gateway.port, model.openai_url, *sections))
    return gateway.start()


def client(gateway, key="CRM_KEY", **more):
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEYS.get(key, key), max_retries=0, **more)


def ask(openai_client, text="hello", model="reception", **more):
    answer = openai_client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], **more)
    return answer.choices[0].message.content


def stream(openai_client, text="hello", **more):
    return openai_client.chat.completions.create(
        model="reception", messages=[{"role": "user", "content": text}], stream=True, **more)


def raw(gateway, body, key="CRM_KEY", path="/v1/chat/completions", **headers):
    headers = {"Authorization": f"Bearer {KEYS.get(key, key)}"} | headers
    return call("POST", f"{gateway.url}{path}", body, headers)


# Answers


def test_answer_in_one_piece(api):
    answer = client(api).chat.completions.create(
        model="reception", messages=[{"role": "user", "content": "hello"}])
    assert answer.choices[0].message.content == ECHO
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.object, answer.model) == ("chat.completion", "reception")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_answer_as_a_stream(api):
    with stream(client(api)) as chunks:
        chunks = list(chunks)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == ECHO
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["stop"]
    assert len({c.id for c in chunks}) == 1
    assert all(c.usage is None for c in chunks)


def test_stream_arrives_while_the_model_still_writes(api, model):
    model.script.append(models.say("one two three", pause=0.3))
    with stream(client(api)) as chunks:
        first = next(c for c in chunks if c.choices and c.choices[0].delta.content)
        assert "three" not in first.choices[0].delta.content
        rest = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert rest.endswith("three")


def test_usage_comes_in_a_last_chunk_without_choices(api):
    *others, last = list(stream(client(api), stream_options={"include_usage": True}))
    assert last.choices == []
    assert last.usage.total_tokens > 0
    assert all(c.usage is None for c in others)


def test_stream_ends_with_done_on_the_wire(api):
    body = {"model": "reception", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
    response = raw(api, body)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("streams", [False, True])
def test_stop_sequence_ends_the_answer(api, streams):
    if streams:
        answer = "".join(c.choices[0].delta.content or "" for c in stream(client(api), "one TWO three", stop=["TWO"]))
    else:
        answer = ask(client(api), "one TWO three", stop="TWO")
    assert answer.rstrip() == "you said: one"


def test_limit_of_tokens_is_passed_on(api):
    answer = client(api).chat.completions.create(
        model="reception", messages=[{"role": "user", "content": "hello"}], max_tokens=2)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("you said:", "length")


@pytest.mark.parametrize("text", ["grüße 😀 日本", "\u202eright to left", "a\nb\tc", "\"quoted\" \\ back", "e\u0301"])
def test_unicode_goes_through_unchanged(api, text):
    assert f"you said: {text} /" in ask(client(api), text)
    streamed = "".join(c.choices[0].delta.content or "" for c in stream(client(api), text))
    assert f"you said: {text} /" in streamed


def test_content_in_parts_is_understood(api):
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    answer = client(api).chat.completions.create(model="reception", messages=[{"role": "user", "content": parts}])
    assert "hel" in answer.choices[0].message.content


def test_conversation_that_the_caller_keeps_reaches_the_model(api, model):
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "my word is heron"},
        {"role": "assistant", "content": "noted"},
        {"role": "user", "content": "what do you remember?"},
    ]
    answer = client(api).chat.completions.create(model="reception", messages=messages)
    assert "my word is heron" in answer.choices[0].message.content
    assert model.asked[-1].said == ["my word is heron", "what do you remember?"]
    assert "noted" in [text_of(m["content"]) for m in model.asked[-1].body["messages"]]


def test_models_are_the_agents(api):
    assert "reception" in [m.id for m in client(api).models.list()]
    assert ask(client(api), model="default") == ECHO


@pytest.fixture
def two_shops(gateway, model, hook):
    """Agents of the tenants 42 (`dental`) and 43 (`shop`), and `reception` for everybody."""
    gateway.env |= KEYS
    agents = ""
    for name in ("dental", "shop"):
        (gateway.home / f"{name}.md").write_text(f"You work for {name}.")
        agents += f'[[agents]]\nname = "{name}"\nprovider = "model"\nsoul = "{name}.md"\n'
    sections = [agents, api_key("crm", "42"), api_key("shop", "43"), webhook(hook)]
    top = 'routing = ["tenant-42-* -> dental", "tenant-43-api:* -> shop"]'
    gateway.write(settings(gateway.port, model.openai_url, *sections, top=top))
    return gateway.start()


def test_agents_of_another_tenant_are_unknown(two_shops):
    def models_of(key):
        return {m.id for m in client(two_shops, key).models.list()}

    assert models_of("CRM_KEY") == {"default", "reception", "dental"}
    assert models_of("SHOP_KEY") == {"default", "reception", "shop"}
    assert ask(client(two_shops), model="dental") == ECHO
    with pytest.raises(openai.NotFoundError):
        ask(client(two_shops), model="shop")


@pytest.mark.parametrize("more", [{}, {"user": "bob"}], ids=["stateless", "in a conversation"])
def test_routes_choose_who_answers_a_caller_that_names_nobody(two_shops, model, more):
    for key, name in (("CRM_KEY", "dental"), ("SHOP_KEY", "shop")):
        ask(client(two_shops, key), model="default", **more)
        assert f"You work for {name}." in model.asked[-1].everything


def test_many_at_once_get_their_own_answers(api):
    answers = {}
    threads = [
        threading.Thread(target=lambda n=n: answers.update({n: ask(client(api), f"number {n}", user=f"u{n}")}))
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == {n: f"you said: number {n} / what I remember: nothing" for n in range(20)}


def test_npm_client_reads_the_api(api, node):
    printed = json.loads(node("certify/api.mjs", f"{api.url}/v1", KEYS["CRM_KEY"]))
    assert printed["whole"] == printed["streamed"] == ECHO
    assert "reception" in printed["models"]
    assert printed["usage"] > 0
    assert printed["refused"] == 401


# Clients that leave


def test_model_is_stopped_when_the_client_leaves(api, model):
    model.script.append(models.say("word " * 2000, pause=0.01))
    with stream(client(api)) as chunks:
        next(iter(chunks))
    until(lambda: model.hung_up, 10, "the model is told that nobody listens")
    assert ask(client(api)) == ECHO


# Sessions


def test_user_names_a_session_that_remembers(api):
    ask(client(api), "my word is heron", user="bob")
    assert "my word is heron" in ask(client(api), "what do you remember?", user="bob")
    rows = api.session_rows("--tenant", "42")
    assert len(rows) == 1 and "tenant-42-api:user_bob" in rows[0]


def test_without_user_nothing_is_stored(api, model):
    ask(client(api), "my word is heron")
    ask(client(api), "what do you remember?")
    assert "heron" not in model.asked[-1].everything
    assert api.session_rows() == []


def test_same_user_of_two_tenants_is_two_people(api):
    ask(client(api), "my word is heron", user="bob")
    assert "heron" not in ask(client(api, "SHOP_KEY"), "what do you remember?", user="bob")
    assert "tenant-43-api:user_bob" in api.session_rows("--tenant", "43")[0]


@pytest.mark.parametrize("user", ["a:b", "a b", "😀", "a/b", "../x", "tenant-43-api:user_bob"])
def test_strange_users_stay_apart_and_inside_the_tenant(api, user):
    ask(client(api), "my word is heron", user=user)
    assert "heron" not in ask(client(api), "what do you remember?", user=f"{user} ")
    assert len(api.session_rows("--tenant", "42")) == 2
    assert api.session_rows("--tenant", "43") == []


HEADERS = ["x-frontdesk-session-key", "x-openclaw-session-key"]


@pytest.mark.parametrize("header", HEADERS)
def test_header_may_name_a_session_of_the_own_tenant(api, header):
    ask(client(api), "my word is heron", user="bob")
    headers = {header: "tenant-42-api:user_bob"}
    assert "my word is heron" in ask(client(api), "what do you remember?", extra_headers=headers)


@pytest.mark.parametrize("header", HEADERS)
def test_session_of_another_tenant_is_out_of_reach(api, model, header):
    ask(client(api, "SHOP_KEY"), "my word is heron", user="bob")
    n_asked = len(model.asked)
    with pytest.raises(openai.PermissionDeniedError) as refused:
        ask(client(api), "what do you remember?", extra_headers={header: "tenant-43-api:user_bob"})
    assert "heron" not in str(refused.value)
    assert len(model.asked) == n_asked


def test_sessions_of_other_channels_are_out_of_reach(api, hook, model):
    _, key = hook.say("my word is heron")
    until(lambda: hook.delivered)
    for session_key in (key, "tenant-42-main", "main", "api:user_bob", "not a key/"):
        headers = {"x-frontdesk-session-key": session_key}
        response = raw(api, {"model": "reception", "messages": [{"role": "user", "content": "hi"}]}, **headers)
        assert response.status in (400, 403), session_key
        assert "heron" not in response.text


# Refusals


def check_refusal(response, status, kind, code=...):
    error = response.json["error"]
    assert response.status == status
    assert set(error) >= {"message", "type", "param", "code"}
    assert error["type"] == kind
    assert error["message"]
    assert code is ... or error["code"] == code


BODY = {"model": "reception", "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models"])
def test_wrong_or_missing_key_is_refused(api, path):
    method, body = ("POST", BODY) if path.endswith("completions") else ("GET", None)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic Zm9vOmJhcg=="}):
        response = call(method, f"{api.url}{path}", body, headers)
        check_refusal(response, 401, "invalid_request_error")
        assert "wrong" not in response.text


def test_unknown_model_is_not_found(api):
    check_refusal(raw(api, BODY | {"model": "gpt-nine"}), 404, "invalid_request_error", "model_not_found")
    with pytest.raises(openai.NotFoundError):
        ask(client(api), model="gpt-nine")


def test_unknown_route_is_not_found(api):
    assert raw(api, BODY, path="/v1/engines").status == 404


@pytest.mark.parametrize(
    "body",
    [
        {"model": "reception"},
        {"model": "reception", "messages": []},
        {"model": "reception", "messages": "hello"},
        {"model": "reception", "messages": [{"role": "wizard", "content": "hello"}]},
        {"model": "reception", "messages": [{"role": "assistant", "content": "hello"}]},
        {"messages": [{"role": "user", "content": "hello"}]},
        BODY | {"n": 2},
        BODY | {"stream": "yes"},
        b'{"model": "reception", ',
        b"[]",
    ],
    ids=["no messages", "empty messages", "messages of a wrong type", "unknown role", "ends with the assistant",
         "no model", "several answers", "stream of a wrong type", "broken JSON", "not an object"],
)
def test_wrong_request_is_refused(api, model, body):
    check_refusal(raw(api, body, **{"Content-Type": "application/json"}), 400, "invalid_request_error")
    assert model.asked == []


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tool_choice": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}, "tool_choice"),
        ({"user": "bob", "stop": ["x"]}, "stop"),
    ],
    ids=["JSON answers", "forced tools", "stop in a conversation"],
)
def test_what_cannot_be_done_is_refused_and_not_dropped(api, model, more, param):
    with pytest.raises(openai.BadRequestError) as refused:
        client(api).chat.completions.create(**BODY, **more)
    assert refused.value.param == param
    assert model.asked == []


def test_hints_that_clients_always_send_are_accepted(api):
    hints = {"temperature": 1, "top_p": 1, "max_tokens": 500, "seed": 1, "response_format": {"type": "text"}}
    assert ask(client(api), user="bob", **hints) == ECHO


def test_repeated_idempotency_key_is_refused_once_and_for_all(api, model):
    headers = {"Idempotency-Key": "order-7"}
    assert ask(client(api), user="bob", extra_headers=headers) == ECHO
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        ask(client(api).with_options(max_retries=3), user="bob", extra_headers=headers)
    assert refused.value.code == "idempotency_key_reused"
    assert ask(client(api, "SHOP_KEY"), user="bob", extra_headers=headers) == ECHO
    assert len(model.asked) == 2


def test_wrong_key_is_refused_before_the_body_has_come(api):
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: box\r\nAuthorization: Bearer wrong\r\n"
            b"Content-Length: 1000000\r\n\r\n"
        )
        assert connection.recv(64).startswith(b"HTTP/1.1 401 ")


def test_provider_that_fails_is_said_in_the_clients_words(api, model):
    model.script.extend([models.fail(500)] * 9)
    with pytest.raises(openai.APIStatusError) as refused:
        ask(client(api, timeout=90))
    assert refused.value.status_code in (502, 503)
    assert KEYS["CRM_KEY"] not in str(refused.value) and "sk-model-test" not in str(refused.value)
