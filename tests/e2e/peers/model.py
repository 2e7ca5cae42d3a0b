"""Model servers in two dialects: one that answers from its prompt alone, and the ways in which it can misbehave.

`Model` speaks OpenAI Chat Completions and Anthropic Messages. It refuses what the vendors refuse, keeps every
request, and answers `you said: … / what I remember: …` from the user messages in the request and nothing else:
whatever a conversation lets slip into a prompt is seen in the answer. `test_peers.py` holds it against the
vendors' own clients.
"""

import json
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from peers.wire import Server


def text_of(content):
    """The words of a message, whether its content is a text or a list of blocks."""
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content or [] if isinstance(block, dict))


@dataclass
class Asked:
    """One request as the model received it."""

    path: str
    headers: dict
    body: dict
    at: float = field(default_factory=time.monotonic)

    @property
    def said(self):
        return [text_of(m.get("content")) for m in self.body.get("messages", []) if m.get("role") == "user"]

    @property
    def everything(self):
        """All words of the prompt, wherever they stand."""
        return json.dumps(self.body, ensure_ascii=False)


def echo(asked):
    *before, last = asked.said
    return f"you said: {last} / what I remember: {' | '.join(before) or 'nothing'}"


class Refused(Exception):
    def __init__(self, status, kind, message):
        super().__init__(message)
        self.status, self.kind = status, kind


class OpenAi:
    path = "/v1/chat/completions"

    @staticmethod
    def check(asked, key):
        if key and asked.headers.get("authorization") != f"Bearer {key}":
            raise Refused(401, "invalid_request_error", "Incorrect API key provided")
        if not asked.body.get("model"):
            raise Refused(400, "invalid_request_error", "you must provide a model parameter")
        if not asked.said:
            raise Refused(400, "invalid_request_error", "messages: expected a user message")
        for message in asked.body["messages"]:
            if message.get("role") not in ("system", "developer", "user", "assistant", "tool"):
                raise Refused(400, "invalid_request_error", f"Invalid value: {message.get('role')!r}")

    @staticmethod
    def stops(body):
        stop = body.get("stop") or []
        return [stop] if isinstance(stop, str) else stop

    @staticmethod
    def limit(body):
        return body.get("max_completion_tokens") or body.get("max_tokens")

    @staticmethod
    def error(refused):
        return {"error": {"message": str(refused), "type": refused.kind, "param": None, "code": None}}

    @staticmethod
    def usage(asked, words):
        prompt = len(asked.everything.split())
        return {"prompt_tokens": prompt, "completion_tokens": len(words), "total_tokens": prompt + len(words)}

    @classmethod
    def whole(cls, asked, words, reason):
        message = {"role": "assistant", "content": "".join(words)}
        return {
            "id": "chatcmpl-1", "object": "chat.completion", "created": int(time.time()), "model": asked.body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": cls.usage(asked, words),
        }

    @classmethod
    def frames(cls, asked, words, reason):
        def chunk(choices, **more):
            head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": int(time.time())}
            body = head | {"model": asked.body["model"], "choices": choices} | more
            return f"data: {json.dumps(body)}\n\n".encode()

        def choice(delta, finish=None):
            return chunk([{"index": 0, "delta": delta, "finish_reason": finish}])

        yield choice({"role": "assistant", "content": ""})
        for word in words:
            yield choice({"content": word})
        yield choice({}, reason)
        if (asked.body.get("stream_options") or {}).get("include_usage"):
            yield chunk([], usage=cls.usage(asked, words))
        yield b"data: [DONE]\n\n"


class Anthropic:
    path = "/v1/messages"

    @staticmethod
    def check(asked, key):
        given = (asked.headers.get("x-api-key"), asked.headers.get("authorization", "").removeprefix("Bearer "))
        if key and key not in given:
            raise Refused(401, "authentication_error", "invalid x-api-key")
        version = asked.headers.get("anthropic-version")
        if version not in ("2023-06-01", "2026-10-21"):
            raise Refused(400, "invalid_request_error", "anthropic-version: header is required")
        for name in ("model", "max_tokens", "messages"):
            if not asked.body.get(name):
                raise Refused(400, "invalid_request_error", f"{name}: Field required")
        if version == "2026-10-21" and {"temperature", "top_p", "top_k"} & set(asked.body):
            raise Refused(400, "invalid_request_error", "sampling parameters are not supported in this version")
        for message in asked.body["messages"]:
            if message.get("role") not in ("user", "assistant"):
                raise Refused(400, "invalid_request_error", "messages: Unexpected role")
            if not message.get("content"):
                raise Refused(400, "invalid_request_error", "messages: text content blocks must be non-empty")
        if asked.body["messages"][-1]["role"] != "user":
            raise Refused(400, "invalid_request_error", "the conversation must end with a user message")

    @staticmethod
    def stops(body):
        return body.get("stop_sequences") or []

    @staticmethod
    def limit(body):
        return body["max_tokens"]

    @staticmethod
    def error(refused):
        return {"type": "error", "error": {"type": refused.kind, "message": str(refused)}, "request_id": "req_1"}

    @staticmethod
    def reason(openai_reason):
        return {"stop": "end_turn", "length": "max_tokens"}[openai_reason]

    @classmethod
    def head(cls, asked, content, reason, n_words):
        usage = {"input_tokens": len(asked.everything.split()), "output_tokens": n_words}
        return {
            "id": "msg_1", "type": "message", "role": "assistant", "model": asked.body["model"], "content": content,
            "stop_reason": reason, "stop_sequence": None, "usage": usage,
        }

    @classmethod
    def whole(cls, asked, words, reason):
        return cls.head(asked, [{"type": "text", "text": "".join(words)}], cls.reason(reason), len(words))

    @classmethod
    def frames(cls, asked, words, reason):
        def event(kind, **fields):
            return f"event: {kind}\ndata: {json.dumps({'type': kind} | fields)}\n\n".encode()

        yield event("message_start", message=cls.head(asked, [], None, 1))
        yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        yield event("ping")
        for word in words:
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
        yield event("content_block_stop", index=0)
        delta = {"stop_reason": cls.reason(reason), "stop_sequence": None}
        yield event("message_delta", delta=delta, usage={"output_tokens": len(words)})
        yield event("message_stop")


DIALECTS = {dialect.path: dialect for dialect in (OpenAi, Anthropic)}


class Model(Server):
    """Answers by `echo`, or by the next entry of `script` while it has one.

    An entry is one of the functions below (`say`, `fail`, …). `gate` is open; while a test clears it, answers wait.
    """

    def __init__(self, port=0, key=None):
        self.key = key
        self.asked = []
        self.script = deque()
        self.gate = threading.Event()
        self.gate.set()
        super().__init__(port)

    @property
    def openai_url(self):
        return f"{self.url}/v1"

    def answer(self, exchange):
        path = exchange.path.partition("?")[0]
        if path == "/v1/models":
            model = {"id": "echo", "object": "model", "created": 0, "owned_by": "test"}
            return exchange.send(200, {"object": "list", "data": [model]})
        dialect = DIALECTS.get(path)
        if dialect is None:
            return exchange.send(404, {"error": {"message": f"no route {path}", "type": "invalid_request_error"}})
        asked = Asked(path, {k.lower(): v for k, v in exchange.headers.items()}, json.loads(exchange.body))
        self.asked.append(asked)
        try:
            behave = self.script.popleft()
        except IndexError:
            behave = say()
        try:
            dialect.check(asked, self.key)
            self.gate.wait(120)
            behave(exchange, dialect, asked)
        except Refused as refused:
            exchange.send(refused.status, dialect.error(refused))


def shaped(dialect, asked, text):
    """The words of `text` up to a stop sequence or the token limit (a word is a token), and why it ends."""
    for stop in dialect.stops(asked.body):
        text = text.partition(stop)[0]
    words = [word for word in text.replace(" ", "\0 ").split("\0") if word]
    limit = dialect.limit(asked.body)
    return (words[:limit], "length") if limit and len(words) > limit else (words, "stop")


def say(text=None, pause=0.0):
    """Answers `text`, or the echo; `pause` seconds before every word of a stream."""

    def behave(exchange, dialect, asked):
        words, reason = shaped(dialect, asked, echo(asked) if text is None else text)
        if not asked.body.get("stream"):
            time.sleep(pause * len(words))
            return exchange.send(200, dialect.whole(asked, words, reason))
        exchange.start_stream()
        for frame in dialect.frames(asked, words, reason):
            time.sleep(pause)
            exchange.write_stream(frame)
        exchange.end_stream()

    return behave


def fail(status, retry_after=None, kind="api_error"):
    """Refuses once with `status`."""

    def behave(exchange, dialect, asked):
        headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
        exchange.send(status, dialect.error(Refused(status, kind, "try again later")), headers)

    return behave


def hang(seconds=600):
    """Takes the request and says nothing."""

    def behave(exchange, dialect, asked):
        time.sleep(seconds)
        exchange.drop()

    return behave


def malformed():
    """A stream whose second frame breaks off inside its JSON, and that ends there."""

    def behave(exchange, dialect, asked):
        exchange.start_stream()
        first, second, *_ = dialect.frames(asked, ["Half"], "stop")
        exchange.write_stream(first)
        exchange.write_stream(second[: len(second) // 2] + b"\n\n")
        exchange.end_stream()

    return behave


def cut():
    """A stream that begins well and breaks off in the middle of its text."""

    def behave(exchange, dialect, asked):
        exchange.start_stream()
        frames = list(dialect.frames(asked, ["Half", " an", " answer"], "stop"))
        for frame in frames[: len(frames) // 2]:
            exchange.write_stream(frame)
        exchange.drop()

    return behave
