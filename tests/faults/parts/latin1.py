"""A PostgreSQL database in LATIN1 is refused by every local command, in the words of doctor, and left as it is."""

import pathlib
import subprocess
import tempfile

import psycopg

from cluster import Cluster
from instance import require

SENTENCE = "The database stores text as LATIN1, which cannot represent every name."


def play(checks, arguments):
    binary = pathlib.Path(arguments.binary).resolve()
    with (Cluster(arguments.postgres_bin, encoding="LATIN1") as cluster,
          tempfile.TemporaryDirectory(prefix="crossfade-latin1-") as directory):
        cluster.execute("CREATE DATABASE crossfade ENCODING 'LATIN1' TEMPLATE template0")
        cluster.execute("CREATE DATABASE whole ENCODING 'UTF8' TEMPLATE template0")
        place = ["--data-dir", f"{directory}/data", "--database-url"]
        wrong, right = [*place, cluster.url("crossfade")], [*place, cluster.url("whole")]

        def run(*command, stdin=""):
            return subprocess.run([binary, *command], input=stdin, capture_output=True, text=True, timeout=60,
                                  env={"NO_PROXY": "127.0.0.1"})

        done = run("init", *right, "--owner-email", "ada@example.com", "--password-stdin",
                   stdin="correct horse battery staple\n")
        checks.run("a UTF8 database is taken", require, done.returncode == 0, done.stderr)
        backup = f"{directory}/whole.backup"
        done = run("backup", *right, "--output", backup)
        checks.run("it is backed up", require, done.returncode == 0, done.stderr)
        password = "correct horse battery staple\n"
        for command, stdin in [
            (["serve", "--listen", "127.0.0.1:0"], ""),
            (["init", "--owner-email", "ada@example.com", "--password-stdin"], password),
            (["init", "--owner-email", "ada@example.com", "--password-stdin", "--new-instance"], password),
            (["token", "create", "--user", "ada@example.com", "--name", "x"], ""),
            (["owner", "recover", "--email", "ada@example.com"], ""),
            (["restore", "--from", backup], ""),
        ]:
            done = run(*command, *wrong, stdin=stdin)
            refused = done.returncode == 1 and SENTENCE in done.stderr
            checks.run(f"{' '.join(command[:2])} refuses LATIN1", require, refused, f"{done.returncode} {done.stderr}")
        tables = cluster.execute(
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'public'", "crossfade")
        checks.run("nothing was made", require, tables == [(0,)], f"{tables}")
        # doctor looks at the encoding of what holds an instance: one of an earlier version, before it was refused.
        migrate(cluster)
        done = run("doctor", *wrong)
        checks.run("doctor says the same", require, done.returncode == 1 and SENTENCE in done.stdout, done.stdout)


def migrate(cluster):
    """Copies the schema of the whole database, as far as doctor reads it before it looks at the encoding."""
    with psycopg.connect(cluster.url("whole")) as whole, psycopg.connect(cluster.url("crossfade")) as other:
        rows = whole.execute("SELECT version, description, success, checksum, execution_time FROM _sqlx_migrations")
        other.execute("CREATE TABLE _sqlx_migrations (version BIGINT, description TEXT, success BOOLEAN, checksum BYTEA,"
                      " execution_time BIGINT)")
        for row in rows.fetchall():
            other.execute("INSERT INTO _sqlx_migrations VALUES (%s, %s, %s, %s, %s)", row)
