"""A copy of the database is put back underneath: an older SQLite file, our own restore, and a base backup of PostgreSQL.
With the journal, what had ended stays ended and service goes on; without it, nothing is decided until a release."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import requests

from cluster import Cluster
from instance import OWNER, eventually, require
from other_history import copy_data
from watched import Watched, holds


def play(checks, arguments):
    for journal in [True, False]:
        older_file(checks, arguments, journal)
        own_restore(checks, arguments, journal)
    with Cluster(arguments.postgres_bin, settings=("fsync=off",)) as cluster:
        for journal in [True, False]:
            base_backup(checks, arguments, cluster, journal)


@contextlib.contextmanager
def lived(arguments, journal, database_url=None):
    """A server with one client, with a journal on another disk if it has one."""
    with contextlib.ExitStack() as stack:
        directory, other = (
            pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-restored-"))) for _ in range(2)
        )
        server = Watched(arguments.binary, directory, database_url)
        if journal:
            server.environment["CROSSFADE_JOURNAL_FILE"] = str(other / "ends.journal")
        stack.callback(server.stop)
        server.start()
        server.create_client()
        server.leaked = server.secret
        yield server


def steal(server):
    """Makes a token that ends later."""
    created = run(server, "token create", "--user", OWNER, "--name", "stolen")
    require(created.returncode == 0, created.stderr)
    server.stolen = created.stdout.strip()


def leak(server):
    """A leak is answered: the secret ends, and so does the token."""
    require(server.change(compromised=True).status_code == 201, "the leaked secret is not replaced")
    headers = {"Authorization": f"Bearer {server.stolen}"}
    token = requests.get(f"{server.url}/api/v1/me", headers=headers, timeout=30).json()["token_id"]
    answer = server.session.delete(f"{server.url}/api/v1/tokens/{token}", timeout=30)
    require(answer.status_code == 204, answer.text)


def stays_ended(checks, server, what):
    """Everything that had ended has ended, and the rest works, without a hand."""
    server.decides(checks, what)
    current, server.secret = server.secret, server.leaked
    holds(checks, server.token().status_code == 401, f"{what}: the leaked secret is refused")
    server.secret = current
    headers = {"Authorization": f"Bearer {server.stolen}"}
    answer = requests.get(f"{server.url}/api/v1/me", headers=headers, timeout=30)
    holds(checks, answer.status_code == 401, f"{what}: the ended API token is refused", answer.text)
    server.changes(checks, what)


def waits(checks, server, what, cause):
    """Nothing is decided until a release, and what is not released stays refused."""
    server.secret = server.leaked
    holds(checks, server.token().status_code == 503, f"{what}: no token is issued")
    ready = requests.get(f"{server.url}/readyz", timeout=30)
    holds(checks, ready.status_code == 503 and "quarantine" in ready.text, f"{what}: /readyz says why", ready.text)
    holds(checks, server.metric("crossfade_quarantined") == 1, f"{what}: a metric says so")
    answer = server.change()
    holds(checks, (answer.status_code, answer.json().get("code")) == (503, "quarantined"), f"{what}: changes are refused",
          answer.text)
    answer = server.session.get(f"{server.url}/api/v1{server.path}/secrets", timeout=30)
    holds(checks, answer.status_code == 200, f"{what}: reads are answered", answer.text)
    shown = run(server, "quarantine show", "--json")
    holds(checks, f'"{cause}"' in shown.stdout, f"{what}: the command says {cause}", shown.stdout + shown.stderr)
    client = server.path.split("/")[2]
    released = run(server, "quarantine release", "--reason", "drill", "--except", client)
    holds(checks, released.returncode == 0, f"{what}: the machine releases", released.stderr)

    def refuses():
        require(server.token().status_code == 401, "the secret that was not released is accepted, or nothing is decided")

    server.eventually(checks, refuses, f"{what}: the rest is served, and what was not released is refused", seconds=20)


def run(server, command, *more):
    command = [server.binary, *command.split(), *server.place, *more]
    return subprocess.run(command, env=server.environment, capture_output=True, text=True, timeout=60)


def start_held(server):
    """Starts a server that is not going to be ready."""
    ready = server._ready
    server._ready = lambda: None
    server.start_again()
    server._ready = ready

    def answers():
        try:
            require(requests.get(f"{server.url}/healthz", timeout=5).status_code == 200, "it does not answer")
        except requests.ConnectionError as error:
            raise AssertionError(str(error)) from error

    eventually(answers, seconds=30)


def path(server):
    return pathlib.Path(server.place[1]) / "crossfade.db"


def older_file(checks, arguments, journal):
    what = f"an older SQLite file, {'with' if journal else 'without'} the journal"
    with lived(arguments, journal) as server:
        steal(server)
        server.stop()
        kept = server.log.parent / "kept.db"
        shutil.copyfile(path(server), kept)
        server.start_again()
        leak(server)
        server.stop()
        for beside in ["-wal", "-shm"]:
            pathlib.Path(f"{path(server)}{beside}").unlink(missing_ok=True)
        shutil.copyfile(kept, path(server))
        if not journal:
            # Nothing outside the file says that it is older.
            server.start_again()
            server.secret = server.leaked
            holds(checks, server.token().status_code == 200, f"{what}: it cannot be recognised")
            return
        server.start_again()
        stays_ended(checks, server, what)
        # Without its journal from now on.
        server.stop()
        kept_journal = server.environment.pop("CROSSFADE_JOURNAL_FILE")
        start_held(server)
        holds(checks, server.token().status_code == 503, f"{what}: no token without the journal")
        server.stop()
        server.environment["CROSSFADE_JOURNAL_FILE"] = kept_journal
        server.start_again()
        server.decides(checks, f"{what}, put back")


def own_restore(checks, arguments, journal):
    what = f"our own restore, {'with' if journal else 'without'} the journal"
    with lived(arguments, journal) as server:
        steal(server)
        backup = server.log.parent / "it.backup"
        made = run(server, "backup", "--output", str(backup))
        holds(checks, made.returncode == 0, f"{what}: a backup is made", made.stderr)
        leak(server)
        server.stop()
        for beside in ["", "-wal", "-shm"]:
            pathlib.Path(f"{path(server)}{beside}").unlink(missing_ok=True)
        restored = run(server, "restore", "--from", str(backup))
        holds(checks, restored.returncode == 0, f"{what}: it is restored", restored.stderr)
        if journal:
            server.start_again()
            stays_ended(checks, server, what)
        else:
            start_held(server)
            waits(checks, server, what, "restored")


def base_backup(checks, arguments, cluster, journal):
    name = "with" if journal else "without"
    what = f"a base backup put back by hand, {name} the journal"
    cluster.execute(f"CREATE DATABASE {name}_journal")
    with lived(arguments, journal, cluster.url(f"{name}_journal")) as server:
        steal(server)
        server.stop()
        kept = os.path.join(cluster.directory, f"kept-{name}")
        cluster._run("pg_basebackup", "-D", kept, "-h", "127.0.0.1", "-p", str(cluster.port), "-U", "crossfade",
                     "-c", "fast", "-X", "stream")
        server.start_again()
        leak(server)
        server.stop()
        cluster.stop("fast")
        shutil.rmtree(cluster._data)
        copy_data(cluster, kept, cluster._data)
        shutil.rmtree(kept)
        cluster.start()
        if journal:
            server.start_again()
            stays_ended(checks, server, what)
            return
        # The same server to PostgreSQL; a dump that was restored elsewhere would be another one.
        cluster.execute("UPDATE history SET system_id = system_id + 1", f"{name}_journal")
        start_held(server)
        waits(checks, server, "a database on another server", "another_server")
