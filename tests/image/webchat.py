"""A visitor of the web chat who polls."""

import json
import secrets


class Visitor:
    """One person in front of one machine; `cookie` is who they are after the box was switched off and on."""

    def __init__(self, machine, cookie: str | None = None):
        self.machine = machine
        if cookie is None:
            page = machine.request("/chat/webchat")
            assert page.status == 200
            cookie = page.headers["Set-Cookie"].split(";")[0]
        self.cookie = cookie

    def _headers(self):
        return {"Cookie": self.cookie, "Origin": f"http://127.0.0.1:{self.machine.http_port}"}

    def lines(self) -> list[dict]:
        try:
            answer = self.machine.request("/chat/webchat/history", headers=self._headers())
        except OSError:
            return []
        return json.loads(answer.read())["lines"] if answer.status == 200 else []

    def ask(self, text: str) -> str:
        """Sends it until it is accepted, and gives the worker's answer."""
        identity = secrets.token_hex(8)

        def accepted():
            try:
                sent = self.machine.request("/chat/webchat/messages", {"id": identity, "text": text}, self._headers())
            except OSError:
                return False
            return sent.status < 300

        self.machine.wait(accepted, "the message is accepted")

        def answer():
            lines = self.lines()
            asked = [n for n, line in enumerate(lines) if line["from"] == "you" and line["text"] == text]
            after = [line["text"] for line in lines[asked[-1] + 1 :] if line["from"] == "agent"] if asked else []
            return after and after[0]

        return self.machine.wait(answer, "the worker answers")
