"""TLS: what is spoken, a certificate that is replaced or spoilt while serving, and requests that were not encrypted."""

import contextlib
import http.client
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import tempfile
import time

import requests

from instance import require
from watched import Watched, holds

SLOW = 200


def play(checks, arguments):
    with tempfile.TemporaryDirectory(prefix="crossfade-tls-") as directory:
        pair = Pair(pathlib.Path(directory) / "pair")
        pair.make()
        with Encrypted.serving(arguments, directory, pair) as server:
            _speaks(checks, server, pair)
            _replaces(checks, server, pair)
            _keeps(checks, server, pair)
            _looks_ahead(checks, server, pair)
            _outlasts_slow_handshakes(checks, server, pair)
        _refuses_a_start(checks, server, pair)
    _behind_a_proxy(checks, arguments)


class Pair:
    """The files of a certificate of this machine."""

    def __init__(self, directory):
        directory.mkdir()
        self.certificate, self.key = directory / "cert.pem", directory / "key.pem"
        # What clients trust: all certificates that were ever made.
        self.trusted = directory / "trusted.pem"
        self.trusted.write_text("")

    def made(self, days=90, name="IP:127.0.0.1"):
        """A new certificate and key, as text."""
        with tempfile.TemporaryDirectory() as directory:
            certificate, key = pathlib.Path(directory) / "cert", pathlib.Path(directory) / "key"
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-subj", "/CN=crossfade test", "-addext", f"subjectAltName={name}",
                 "-addext", "basicConstraints=critical,CA:FALSE", "-days", str(days),
                 "-keyout", key, "-out", certificate],
                check=True, capture_output=True,
            )
            with open(self.trusted, "a") as trusted:
                trusted.write(certificate.read_text())
            return certificate.read_text(), key.read_text()

    def make(self, **how):
        self.put(*self.made(**how))

    def put(self, certificate, key):
        self.certificate.write_text(certificate)
        self.key.write_text(key)
        self.key.chmod(0o600)


class Encrypted(Watched):
    scheme = "https"

    @classmethod
    @contextlib.contextmanager
    def serving(cls, arguments, directory, pair):
        server = cls(arguments.binary, directory, None)
        server.environment |= {
            "CROSSFADE_TLS_CERT_FILE": str(pair.certificate), "CROSSFADE_TLS_KEY_FILE": str(pair.key),
            "SSL_CERT_FILE": str(pair.trusted),
        }
        os.environ["REQUESTS_CA_BUNDLE"] = str(pair.trusted)
        try:
            server.start()
            server.create_client()
            yield server
        finally:
            server.stop()
            del os.environ["REQUESTS_CA_BUNDLE"]

    def port(self):
        return int(self.url.rsplit(":", 1)[1])

    def certificate(self):
        """The certificate that a new connection is shown, as PEM."""
        return ssl.get_server_certificate(("127.0.0.1", self.port()), timeout=10)


def _speaks(checks, server, pair):
    holds(checks, server.token().status_code == 200, "a token over TLS")
    holds(checks, server.change().status_code == 201, "a rotation over TLS")
    page = requests.get(f"{server.url}/console/sign-in", timeout=10)
    holds(checks, page.headers.get("strict-transport-security") == "max-age=31536000", "pages ask for https alone",
          str(page.headers))
    signed_in = requests.post(
        f"{server.url}/console/sign-in", timeout=30, allow_redirects=False,
        data={"email": "owner@example.com", "password": server.password, "to": "/console"},
    )
    cookies = signed_in.raw.headers.getlist("set-cookie")
    holds(checks, cookies and all(one.startswith("__Host-") and "; Secure" in one for one in cookies),
          "every cookie is for this host and TLS alone", str([one.split("=")[0] for one in cookies]))
    listed = server.cli("secret", "list", "Billing", "--env", "production")
    holds(checks, len(listed) >= 1, "the command line speaks TLS", str(listed)[:200])
    for version, spoken in [("tls1", False), ("tls1_1", False), ("tls1_2", True), ("tls1_3", True)]:
        said = _s_client(server, f"-{version}")
        holds(checks, ("Cipher is" in said and "Cipher is (NONE)" not in said) == spoken,
              f"{version} is {'spoken' if spoken else 'refused'}", said[-300:])
    for offered, chosen in [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), (["h3"], None)]:
        found = _alpn(server, pair, offered)
        holds(checks, found == chosen, f"of {offered} the server chooses {chosen}", str(found))
    plain = requests.post(f"http://127.0.0.1:{server.port()}/env/production/oauth2/token", timeout=10,
                          allow_redirects=False, data={"grant_type": "client_credentials"})
    holds(checks, plain.status_code == 400 and "https://" in plain.text, "plain HTTP is told to use https", plain.text)
    holds(checks, server.doctor().get("tls", ("",))[0] == "ok", "doctor finds the certificate good", str(server.doctor()))


def _s_client(server, *options):
    """What openssl says of a handshake, with ciphers that only old versions need."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port()}", "-cipher", "ALL:@SECLEVEL=0", *options],
        input=b"", capture_output=True, timeout=20,
    )
    return (done.stdout + done.stderr).decode(errors="replace")


def _alpn(server, pair, offered):
    context = ssl.create_default_context(cafile=pair.trusted)
    context.set_alpn_protocols(offered)
    try:
        with socket.create_connection(("127.0.0.1", server.port()), timeout=10) as stream:
            with context.wrap_socket(stream, server_hostname="127.0.0.1") as encrypted:
                return encrypted.selected_alpn_protocol()
    except (ssl.SSLError, ConnectionError):
        return None


def _replaces(checks, server, pair):
    """A new certificate is used without a restart, and no connection is dropped."""
    context = ssl.create_default_context(cafile=pair.trusted)
    kept = http.client.HTTPSConnection("127.0.0.1", server.port(), context=context, timeout=20)
    with contextlib.closing(kept):
        _asks(kept)
        before, stream = server.certificate(), kept.sock
        certificate, key = pair.made()
        pair.certificate.write_text(certificate)
        server.process.send_signal(signal.SIGHUP)
        server.eventually(checks, lambda: require(server.metric("crossfade_tls_certificate_refused") == 1, "not yet"),
                          "a certificate without its key is reported")
        holds(checks, server.certificate() == before, "a certificate without its key is not used")
        pair.put(certificate, key)
        server.eventually(checks, lambda: require(server.certificate() == certificate, "the old one"),
                          "new files are used within ten seconds", seconds=15)
        holds(checks, _asks(kept) == 200 and kept.sock is stream,
              "a connection with the earlier certificate goes on")
    second = pair.made()
    pair.put(*second)
    server.process.send_signal(signal.SIGHUP)
    server.eventually(checks, lambda: require(server.certificate() == second[0], "the old one"),
                      "new files are used at HUP", seconds=4)
    holds(checks, server.metric("crossfade_tls_certificate_refused") == 0, "nothing is refused any more")


def _asks(connection):
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _keeps(checks, server, pair):
    """What cannot be used leaves the earlier certificate in use."""
    before = server.certificate()
    good = pair.certificate.read_text(), pair.key.read_text()
    for what, spoil, says in [
        ("an empty certificate file", lambda: pair.certificate.write_text(""), "contains no certificate"),
        ("a key file without a key", lambda: pair.key.write_text("nothing"), "contains no private key"),
        ("a missing key file", pair.key.unlink, "does not exist"),
        ("another key", lambda: pair.key.write_text(pair.made()[1]), "does not belong to"),
    ]:
        spoil()
        server.process.send_signal(signal.SIGHUP)
        server.eventually(checks, lambda: require(says in server.log.read_text(), "no line"), f"{what}: the log says so")
        holds(checks, server.certificate() == before, f"{what}: the earlier certificate stays in use")
        holds(checks, server.token().status_code == 200, f"{what}: tokens are issued")
        outcome, sentence = server.doctor().get("tls", ("", ""))
        holds(checks, outcome == "FAIL" and says in sentence, f"{what}: doctor says so", sentence)
        pair.put(*good)
        server.process.send_signal(signal.SIGHUP)
        server.eventually(checks, lambda: require(server.metric("crossfade_tls_certificate_refused") == 0, "refused"),
                          f"{what}: mended")


def _looks_ahead(checks, server, pair):
    for how, says in [({"days": 10}, "expires at"), ({"name": "DNS:auth.example.com"}, "does not name 127.0.0.1")]:
        good = pair.certificate.read_text(), pair.key.read_text()
        pair.make(**how)
        outcome, sentence = server.doctor().get("tls", ("", ""))
        holds(checks, outcome == "warn" and says in sentence, f"doctor warns that the certificate {says}", sentence)
        pair.put(*good)
    pair.key.chmod(0o644)
    outcome, sentence = server.doctor().get("tls", ("", ""))
    holds(checks, outcome == "FAIL" and "private key" in sentence, "doctor reports a key that everybody can read",
          sentence)
    pair.key.chmod(0o600)


def _outlasts_slow_handshakes(checks, server, pair):
    """Connections that never finish their handshake delay nobody, and are closed."""
    begun = time.monotonic()
    streams = [socket.create_connection(("127.0.0.1", server.port()), timeout=10) for _ in range(SLOW)]
    for number, stream in enumerate(streams):
        # Nothing, the first byte, or the first half of a record that never ends.
        stream.sendall([b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00"][number % 3])
    holds(checks, server.token().status_code == 200, f"{SLOW} slow handshakes: a token")
    holds(checks, server.change().status_code == 201, f"{SLOW} slow handshakes: a rotation")
    closed = 0
    for stream in streams:
        stream.settimeout(max(0.1, begun + 20 - time.monotonic()))
        with contextlib.suppress(TimeoutError):
            with contextlib.suppress(ConnectionError):
                stream.recv(100)
            closed += 1
        stream.close()
    holds(checks, closed == SLOW, "slow handshakes are ended within 20 seconds", f"{closed} of {SLOW}")
    count = server.metric('crossfade_connections_ended_total{reason="headers"}')
    holds(checks, count is not None and count >= SLOW, "slow handshakes are counted", str(count))


def _refuses_a_start(checks, server, pair):
    pair.key.write_text(pair.made()[1])
    server.serve_fails(checks, "a key of another certificate", "does not belong to")
    pair.certificate.unlink()
    server.serve_fails(checks, "no certificate", "does not exist")


def _behind_a_proxy(checks, arguments):
    """What a declared proxy says it received over http is refused before its body is read."""
    with tempfile.TemporaryDirectory(prefix="crossfade-tls-") as directory:
        server = Watched(arguments.binary, directory, None)
        server.environment |= {
            "CROSSFADE_TRUSTED_PROXIES": "127.0.0.1", "CROSSFADE_PUBLIC_URL": "https://auth.example.com",
        }
        try:
            server.start()
            server.create_client()
            for proto, path, status in [
                ("http", "/console/sign-in", 400), ("http", "/api/v1/clients", 400), ("HTTP", "/docs", 400),
                ("http", "/metrics", 400), ("http", "/healthz", 200), ("http", "/readyz", 200),
                ("https", "/console/sign-in", 200), (None, "/console/sign-in", 200),
            ]:
                headers = {"X-Forwarded-For": "203.0.113.9"} | ({"X-Forwarded-Proto": proto} if proto else {})
                answer = requests.get(f"{server.url}{path}", headers=headers, timeout=10, allow_redirects=False)
                holds(checks, answer.status_code == status, f"{path} over {proto} answers {status}", answer.text[:200])
            # The answer comes although the body never does.
            head = (f"POST /env/production/oauth2/token HTTP/1.1\r\nHost: auth.example.com\r\nX-Forwarded-Proto: http\r\n"
                    "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10000\r\n\r\n")
            with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=5) as stream:
                stream.sendall(head.encode())
                said = stream.recv(1000).decode()
            holds(checks, said.startswith("HTTP/1.1 400 ") and "location" not in said.lower(),
                  "a token request over http is refused unread", said)
            holds(checks, "refused a request over plain HTTP" in server.log.read_text(), "the log says so")
        finally:
            server.stop()
