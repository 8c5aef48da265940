"""The alerts: promtool, the tests of each alert, and the section that its annotation names."""

import re

import yaml

from deployed import PAGE, ROOT, RULES, TESTS, alerts, anchors, run
from instance import require

SEVERITIES = ["critical", "warning", "info"]


def play(checks, _):
    for what, file in [("check", RULES), ("test", TESTS)]:
        status, said = run("promtool", what, "rules", file.name, cwd=file.parent)
        checks.run(f"promtool {what} rules", require, status == 0, said)
    # A promtool that ignores the tests would succeed, too.
    status, said = run("promtool", "test", "rules", "/dev/stdin", cwd=TESTS.parent,
                       input=TESTS.read_text().replace("severity: critical", "severity: other", 1))
    checks.run("promtool notices a wrong severity", require, status != 0 and "FAILED" in said, said)

    tested = {"fires": {}, "is silent": {}}
    for test in yaml.safe_load(TESTS.read_text())["tests"]:
        for case in test["alert_rule_test"]:
            kind = "fires" if case["exp_alerts"] else "is silent"
            tested[kind].setdefault(case["alertname"], test)
    for name, rule in alerts().items():
        checks.run(f"{name} is complete", is_complete, rule)
        for kind, tests in tested.items():
            checks.run(f"a test in which {name} {kind}", require, name in tests, "missing")
        watched = set(re.findall(r"\b(?:crossfade|process)_[a-z0-9_]+|\bup\b", rule["expr"]))
        for kind, tests in tested.items():
            series = " ".join(one["series"] for one in tests[name]["input_series"])
            # No series at all is what makes an alert about an absent target fire.
            holds = any(metric in series for metric in watched) or (kind == "fires" and "absent(" in rule["expr"])
            checks.run(f"{name} {kind} because of a series that it watches", require, holds, series)
    for kind, tests in tested.items():
        checks.run(f"no test of an unknown alert {kind}", require, set(tests) == set(alerts()), str(tests.keys()))
    on_page = set(re.findall(r"^### (Crossfade\w+)$", PAGE.read_text(), re.MULTILINE))
    checks.run("the page has exactly the alerts", require, on_page == set(alerts()), str(on_page ^ set(alerts())))


def is_complete(rule):
    name, notes = rule["alert"], rule["annotations"]
    require(rule["labels"]["severity"] in SEVERITIES, "the severity is unknown")
    require(set(notes) == {"summary", "description", "runbook"}, f"its annotations are {list(notes)}")
    require(not notes["summary"].endswith(".") and notes["description"].endswith("."), "summary and description")
    page, _, anchor = notes["runbook"].partition("#")
    require(anchor == name.lower() and anchor in anchors(ROOT / page), f"{notes['runbook']} does not exist")
    # The severity and the time of the rule are at the head of its section.
    waits = {None: "immediately", "30s": "after 30 s", "1d": "after 24 hours"}
    wait = waits.get(rule.get("for")) or f"after {rule['for'].removesuffix('m')} min"
    head = f"### {name}\n\n*{rule['labels']['severity'].capitalize()}, {wait}.*"
    require(head in (ROOT / page).read_text(), f"its section must begin with {head!r}")
