"""llama.cpp's own server with a toy model, and a recorder that keeps every prompt on its way there."""

import http.client
import json
import subprocess
import sys
from pathlib import Path

from peers.model import Asked
from peers.wire import Server, call, free_port, until

MODELS = Path(__file__).parent.parent / "models"


def made(folder):
    """The folder with the toy models, made when it is empty."""
    if not (folder / "tool.gguf").exists():
        subprocess.run([sys.executable, str(MODELS / "make.py"), str(folder)], check=True, timeout=60)
    return folder


class Llama:
    """A process that serves one model until `stop()`."""

    def __init__(self, model, log):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, str(MODELS / "serve.py"), str(model), str(self.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        until(self._is_ready, 60, "llama.cpp's server is ready")

    def _is_ready(self):
        assert self._process.poll() is None, "llama.cpp's server ended"
        try:
            return call("GET", f"{self.url}/health", timeout=2).status == 200
        except OSError:
            return False

    def stop(self):
        self._process.kill()  # it has nothing to lose
        self._process.wait()


class Recorder(Server):
    """A reverse proxy: passes everything on, byte by byte as it streams, and keeps what was asked.

    `upstream` may be moved while it runs; without one it refuses as a gateway in front of a dead model does.
    """

    def __init__(self, upstream):
        self.upstream = upstream
        self.asked = []
        super().__init__()

    def answer(self, exchange):
        if exchange.body and exchange.command == "POST":
            headers = {k.lower(): v for k, v in exchange.headers.items()}
            self.asked.append(Asked(exchange.path, headers, json.loads(exchange.body)))
        if self.upstream is None:
            return exchange.send(502, b"no upstream")
        connection = http.client.HTTPConnection(self.upstream.removeprefix("http://"), timeout=60)
        try:
            hop_by_hop = ("host", "connection", "content-length", "transfer-encoding")
            headers = {k: v for k, v in exchange.headers.items() if k.lower() not in hop_by_hop}
            connection.request(exchange.command, exchange.path, exchange.body or None, headers)
            answer = connection.getresponse()
            exchange.start_stream(answer.status, {"Content-Type": answer.headers.get("Content-Type", "text/plain")})
            while data := answer.read1(65536):
                exchange.write_stream(data)
            exchange.end_stream()
        finally:
            connection.close()
