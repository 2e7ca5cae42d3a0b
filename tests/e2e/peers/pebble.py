"""Pebble, the ACME authority of Let's Encrypt for tests, and the name server that it asks. Both on loopback alone."""

import datetime
import ipaddress
import json
import os
import shutil
import ssl
import subprocess

from peers.wire import call, free_port, until


def why_not():
    """Why it cannot run here, or None."""
    missing = [name for name in ("pebble", "pebble-challtestsrv") if not shutil.which(name)]
    return f"{missing[0]} is not installed: apt-get install pebble" if missing else None


def certificate(folder):
    """Key and certificate that Pebble itself shows."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pebble")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    clear = serialization.NoEncryption()
    (folder / "pebble.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, clear))
    (folder / "pebble.pem").write_bytes(made.public_bytes(pem))


class Pebble:
    """It looks for every domain at 127.0.0.1, at the ports given here: one of them may lead nowhere."""

    def __init__(self, folder, http_port, tls_port, life_seconds=7776000):
        certificate(folder)
        self.root = folder / "pebble.pem"
        self._dns, self._challenges, port, self._management = (free_port() for _ in range(4))
        self.directory = f"https://127.0.0.1:{port}/dir"
        config = {
            "listenAddress": f"127.0.0.1:{port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(self.root),
            "privateKey": str(folder / "pebble.key"),
            "httpPort": http_port,
            "tlsPort": tls_port,
            "certificateValidityPeriod": life_seconds,
        }
        (folder / "pebble.json").write_text(json.dumps({"pebble": config}))
        quiet = {"stdout": (folder / "pebble.log").open("wb"), "stderr": subprocess.STDOUT}
        names = ["-dns01", f"127.0.0.1:{self._dns}", "-http01", "", "-https01", "", "-tlsalpn01", ""]
        names += ["-management", f"127.0.0.1:{self._challenges}", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]
        authority = ["pebble", "-config", str(folder / "pebble.json"), "-dnsserver", f"127.0.0.1:{self._dns}"]
        self._log = folder / "pebble.log"
        self._processes = [
            subprocess.Popen(["pebble-challtestsrv", *names], **quiet),
            subprocess.Popen(authority, env=os.environ | {"PEBBLE_VA_NOSLEEP": "1"}, **quiet),
        ]
        self._tls = ssl.create_default_context(cafile=str(self.root))
        self.issuer_pem = None
        until(self._answers, 20, lambda: f"pebble answers:\n{self._log.read_text()}")

    def _answers(self):
        try:
            return bool(self.issuer())
        except OSError:
            return False

    def issuer(self):
        """The root under which it issues, as PEM."""
        import urllib.request

        url = f"https://127.0.0.1:{self._management}/roots/0"
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._tls)
        )
        with opener.open(url, timeout=5) as answer:
            self.issuer_pem = answer.read().decode()
        return self.issuer_pem

    def leads_to(self, domain, address):
        """From now on the domain is there."""
        url = f"http://127.0.0.1:{self._challenges}"
        assert call("POST", f"{url}/clear-a", body={"host": f"{domain}."}).status == 200
        assert call("POST", f"{url}/add-a", body={"host": f"{domain}.", "addresses": [address]}).status == 200

    def stop(self):
        for process in self._processes:
            process.kill()
            process.wait()
