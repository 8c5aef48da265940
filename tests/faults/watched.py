"""A server with one client, and what is looked at while something that it depends on is broken."""

import contextlib
import pathlib
import subprocess
import tempfile
import threading
import time

import requests

from instance import Instance, eventually, require


@contextlib.contextmanager
def watched(arguments, database_url=None, directory=None, binary=None):
    """A server that is started and has an Owner and one client."""
    with contextlib.ExitStack() as stack:
        directory = directory or stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-faults-"))
        server = Watched(binary or arguments.binary, directory, database_url)
        stack.callback(server.stop)
        server.start()
        server.create_client()
        yield server


def holds(checks, condition, what, found=""):
    """Counts one check, and shows what was found instead when it fails."""
    checks.run(what, require, condition, found or "it does not hold")


class Watched(Instance):
    def create_client(self):
        property_id = self.api("POST", "/properties", {"name": "Shop"})["id"]
        body = {"name": "Billing", "property_id": property_id, "environments": ["production"]}
        client = self.api("POST", "/clients", body)
        [registration] = client["registrations"]
        self.path = f"/clients/{client['id']}/environments/production"
        self.client_id, self.secret = registration["client_id"], registration["secret"]["value"]

    def beside(self, directory, **environment):
        """Another server of the same database and the same client, not started yet."""
        other = type(self)(self.binary, directory, self.place[3])
        key = self.environment.get("CROSSFADE_MASTER_KEY_FILE", str(pathlib.Path(self.place[1]) / "master.key"))
        other.environment |= self.environment | {"CROSSFADE_MASTER_KEY_FILE": key} | environment
        other.session.headers.update(self.session.headers)
        other.path, other.client_id, other.secret = self.path, self.client_id, self.secret
        return other

    def change(self, **more):
        """Rotates with a transition of 0; returns the answer, whatever it is."""
        body = {"transition_hours": 0, "confirm_client_name": "Billing", "reason": "check", **more}
        answer = self.session.post(f"{self.url}/api/v1{self.path}/secrets/rotate", json=body, timeout=60)
        if answer.status_code == 201:
            self.secret = answer.json()["secret"]["value"]
        return answer

    def changes(self, checks, what):
        """Checks that a change works."""
        answer = self.change()
        holds(checks, answer.status_code == 201, f"{what}: a rotation works", answer.text)
        # A COMMIT of unknown outcome may have changed the secret; from here on it is known again.
        holds(checks, self.token().status_code == 200, f"{what}: the new secret gets a token")

    def changes_soon(self, checks, what, seconds=30):
        def changed():
            answer = self.change()
            require(answer.status_code == 201, answer.text)

        self.eventually(checks, changed, f"{what}: a rotation works again without a restart", seconds)

    def eventually(self, checks, wanted, what, seconds=30):
        try:
            eventually(wanted, seconds=seconds)
            holds(checks, True, what)
        except Exception as error:
            holds(checks, False, what, str(error))

    def refuses_changes(self, checks, what, says, code="unavailable"):
        """Checks that a change is refused with this sentence; tells how long that took."""
        begun = time.monotonic()
        answer = self.change()
        took = time.monotonic() - begun
        body = answer.json()
        found = (answer.status_code, body.get("code"), "Retry-After" in answer.headers, says in body.get("detail", ""))
        holds(checks, found == (503, code, True, True), f"{what}: a rotation is refused as {says!r}", answer.text)
        return took

    def token(self, timeout=30):
        return requests.post(
            f"{self.issuer('production')}/oauth2/token", auth=(self.client_id, self.secret),
            data={"grant_type": "client_credentials"}, timeout=timeout,
        )

    def decides(self, checks, what):
        """Checks that tokens are issued, and that the server counts as ready."""
        holds(checks, self.token().status_code == 200, f"{what}: tokens are issued")
        ready = requests.get(f"{self.url}/readyz", timeout=30)
        holds(checks, ready.status_code == 200, f"{what}: /readyz answers 200", ready.text)
        return ready.text.strip()

    def metric(self, series):
        text = requests.get(f"{self.url}/metrics", timeout=30).text
        values = [line.rsplit(" ", 1)[1] for line in text.splitlines() if line.rsplit(" ", 1)[0] == series]
        return float(values[0]) if values else None

    def tells(self, checks, what, says, cause, fault):
        """Checks that readiness, metric and log say that changes fail, and why."""
        text = self.decides(checks, what)
        holds(checks, f"changes fail: {says}" in text, f"{what}: /readyz says that changes fail", text)
        holds(checks, self.metric("crossfade_changes_failing") == 1, f"{what}: a metric says that changes fail")
        count = self.metric(f'crossfade_changes_failed_total{{fault="{fault}"}}')
        holds(checks, count is not None and count >= 1, f"{what}: failed changes are counted", str(count))
        holds(checks, cause in self.log.read_text(), f"{what}: the log has the cause, {cause}")

    def recovers(self, checks, what):
        def recovered():
            ready = requests.get(f"{self.url}/readyz", timeout=10)
            require((ready.status_code, ready.text) == (200, "ready\n"), ready.text)
            require(self.metric("crossfade_changes_failing") == 0, "the metric says that changes fail")

        self.eventually(checks, recovered, f"{what}: readiness and metric say that changes work again")

    def doctor(self):
        """The outcome of each check of `crossfade doctor`, with its sentence."""
        listen = self.issuer("").split("/")[2]
        done = subprocess.run(
            [self.binary, "doctor", "--listen", listen, *self.place], env=self.environment,
            capture_output=True, text=True, timeout=90,
        )
        lines = [line.split(None, 2) for line in done.stdout.splitlines()]
        return {name: (outcome, sentence) for outcome, name, sentence in lines}

    def tested_mail(self, to):
        """What `crossfade mail test` says."""
        done = subprocess.run(
            [self.binary, "mail", "test", "--to", to, *self.place], env=self.environment, capture_output=True, text=True, timeout=90,
        )
        return done.stderr

    def slowest(self, looks, seconds):
        """Runs each look again and again, all at the same time; tells how long the slowest answer of each took."""
        slowest, troubles = {name: 0.0 for name in looks}, []

        def run(name, look):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                begun = time.monotonic()
                status = look().status_code
                slowest[name] = max(slowest[name], time.monotonic() - begun)
                if status != 200:
                    troubles.append(f"{name} answers {status}")
                time.sleep(0.05)

        threads = [threading.Thread(target=run, args=look, daemon=True) for look in looks.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds + 60)
        return slowest, troubles

    def looks(self):
        """What has to stay quick, whatever becomes of changes."""
        session = requests.Session()
        session.headers["Authorization"] = self.session.headers["Authorization"]

        def get(path):
            return lambda: session.get(f"{self.url}{path}", timeout=60)

        return {
            "a list": lambda: requests.get(
                f"{self.url}/api/v1/clients", headers=self.session.headers, timeout=60),
            "secrets": lambda: requests.get(
                f"{self.url}/api/v1{self.path}/secrets", headers=self.session.headers, timeout=60),
            "/readyz": get("/readyz"),
            "/metrics": lambda: requests.get(f"{self.url}/metrics", timeout=60),
            "a token": self.token,
        }

    def serve_fails(self, checks, what, says):
        """Checks that a start is refused with this sentence."""
        done = subprocess.run(
            [self.binary, "serve", "--listen", "127.0.0.1:0", *self.place], env=self.environment,
            capture_output=True, text=True, timeout=60,
        )
        holds(checks, done.returncode == 1 and says in done.stderr, f"{what}: a start is refused, saying {says!r}",
                    f"{done.returncode} {done.stderr[-600:]}")

    def logged(self, text):
        return pathlib.Path(self.log).read_text().count(text)
