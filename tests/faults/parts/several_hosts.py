"""A database URL names several hosts: one that is down, a standby, which is promoted later, and the primary."""

import contextlib
import pathlib
import tempfile
import time

import requests

from cluster import Cluster
from failover import Load, codes
from instance import eventually, free_port, require
from watched import Watched, holds

SESSIONS = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = 'crossfade' AND application_name = 'crossfade'"


def play(checks, arguments):
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(Cluster(arguments.postgres_bin, settings=("fsync=off",)))
        primary.execute("CREATE DATABASE crossfade")
        standby = primary.standby()
        stack.callback(standby.__exit__)
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-hosts-"))
        hosts = ",".join(f"127.0.0.1:{port}" for port in (free_port(), standby.port, primary.port))
        url = f"postgres://crossfade@{hosts}/crossfade?target_session_attrs=read-write"
        server = Watched(arguments.binary, directory, url)
        server.database_url, server.directory = url, pathlib.Path(directory)
        stack.callback(server.stop)
        server.start()
        server.create_client()
        passes_over(checks, server, primary, standby)
        promotion(checks, server, primary, standby)
        former_primary(checks, server, primary, standby)


def passes_over(checks, server, primary, standby):
    """The first host is down, and the second one a standby."""
    what = "a host that is down and a standby"
    server.changes(checks, what)
    # Two for changes, nine for reads, the lock, and the listener.
    server.eventually(checks, lambda: require(primary.execute(SESSIONS)[0][0] >= 10, str(primary.execute(SESSIONS))),
                      f"{what}: every session is on the primary")
    holds(checks, standby.execute(SESSIONS) == [(0,)], f"{what}: no session is on the standby")
    outcome, sentence = server.doctor()["database"]
    holds(checks, outcome == "ok", f"{what}: doctor finds the primary", sentence)


def promotion(checks, server, primary, standby):
    """The primary is gone, and the standby is promoted: the server goes on by itself, and loses no token."""
    what = "a promotion"
    with Load(server) as load:
        time.sleep(1)
        [(position,)] = primary.execute("SELECT pg_current_wal_lsn()")
        primary.stop("fast")
        caught_up = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
        eventually(lambda: require(standby.execute(caught_up) == [(True,)], "the standby has caught up"))
        standby.promote()
        server.changes_soon(checks, what)
    holds(checks, {one.status_code for one in load.tokens} == {200}, f"{what}: every token is issued",
          str(codes(load.tokens)))
    lost = requests.get(f"{server.url}/readyz", timeout=30).text
    holds(checks, "lost changes" not in lost and server.process.poll() is None, f"{what}: the process goes on", lost)
    # The others are opened when they are needed.
    server.eventually(checks, lambda: require(standby.execute(SESSIONS)[0][0] >= 4, str(standby.execute(SESSIONS))),
                      f"{what}: sessions are on the new primary")


def former_primary(checks, server, primary, standby):
    """The former primary is back and takes writes, while the new one is away: nothing is served on it."""
    what = "a former primary"
    primary.start()
    server.changes(checks, what)
    holds(checks, primary.execute(SESSIONS) == [(0,)], f"{what}: no session is on it while another is served")
    head = primary.execute("SELECT change_seq, term FROM head", "crossfade")
    standby.stop("fast")

    def is_told():
        text = requests.get(f"{server.url}/readyz", timeout=10).text
        require("former primary" in text, text)

    server.eventually(checks, is_told, f"{what}: readiness says that it is one")
    refused = server.change()
    holds(checks, refused.status_code == 503, f"{what}: changes are refused", refused.text)
    holds(checks, primary.execute("SELECT change_seq, term FROM head", "crossfade") == head,
          f"{what}: nothing is written to it")
    standby.start()
    server.changes_soon(checks, what)
    holds(checks, primary.execute("SELECT change_seq, term FROM head", "crossfade") == head,
          f"{what}: nothing was written to it")
