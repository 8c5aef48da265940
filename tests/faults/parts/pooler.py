"""A pooler stands between the server and PostgreSQL, and drops the settings that sessions are opened with."""

import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

import psycopg
import requests

from cluster import Cluster
from instance import eventually, free_port, require
from watched import Watched, holds, watched

# The setting under which each rotation was stored.
NOTE = """
CREATE TABLE noted (setting TEXT);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN INSERT INTO noted VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
CREATE TRIGGER note AFTER INSERT ON rotations FOR EACH ROW EXECUTE FUNCTION note()
"""


def play(checks, arguments):
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if not program:
        raise RuntimeError("pgbouncer is missing: install the package of that name")
    with Cluster(arguments.postgres_bin) as cluster, tempfile.TemporaryDirectory(prefix="crossfade-pooler-") as directory:
        cluster.execute("CREATE ROLE app LOGIN")
        cluster.execute("CREATE DATABASE app OWNER app")
        # What this database does unless a session says otherwise: it can lose the last commits.
        cluster.execute("ALTER DATABASE app SET synchronous_commit = off")
        pooler, port = start(program, directory, cluster)
        try:
            with watched(arguments, f"postgres://app@127.0.0.1:{port}/app") as server:
                what = "a pooler that drops settings"
                cluster.execute(NOTE, "app")
                server.changes(checks, what)
                noted = cluster.execute("SELECT setting FROM noted", "app")
                holds(checks, noted == [("on",)], f"{what}: a change sets synchronous_commit", str(noted))
                holds(checks, "drops the session settings" in server.log.read_text(), f"{what}: the log warns of it at the start")
                outcome, sentence = server.doctor()["durability"]
                holds(checks, outcome == "warn" and "drops the session settings" in sentence,
                      f"{what}: doctor warns of it", f"{outcome} {sentence}")
        finally:
            end(pooler)
        pooler, port = start(program, directory, cluster, "transaction")
        try:
            url = f"postgres://app@127.0.0.1:{port}/app"
            command = [arguments.binary, "doctor", "--data-dir", directory, "--database-url", url]
            for _ in range(2):  # the first one leaves its statements in the sessions of the pooler
                found = subprocess.run(command, env=server.environment, capture_output=True, text=True, timeout=60)
            said = found.stdout + found.stderr
            holds(checks, found.returncode != 0 and "set database_direct_url" in said,
                  "doctor names a pooler that pools transactions", said)
            past_it(checks, arguments, url, cluster)
        finally:
            end(pooler)


def past_it(checks, arguments, url, cluster):
    """A pooler of transactions, and a URL that leads past it: all transactions share three sessions of PostgreSQL."""
    what = "a pooler of transactions with a direct URL"
    with tempfile.TemporaryDirectory(prefix="crossfade-direct-") as directory:
        server = Watched(arguments.binary, directory, url)
        server.environment["CROSSFADE_DATABASE_DIRECT_URL"] = cluster.url("app", "app")
        cluster.execute("DROP DATABASE app WITH (FORCE)")
        cluster.execute("CREATE DATABASE app OWNER app")
        cluster.execute("ALTER DATABASE app SET synchronous_commit = off")
        try:
            server.start()
            server.create_client()
            cluster.execute(NOTE, "app")
            for _ in range(3):
                old = server.secret
                server.changes(checks, what)
                form = {"grant_type": "client_credentials"}
                refused = requests.post(f"{server.issuer('production')}/oauth2/token", auth=(server.client_id, old),
                                        data=form, timeout=30)
                holds(checks, refused.status_code == 401, f"{what}: a rotation ends the old secret", refused.text)
            old = server.secret
            rotated = server.change(transition_hours=24)
            holds(checks, rotated.status_code == 201 and requests.post(
                f"{server.issuer('production')}/oauth2/token", auth=(server.client_id, old), data=form, timeout=30
            ).status_code == 200, f"{what}: the old secret works during a transition", rotated.text)
            items = server.api("GET", f"{server.path}/secrets")["items"]
            [retiring] = [one for one in items if one["state"] == "retiring"]
            revoked = server.session.post(f"{server.url}/api/v1{server.path}/secrets/{retiring['id']}/revoke", timeout=30,
                                          json={"reason": "check"})
            holds(checks, revoked.ok, f"{what}: a revocation works", revoked.text)
            refused = requests.post(f"{server.issuer('production')}/oauth2/token", auth=(server.client_id, old),
                                    data=form, timeout=30)
            holds(checks, refused.status_code == 401, f"{what}: the revoked secret is refused", refused.text)
            server.changes(checks, what)
            # Many at the same time, which the pooler mixes.
            slowest, troubles = server.slowest(server.looks(), 3)
            holds(checks, not troubles, f"{what}: reads at the same time work", f"{troubles[:3]} {slowest}")
            server.changes(checks, what)
            noted = cluster.execute("SELECT DISTINCT setting FROM noted", "app")
            holds(checks, noted == [("on",)], f"{what}: a change sets synchronous_commit", str(noted))
            found = server.doctor()
            failed = {name: said for name, (outcome, said) in found.items() if outcome == "fail"}
            holds(checks, not failed, f"{what}: doctor finds nothing that fails", str(failed))
            server.stop()
            server.start_again()
            holds(checks, server.token().status_code == 200, f"{what}: a second start works")
            said = server.log.read_text()
            holds(checks, "42P05" not in said and "26000" not in said, f"{what}: no statement of another session is met",
                  said[-600:])
        finally:
            server.stop()


def end(pooler):
    pooler.terminate()
    pooler.wait(10)


def start(program, directory, cluster, mode="session"):
    port = free_port()
    directory = pathlib.Path(directory)
    (directory / "users").write_text('"app" ""\n')
    (directory / "settings").write_text(f"""
[databases]
app = host=127.0.0.1 port={cluster.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {directory}/users
pool_mode = {mode}
default_pool_size = {3 if mode == "transaction" else 20}
ignore_startup_parameters = options,extra_float_digits
""")
    # It refuses to run as root.
    user = cluster.user
    if user:
        for path in [directory, *directory.iterdir()]:
            os.chown(path, pwd.getpwnam(user).pw_uid, -1)
    log = open(directory / "log", "w")
    pooler = subprocess.Popen([program, str(directory / "settings")], user=user, cwd="/", stdout=log, stderr=log)

    def answers():
        try:
            psycopg.connect(f"postgres://app@127.0.0.1:{port}/app", connect_timeout=2).close()
        except psycopg.OperationalError as error:
            require(False, f"{error} {(directory / 'log').read_text()[-500:]}")

    eventually(answers)
    return pooler, port
