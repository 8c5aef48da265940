"""The page about watching: every metric that a server exports, and every field of the log."""

import json
import pathlib
import re
import tempfile

import requests

import tls
from deployed import NOT_ALWAYS, PAGE, ROOT, alerts, exported, metrics_in, queries, rows
from instance import instance, require

# The macros that write a line of the log.
WRITES = re.compile(r"tracing::(?:\$level|error|warn|info|debug|trace)!\s*\(")
# Fields that a line in JSON has besides its own.
OF_EVERY_LINE = {"timestamp", "level", "target", "message"}


def play(checks, arguments):
    with instance(arguments, log_format="json") as server:
        use(server)
        with tempfile.TemporaryDirectory() as directory:
            found = exported(server) | only_with_tls(checks, arguments, directory)
        checks_of_metrics(checks, found)
        fields = {row[0].strip("`") for row in rows(PAGE, "The log")}
        checks.run("every field of a line of this server is on the page", has_all, fields, fields_of(server.log))
    written = fields_in_source()
    checks.run("some fields were found in the source", require, len(written) > 30, str(written))
    checks.run("every field in the source is on the page", has_all, fields, written)
    checks.run("every field on the page is in the source", has_all, written | OF_EVERY_LINE, fields)


def only_with_tls(checks, arguments, directory):
    """The metrics that a server without TLS does not export, as one with TLS does."""
    pair = tls.Pair(pathlib.Path(directory) / "pair")
    pair.make()
    with tls.Encrypted.serving(arguments, directory, pair) as server:
        found = exported(server)
    checks.run("a server with TLS exports what is missing without", has_all, set(found), set(NOT_ALWAYS))
    return {name: found[name] for name in NOT_ALWAYS if name in found}


def use(server):
    """One request of each kind, so that its metrics and lines appear."""
    requests.post(f"{server.issuer('production')}/oauth2/token", auth=("nobody", "x"), timeout=30,
                  data={"grant_type": "client_credentials"})
    server.api("GET", "/clients")
    requests.get(f"{server.url}/readyz", timeout=30)


def checks_of_metrics(checks, found):
    described = {}
    for cells in rows(PAGE, "Metrics"):
        name, _, labels = cells[0].strip("`").partition("{")
        described[name] = (cells[1], set(re.findall(r"[a-z_]+", labels)))
    for name, shown in found.items():
        checks.run(f"{name} is on the page as it is", require, described.get(name) == shown,
                   f"the page has {described.get(name)}, the server {shown}")
    known = set(found)
    checks.run("every metric on the page exists", has_all, known, set(described))
    for name, rule in alerts().items():
        watched = metrics_in(rule["expr"])
        checks.run(f"the metrics of {name} exist", has_all, known, watched)
    for title, query in queries():
        checks.run(f"the metrics of the panel {title} exist", has_all, known, metrics_in(query))
    shown = set().union(*(metrics_in(query) for _, query in queries()))
    checks.run("every metric of Crossfade is on the dashboard", has_all, shown,
               {name for name in known if name.startswith("crossfade_")})


def has_all(known, wanted):
    require(wanted <= known, f"missing: {sorted(wanted - known)}")


def fields_of(log):
    fields = set()
    for line in pathlib.Path(log).read_text().splitlines():
        # Before the log starts, and once it serves, the program writes plain sentences.
        if line.startswith("{"):
            written = json.loads(line)
            # Libraries write lines with fields of their own at the level `trace`.
            if written["target"].startswith("crossfade"):
                fields |= set(written)
    require({"request_id", "operation", "status"} <= fields, f"the log has the fields {fields}")
    return fields


def fields_in_source():
    fields = set()
    for file in sorted((ROOT / "crates").glob("*/src/**/*.rs")):
        text = file.read_text().partition("#[cfg(test)]\nmod tests")[0]
        for start in WRITES.finditer(text):
            fields |= set(fields_in(arguments_of(text, start.end())))
    return fields


def arguments_of(text, start):
    """The arguments of a macro without their texts, from behind its parenthesis."""
    open_ones, kept, position = 1, [], start
    while open_ones:
        character = text[position]
        if character == '"':
            position = re.compile(r'"(?:\\.|[^"\\])*"', re.DOTALL).match(text, position).end()
            kept.append('""')
            continue
        open_ones += {"(": 1, ")": -1}.get(character, 0)
        kept.append(character)
        position += 1
    return "".join(kept[:-1])


def fields_in(arguments):
    """The names of the fields in the arguments of a macro: everything before its message."""
    arguments = re.sub(r"\$\((.*?)\)\?", r"\1", arguments)
    for argument in re.split(r",(?![^(]*\))", arguments.partition('""')[0]):
        name = re.match(r"\s*[%?$]*(\w+)\s*(=|$)", argument)
        if name:
            yield name[1]
