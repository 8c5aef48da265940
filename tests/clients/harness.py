"""What the checks stand on: counting, processes, the server with its command line and API."""

import collections
import contextlib
import json
import os
import pathlib
import queue
import random
import secrets
import socket
import subprocess
import threading
import time
import urllib.parse

import psycopg
import requests

HERE = pathlib.Path(__file__).resolve().parent
OWNER = "owner@example.com"


class Stopped(BaseException):
    """The run was ended from outside or took too long. Not an Exception: a check must not swallow it."""


class Checks:
    def __init__(self):
        self.passed = 0
        self.failed = 0

    def run(self, name, function, *arguments):
        """Runs one check and returns what it returned, or None when it failed."""
        try:
            result = function(*arguments)
        except Exception as error:
            self.failed += 1
            reason = " ".join(str(error).split()) or "no message"
            print(f"FAILED {name}: {type(error).__name__}: {reason}", flush=True)
            return None
        self.passed += 1
        return result

    @contextlib.contextmanager
    def phase(self, name):
        """What goes wrong between checks counts as one that failed, and does not stop the phases after it."""
        begun, before = time.monotonic(), (self.passed, self.failed)
        try:
            yield
        except Exception as error:
            self.failed += 1
            print(f"FAILED {name}: {type(error).__name__}: {error}", flush=True)
        seconds = time.monotonic() - begun
        print(f"{name}: {self.passed - before[0]} ok, {self.failed - before[1]} failed, {seconds:.1f} s", flush=True)


def require(condition, message):
    """An assertion that python -O does not remove."""
    if not condition:
        raise AssertionError(message)


def eventually(function, seconds=30):
    """Repeats a check until it holds, and for the last time when the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(AssertionError):
            return function()
        time.sleep(0.2)
    return function()


def end(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


class Adapter:
    """A process that answers lines of JSON with lines of JSON."""

    def __init__(self, command, directory):
        self.name = " ".join(command[1:])
        self.errors = open(pathlib.Path(directory) / f"adapter-{secrets.token_hex(4)}.log", "w+")
        self.process = subprocess.Popen(
            command, cwd=HERE / "adapters", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def send(self, request):
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except OSError as error:
            raise RuntimeError(f"{self.name} is not running: {self._said()}") from error

    def receive(self, seconds=60):
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            end(self.process)  # an answer that comes late would be taken for that to the next request
            raise RuntimeError(f"{self.name} did not answer within {seconds} s") from None
        if line is None:
            self.lines.put(None)
            raise RuntimeError(f"{self.name} ended: {self._said()}")
        return json.loads(line)

    def ask(self, request):
        self.send(request)
        return self.receive()

    def _said(self):
        self.errors.seek(0)
        return self.errors.read()[-1000:]

    def close(self):
        end(self.process)
        self.errors.close()


@contextlib.contextmanager
def fresh_database(url):
    """A new database on the server of a maintenance database; yields its URL."""
    name = f"crossfade_clients_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield urllib.parse.urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def free_port():
    """A port that is free, and below those that the system gives to outgoing connections, which could take it meanwhile."""
    for _ in range(100):
        port = random.SystemRandom().randint(10_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free")


class Server:
    """A real server with an Owner, and the two ways to administer it."""

    scheme = "http"

    def __init__(self, binary, directory, database_url):
        self.binary = str(pathlib.Path(binary).resolve())
        self.log = pathlib.Path(directory) / "server.log"
        self.place = ["--data-dir", str(pathlib.Path(directory) / "data")]
        if database_url:
            self.place += ["--database-url", database_url]
        # Settings of whoever runs this are not those of the server under test.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("CROSSFADE_")}
        # No load balancer has to notice that it stops.
        self.environment["CROSSFADE_DRAIN_SECONDS"] = "0"
        self.session = requests.Session()
        self.process = None
        self.commands = []  # the arguments of every command that was run
        self.password = secrets.token_urlsafe(24)

    def start(self):
        address = f"127.0.0.1:{free_port()}"
        self.url = f"{self.scheme}://{address}"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--listen", address, *self.place],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        eventually(self._ready, seconds=60)
        self._run(["init", *self.place, "--owner-email", OWNER, "--password-stdin"], f"{self.password}\n")
        token = self._run(["token", "create", *self.place, "--user", OWNER, "--name", "clients"]).strip()
        self.environment |= {"CROSSFADE_URL": self.url, "CROSSFADE_TOKEN": token}
        self.session.headers["Authorization"] = f"Bearer {token}"

    def _ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the server ended: {self.log.read_text()[-1000:]}")
        try:
            status = requests.get(f"{self.url}/readyz", timeout=5).status_code
        except requests.RequestException:  # not there yet, or too busy to answer
            status = None
        require(status == 200, f"/readyz answers {status}")

    def _run(self, arguments, stdin=""):
        self.commands.append(arguments)
        done = subprocess.run(
            [self.binary, *arguments], env=self.environment, input=stdin, capture_output=True, text=True, timeout=60
        )
        require(done.returncode == 0, f"crossfade {' '.join(arguments[:2])} exits {done.returncode}: {done.stderr}")
        return done.stdout

    def cli(self, *arguments):
        return json.loads(self._run([*arguments, "--json"]))

    def sign_in(self):
        """A session of the Console, as its Owner."""
        session = requests.Session()
        form = {"email": OWNER, "password": self.password, "to": "/console"}
        answer = session.post(f"{self.url}/console/sign-in", data=form, timeout=30)
        require(answer.ok and session.cookies, f"the sign-in answers {answer.status_code}")
        return session

    def api(self, method, path, body=None):
        answer = self.session.request(method, f"{self.url}/api/v1{path}", json=body, timeout=30)
        require(answer.ok, f"{method} {path} answers {answer.status_code}: {answer.text}")
        return answer.json() if answer.content else None

    def pages(self, path):
        """All items of a list."""
        items, cursor = [], None
        for _ in range(100):
            page = self.api("GET", path + (f"?cursor={urllib.parse.quote(cursor)}" if cursor else ""))
            items += page["items"]
            cursor = page["next_cursor"]
            if not cursor:
                return items
        raise RuntimeError(f"{path} does not end")

    def issuer(self, environment):
        return f"{self.url}/env/{environment}"

    def stop(self):
        if self.process:
            end(self.process)


class Registration:
    """A client in one environment."""

    def __init__(self, server, property_id, name, environment="production"):
        self.server, self.name, self.environment = server, name, environment
        body = {"name": name, "property_id": property_id, "environments": [environment]}
        client = server.api("POST", "/clients", body)
        [registration] = client["registrations"]
        self.path = f"/clients/{client['id']}/environments/{environment}"
        self.client_id = registration["client_id"]
        self.secret = registration["secret"]
        # Requests by id of the secret and user agent, for the comparison with the usage evidence.
        self.attempted, self.accepted = collections.Counter(), collections.Counter()

    def update(self, **settings):
        return self.server.api("PATCH", self.path, settings)

    def rotate(self, hours, **more):
        """Replaces the secret and returns the new one; `self.secret` becomes it."""
        body = {"transition_hours": hours, "confirm_client_name": self.name, "reason": "check", **more}
        self.secret = self.server.api("POST", f"{self.path}/secrets/rotate", body)["secret"]
        return self.secret

    def rotate_with_cli(self, hours):
        self.secret = self.server.cli(
            "secret", "rotate", self.name, "--env", self.environment, "--transition", f"{hours}h",
            "--confirm", self.name, "--reason", "check", "--show",
        )["secret"]
        return self.secret

    def revoke(self, secret):
        return self.server.api("POST", f"{self.path}/secrets/{secret['id']}/revoke", {"reason": "check"})

    def usage(self):
        return self.server.pages(f"{self.path}/usage")
