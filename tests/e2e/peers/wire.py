"""The HTTP that all peers share: a small server on loopback, a client without proxies, and waiting."""

import contextlib
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def until(condition, timeout=20, what="the condition"):
    """The first truthy value of `condition()`. Fails, naming `what`, after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what() if callable(what) else what}")
        time.sleep(0.02)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict
    body: bytes

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(method, url, body=None, headers=None, timeout=20):
    """One request; any status is a `Response`, never an exception. A dict body is sent as JSON."""
    headers = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    try:
        answer = DIRECT.open(request, timeout=timeout)
    except urllib.error.HTTPError as refused:
        answer = refused
    with answer:
        return Response(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())


class Exchange(BaseHTTPRequestHandler):
    """One request that came in, and the ways to answer it."""

    protocol_version = "HTTP/1.1"

    def handle(self):
        with contextlib.suppress(ConnectionResetError):  # a client may go between two requests
            super().handle()

    def serve(self):
        # Bodies come with a length or in chunks; official clients use both.
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            self.body = b"".join(parts)
        else:
            self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            self.server.peer.answer(self)
        except (BrokenPipeError, ConnectionResetError):
            self.server.peer.hung_up.append(self.path)
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve

    def send(self, status, body=b"", headers=None):
        if isinstance(body, (dict, list)):
            body, headers = json.dumps(body).encode(), {"Content-Type": "application/json"} | (headers or {})
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def start_stream(self, status=200, headers=None):
        self.send_response(status)
        for name, value in (headers or {"Content-Type": "text/event-stream"}).items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def write_stream(self, data):
        if data:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()

    def end_stream(self):
        self.wfile.write(b"0\r\n\r\n")

    def drop(self):
        """Closes the connection in the middle of whatever was being said."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_):
        pass


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class Server:
    """An HTTP server on loopback, running from construction to `stop()`. Subclasses define `answer`."""

    def __init__(self, port=0):
        self.hung_up = []  # paths of requests whose client went away while it was being answered
        self._listener = Listener(("127.0.0.1", port), Exchange)
        self._listener.peer = self
        self.port = self._listener.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def answer(self, exchange):
        raise NotImplementedError

    def stop(self):
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
