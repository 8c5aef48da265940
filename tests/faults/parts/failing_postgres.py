"""PostgreSQL refuses changes in several ways, ends sessions, and runs out of disk; the server tells them apart."""

import concurrent.futures
import contextlib
import pathlib
import tempfile

import psycopg

from cluster import Cluster
from instance import eventually, require
from small_disk import SmallDisk
from watched import Watched, holds, watched

# A change runs this trigger when everything is written and only the commit is left.
AT_COMMIT = """
CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON rotations DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION at_commit()
"""
NO_TRIGGER = "DROP TRIGGER at_commit ON rotations; DROP FUNCTION at_commit()"


def play(checks, arguments):
    with Cluster(arguments.postgres_bin) as cluster:
        cluster.execute("CREATE ROLE app LOGIN")
        cluster.execute("CREATE DATABASE app")
        cluster.execute("GRANT ALL ON SCHEMA public TO app", "app")
        with watched(arguments, cluster.url("app", "app")) as server:
            read_only_role(checks, server, cluster)
            ended_sessions(checks, server, cluster)
            full_by_error(checks, server, cluster)
            no_create(checks, server, cluster)
        no_create_at_first(checks, arguments, cluster)
        full_tablespace(checks, arguments, cluster)


def end_sessions(cluster, where="usename = 'app'"):
    """Ends sessions of the server, except the one that holds its lock: the loss of the lock is a matter of `lost_lock`,
    and the server would notice it up to a second later, in the middle of the next check."""
    others = "pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
    return cluster.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {where} AND {others}", "app")


def read_only_role(checks, server, cluster):
    what = "a role that is set read-only"
    # The setting applies to new sessions only, so those that are there are ended.
    cluster.execute("ALTER ROLE app SET default_transaction_read_only = on")
    end_sessions(cluster)
    server.refuses_changes(checks, what, "The database is read-only. Nothing was changed.")
    server.tells(checks, what, "the database is read-only", "SQLSTATE 25006", "read_only")
    found = server.doctor()
    holds(checks, found["changes"][0] == "FAIL" and "25006" in found["changes"][1],
          f"{what}: doctor finds it", str(found.get("changes")))
    # Sessions of that time stay read-only; the server must not keep them.
    cluster.execute("ALTER ROLE app RESET default_transaction_read_only")
    server.changes_soon(checks, what)
    server.recovers(checks, what)


def ended_sessions(checks, server, cluster):
    what = "a session that is ended in a change"
    with held_head(cluster), concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(server.change)
        ended = lambda: require(end_sessions(cluster, "usename = 'app' AND wait_event_type = 'Lock'"), "no change waits")
        eventually(ended)
        answer = waiting.result(30)
    body = answer.json()
    holds(checks, (answer.status_code, body["code"]) == (503, "unavailable") and "cannot be reached" in body["detail"],
          f"{what}: the change is refused", answer.text)
    holds(checks, "SQLSTATE 57P01" in server.log.read_text(), f"{what}: the log has SQLSTATE 57P01")
    server.changes_soon(checks, what)

    what = "a session that is ended in a commit"
    cluster.execute(AT_COMMIT.format(body="PERFORM pg_sleep(3);"), "app")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(server.change)
        where = "usename = 'app' AND query = 'COMMIT' AND state = 'active'"
        eventually(lambda: require(end_sessions(cluster, where), "no commit is under way"))
        answer = waiting.result(30)
    holds(checks, (answer.status_code, answer.json()["code"]) == (503, "outcome_unknown"),
          f"{what}: the outcome is unknown", answer.text)
    cluster.execute(NO_TRIGGER, "app")
    server.changes_soon(checks, what)


def full_by_error(checks, server, cluster):
    what = "a disk that is full at the commit"
    cluster.execute(AT_COMMIT.format(body="RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100';"), "app")
    server.refuses_changes(checks, what, "The database disk is full. Nothing was changed.")
    server.tells(checks, what, "the database disk is full", "SQLSTATE 53100: could not extend file", "full")
    cluster.execute(NO_TRIGGER, "app")
    server.changes(checks, what)
    server.recovers(checks, what)


def no_create(checks, server, cluster):
    what = "a role that may not create tables"
    cluster.execute("REVOKE ALL ON SCHEMA public FROM app", "app")
    cluster.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", "app")
    cluster.execute("GRANT USAGE ON SCHEMA public TO app", "app")
    server.stop()
    server.start_again()
    server.changes(checks, f"{what}, where nothing is to migrate")

    what = "a role that may not write a table"
    cluster.execute("ALTER TABLE secrets OWNER TO crossfade", "app")
    cluster.execute("GRANT SELECT ON secrets TO app", "app")
    server.refuses_changes(checks, what, "refuses a permission to this server's role. Nothing was changed.")
    server.tells(checks, what, "the database refuses a permission", "SQLSTATE 42501", "denied")
    cluster.execute("ALTER TABLE secrets OWNER TO app", "app")
    server.changes(checks, what)


def no_create_at_first(checks, arguments, cluster):
    cluster.execute("CREATE DATABASE empty")
    cluster.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", "empty")
    with tempfile.TemporaryDirectory(prefix="crossfade-faults-") as directory:
        server = Watched(arguments.binary, directory, cluster.url("empty", "app"))
        server.serve_fails(checks, "an empty database in which nothing may be created", "SQLSTATE 42501")


def full_tablespace(checks, arguments, cluster):
    what = "a tablespace that is full"
    with tempfile.TemporaryDirectory(prefix="crossfade-tablespace-") as directory:
        pathlib.Path(directory).chmod(0o755)
        with SmallDisk(pathlib.Path(directory) / "small", megabytes=48, owner=cluster.user) as disk:
            cluster.execute(f"CREATE TABLESPACE small LOCATION '{disk.directory}'")
            cluster.execute("CREATE DATABASE small TABLESPACE small")
            cluster.execute("GRANT ALL ON SCHEMA public TO app", "small")
            with watched(arguments, cluster.url("small", "app")) as server:
                disk.fill()
                # The pages that are there have some room.
                answer = server.change()
                for _ in range(400):
                    if answer.status_code != 201:
                        break
                    answer = server.change()
                server.refuses_changes(checks, what, "The database disk is full. Nothing was changed.")
                server.tells(checks, what, "the database disk is full", "SQLSTATE 53100", "full")
                found = server.doctor()
                holds(checks, found["changes"][0] == "FAIL" and "53100" in found["changes"][1],
                      f"{what}: doctor finds it", str(found.get("changes")))
                disk.free()
                server.changes_soon(checks, what)
                server.recovers(checks, what)
            cluster.execute("DROP DATABASE small WITH (FORCE)")
            cluster.execute("DROP TABLESPACE small")


@contextlib.contextmanager
def held_head(cluster):
    """Holds the row that every change needs."""
    with psycopg.connect(cluster.url("app")) as other:
        other.execute("SELECT * FROM head FOR UPDATE")
        yield other
