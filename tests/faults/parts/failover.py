"""PostgreSQL restarts, fails over to a standby that is behind, is taken by a command, or is another database."""

import contextlib
import pathlib
import subprocess
import tempfile
import threading
import time

import psycopg
import requests

from cluster import Cluster
from forwarder import Forwarder
from harness import Registration
from instance import Instance, eventually, require

RETRIED = "Retry-After"


def play(checks, arguments):
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(Cluster(arguments.postgres_bin, settings=("fsync=off",)))
        primary.execute("CREATE DATABASE crossfade")
        primary.execute("CREATE DATABASE empty")
        proxy = stack.enter_context(Forwarder(primary.port))
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-failover-"))
        url = f"postgres://crossfade@127.0.0.1:{proxy.port}/crossfade"
        server = Instance(arguments.binary, directory, url)
        server.directory, server.database_url = pathlib.Path(directory), url
        stack.callback(server.stop)
        server.environment |= {
            "CROSSFADE_SMTP_URL": "smtp://127.0.0.1:9", "CROSSFADE_MAIL_FROM": "Crossfade <crossfade@example.com>",
        }
        server.start()
        restart(checks, primary, server)
        own_session(checks, primary, server)
        elsewhere(checks, primary, server)
        follower = standby(checks, stack, primary, proxy, server)
        another_address(checks, follower, server)
        kept_out(checks, server)


@contextlib.contextmanager
def check(checks, name):
    """One check; what it raises is its failure, and does not stop the others."""
    try:
        yield
    except Exception as error:
        checks.failed += 1
        print(f"FAILED {name}: {type(error).__name__}: {error}", flush=True)
    else:
        checks.passed += 1


class Load:
    """Tokens and rotations without a pause, with every answer."""

    def __init__(self, server):
        self.server, self.tokens, self.changes, self.stop = server, [], [], threading.Event()
        property_id = server.api("POST", "/properties", {"name": f"Load {time.time()}"})["id"]
        self.steady = Registration(server, property_id, "Steady")
        self.rotated = Registration(server, property_id, "Rotated")
        self.threads = [threading.Thread(target=work) for work in (self._take_tokens, self._rotate)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(30)

    def _take_tokens(self):
        while not self.stop.is_set():
            self.tokens.append(token(self.server, self.steady.client_id, self.steady.secret["value"]))
            time.sleep(0.02)

    def _rotate(self):
        while not self.stop.is_set():
            body = {"transition_hours": 0, "compromised": True, "confirm_client_name": "Rotated"}
            answer = self.server.session.post(
                f"{self.server.url}/api/v1{self.rotated.path}/secrets/rotate", json=body, timeout=60)
            self.changes.append(answer)
            time.sleep(0.02)


def token(server, client_id, secret):
    return requests.post(f"{server.issuer('production')}/oauth2/token", auth=(client_id, secret),
                         data={"grant_type": "client_credentials"}, timeout=30)


def acceptable(answer):
    return answer.status_code in (200, 201) or answer.status_code == 503 and RETRIED in answer.headers


def restart(checks, primary, server):
    """A restart of 2 s is ridden out: no token fails, changes wait or are refused for later."""
    with Load(server) as load:
        time.sleep(1)
        primary.stop("fast")
        time.sleep(2)
        refused = server.session.post(f"{server.url}/api/v1/properties", json={"name": "During"}, timeout=60)
        ready = requests.get(f"{server.url}/readyz", timeout=30)
        primary.start()
        eventually(lambda: require(rotates(server, load.rotated), "changes are made again"), seconds=20)
    with check(checks, "a restart fails no token"):
        require({one.status_code for one in load.tokens} == {200}, f"{codes(load.tokens)}")
    with check(checks, "every change is 201 or 503 with Retry-After"):
        require(all(acceptable(one) for one in load.changes), f"{codes(load.changes)}")
        require(acceptable(refused), f"{refused.status_code} {refused.text}")
    with check(checks, "readyz stays ready within the bound"):
        require(ready.status_code == 200, f"{ready.status_code} {ready.text}")
    with check(checks, "the process lives on"):
        require(server.process.poll() is None, server.log.read_text()[-1000:])
    with check(checks, "what was answered is enforced after a restart"):
        last = [one.json()["secret"]["value"] for one in load.changes if one.status_code == 201]
        enforced(server, load.rotated)
        require(len(last) > 5, f"{len(last)} rotations were answered")


def own_session(checks, primary, server):
    """Only the session of the lock ends: it is taken again, and the process lives on."""
    again = server.log.read_text().count("held again")
    holders = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    primary.execute(holders, "crossfade")
    with check(checks, "a lock whose session ended is taken again"):
        eventually(lambda: require(server.log.read_text().count("held again") > again, "the log says so"), seconds=30)
        property_id = server.api("POST", "/properties", {"name": "After the lock"})["id"]
        enforced(server, Registration(server, property_id, "After the lock"))
        require(server.process.poll() is None, "the process lives on")


def elsewhere(checks, primary, server):
    """New sessions get another search_path: nothing is decided on an empty schema, and all goes on afterwards."""
    property_id = server.api("POST", "/properties", {"name": "Elsewhere"})["id"]
    registration = Registration(server, property_id, "Elsewhere")
    primary.execute("CREATE SCHEMA elsewhere", "crossfade")
    primary.execute("ALTER ROLE crossfade IN DATABASE crossfade SET search_path = elsewhere")
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'crossfade' AND pid <> pg_backend_pid()"
    primary.execute(ended)
    with check(checks, "an empty schema is no instance"):
        answer = server.session.post(f"{server.url}/api/v1/properties", json={"name": "Nowhere"}, timeout=60)
        require(answer.status_code == 503 and RETRIED in answer.headers, f"{answer.status_code} {answer.text}")
        eventually(lambda: require("does not contain instance" in readyz(server), readyz(server)), seconds=20)
        tables = primary.execute("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'elsewhere'",
                                 "crossfade")
        require(tables == [(0,)], f"{tables}")
    with check(checks, "nothing is decided when the lease has ended"):
        def is_refused():
            answer = token(server, registration.client_id, registration.secret["value"])
            require(answer.status_code == 503 and answer.headers.get(RETRIED), f"{answer.status_code} {answer.text}")
            require(answer.json()["error"] == "temporarily_unavailable", answer.text)
            ready = requests.get(f"{server.url}/readyz", timeout=30)
            require(ready.status_code == 503 and "does not contain instance" in ready.text, ready.text)

        eventually(is_refused, seconds=30)
    primary.execute("ALTER ROLE crossfade IN DATABASE crossfade RESET search_path")
    primary.execute(ended)
    with check(checks, "it goes on when its own database is back"):
        eventually(lambda: server.api("POST", "/properties", {"name": f"Back {time.time()}"}), seconds=20)
        # A change can be answered before the node holds its lease again; until then it decides about no token.
        eventually(lambda: require(authenticates(server, registration), "tokens are given again"), seconds=20)
        enforced(server, registration)
        require(server.process.poll() is None, "the process lives on")


def standby(checks, stack, primary, proxy, server):
    """A failover to a standby that lacks three compromised rotations: no rotation is answered that is not enforced."""
    property_id = server.api("POST", "/properties", {"name": "Failover"})["id"]
    registrations = [Registration(server, property_id, f"Client {number}") for number in range(3)]
    follower = primary.standby()
    stack.callback(follower.__exit__)
    [(position,)] = primary.execute("SELECT pg_current_wal_lsn()")
    eventually(lambda: require(follower.execute(f"SELECT pg_last_wal_replay_lsn() >= '{position}'") == [(True,)],
                               "the standby has caught up"))
    # From now on it gets nothing.
    follower.execute("ALTER SYSTEM SET primary_conninfo = ''")
    follower.execute("SELECT pg_reload_conf()")
    eventually(lambda: require(not follower.execute("SELECT pid FROM pg_stat_wal_receiver"), "it receives no more"))
    leaked = [one.secret["value"] for one in registrations]
    for one in registrations:
        one.rotate(0, compromised=True)
    lost = [one.secret["value"] for one in registrations]
    primary.stop("immediate")
    proxy.switch(follower.port)
    with check(checks, "a standby is not served on"):
        eventually(lambda: require("is a standby" in readyz(server), readyz(server)))
        answer = server.session.post(f"{server.url}/api/v1/properties", json={"name": "Standby"}, timeout=60)
        require(answer.status_code == 503 and RETRIED in answer.headers, f"{answer.status_code} {answer.text}")
    follower.promote()
    answers = []

    def rotated(number):
        answer = server.session.post(
            f"{server.url}/api/v1{registrations[number].path}/secrets/rotate", timeout=60,
            json={"transition_hours": 0, "compromised": True, "confirm_client_name": f"Client {number}"})
        answers.append(answer)
        require(answer.status_code == 201, f"{answer.status_code} {answer.text}")
        return answer.json()["secret"]["value"]

    for number, one in enumerate(registrations):
        new = eventually(lambda number=number: rotated(number), seconds=30)
        with check(checks, f"rotation {number} after a failover is enforced when it is answered"):
            statuses = [token(server, one.client_id, value).status_code for value in (leaked[number], lost[number], new)]
            require(statuses == [401, 401, 200], f"leaked, lost, new: {statuses}")
    with check(checks, "no other answer than 201 and 503 with Retry-After"):
        require(all(acceptable(one) for one in answers), f"{codes(answers)}")
    with check(checks, "the lost changes are told"):
        require("lost changes" in readyz(server), readyz(server))
        metrics = requests.get(f"{server.url}/metrics", timeout=30).text
        require("crossfade_changes_lost_total 3\n" in metrics, metrics)
        found = "/audit-events?action=database.changes_lost"
        eventually(lambda: require(server.api("GET", found)["items"], "the audit trail says so"), seconds=20)
        details = server.api("GET", found)["items"][0]["details"]
        require(details["registrations"] == 3, f"{details}")
        doctor = subprocess.run([server.binary, "doctor", *server.place], env=server.environment, capture_output=True,
                                text=True, timeout=60).stdout
        require("warn  changes_lost" in doctor, doctor)
    return follower


def another_address(checks, follower, server):
    """Neither the failover nor another address of the same server holds messages."""
    public_url, own = server.url, follower.url("crossfade")
    server.stop()
    server.place = [own if word == server.database_url else word for word in server.place]
    server.database_url = own
    server.environment |= {"CROSSFADE_PUBLIC_URL": public_url}
    server.start_again()
    with check(checks, "a failover and another address hold no mail"):
        require(own in server.place, f"{server.place}")
        metrics = requests.get(f"{server.url}/metrics", timeout=30).text
        require("crossfade_mail_held 0\n" in metrics, server.log.read_text()[-1000:])


def kept_out(checks, server):
    """A command that must be alone takes the lock while the server's session is gone: the server waits until it ends."""
    holders = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
    property_id = server.api("POST", "/properties", {"name": "Kept out"})["id"]
    registration = Registration(server, property_id, "Kept out")
    with psycopg.connect(server.database_url, autocommit=True) as command:
        key = 0x6372_6f73_7366_6164
        for _ in range(200):
            for (pid,) in command.execute(holders).fetchall():
                if pid != command.info.backend_pid:
                    command.execute("SELECT pg_terminate_backend(%s)", [pid])
            if command.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone()[0]:
                break
        time.sleep(2)
        with check(checks, "a server changes nothing while a command has the database alone"):
            answer = server.session.post(f"{server.url}/api/v1/properties", json={"name": "Meanwhile"}, timeout=60)
            require(answer.status_code == 503 and RETRIED in answer.headers, f"{answer.status_code} {answer.text}")
            require(server.process.poll() is None, "the process lives on")
    with check(checks, "it goes on when the command has ended"):
        eventually(lambda: require(rotates(server, registration), "changes are made again"), seconds=20)


def rotates(server, registration):
    body = {"transition_hours": 0, "compromised": True, "confirm_client_name": registration.name}
    answer = server.session.post(f"{server.url}/api/v1{registration.path}/secrets/rotate", json=body, timeout=60)
    return answer.status_code == 201


def authenticates(server, registration):
    return token(server, registration.client_id, registration.secret["value"]).status_code == 200


def enforced(server, registration):
    """A rotation that is answered is enforced."""
    old = registration.secret["value"]
    registration.rotate(0, compromised=True)
    new = registration.secret["value"]
    statuses = [token(server, registration.client_id, value).status_code for value in (old, new)]
    require(statuses == [401, 200], f"old, new: {statuses}")


def readyz(server):
    return requests.get(f"{server.url}/readyz", timeout=30).text


def codes(answers):
    return sorted({(one.status_code, one.headers.get(RETRIED), one.text[:160] if one.status_code > 201 else "")
                   for one in answers})
