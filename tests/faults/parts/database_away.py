"""PostgreSQL is away for a minute: what is answered meanwhile, and that nothing is lost and nothing needs a hand."""

import collections
import threading
import time

import requests

from cluster import Cluster
from instance import require
from kills import Run, served

AWAY_SECONDS = 60
# A server that cannot ask the database decides for this long, and some seconds pass until it notices.
MOST_SECONDS_OF_TOKENS = 20


class Away(Run):
    def choose(self):
        return "database"

    def strike(self, _):
        """Stops the database for a minute, and looks at what the server answers."""
        ledger = self.ledgers[0][0]
        self.cluster.stop("immediate")
        begun = time.monotonic()
        self.tokens, self.readiness, self.changes = [], [], collections.Counter()
        self.changing = threading.Thread(target=self.change, daemon=True)
        self.changing.start()
        while time.monotonic() < begun + AWAY_SECONDS:
            since = time.monotonic() - begun
            answer = ledger.ask(self.server, "token", ledger.state.current, {"grant_type": "client_credentials"})
            self.tokens.append((since, answer.status_code, "Retry-After" in answer.headers))
            self.readiness.append((since, requests.get(f"{self.server.url}/readyz", timeout=30).status_code))
            time.sleep(0.5)

    def revive(self, _):
        self.cluster.start_again()
        self.changing.join(60)

    def change(self):
        for number in range(3):
            answer = self.server.session.post(f"{self.server.url}/api/v1/properties", json={"name": f"During {number}"},
                                              timeout=90)
            told = "Nothing was changed." in answer.text
            self.changes[answer.status_code, told] += 1


def play(checks, arguments):
    with Cluster(arguments.postgres_bin) as cluster:
        cluster.execute("CREATE DATABASE app")
        with served(arguments, cluster.url("app")) as server:
            run = Away(server, cluster, arguments.seed or "away", "postgres")
            checks.run("everything answered is there, and everything works again", run.kill, "away")
            checks.run("what tokens are answered", tokens, run)
            checks.run("what readiness is answered", readiness, run)
            checks.run("changes are refused, saying that nothing was changed", require,
                       set(run.changes) == {(503, True)}, str(run.changes))


def tokens(run):
    """Issued for a bounded time, then refused for later: never another answer."""
    answers = {(status, retried) for _, status, retried in run.tokens}
    require(answers == {(200, False), (503, True)}, f"tokens are answered {answers}")
    last = max(since for since, status, _ in run.tokens if status == 200)
    require(last < MOST_SECONDS_OF_TOKENS, f"a token was issued {last:.1f} s after the database went away")


def readiness(run):
    late = {status for since, status in run.readiness if since > MOST_SECONDS_OF_TOKENS}
    require(late == {503}, f"after {MOST_SECONDS_OF_TOKENS} s /readyz answers {late}")
