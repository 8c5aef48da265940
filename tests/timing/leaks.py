#!/usr/bin/env python3
"""How long it takes to identify many found secrets, and whether the time of an answer reveals a secret that one cannot read.

    tests/timing/leaks.py --binary target/release/crossfade [--database-url postgres://…] --registrations 1000000 --samples 1000

Not a gate: what it measures depends on the machine. That the bytes of both answers are equal is a gate; see
crates/crossfade/tests/it/leaks.rs.
"""

import argparse
import concurrent.futures
import contextlib
import http.client
import json
import math
import pathlib
import random
import secrets
import sqlite3
import string
import sys
import tempfile
import time
import urllib.parse
import zlib

import psycopg

from run import THRESHOLD, compare

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "api")]

from instance import Instance, fresh_database, program, require  # noqa: E402

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ENVIRONMENTS = ["development", "staging", "production"]
# As many as there is room for in a request of 64 KB.
IN_A_REQUEST = 1000
# An account makes 200 searches, and then one each second.
SEARCHES_OF_AN_ACCOUNT = 190
ROWS_AT_ONCE = 50_000


def unknown(prefix="crossfade_live_"):
    """A text that has the form of a client secret, with the right checksum, and that nobody was given."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(43))
    rest, check = zlib.crc32(body.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        check = ALPHABET[digit] + check
    return f"{prefix}{body}{check}"


def create(server, property_id, number):
    body = {"name": f"Known {number}", "property_id": property_id, "environments": ENVIRONMENTS}
    made = server.api("POST", "/clients", body)
    return made["id"], [it["secret"]["value"] for it in made["registrations"]]


class Database:
    """The database of the server, past the server."""

    def __init__(self, directory, url):
        self.is_postgres = bool(url)
        self.connection = psycopg.connect(url) if url else sqlite3.connect(
            pathlib.Path(directory) / "data" / "crossfade.db", timeout=60)

    def run(self, sql, *arguments):
        return self.connection.execute(sql.replace("?", "%s") if self.is_postgres else sql, arguments)

    def multiply(self, table, like, count, changed):
        """Adds this number of rows like the one with this ID, but for the changed columns, which are SQL over a number i."""
        names = [it[0] for it in self.run(f"SELECT * FROM {table} LIMIT 1").description]
        chosen = ", ".join(f"{changed[name]} AS {name}" if name in changed else f"t.{name}" for name in names)
        for first in range(1, count + 1, ROWS_AT_ONCE):
            last = min(first + ROWS_AT_ONCE - 1, count)
            numbers = f"WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})"
            source = f"{numbers} SELECT {chosen} FROM n CROSS JOIN {table} t WHERE t.id = '{like}'"
            self.run(f"INSERT INTO {table} ({', '.join(names)}) {source}")
            self.connection.commit()

    def fill(self, client, registrations):
        """Adds this number of clients with a registration and a secret each."""
        key = lambda prefix: f"'{prefix}100000000000000' || CAST(1000000 + i AS TEXT)"  # noqa: E731
        digest = "sha256(CAST(CAST(i AS TEXT) AS BYTEA))" if self.is_postgres else "randomblob(32)"
        registration, = self.run("SELECT id FROM registrations WHERE client_id = ? AND environment = 'production'", client).fetchone()
        secret, = self.run("SELECT id FROM secrets WHERE registration_id = ?", registration).fetchone()
        name = "'Bulk ' || CAST(i AS TEXT)"
        self.multiply("clients", client, registrations, {"id": key("cl_"), "name": name, "name_key": f"lower({name})"})
        self.multiply("registrations", registration, registrations,
                      {"id": key("reg_"), "client_id": key("cl_"), "oauth_client_id": key("")})
        self.multiply("secrets", secret, registrations,
                      {"id": key("sec_"), "registration_id": key("reg_"), "digest": digest, "value_digest": digest})
        if self.is_postgres:
            self.run("ANALYZE")
            self.connection.commit()

    def look_up(self, count):
        """Seconds of that many look-ups by the index, one after the other."""
        begun = time.monotonic()
        for _ in range(count):
            self.run("SELECT id FROM secrets WHERE value_digest = ?", secrets.token_bytes(32)).fetchone()
        return time.monotonic() - begun


class Caller:
    """One kept connection, and an account that changes before it has made too many searches."""

    def __init__(self, server, tokens):
        to = urllib.parse.urlsplit(server.url)
        self.connection = http.client.HTTPConnection(to.hostname, to.port, timeout=60)
        self.tokens, self.asked = tokens, 0

    def ask(self, text):
        """One search; returns its nanoseconds and the answer."""
        token = self.tokens[self.asked // SEARCHES_OF_AN_ACCOUNT]
        self.asked += 1
        body = json.dumps({"text": text})
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        begun = time.perf_counter_ns()
        self.connection.request("POST", "/api/v1/leaks", body, headers)
        answer = self.connection.getresponse()
        read = answer.read()
        took = time.perf_counter_ns() - begun
        require(answer.status == 200, read)
        return took, json.loads(read)


def search(server, database, texts, name):
    caller, found, secrets_in_them = Caller(server, [server.environment["CROSSFADE_TOKEN"]]), 0, 0
    begun = time.monotonic()
    for first in range(0, len(texts), IN_A_REQUEST):
        _, answer = caller.ask(" ".join(texts[first:first + IN_A_REQUEST]))
        secrets_in_them += len(answer["found"])
        found += sum(1 for it in answer["found"] if it["identified"])
    took, plain = time.monotonic() - begun, database.look_up(len(texts))
    require(secrets_in_them == len(texts), f"{secrets_in_them} of {len(texts)} texts have the form of a secret")
    print(f"| {name} | {len(texts):,} | {found:,} | {took:.1f} s | {plain:.2f} s | {took / plain:.1f} |", flush=True)


def reveals(server, property_id, samples):
    """Compares the times of answers about a secret that the caller cannot read with those about one that does not exist."""
    own, _ = create(server, property_id, "own")
    _, [hidden, *_] = create(server, property_id, "hidden")
    accounts = math.ceil(2 * samples / SEARCHES_OF_AN_ACCOUNT)
    tokens = [program(server, "viewer", client_id=own)[1] for _ in range(accounts)]
    stranger = unknown(hidden[:len("crossfade_live_")])
    texts = {"a secret of a client that the caller cannot read": hidden, "no secret": stranger}
    order, times, answers = list(texts) * samples, {name: [] for name in texts}, {name: set() for name in texts}
    random.shuffle(order)
    caller = Caller(server, tokens)
    for name in order:
        took, answer = caller.ask(texts[name])
        times[name].append(took)
        answers[name].add(json.dumps(answer))
    require(len(set().union(*answers.values())) == 1, str(answers))
    known, none = times.values()
    t, difference = compare(none, known)
    verdict = "no difference found" if abs(t) < THRESHOLD else "suspicious" if abs(t) < 2 * THRESHOLD else "different"
    median = sorted(none)[len(none) // 2] / 1e6
    print(f"\n{samples:,} answers of each kind, median {median:.2f} ms: difference of medians {difference / 1000:+.2f} µs, "
          f"greatest t {abs(t):.1f}: {verdict}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--database-url")
    parser.add_argument("--registrations", type=int, default=1_000_000)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--known", type=int, default=10_000, help="texts that are secrets of clients")
    parser.add_argument("--samples", type=int, default=1_000, help="of each kind of answer")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(fresh_database(arguments.database_url)) if arguments.database_url else None
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-leaks-"))
        server = Instance(arguments.binary, directory, url)
        stack.callback(server.stop)
        server.start()
        property_id = server.api("POST", "/properties", {"name": "Shop"})["id"]
        begun = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda number: create(server, property_id, number), range(math.ceil(arguments.known / 3))))
        known = [value for _, values in made for value in values][:arguments.known]
        known += [unknown() for _ in range(arguments.texts - len(known))]
        random.shuffle(known)
        database = Database(directory, url)
        database.fill(made[0][0], arguments.registrations)
        [count] = database.run("SELECT COUNT(*) FROM registrations").fetchone()
        print(f"{'postgres' if url else 'sqlite'}: {count:,} registrations, made in {time.monotonic() - begun:.0f} s\n")
        print("| texts | number | identified | search | plain look-ups | ratio |\n|---|--:|--:|--:|--:|--:|")
        search(server, database, [unknown() for _ in range(arguments.texts)], "unknown, with a right checksum")
        search(server, database, known, "with valid secrets, found for the first time")
        search(server, database, known, "the same again")
        if arguments.samples:
            reveals(server, property_id, arguments.samples)


if __name__ == "__main__":
    main()
