"""A pooler stands between the server and PostgreSQL, and drops the settings that sessions are opened with."""

import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

import psycopg

from cluster import Cluster
from instance import eventually, free_port, require
from watched import holds, watched

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
            holds(checks, found.returncode != 0 and "pool sessions, not transactions" in said,
                  "doctor names a pooler that pools transactions", said)
        finally:
            end(pooler)


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
