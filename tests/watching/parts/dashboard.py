"""The dashboard: its members by Grafana's own types, its queries, and the order in which an operator is woken."""

import json
import tempfile

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from deployed import DASHBOARD, filled, panels, queries, run
from instance import require

# From what wakes an operator at night to what is looked at in working hours.
ORDER = [
    "Readiness and lock", "Changes", "Tokens and requests", "Client authentications and sign-ins",
    "Transitions and deadlines", "Secrets", "Connections and TLS", "Clock", "Evidence", "Disk and process",
]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
# Members that Grafana writes although its types do not have them.
UNTYPED = {"titleFormat", "textFormat", "definition"}


def play(checks, _):
    board = json.loads(DASHBOARD.read_text())
    checks.run("the schema is of Grafana 12", require, board["schemaVersion"] >= 41, str(board["schemaVersion"]))
    register_default_plugins()
    checks.run("Grafana's types have every member", has_only_known_members, board)
    checks.run("a misspelt member is noticed", misspelt_is_noticed, board)
    names = [variable["name"] for variable in board["templating"]["list"]]
    checks.run("its variables", require, names == ["datasource", "job", "instance"], str(names))
    titles = [panel["title"] for panel in sorted(panels(), key=lambda panel: panel["gridPos"]["y"])
              if panel["type"] == "row"]
    checks.run("the rows are in the order of urgency", require, titles == ORDER, str(titles))
    ids = [panel["id"] for panel in panels()]
    checks.run("no two panels have one ID", require, len(ids) == len(set(ids)), str(ids))
    checks.run("no panel covers another", no_panel_covers_another)
    for panel in panels():
        if panel["type"] != "row":
            checks.run(f"the panel {panel['title']}", is_complete, panel)
    # promtool has no check of a query, but of a rule that records one.
    rules = [{"record": f"panel:{number}", "expr": filled(query, "a:1")} for number, (_, query) in enumerate(queries())]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}, file)
        file.flush()
        status, said = run("promtool", "check", "rules", file.name)
    checks.run("promtool reads every query", require, status == 0 and f"{len(rules)} rules found" in said, said)


def has_only_known_members(board):
    """What the types do not know is lost when they read the dashboard and write it again."""
    again = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(board)))
    unknown = [path for path in lost(board, again) if path.rpartition("/")[2] not in UNTYPED]
    require(not unknown, str(unknown))


def lost(before, after, path=""):
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            yield from lost(value, after[name], f"{path}/{name}") if name in after else [f"{path}/{name}"]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after)):
            yield from lost(one, other, f"{path}/{number}")
    elif before != after:
        yield path


def misspelt_is_noticed(board):
    wrong = json.loads(json.dumps(board).replace('"reduceOptions"', '"reduceOption"', 1))
    try:
        has_only_known_members(wrong)
    except AssertionError as error:
        require("reduceOption'" in str(error), str(error))
    else:
        raise AssertionError("it was accepted")


def is_complete(panel):
    require(panel["datasource"] == SOURCE, "it has another data source")
    require(panel["description"].endswith("."), "it has no description")
    require(panel["targets"], "it shows nothing")
    for target in panel["targets"]:
        require(target["datasource"] == SOURCE, "a query has another data source")
        for part in ['job="$job"', 'instance=~"$instance"']:
            require(part in target["expr"], f"{target['expr']} does not select {part}")
    refs = [target["refId"] for target in panel["targets"]]
    require(len(refs) == len(set(refs)), "two queries have one name")


def no_panel_covers_another():
    taken = {}
    for panel in panels():
        place = panel["gridPos"]
        require(place["x"] + place["w"] <= WIDTH, f"{panel['title']} is too wide")
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), panel["title"])
                require(other == panel["title"], f"{panel['title']} and {other}")
