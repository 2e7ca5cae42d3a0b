"""What the box tells about itself: metrics that a Prometheus reads, figures, its log, lines in the journal, spans."""

import json
import os
import re
import shutil
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from peers.wire import call, until
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
# Names of the configuration, currencies, statuses of HTTP, bounds and versions: nothing that people bring along.
LABELS = {"tenant", "currency", "channel", "type", "provider", "status", "version", "le"}


@pytest.fixture
def token(desk):
    created = desk.cli("--json", "tokens", "create", "prometheus", "--role", "support")
    assert created.code == 0, created.err
    return json.loads(created.out)["token"]


def scrape(desk, token):
    answer = call("GET", f"{desk.url}/api/v1/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status == 200 and answer.headers["content-type"].startswith("application/openmetrics-text; version=1")
    return list(parse(answer.text))


def documented():
    """Names of samples in the document, as a Prometheus shows them."""
    return {name for row in re.findall(r"^\| (`frontdesk_.*?) \|", DOCUMENT.read_text(), re.M) for name in re.findall(r"`(\w+)`", row)}


def test_metrics_are_read_by_the_official_parser_and_each_is_documented(desk, hook, token):
    hook.ask("hello")
    call("GET", f"{desk.url}/api/v1/status", headers={"Authorization": "Bearer wrong"})
    families = scrape(desk, token)
    shown = set()
    for family in families:
        assert family.documentation, family
        name = family.name
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        shown.add(name + suffix)
        for sample in family.samples:
            assert set(sample.labels) <= LABELS, sample
            assert not any("U1" in value or "hello" in value or "webhook:" in value for value in sample.labels.values()), sample
    assert shown == documented() - {"frontdesk_backup_age_seconds"}
    samples = {(sample.name, sample.labels.get("tenant")): sample.value for family in families for sample in family.samples}
    assert samples["frontdesk_messages_total", "42"] == samples["frontdesk_answers_total", "42"] == 1
    assert samples["frontdesk_tokens_output_total", "42"] > 0
    assert samples["frontdesk_memory_bytes", None] > 1e6 and samples["frontdesk_cpu_seconds_total", None] > 0
    # Prometheus wants buckets that grow, and the parser checks that they do.
    buckets = [sample.value for family in families for sample in family.samples if sample.name.endswith("_bucket")]
    assert len(buckets) == 13 and buckets[-1] == 1


def test_a_token_of_a_tenant_gets_the_series_of_that_tenant(desk, hook):
    hook.ask("hello")
    created = desk.cli("--json", "tokens", "create", "theirs", "--role", "support", "--tenant", "42")
    families = scrape(desk, json.loads(created.out)["token"])
    tenants = {sample.labels["tenant"] for family in families for sample in family.samples if "tenant" in sample.labels}
    assert tenants == {"42"}
    assert not {family.name for family in families} & {"frontdesk_store_bytes", "frontdesk_provider_errors", "frontdesk_uptime_seconds"}
    for refused in [None, "wrong"]:
        headers = {"Authorization": f"Bearer {refused}"} if refused else {}
        assert call("GET", f"{desk.url}/api/v1/metrics", headers=headers).status == 401


def test_figures_outlive_the_process_and_the_log_is_shown_by_a_command(desk, hook):
    hook.ask("hello")
    assert desk.stop() == 0
    desk.start()
    usage = json.loads(desk.cli("--json", "usage", "--days", "2", "--tenant", "42").out)
    assert sum(piece["messages"] for piece in usage["usage"]) == 1
    assert usage["memory"]
    lines = [json.loads(line) for line in desk.cli("--json", "logs", "--lines", "5").out.splitlines()]
    assert all({"number", "at", "level", "target", "message", "fields"} <= set(line) for line in lines)


@pytest.mark.skipif(not hasattr(os, "memfd_create") or shutil.which("unshare") is None, reason="needs namespaces of Linux")
def test_under_systemd_lines_go_to_the_journal_with_their_fields(gateway, tmp_path):
    """A socket in the place of the journal's, which only the gateway sees; standard error is what `JOURNAL_STREAM` names."""
    can = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "true"], capture_output=True)
    if can.returncode != 0:
        pytest.skip("namespaces are not allowed here")
    journal = tmp_path / "systemd" / "journal"
    journal.mkdir(parents=True)
    gateway.write(f"[gateway]\nport = {gateway.port}\n[session]\ndm_scope = \"main\"\n[[channels]]\ntype = \"webhook\"\nid = \"desk\"\nsecret = \"of-the-desk\"\nreply_url = \"http://127.0.0.1:1\"\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(journal / "socket"))
        heard.settimeout(20)
        log = gateway.log_path
        with log.open("ab") as stderr:
            stat = os.fstat(stderr.fileno())
            env = gateway.env | {"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}", "FRONTDESK_LOG": "debug"}
            mount = f"mkdir -p /run/systemd && mount --bind {tmp_path}/systemd /run/systemd && exec \"$@\""
            command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh", *gateway._command]
            process = subprocess.Popen([*command, "gateway", "run"], env=env, stdout=subprocess.DEVNULL, stderr=stderr)
        try:
            until(lambda: answers(gateway), 30, lambda: f"the gateway answers: {log.read_text()}")
            call("POST", f"{gateway.url}/hooks/desk", b"unsigned")
            process.terminate()
            process.wait(20)
            records = read_all(heard)
        finally:
            process.kill()
    stopping = [record for record in records if record.get("MESSAGE") == "stopping"]
    assert stopping and stopping[0]["SYSLOG_IDENTIFIER"] == "frontdesk", records[:3]
    assert stopping[0]["PRIORITY"] == "5" and stopping[0]["TARGET"].startswith("frontdesk::")
    # A field of a line is a field of its record.
    [refused] = [record for record in records if record["MESSAGE"] == "a hook request was refused"]
    assert refused["CHANNEL_NAME"] == "desk" and refused["STATUS"] in {"400", "401"} and refused["PRIORITY"] == "4"
    assert log.read_text() == "", "nothing is said twice"


def answers(gateway):
    try:
        return call("GET", f"{gateway.url}/healthz", timeout=5).status == 200
    except OSError:
        return False


def read_all(heard):
    heard.setblocking(False)
    records = []
    while True:
        try:
            payload = heard.recv(1 << 20)
        except BlockingIOError:
            return records
        if payload:
            records.append(fields(payload))


def fields(payload):
    """The native protocol of the journal: `NAME=value` lines, and names with a length and bytes behind."""
    found = {}
    while payload:
        line, _, rest = payload.partition(b"\n")
        if b"=" in line:
            name, _, value = line.partition(b"=")
            payload = rest
        else:
            name, size = line, int.from_bytes(rest[:8], "little")
            value, payload = rest[8 : 8 + size], rest[9 + size :]
        found[name.decode()] = value.decode()
    return found


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((self.path, dict(self.headers), body))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_spans_go_to_the_collector_without_a_word_of_what_was_said(desk, hook):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.received = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        text = (desk.home / "config.toml").read_text()
        url = f"http://127.0.0.1:{server.server_port}/v1/traces"
        desk.write(f'{text}\n[telemetry]\notlp_endpoint = "{url}"\notlp_headers = ["x-key=of the collector"]\n')
        reloaded = desk.cli("gateway", "reload")
        assert reloaded.code == 0, reloaded.err
        if "built without OpenTelemetry" in reloaded.out:
            hook.ask("it works all the same")
            assert server.received == []
            return
        hook.ask("a secret question")
        assert desk.stop() == 0
        [(path, headers, body), *_] = server.received
        assert path == "/v1/traces" and headers["x-key"] == "of the collector"
        assert headers["content-type"] == "application/x-protobuf"
        for word in [b"turn", b"chat", b"frontdesk", b"gen_ai.usage.input_tokens", b"frontdesk.tenant"]:
            assert word in body, word
        for word in [b"secret question", b"U1", b"webhook:"]:
            assert word not in body, word
    finally:
        server.shutdown()
