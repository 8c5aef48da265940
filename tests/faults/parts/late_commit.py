"""A commit waits for a standby that is away, and is stored when its caller has been told that the outcome is unknown."""

import time

from cluster import Cluster
from instance import eventually, require
from watched import holds, watched

NOBODY = "ALTER SYSTEM SET synchronous_standby_names = 'nobody'"
RESET = "ALTER SYSTEM RESET synchronous_standby_names"


def play(checks, arguments):
    with Cluster(arguments.postgres_bin, settings=("fsync=off",)) as cluster:
        cluster.execute("CREATE DATABASE app")
        with watched(arguments, cluster.url("app")) as server:
            hung_commit(checks, server, cluster)


def hung_commit(checks, server, cluster):
    """A commit that waits for a standby is stored later: it is enforced within two seconds of that."""
    what = "a commit that was stored late"
    leaked = server.secret
    cluster.execute(NOBODY)
    cluster.execute("SELECT pg_reload_conf()")
    eventually(lambda: require(cluster.execute("SHOW synchronous_standby_names") != [("",)], "not read yet"))
    answer = server.change(compromised=True)
    holds(checks, (answer.status_code, answer.json()["code"]) == (503, "outcome_unknown"),
          f"{what}: its outcome is unknown", answer.text)
    cluster.execute(RESET)
    cluster.execute("SELECT pg_reload_conf()")
    begun = time.monotonic()
    eventually(lambda: require(server.token().status_code == 401, "the leaked secret is accepted"), seconds=30)
    took = time.monotonic() - begun
    print(f"{what}: enforced after {took:.2f} s")
    # It looks every two seconds. Without a look, nothing would ever enforce it.
    holds(checks, took < 8, f"{what}: it is enforced at the next look", f"{took:.1f} s")
    # Its value is not known, so it is replaced.
    server.changes_soon(checks, what)
    holds(checks, server.secret != leaked, f"{what}: the next rotation works")
