"""SIGKILL at random moments under a load of rotations, revocations, extensions, reveals and tokens, on both engines; on
PostgreSQL also of the database. What was answered is there, whole, and every end of it also in the journal; nothing
needs a hand to go on."""

import collections
import concurrent.futures
import contextlib
import os
import pathlib
import random
import secrets
import signal
import tempfile
import threading
import time

import requests

from cluster import Cluster
from instance import Instance, eventually, require
from ledger import DONE, NOT_DONE, OPEN, Ledger
from noted import Noted

THREADS = 4
# A registration with more rotations than this is replaced, so that each check stays short.
MOST_ROTATIONS = 25
MOST_STEPS = 400  # of one thread before one kill
LONGEST_LOAD = 0.5  # seconds until a kill
# What is killed. The server often: it is what is tested.
ON_POSTGRES = ["server", "server", "postmaster", "backend", "both"]
WITHOUT_SERVER, WITHOUT_DATABASE = ["server", "both"], ["postmaster", "both"]


class Caller:
    """One thread of the load; its requests end with the server."""

    def __init__(self, server):
        self.server, self.session = server, requests.Session()
        self.session.headers["Authorization"] = server.session.headers["Authorization"]

    def change(self, path, body):
        return self.send(f"{self.server.url}/api/v1{path}", json=body)

    def oauth(self, endpoint, auth, form):
        return self.send(f"{self.server.issuer('production')}/oauth2/{endpoint}", data=form, auth=auth)

    def send(self, url, **request):
        """The outcome of a request, and the answer if it was done."""
        if "auth" in request:
            sent = lambda: requests.post(url, timeout=90, **request)  # noqa: E731
        else:
            sent = lambda: self.session.post(url, timeout=90, **request)  # noqa: E731
        try:
            answer = sent()
            body = answer.json() if answer.content else None
        except (requests.RequestException, ValueError):
            return OPEN, None
        if answer.ok:
            return DONE, body
        require(answer.status_code == 503, f"{url} answers {answer.status_code}: {answer.text}")
        # A refusal that promises so has changed nothing; the OAuth endpoints promise nothing.
        return (NOT_DONE if "Nothing was changed." in body.get("detail", "") else OPEN), None


class Trail:
    """Counts the events of each client, reading each event once, and requires numbers without a gap."""

    def __init__(self):
        self.last, self.counts = 0, collections.defaultdict(collections.Counter)

    def read(self, server):
        events, cursor = [], ""
        for _ in range(1000):
            page = server.api("GET", f"/audit-events?limit=100{cursor}")
            events += [event for event in page["items"] if event["seq"] > self.last]
            if not page["next_cursor"] or page["items"][-1]["seq"] <= self.last:
                break
            cursor = f"&cursor={page['next_cursor']}"
        numbers = sorted(event["seq"] for event in events)
        wanted = list(range(self.last + 1, self.last + 1 + len(numbers)))
        require(numbers == wanted, f"after {self.last} the numbers of the trail are {numbers}")
        self.last += len(numbers)
        for event in events:
            if event["outcome"] == "done" and event["client_id"]:
                self.counts[event["client_id"]][event["action"]] += 1


class Run:
    def __init__(self, server, cluster, seed, engine):
        self.server, self.cluster, self.engine = server, cluster, engine
        self.chance = random.Random(f"{seed}-{engine}")
        self.chances = [random.Random(f"{seed}-{engine}-{number}") for number in range(THREADS)]
        self.trail, self.callers = Trail(), [Caller(server) for _ in range(THREADS)]
        self.property = server.api("POST", "/properties", {"name": "Kills"})["id"]
        self.ledgers, self.retired, self.names = [[] for _ in range(THREADS)], [], 0
        self.outcomes = collections.Counter()
        self.killed = collections.Counter()
        self.slowest = 0.0  # seconds from a kill until everything works again

    def fill(self):
        for ledgers in self.ledgers:
            self.retired += [ledger for ledger in ledgers if len(ledger.state.rotations) > MOST_ROTATIONS]
            ledgers[:] = [ledger for ledger in ledgers if len(ledger.state.rotations) <= MOST_ROTATIONS]
            while len(ledgers) < 2:
                self.names += 1
                body = {"name": f"Client {self.names}", "property_id": self.property, "environments": ["production"]}
                ledgers.append(Ledger(self.server.api("POST", "/clients", body)))

    def load(self, number, over):
        """Requests of one thread, until one of them is not answered, or it is over."""
        chance = self.chances[number]
        for _ in range(MOST_STEPS):
            ledger = chance.choice(self.ledgers[number])
            outcome = ledger.step(self.callers[number], chance)
            self.outcomes[outcome] += 1
            if outcome != DONE or over.is_set():
                return

    def kill(self, name):
        self.fill()
        what = self.choose()
        over = threading.Event()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            threads = [pool.submit(self.load, number, over) for number in range(THREADS)]
            time.sleep(self.chance.random() * LONGEST_LOAD)
            begun = time.monotonic()
            try:
                self.strike(what)
                if what in WITHOUT_SERVER:
                    # Nothing is answered any more, so each thread ends before the server starts again.
                    over.set()
                    concurrent.futures.wait(threads, 120)
                    # What was answered was noted first.
                    self.check_journal()
                self.revive(what)
            finally:
                over.set()
            for thread in threads:
                thread.result(120)
        self.killed[what] += 1
        eventually(self.server._ready, seconds=60)
        for ledger in self.all():
            ledger.check(self.server)
        self.slowest = max(self.slowest, time.monotonic() - begun)
        eventually(self.check_journal, seconds=10)
        self.trail.read(self.server)
        for ledger in self.all():
            ledger.check_trail(self.trail.counts[ledger.id])
            ledger.check_endpoints(self.server)

    def choose(self):
        return self.chance.choice(ON_POSTGRES) if self.cluster else "server"

    def strike(self, what):
        if what in WITHOUT_SERVER:
            self.server.kill()
        if what in WITHOUT_DATABASE:
            self.cluster.kill()
        if what == "backend":
            # PostgreSQL ends every session and recovers, as after a crash.
            [(pid,), *_] = self.cluster.execute(
                "SELECT pid FROM pg_stat_activity WHERE usename = 'app' ORDER BY random()", "app")
            os.kill(pid, signal.SIGKILL)

    def revive(self, what):
        """Starts what a supervisor would start again; the server recovers from a lost database alone."""
        if what in WITHOUT_DATABASE:
            self.cluster.start_again()
        if what in WITHOUT_SERVER:
            self.server.start_again()

    def check_journal(self):
        """What is settled is in the journal exactly; an outcome that nobody knew is noted within seconds."""
        noted = Noted(self.server.journal)
        for ledger in self.all():
            noted.check(ledger)

    def all(self):
        return [ledger for ledgers in self.ledgers for ledger in ledgers]


def play(checks, arguments):
    seed = arguments.seed or secrets.token_hex(4)
    print(f"kills: --seed {seed}", flush=True)
    if arguments.engine != "postgres":
        with served(arguments) as server:
            kills(checks, Run(server, None, seed, "sqlite"), arguments.kills or 20)
    if arguments.engine != "sqlite":
        with Cluster(arguments.postgres_bin) as cluster:
            cluster.execute("CREATE ROLE app LOGIN SUPERUSER")
            cluster.execute("CREATE DATABASE app OWNER app")
            with served(arguments, cluster.url("app", "app")) as server:
                kills(checks, Run(server, cluster, seed, "postgres"), arguments.kills or 10)


@contextlib.contextmanager
def served(arguments, url=None):
    with tempfile.TemporaryDirectory(prefix="crossfade-faults-") as directory, \
            tempfile.TemporaryDirectory(prefix="crossfade-journal-") as other:
        server = Instance(arguments.binary, directory, url)
        server.journal = pathlib.Path(other) / "ends.journal"
        server.environment["CROSSFADE_JOURNAL_FILE"] = str(server.journal)
        # Tokens name their issuer, which must not change with the port.
        server.environment["CROSSFADE_PUBLIC_URL"] = "https://crossfade.example"
        try:
            server.start()
            yield server
        finally:
            server.stop()


def kills(checks, run, count):
    begun = time.monotonic()
    for number in range(1, count + 1):
        name = f"{run.engine}, kill {number}: everything answered is there, and nothing is half there"
        failed = checks.failed
        checks.run(name, run.kill, name)
        if checks.failed > failed:
            break  # what follows would fail for the same reason
        if number % 100 == 0:
            print(f"kills: {run.engine}: {number} kills, {time.monotonic() - begun:.0f} s", flush=True)
    for ledger in run.retired:
        checks.run(f"{run.engine}: {ledger.name} is as it was left", ledger.check, run.server)
    answered = run.outcomes[DONE]
    checks.run(f"{run.engine}: there was something to lose", require, answered >= 2 * sum(run.killed.values()) and run.outcomes[OPEN],
               str(run.outcomes))
    log = run.server.log.read_text()
    checks.run(f"{run.engine}: nothing panicked", require, "panicked" not in log, "the log has a panic")
    print(f"kills: {run.engine}: {dict(run.killed)}, {answered} requests answered, {run.outcomes[OPEN]} open, "
          f"{run.outcomes[NOT_DONE]} refused, slowest recovery with its checks {run.slowest:.1f} s, "
          f"{time.monotonic() - begun:.0f} s", flush=True)
