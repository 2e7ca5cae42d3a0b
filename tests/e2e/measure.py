"""How fast it starts and how much memory it holds: measure.py [--runs N]. FRONTDESK_BIN names the program.

Cold start is the time from `gateway run` in an empty home to the first 200 of /readyz; memory is VmRSS two
seconds after that, and again after one message went through.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from peers import settings
from peers.gateway import Gateway, binary
from peers.model import Model
from peers.webhook import WebhookPeer, new_secret
from peers.wire import call

PAUSE = 0.001


def rss_mb(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def start_ms(gateway):
    began = time.monotonic()
    gateway.launch()
    while True:
        try:
            if call("GET", f"{gateway.url}/readyz", timeout=1).status == 200:
                return (time.monotonic() - began) * 1000
        except OSError:
            pass
        assert gateway.is_running and time.monotonic() < began + 30, gateway.log
        time.sleep(PAUSE)


def run(folder, model):
    gateway = Gateway(folder, env={"HOOK_SECRET": new_secret("hook"), "MODEL_KEY": settings.MODEL_KEY})
    with WebhookPeer("hook42", gateway.env["HOOK_SECRET"]) as hook:
        hook.gateway_url = gateway.url
        gateway.write(settings.settings(gateway.port, model.openai_url, settings.webhook(hook)))
        started = start_ms(gateway)
        time.sleep(2)
        idle = rss_mb(gateway.pid)
        hook.ask("hello")
        used = rss_mb(gateway.pid)
        began = time.monotonic()
        gateway.ok("gateway", "status")
        status = (time.monotonic() - began) * 1000
        gateway.stop()
    return started, idle, used, status


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--runs", type=int, default=5)
    n_runs = arguments.parse_args().runs
    with tempfile.TemporaryDirectory() as folder, Model(key=settings.MODEL_KEY) as model:
        runs = []
        for n in range(n_runs):
            (Path(folder) / str(n)).mkdir()
            runs.append(run(Path(folder) / str(n), model))
    started, idle, used, status = (statistics.median(column) for column in zip(*runs, strict=True))
    size = Path(binary()).stat().st_size / 1024 / 1024
    print(f"| what | median of {n_runs} |\n|---|---|")
    print(f"| cold start to ready | {started:.0f} ms |")
    print(f"| memory when idle | {idle:.1f} MB |")
    print(f"| memory after one message | {used:.1f} MB |")
    print(f"| `gateway status` | {status:.0f} ms |")
    print(f"| size of the program | {size:.1f} MB |")


if __name__ == "__main__":
    main()
