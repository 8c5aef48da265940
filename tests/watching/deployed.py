"""The files under deploy/ and the page about them, as the parts read them."""

import json
import pathlib
import re
import subprocess

import requests
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/prometheus/crossfade.rules.yml"
TESTS = ROOT / "deploy/prometheus/crossfade.test.yml"
DASHBOARD = ROOT / "deploy/grafana/crossfade.json"
PAGE = ROOT / "docs/guide/watching.md"

# Metrics that a server without TLS does not export, with the reason.
NOT_ALWAYS = {
    "crossfade_tls_certificate_not_after_seconds": "only with TLS in Crossfade",
    "crossfade_tls_certificate_refused": "only with TLS in Crossfade",
}


def alerts():
    """Every rule, by name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def panels():
    return json.loads(DASHBOARD.read_text())["panels"]


def queries():
    """Every query of the dashboard with the title of its panel; the variables stand for themselves."""
    return [(panel["title"], target["expr"]) for panel in panels() for target in panel.get("targets", [])]


def filled(query, instance, interval="1m"):
    """A query with the variables of the dashboard filled in."""
    variables = {"$job": "crossfade", "$instance": re.escape(instance).replace("\\", "\\\\"),
                 "$__rate_interval": interval}
    for name, value in variables.items():
        query = query.replace(name, value)
    return query


def metrics_in(text):
    """The names of metrics in an expression, without the endings of a histogram."""
    names = re.findall(r"\b(?:crossfade|process)_[a-z0-9_]+", text)
    return {re.sub(r"(_duration_seconds)_(?:bucket|sum|count)$", r"\1", name) for name in names}


def exported(server):
    """Every metric of a server, with its type and its labels."""
    found, name = {}, None
    for line in requests.get(f"{server.url}/metrics", timeout=30).text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            found[name] = (kind, set())
        elif not line.startswith("#"):
            labels = set(re.findall(r'([a-z_]+)="', line.partition("{")[2]))
            found[name][1].update(labels - {"le"})
    return found


def run(*command, **more):
    """Runs a program; returns its status and what it printed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, **more)
    return done.returncode, done.stdout


def anchors(page):
    """The anchors of the headings of a page, as hosts of Markdown make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def rows(page, under):
    """The rows of the tables below a heading of the second level, as lists of cells."""
    section = page.read_text().partition(f"\n## {under}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
