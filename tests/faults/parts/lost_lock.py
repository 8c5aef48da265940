"""A server loses its lock on a PostgreSQL database under load, or with few connections, or its session does not answer."""

import contextlib
import os
import signal
import threading
import time

import requests

from cluster import Cluster
from watched import holds, watched


def play(checks, arguments):
    with Cluster(arguments.postgres_bin, settings=("fsync=off",)) as cluster:
        cluster.execute("CREATE ROLE app LOGIN")
        cluster.execute("CREATE DATABASE app OWNER app")
        with watched(arguments, cluster.url("app", "app")) as server:
            restarts(checks, server, cluster)
            few_connections(checks, server, cluster)
            silent_session(checks, server, cluster)
            start_with_too_few(checks, server, cluster)


def restarts(checks, server, cluster):
    """Many changes wait while PostgreSQL restarts: none of them finds itself in a term of somebody else."""
    what = "restarts under changes"
    statuses, stop = set(), threading.Event()

    def take_tokens():
        while not stop.is_set():
            statuses.add(server.token().status_code)

    def change():
        while not stop.is_set():
            body = {"name": f"P {time.monotonic_ns()}"}
            requests.post(f"{server.url}/api/v1/properties", json=body, headers=server.session.headers, timeout=60)

    threads = [threading.Thread(target=take_tokens), *(threading.Thread(target=change) for _ in range(12))]
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(0.5)
        cluster.stop("fast")
        time.sleep(1)
        cluster.start()
        time.sleep(1.5)
    stop.set()
    for thread in threads:
        thread.join(60)
    holds(checks, statuses == {200}, f"{what}: every token is issued", str(statuses))
    told = "another term" in server.log.read_text() or "has used this database since" in server.log.read_text()
    holds(checks, not told, f"{what}: nobody is told that another server served")
    server.changes_soon(checks, what)


def few_connections(checks, server, cluster):
    """Reads fill what the role may open; after a restart lock and changes come first all the same."""
    what = "a restart with few connections under reads"
    cluster.execute("ALTER ROLE app CONNECTION LIMIT 6")
    stop = threading.Event()

    def read():
        while not stop.is_set():
            with contextlib.suppress(requests.RequestException):
                requests.get(f"{server.url}/api/v1{server.path}/secrets", headers=server.session.headers, timeout=60)

    threads = [threading.Thread(target=read) for _ in range(10)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(1)
        cluster.stop("fast")
        time.sleep(1)
        cluster.start()
        server.changes_soon(checks, what)
        for _ in range(3):
            time.sleep(0.3)
            server.changes(checks, what)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    answer = requests.get(f"{server.url}/api/v1{server.path}/secrets", headers=server.session.headers, timeout=60)
    holds(checks, answer.status_code == 200, f"{what}: reads work again", answer.text)
    cluster.execute("ALTER ROLE app CONNECTION LIMIT -1")


def silent_session(checks, server, cluster):
    """The session of the lock does not answer: a stop does not wait for it."""
    what = "a stop while the session of the lock is silent"
    [(pid,)] = cluster.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory'", "app")
    os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        server.process.terminate()
        with contextlib.suppress(Exception):
            server.process.wait(25)
        took = time.monotonic() - begun
        holds(checks, server.process.poll() == 0 and took < 22, f"{what}: it ends", f"{server.process.poll()} {took:.1f} s")
    finally:
        os.kill(pid, signal.SIGCONT)


def start_with_too_few(checks, server, cluster):
    """The role may open one connection less than the server keeps: the start waits for none."""
    what = "a start with one connection too few"

    def start():
        begun = time.monotonic()
        server.start_again()
        return time.monotonic() - begun

    usual = start()
    server.stop()
    cluster.execute("ALTER ROLE app CONNECTION LIMIT 10")
    took = start()
    print(f"{what}: {took:.1f} s, and {usual:.1f} s with enough of them")
    holds(checks, took < 3 * usual + 3, f"{what}: it is quick", f"{took:.1f} s, usually {usual:.1f} s")
    server.changes(checks, what)
