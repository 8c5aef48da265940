#!/usr/bin/env python3
"""Identifies the client secrets in the open secret scanning alerts of a GitHub organisation. Exits 1 if any is valid."""
import json, os, re, sys, urllib.request  # noqa: E401

GITHUB = os.environ.get("GITHUB_API_URL", "https://api.github.com")


def ask(url, token, body=None):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "User-Agent": "crossfade-alerts"}
    request = urllib.request.Request(url, body and json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer), re.search(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))


page, valid = f"{GITHUB}/orgs/{os.environ['GITHUB_ORG']}/secret-scanning/alerts?state=open&per_page=100", False
while page and page.startswith(f"{GITHUB}/"):
    alerts, following = ask(page, os.environ["GITHUB_TOKEN"])
    alerts = [it for it in alerts if re.fullmatch(r"crossfade_(live|test)_[0-9A-Za-z]{49}", it.get("secret") or "")]
    text = "\n".join(alert["secret"] for alert in alerts)
    found = ask(f"{os.environ['CROSSFADE_URL']}/api/v1/leaks", os.environ["CROSSFADE_TOKEN"], {"text": text})[0]["found"]
    for it in found:
        known, alert = it["identified"], alerts[it["line"] - 1]
        state = known["secret"]["state"] if known else "unknown"
        valid |= state in ("current", "retiring")
        print(state, f"{known['client']} in {known['environment']}" if known else "-", alert["html_url"], sep="\t")
    page = following and following.group(1)
sys.exit(1 if valid else 0)
