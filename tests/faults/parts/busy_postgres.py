"""Somebody else holds the lock of changes, or has nearly every connection of PostgreSQL; reads and tokens stay quick."""

import concurrent.futures
import contextlib
import time

import psycopg
import requests

from cluster import Cluster
from failing_postgres import end_sessions, held_head
from watched import holds, watched

ROTATIONS = 14
# How long anything but a change may take, on a machine that is busy with other tests.
# What waits behind a change takes 5 s or more.
QUICK = 4.0
# A change waits 5 s for its turn and 5 s for the lock.
BOUND = 16.0


def play(checks, arguments):
    with Cluster(arguments.postgres_bin, settings=["max_connections=40"]) as cluster:
        cluster.execute("CREATE ROLE app LOGIN")
        cluster.execute("CREATE DATABASE app OWNER app")
        with watched(arguments, cluster.url("app", "app")) as server:
            waiting_rotations(checks, server, cluster)
            unreadable_database(checks, server, cluster)
            few_connections(checks, server, cluster)


def rotate_at_once(server):
    """Several rotations at the same time; their answers, and how long the slowest took."""
    def rotate(_):
        begun = time.monotonic()
        return server.change(), time.monotonic() - begun

    with concurrent.futures.ThreadPoolExecutor(ROTATIONS) as pool:
        done = list(pool.map(rotate, range(ROTATIONS)))
    answers = [answer for answer, _ in done]
    # The current secret is the one that was made last, and not the one whose answer came last.
    made = [answer.json()["secret"] for answer in answers if answer.status_code == 201]
    if made:
        server.secret = max(made, key=lambda secret: secret["created_at"])["value"]
    return answers, max(took for _, took in done)


def waiting_rotations(checks, server, cluster):
    what = f"{ROTATIONS} rotations that wait while somebody else holds the lock"
    with held_head(cluster), concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(rotate_at_once, server)
        time.sleep(0.3)
        slowest, troubles = server.slowest(server.looks(), seconds=8)
        answers, took = waiting.result(60)
    print(f"{what}: slowest answers {({name: round(seconds, 2) for name, seconds in slowest.items()})}, changes {took:.1f} s")
    holds(checks, not troubles, f"{what}: everything else is answered", str(troubles[:3]))
    for name, seconds in slowest.items():
        holds(checks, seconds < QUICK, f"{what}: {name} is quick", f"{seconds:.1f} s")
    holds(checks, took < BOUND, f"{what}: their wait is bounded", f"{took:.1f} s")
    odd = [answer.text for answer in answers
           if answer.status_code != 503 or "The database is busy" not in answer.text
           or "Retry-After" not in answer.headers]
    holds(checks, not odd, f"{what}: each is told that the database is busy, and when to try again", str(odd[:2]))
    server.changes(checks, what)
    server.recovers(checks, what)


def unreadable_database(checks, server, cluster):
    """A balancer that took the node out would end everybody's tokens, which it still issues."""
    what = "a database in which nothing can be read for 6 s"
    with psycopg.connect(cluster.url("app", "app")) as session:
        session.execute("LOCK TABLE head IN ACCESS EXCLUSIVE MODE")
        answers, tokens, begun, told = [], set(), time.monotonic(), []
        # On a slow machine it may take longer until a change is found to fail.
        while time.monotonic() < begun + (30 if not told else 6):
            answers.append(requests.get(f"{server.url}/readyz", timeout=30))
            tokens.add(server.token().status_code)
            told = [answer.text for answer in answers if "changes fail" in answer.text]
        holds(checks, tokens == {200}, f"{what}: tokens are issued", str(tokens))
        odd = [(answer.status_code, answer.text) for answer in answers if answer.status_code != 200]
        holds(checks, not odd, f"{what}: /readyz answers 200", str(odd[:2]))
        holds(checks, told, f"{what}: /readyz says that changes fail", answers[-1].text)
    server.recovers(checks, what)


def few_connections(checks, server, cluster):
    what = "a server whose connections are taken by others"
    with contextlib.ExitStack() as others:
        def take_all():
            with contextlib.suppress(psycopg.OperationalError):
                for _ in range(60):
                    others.enter_context(psycopg.connect(cluster.url("app", "app"), autocommit=True))

        take_all()
        answers, took = rotate_at_once(server)
        won = sum(answer.status_code == 201 for answer in answers)
        holds(checks, won == ROTATIONS, f"{what}: changes have connections of their own",
              str([answer.text for answer in answers if answer.status_code != 201][:2]))
        holds(checks, took < 10, f"{what}: changes are quick", f"{took:.1f} s")
        slowest, troubles = server.slowest(server.looks(), seconds=2)
        print(f"{what}: slowest answers {({name: round(seconds, 2) for name, seconds in slowest.items()})}")
        holds(checks, not troubles, f"{what}: everything is answered", str(troubles[:3]))
        for name, seconds in slowest.items():
            holds(checks, seconds < QUICK, f"{what}: {name} is quick", f"{seconds:.1f} s")

        # One connection of this server is ended, and somebody else takes its place.
        what = "a server that has lost a connection to others"
        end_sessions(cluster, "pid = (SELECT pid FROM pg_stat_activity WHERE usename = 'app' AND "
                              "application_name = 'crossfade' AND query LIKE '%BEGIN%' OR query = 'COMMIT' LIMIT 1)")
        time.sleep(0.3)
        take_all()
        answers, took = rotate_at_once(server)
        odd = [answer.text for answer in answers if answer.status_code != 201]
        holds(checks, not odd, f"{what}: changes share what is left", str(odd[:2]))
        slowest, troubles = server.slowest(server.looks(), seconds=2)
        holds(checks, not troubles and max(slowest.values()) < QUICK, f"{what}: everything is quick",
              f"{troubles[:3]} {slowest}")
