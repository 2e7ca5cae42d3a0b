"""A certificate that browsers trust, from a real ACME authority: Pebble."""

import hashlib
import json
import socket
import ssl

import pytest

from peers import pebble
from peers.wire import free_port, until

DOMAIN = "desk.example.com"


@pytest.fixture
def new_authority(tmp_path):
    why_not = pebble.why_not()
    if why_not:
        pytest.skip(why_not)
    running = []

    def make(gateway, **more):
        ports = {"http_port": gateway.port, "tls_port": gateway.port} | more
        folder = tmp_path / f"pebble{len(running)}"
        folder.mkdir()
        authority = pebble.Pebble(folder, **ports)
        running.append(authority)
        gateway.env["SSL_CERT_FILE"] = str(authority.root)
        return authority

    yield make
    for authority in running:
        authority.stop()


def settings(gateway, authority, agreed="true", domain=DOMAIN):
    return (
        f'[gateway]\nport = {gateway.port}\n[gateway.acme]\ndomains = ["{domain}"]\nemail = "owner@example.com"\n'
        f'directory_url = "{authority.directory}"\nterms_of_service_agreed = {agreed}\n'
    )


def status(gateway):
    return json.loads(gateway.ok("--json", "gateway", "status").out)


def acme(gateway):
    return status(gateway)["https"]["acme"]


def certified(gateway, timeout=60):
    until(lambda: acme(gateway)["ends"], timeout, lambda: f"there is a certificate:\n{gateway.log}")


def shown(gateway, name, root=None):
    """The certificate that the box shows to who asks for this name, in its binary form."""
    context = ssl.create_default_context(cadata=root) if root else ssl._create_unverified_context()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as wire:
        with context.wrap_socket(wire, server_hostname=name) as inside:
            return inside.getpeercert(binary_form=True)


def fingerprint(der):
    return ":".join(f"{byte:02X}" for byte in hashlib.sha256(der).digest())


def test_a_box_with_a_domain_gets_a_certificate_and_keeps_it(gateway, new_authority):
    authority = new_authority(gateway)
    gateway.write(settings(gateway, authority))
    gateway.start()
    certified(gateway)
    trusted = shown(gateway, DOMAIN, authority.issuer())
    # Who asks for another name, or for none, meets the device.
    own = status(gateway)["https"]["fingerprint"]
    assert fingerprint(shown(gateway, "frontdesk.local")) == own == fingerprint(shown(gateway, None))
    assert fingerprint(trusted) != own
    assert (gateway.home / "acme.pem").stat().st_mode & 0o777 == 0o600
    assert (gateway.home / "acme.json").stat().st_mode & 0o777 == 0o600
    assert f"https://{DOMAIN}: trusted" in gateway.ok("gateway", "status").out
    # Another start asks nobody: here nobody could answer.
    gateway.stop()
    authority.stop()
    gateway.start()
    assert shown(gateway, DOMAIN, authority.issuer_pem) == trusted
    # Without the section it is not shown any more.
    gateway.write(f"[gateway]\nport = {gateway.port}\n")
    gateway.ok("gateway", "reload")
    assert fingerprint(shown(gateway, DOMAIN)) == own
    assert acme(gateway) is None


@pytest.mark.parametrize("closed", ["http_port", "tls_port"])
def test_one_open_port_is_enough(gateway, new_authority, closed):
    authority = new_authority(gateway, **{closed: free_port()})
    gateway.write(settings(gateway, authority))
    gateway.start()
    if closed == "tls_port":
        # The first try is a handshake; the second one, here at once, shows a page.
        until(lambda: acme(gateway)["problem"], 60, lambda: f"the handshake is refused:\n{gateway.log}")
        assert "did not find it" in acme(gateway)["problem"]
        gateway.ok("gateway", "reload")
    certified(gateway)
    shown(gateway, DOMAIN, authority.issuer())


def test_what_is_wrong_is_said_with_what_to_do(gateway, new_authority):
    authority = new_authority(gateway)
    authority.leads_to(DOMAIN, "127.0.0.9")
    gateway.write(settings(gateway, authority))
    gateway.start()
    until(lambda: acme(gateway)["problem"], 60, lambda: f"it is refused:\n{gateway.log}")
    problem = acme(gateway)["problem"]
    assert DOMAIN in problem and "see that the name leads to this box" in problem and "tried again at" in problem
    assert any(warning == problem for warning in status(gateway)["warnings"])
    assert "leads to this box" in gateway.cli("doctor").out
    # The box is reached as before; what was asked for does not answer.
    assert fingerprint(shown(gateway, DOMAIN)) == status(gateway)["https"]["fingerprint"]
    authority.leads_to(DOMAIN, "127.0.0.1")
    gateway.ok("gateway", "reload")
    certified(gateway)


def test_without_the_terms_nothing_is_asked(gateway, new_authority):
    authority = new_authority(gateway)
    gateway.write(settings(gateway, authority, agreed="false"))
    outcome = gateway.cli("config", "check")
    assert outcome.code != 0 and "terms_of_service_agreed" in outcome.out + outcome.err
    assert not (gateway.home / "acme.json").exists()


def test_a_certificate_is_renewed_before_it_ends(gateway, new_authority):
    authority = new_authority(gateway, life_seconds=90)
    gateway.write(settings(gateway, authority))
    gateway.start()
    certified(gateway)
    first = shown(gateway, DOMAIN, authority.issuer())
    until(lambda: shown(gateway, DOMAIN) != first, 150, lambda: f"it is renewed:\n{gateway.log}")
    shown(gateway, DOMAIN, authority.issuer())
