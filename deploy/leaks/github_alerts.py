#!/usr/bin/env python3
"""Identifies the client secrets in the open secret scanning alerts of a GitHub organisation.

Exits 1 if any is valid, and otherwise 2 if something could not be searched, so that one may be valid."""
import json, os, re, sys, time, urllib.error, urllib.request  # noqa: E401

# The first characters of a client secret: as they are, and in base64 at each of the three alignments. Nothing else is sent.
LIKELY = re.compile("crossfade_|Y3Jvc3NmYWRl|Nyb3NzZmFkZ|jcm9zc2ZhZG")
MOST = 16_000  # characters of an alert that are sent, which fit into a request in any alphabet


def ask(url, token, body=None):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "User-Agent": "crossfade-alerts"}
    request = urllib.request.Request(url, body and json.dumps(body).encode(), headers)
    for attempt in range(10):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer), re.search(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
        except urllib.error.HTTPError as error:
            if error.code != 429 or attempt == 9:
                raise
            time.sleep(1)


def alerts(github):
    page = f"{github}/orgs/{os.environ['GITHUB_ORG']}/secret-scanning/alerts?state=open&per_page=100"
    while page:
        if not page.startswith(f"{github}/"):
            raise ValueError("the next page of the alerts is at another address")
        found, following = ask(page, os.environ["GITHUB_TOKEN"])
        yield from found
        page = following and following.group(1)


def search(alert):
    """Prints what an alert contains. Yields whether each secret is valid, and a reason if that is not known."""
    text, place = alert.get("secret") or "", alert["html_url"]
    if not LIKELY.search(text):
        return
    url, token = f"{os.environ['CROSSFADE_URL']}/api/v1/leaks", os.environ["CROSSFADE_TOKEN"]
    answer, _ = ask(url, token, {"text": text[:MOST]})
    for known in [it["identified"] for it in answer["found"]]:
        state = known["secret"]["state"] if known else "unknown"
        print(state, f"{known['client']} in {known['environment']}" if known else "-", place, sep="\t", flush=True)
        older = not known and answer["older_secrets_not_searched"]
        yield state in ("current", "retiring"), older and "it can be a secret of an earlier version, not recognised yet"
    if len(text) > MOST:
        yield False, f"only its first {MOST} characters were searched"
    if not answer["found"] and "crossfade_" not in text:
        yield False, "it can contain a secret in an encoding that is not recognised, such as base64 with line breaks"


valid, unsure = False, False
try:
    for alert in alerts(os.environ.get("GITHUB_API_URL", "https://api.github.com")):
        for is_valid, reason in search(alert):
            valid |= is_valid
            if reason:
                unsure = True
                print(f"github_alerts.py: {alert['html_url']}: {reason}", file=sys.stderr)
except (OSError, ValueError, KeyError) as error:
    unsure = True
    print(f"github_alerts.py: the alerts were not all searched: {error!r}", file=sys.stderr)
sys.exit(1 if valid else 2 if unsure else 0)
