"""A stored time one day ahead of the machine's clock, and a clock that is right again: what a machine leaves whose
clock was wrong for a moment. Tokens tell the machine's time, and the warning is loud."""

import argparse
import base64
import contextlib
import json
import sqlite3
import subprocess
import time

import psycopg
import requests

from cluster import Cluster
from instance import instance, require

DAY = 86_400
BEHIND = "clock is 24 hours behind the stored time"


def play(checks, arguments):
    with instance(argparse.Namespace(**vars(arguments) | {"database_url": None})) as server:
        broken(checks, "sqlite", server, sqlite)
    with Cluster(arguments.postgres_bin) as cluster:
        with instance(argparse.Namespace(**vars(arguments) | {"database_url": cluster.url()})) as server:
            broken(checks, "postgresql", server, postgresql)


@contextlib.contextmanager
def sqlite(server):
    with contextlib.closing(sqlite3.connect(server.directory / "data" / "crossfade.db")) as connection:
        yield connection
        connection.commit()


def postgresql(server):
    return psycopg.connect(server.database_url)


def broken(checks, engine, server, database):
    prop = server.api("POST", "/properties", {"name": "Shop"})
    body = {"name": "Billing", "property_id": prop["id"], "environments": ["production"]}
    registration = server.api("POST", "/clients", body)["registrations"][0]
    client = (registration["client_id"], registration["secret"]["value"])
    server.kill()
    with database(server) as connection:
        connection.execute("UPDATE head SET highest_time = highest_time + 86400000000")
    server.start_again()

    checks.run(f"{engine}: a token is of now", is_of_now, server, client)
    checks.run(f"{engine}: a revoked token stays revoked over a restart", stays_revoked, server, client)
    checks.run(f"{engine}: readyz warns", lambda: require(
        BEHIND in requests.get(f"{server.url}/readyz", timeout=5).text, "no warning in /readyz"))
    checks.run(f"{engine}: the metric has the offset", offset, server)
    checks.run(f"{engine}: the Overview warns", lambda: require(
        BEHIND in server.sign_in().get(f"{server.url}/console", timeout=30).text, "no warning on the Overview"))
    checks.run(f"{engine}: the log warns once", log_warns_once, server)
    checks.run(f"{engine}: doctor tells both times", doctor, server)


def oauth(server, endpoint, client, **form):
    answer = requests.post(f"{server.url}/env/production/oauth2/{endpoint}", auth=client, data=form, timeout=30)
    require(answer.status_code == 200, f"{endpoint} answers {answer.status_code}: {answer.text}")
    return answer


def token(server, client):
    return oauth(server, "token", client, grant_type="client_credentials").json()["access_token"]


def active(server, client, value):
    return oauth(server, "introspect", client, token=value).json()["active"]


def is_of_now(server, client):
    answer = oauth(server, "token", client, grant_type="client_credentials").json()
    payload = answer["access_token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    now = time.time()
    require(now - 10 < claims["iat"] <= now, f"issued at {claims['iat']}, {claims['iat'] - now:.0f} s from now")
    require(claims["exp"] - claims["iat"] == answer["expires_in"], f"claims {claims}, expires_in {answer['expires_in']}")
    require(active(server, client, answer["access_token"]), "a fresh token is inactive")


def stays_revoked(server, client):
    value = token(server, client)
    oauth(server, "revoke", client, token=value)
    require(not active(server, client, value), "active after its revocation")
    server.kill()
    server.start_again()
    require(not active(server, client, value), "active again after a restart")


def offset(server):
    text = requests.get(f"{server.url}/metrics", timeout=5).text
    line = next(line for line in text.splitlines() if line.startswith("crossfade_clock_offset_seconds "))
    value = float(line.split()[1])
    require(DAY - 120 < value <= DAY, line)


def log_warns_once(server):
    time.sleep(3)  # three looks at the clock
    lines = [line for line in server.log.read_text().splitlines() if "clock is behind the stored time" in line]
    require(len(lines) == 2, f"{len(lines)} warnings in two starts: {lines}")


def doctor(server):
    done = subprocess.run([server.binary, "doctor", *server.place], env=server.environment, capture_output=True,
                          text=True, timeout=60)
    require(done.returncode == 1, f"doctor exits {done.returncode}")
    said = " ".join((done.stdout + done.stderr).split())
    for words in ["24 hours behind the stored time", "half speed", "Tokens use the clock"]:
        require(words in said, f"doctor does not say {words!r}: {said}")
