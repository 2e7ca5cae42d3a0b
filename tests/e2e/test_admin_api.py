"""The admin API is what its description says, to whoever asks and whatever they ask."""

import json
import os
import re
import subprocess
import sys

import pytest
from openapi_spec_validator import validate
from peers.relay import Relay
from peers.wire import call

KEY = "tenant-42-webhook:U1"

# Not `positive_data_acceptance`: a text may be no session key although it is a text.
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "ignored_auth",
    "unsupported_method",
]


@pytest.fixture
def door(desk):
    with Relay(desk.home) as relay:
        yield relay.url


@pytest.fixture
def token(desk):
    return (desk.home / "admin.token").read_text()


def test_the_description_is_valid_and_the_one_thing_to_learn_without_a_token(door):
    described = call("GET", f"{door}/api/v1/openapi.json").json
    validate(described)
    assert described["openapi"].startswith("3.1")
    for path, item in described["paths"].items():
        for method in item:
            refused = call(method.upper(), door + path.replace("{number}", "1"))
            assert refused.status == 401 and refused.headers["www-authenticate"] == "Bearer", (method, path)
            assert refused.json["error"]


def test_streams_and_files_come_as_described(desk, hook, door, token, tmp_path):
    hook.ask("hello")
    described = call("GET", f"{door}/api/v1/openapi.json").json["paths"]

    def ask(method, path, query, body=None):
        answer = call(method, f"{door}{path}?{query}", body, {"Authorization": f"Bearer {token}"})
        media_type = answer.headers["content-type"]
        assert answer.status == 200 and media_type in described[path][method.lower()]["responses"]["200"]["content"]
        return answer

    lines = ask("GET", "/api/v1/sessions/tail", f"key={KEY}").text.splitlines()
    assert [json.loads(line)["role"] for line in lines] == ["peer", "agent"]
    assert all("number" in json.loads(line) for line in ask("GET", "/api/v1/logs", "lines=5").text.splitlines() if line)
    assert ask("GET", "/api/v1/metrics", "").text.endswith("# EOF\n")
    for form in ["jsonl", "md", "html"]:
        assert "hello" in ask("GET", "/api/v1/sessions/export", f"key={KEY}&format={form}").text
    said = ask("POST", "/api/v1/backup", f"to={tmp_path}", {"passphrase": "a passphrase of four words"}).text
    assert json.loads(said.splitlines()[-1])["done"]["rows"] > 0


def test_whatever_is_asked_the_answer_is_one_of_those_described(desk, hook, door, token, tmp_path):
    hook.ask("hello")
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{door}/api/v1/openapi.json",
        "--header", f"Authorization: Bearer {token}",
        "--checks", ",".join(CHECKS),
        # The first would write to whatever place is made up, the others have no end with `follow`.
        "--exclude-operation-id", "post_backup",
        "--exclude-operation-id", "get_sessions_tail",
        "--exclude-operation-id", "get_logs",
        # It removes the channel that is asked at the end.
        "--exclude-operation-id", "post_tenants_remove",
        # These look for servers at whatever address is made up.
        "--exclude-operation-id", "post_providers_probe",
        "--exclude-operation-id", "put_setup_model",
        "--phases", "examples,coverage,fuzzing",
        "--max-examples", "8",
        "--request-timeout", "20",
        "--generation-deterministic",
        "--no-color",
    ]  # fmt: skip
    env = os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    n_tested = re.search(r"Tested: (\d+)", done.stdout)
    assert n_tested and int(n_tested[1]) >= 40, done.stdout[-2_000:]
    assert desk.is_running and "panicked" not in desk.log
    assert hook.ask("and now?"), "it works as before"
