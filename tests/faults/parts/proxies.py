"""The configurations of nginx and HAProxy in deploy/, run with the real programs: TLS in front, and the headers that count."""

import os
import pathlib
import shutil
import subprocess
import tempfile

import requests

from instance import eventually, free_port, require
from tls import Encrypted, Pair
from watched import Watched, holds

DEPLOY = pathlib.Path(__file__).resolve().parents[3] / "deploy"
NAMES = "DNS:auth.example.com,DNS:crossfade.internal,IP:127.0.0.1"
CALLER = "127.0.0.9"
# What a caller sends to look like somebody else.
FORGED = {"X-Forwarded-For": "203.0.113.66", "X-Forwarded-Proto": "http", "X-Request-Id": "forged-by-caller",
          "Forwarded": "for=203.0.113.66;proto=http"}
CONFIGURATIONS = [
    ("nginx", "crossfade.conf", False), ("nginx", "crossfade-tls.conf", True),
    ("haproxy", "haproxy.cfg", False), ("haproxy", "haproxy-tls.cfg", True),
]


def play(checks, arguments):
    for program, name, encrypted in CONFIGURATIONS:
        require(_path_of(program), f"this part needs the program {program}")
        with tempfile.TemporaryDirectory(prefix="crossfade-proxies-") as directory:
            _runs(checks, arguments, pathlib.Path(directory), program, name, encrypted)


def _path_of(program):
    # Debian leaves the directories of such programs out of the path of ordinary users.
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def _runs(checks, arguments, directory, program, name, encrypted):
    pair = Pair(directory / "pair")
    pair.make(name=NAMES)
    os.environ["REQUESTS_CA_BUNDLE"] = str(pair.trusted)
    server = (Encrypted if encrypted else Watched)(arguments.binary, directory, None)
    server.environment |= {"CROSSFADE_TRUSTED_PROXIES": "127.0.0.1", "CROSSFADE_PUBLIC_URL": "https://auth.example.com",
                           "SSL_CERT_FILE": str(pair.trusted)}
    if encrypted:
        server.environment |= {
            "CROSSFADE_TLS_CERT_FILE": str(pair.certificate), "CROSSFADE_TLS_KEY_FILE": str(pair.key),
        }
    try:
        server.start()
        server.create_client()
        with Proxy(directory, program, name, server, pair, pair.trusted) as proxy:
            _passes(checks, server, proxy, f"{program}/{name}")
            if proxy.plain:
                _refuses_plain_http(checks, proxy, f"{program}/{name}")
        if encrypted:
            other = Pair(directory / "other")
            other.make(name=NAMES)
            with Proxy(directory, program, name, server, pair, other.trusted) as proxy:
                status = proxy.token(server).status_code
                holds(checks, status in (502, 503), f"{program}/{name}: another certificate of the server is refused",
                      str(status))
    finally:
        server.stop()
        del os.environ["REQUESTS_CA_BUNDLE"]


class Proxy:
    """A proxy with one of the configurations, at free ports and with the certificates of this run."""

    def __init__(self, directory, program, name, servers, pair, trusted):
        self.program = program
        self.port, plain = free_port(), free_port()
        text = (DEPLOY / program / name).read_text()
        bundle = directory / "bundle.pem"
        bundle.write_text(pair.certificate.read_text() + pair.key.read_text())
        servers = servers if isinstance(servers, list) else [servers]
        upstreams = [server.url.split("://")[1] for server in servers]
        self.plain = None
        for old, new in [
            ("listen 443", f"listen 127.0.0.1:{self.port}"), ("bind :443", f"bind 127.0.0.1:{self.port}"),
            ("listen 80;", f"listen 127.0.0.1:{plain};"), ("bind :80\n", f"bind 127.0.0.1:{plain}\n"),
            ("127.0.0.1:8080", upstreams[0]),
            *((f"10.0.0.{5 + at}:8443", upstream) for at, upstream in enumerate(upstreams)),
            ("/etc/nginx/tls/fullchain.pem", str(pair.certificate)), ("/etc/nginx/tls/privkey.pem", str(pair.key)),
            ("/etc/nginx/tls/crossfade-ca.pem", str(trusted)), ("/etc/haproxy/tls/crossfade-ca.pem", str(trusted)),
            ("/etc/haproxy/tls/crossfade.pem", str(bundle)),
        ]:
            if "listen 80" in old or "bind :80" in old:
                self.plain = plain if old in text else self.plain
            text = text.replace(old, new)
        require(str(self.port) in text and all(upstream in text for upstream in upstreams), f"{name} has other addresses than this part replaces")
        configuration = directory / "proxy.conf"
        if program == "nginx":
            # The rest of /etc/nginx/nginx.conf, without its paths.
            temporary = "".join(f"{kind}_temp_path {directory}/{kind};\n" for kind in (
                "client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            user = "user root;\n" if os.geteuid() == 0 else ""
            text = (f"{user}daemon off;\npid {directory}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
                    f"http {{\naccess_log off;\n{temporary}{text}}}\n")
            self.command = [_path_of("nginx"), "-p", directory, "-e", "stderr", "-c", configuration]
        else:
            self.command = [_path_of("haproxy"), "-db", "-f", configuration]
        configuration.write_text(text)
        self.log = directory / "proxy.log"

    def __enter__(self):
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(self._answers, seconds=40)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)

    def _answers(self):
        require(self.process.poll() is None, f"{self.program} ended: {self.log.read_text()[-500:]}")
        try:
            status = requests.get(f"https://127.0.0.1:{self.port}/readyz", timeout=5).status_code
        except requests.RequestException as error:
            raise AssertionError(str(error)) from error
        # 502 and 503: the proxy runs, and does not trust the server.
        require(status in (200, 502, 503), f"/readyz answers {status}")

    def session(self):
        """A session from an address of its own, with headers that claim another one."""
        session = requests.Session()
        session.mount("https://", _From())
        session.headers.update(FORGED | {"Host": "auth.example.com"})
        return session

    def token(self, server, session=None, secret=None):
        return (session or self.session()).post(
            f"https://127.0.0.1:{self.port}/env/production/oauth2/token", auth=(server.client_id, secret or server.secret),
            data={"grant_type": "client_credentials"}, timeout=20,
        )


class _From(requests.adapters.HTTPAdapter):
    def init_poolmanager(self, *arguments, **more):
        super().init_poolmanager(*arguments, source_address=(CALLER, 0), **more)


def _passes(checks, server, proxy, name):
    base = f"https://127.0.0.1:{proxy.port}"
    with proxy.session() as session:
        answer = proxy.token(server, session)
        holds(checks, answer.status_code == 200, f"{name}: a token", answer.text)
        statuses = {proxy.token(server, session).status_code for _ in range(50)}
        holds(checks, statuses == {200}, f"{name}: 50 tokens on a kept connection", str(statuses))
        page = session.get(f"{base}/console/sign-in", timeout=10)
        found = (page.status_code, page.headers.get("strict-transport-security"))
        holds(checks, found == (200, "max-age=31536000"), f"{name}: the Console, with HSTS once", str(found))
        given = page.headers.get("x-request-id", "")
        holds(checks, given and given != FORGED["X-Request-Id"], f"{name}: the request id is the proxy's", given)
        signed_in = session.post(
            f"{base}/console/sign-in", timeout=30, allow_redirects=False,
            headers={"Origin": "https://auth.example.com"},
            data={"email": "owner@example.com", "password": server.password, "to": "/console"},
        )
        cookies = signed_in.raw.headers.getlist("set-cookie")
        holds(checks, cookies and all("; Secure" in one for one in cookies), f"{name}: a sign-in, with secure cookies",
              f"{signed_in.status_code} {cookies}")
        answer = session.get(f"{base}/metrics", timeout=10)
        holds(checks, answer.status_code == 404, f"{name}: metrics are not published", answer.text[:200])
        try:
            status = session.post(f"{base}/env/production/oauth2/token", data=b"x" * 300_000, timeout=10).status_code
        except requests.ConnectionError:
            status = "closed"  # HAProxy answers and closes before the body has been sent
        holds(checks, status in (413, "closed"), f"{name}: a large body is refused", str(status))
    h2 = subprocess.run(
        ["curl", "-s", "--http2", "--cacert", os.environ["REQUESTS_CA_BUNDLE"], "-o", os.devnull,
         "-w", "%{http_version} %{http_code}", f"{base}/readyz"], capture_output=True, text=True, timeout=20,
    )
    holds(checks, h2.stdout == "2 200", f"{name}: HTTP/2", h2.stdout + h2.stderr)
    refused = proxy.token(server, secret="wrong")
    holds(checks, refused.status_code == 401, f"{name}: a wrong secret", refused.text)
    server.eventually(checks, lambda: _is_seen_from(server, CALLER), f"{name}: the caller's own address is recorded")
    outcome, sentence = server.doctor().get("forwarded_addresses", ("", ""))
    holds(checks, outcome == "ok", f"{name}: doctor finds readable addresses", sentence)
    # As a proxy that received the request in the clear marks it.
    answer = requests.get(f"{server.url}/console/sign-in", timeout=10, headers={
        "X-Forwarded-For": CALLER, "X-Forwarded-Proto": "http"})
    holds(checks, answer.status_code == 400, f"{name}: a request marked as http is refused", answer.text[:200])


def _is_seen_from(server, address):
    failures = server.api("GET", "/authentication-failures")["items"]
    found = [it["source_ip"] for it in failures]
    require(found == [address], str(found))


def _refuses_plain_http(checks, proxy, name):
    answer = requests.get(f"http://127.0.0.1:{proxy.plain}/console", timeout=10, allow_redirects=False)
    found = (answer.status_code, "location" in answer.headers)
    holds(checks, found == (400, False), f"{name}: plain HTTP is refused, and not redirected", str(found))
