"""The rules for scanners and the job for GitHub's alerts. The API of GitHub is a small mock, because GitHub cannot run here."""

import base64
import http.server
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import tomllib

import requests
import yaml

from instance import instance
from watched import holds

DIRECTORY = pathlib.Path(__file__).resolve().parents[3] / "deploy" / "leaks"


def play(checks, arguments):
    with instance(arguments) as server, tempfile.TemporaryDirectory() as directory:
        prop = server.api("POST", "/properties", {"name": "Leaks"})["id"]
        body = {"name": "Billing", "property_id": prop, "environments": ["production", "staging"]}
        client = server.api("POST", "/clients", body)
        values = {it["environment"]: it["secret"]["value"] for it in client["registrations"]}
        live, test = values["production"], values["staging"]
        unknown = live[:-1] + ("a" if live[-1] != "a" else "b")
        texts = {
            "plain.txt": (live, True), "code.py": (f'KEY = "{test}"', True), "end.env": (f"A=1\nSECRET={live}", True),
            "prefix.md": ("crossfade_live_ is a prefix", False), "short.txt": (live[:-1], False),
        }
        place = pathlib.Path(directory) / "scanned"
        place.mkdir()
        for name, (text, _) in texts.items():
            (place / name).write_text(text)
        detect_secrets(checks, place, texts, unknown)
        gitleaks(checks, place, texts)
        trufflehog(checks, texts)
        github(checks, server, client, live, test)


def detect_secrets(checks, place, texts, unknown):
    (place / "wrong.txt").write_text(unknown)
    command = [sys.executable, "-m", "detect_secrets", "scan", "--all-files", "--no-verify", "--plugin"]
    command += [str(DIRECTORY / "detect_secrets_crossfade.py"), "."]
    done = subprocess.run(command, cwd=place, check=True, capture_output=True, text=True, timeout=120)
    results = json.loads(done.stdout)["results"]
    found = {name for name, all in results.items() if any(it["type"] == "Crossfade client secret" for it in all)}
    wanted = {name for name, (_, is_secret) in texts.items() if is_secret}
    holds(checks, found == wanted, "detect-secrets finds every secret, and nothing with a wrong checksum", str(found))
    (place / "wrong.txt").unlink()


def gitleaks(checks, place, texts):
    [rule] = tomllib.loads((DIRECTORY / "gitleaks.toml").read_text())["rules"]
    members = {"id", "description", "regex", "secretGroup", "keywords"}
    holds(checks, set(rule) == members, "the rule for gitleaks has the members of its format", str(rule))
    matches(checks, "gitleaks", rule["regex"], rule["keywords"], texts)
    wanted = {name: text for name, (text, is_secret) in texts.items() if is_secret}
    done, rows = run_gitleaks(place.parent, rule["id"], "dir", place)
    found = {pathlib.Path(it["File"]).name: it["Secret"] for it in rows}
    held = done.returncode == 1 and set(found) == set(wanted) and all(found[it] in text for it, text in wanted.items())
    holds(checks, held, "gitleaks finds every secret, and nothing else", f"{done} {rows}")
    clean = place.parent / "clean"
    clean.mkdir()
    for name in set(texts) - set(wanted):
        shutil.copy(place / name, clean)
    done, rows = run_gitleaks(place.parent, rule["id"], "dir", clean)
    holds(checks, done.returncode == 0 and rows == [], "gitleaks passes files without a secret", f"{done} {rows}")

    # As the guide says it, in a history whose last commit removes a secret.
    repository = place.parent / "repository"
    git = ["git", "-C", repository, "-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run(["git", "init", "--quiet", repository], check=True, timeout=60)
    for name in ["plain.txt", "prefix.md"]:
        shutil.copy(place / name, repository)
    for command in [["add", "."], ["commit", "-qm", "add"], ["rm", "-q", "plain.txt"], ["commit", "-qm", "remove"]]:
        subprocess.run([*git, *command], check=True, timeout=60)
    done, rows = run_gitleaks(place.parent, rule["id"], "git", ".", cwd=repository)
    held = done.returncode == 1 and [it["File"] for it in rows] == ["plain.txt"]
    holds(checks, held, "gitleaks finds a secret that an earlier commit contained", f"{done} {rows}")


def run_gitleaks(directory, rule, command, place, **more):
    """Without the program the part fails: `./test install` installs it."""
    report = directory / "report.json"
    report.unlink(missing_ok=True)
    done = subprocess.run(
        ["gitleaks", command, "--config", DIRECTORY / "gitleaks.toml", "--report-path", report, place],
        capture_output=True, text=True, timeout=120, **more,
    )
    return done, [it for it in json.loads(report.read_text()) if it["RuleID"] == rule]


def trufflehog(checks, texts):
    [detector] = yaml.safe_load((DIRECTORY / "trufflehog.yaml").read_text())["detectors"]
    holds(checks, set(detector) == {"name", "keywords", "regex"}, "the detector for trufflehog has its form", str(detector))
    matches(checks, "trufflehog", detector["regex"]["secret"], detector["keywords"], texts)


def matches(checks, scanner, pattern, keywords, texts):
    """A scanner looks at a text only if it has a keyword, and takes the first group."""
    for text, is_secret in texts.values():
        found = any(word in text for word in keywords) and re.search(pattern, text)
        held = bool(found) == is_secret and (not found or found.group(1) in text and len(found.group(1)) == 64)
        holds(checks, held, f"the pattern for {scanner} is right about {text[:20]!r}…", str(found))


def github(checks, server, client, live, test):
    [live_id] = [it["client_id"] for it in client["registrations"] if it["environment"] == "production"]
    basic = base64.b64encode(f"{live_id}:{live}".encode()).decode()
    unknown, other = unissued(live), "ghp_" + "a" * 36
    lines = "\n".join(re.findall(".{1,20}", base64.b64encode(live.encode()).decode()))
    pages = [[live, other, f"Authorization: Basic {basic}"], [f'{{"a": "{test}",\n "b": "{live}"}}', unknown, None]]
    mock = Mock(pages, server)
    environment = {
        "PATH": os.environ["PATH"], "GITHUB_API_URL": mock.github, "GITHUB_ORG": "acme", "GITHUB_TOKEN": "github",
        "CROSSFADE_URL": mock.crossfade, "CROSSFADE_TOKEN": server.environment["CROSSFADE_TOKEN"],
    }

    def job():
        mock.asked.clear()
        return subprocess.run(
            [sys.executable, DIRECTORY / "github_alerts.py"], env=environment, capture_output=True, text=True, timeout=60
        )

    def only(text):
        mock.pages = [[text], []]

    done = job()
    printed = sorted(line.split("\t") for line in done.stdout.splitlines())
    production, staging = "Billing in production", "Billing in staging"
    wanted = sorted([
        ["current", production, "https://github.example/0/0"], ["current", production, "https://github.example/0/2"],
        ["current", staging, "https://github.example/1/0"], ["current", production, "https://github.example/1/0"],
        ["unknown", "-", "https://github.example/1/1"],
    ])
    held = (done.returncode, printed, done.stderr) == (1, wanted, "")
    holds(checks, held, "the job names the secrets in GitHub's alerts, wherever they are in them", str(done))
    asked = [path for path, token, _ in mock.asked if token == "Bearer github"]
    held = len(asked) == 2 and asked[0].startswith("/orgs/acme/secret-scanning/alerts?state=open")
    holds(checks, held, "the job reads every page of the alerts", str(mock.asked))
    sent = [body for path, _, body in mock.asked if path == "/api/v1/leaks"]
    held = len(sent) == 4 and not any(other in body for body in sent)
    holds(checks, held, "secrets of others are not sent to Crossfade", str(len(sent)))
    holds(checks, live[15:] not in done.stdout + done.stderr, "the job prints no secret", "")

    # What the instance says while it has secrets of an earlier version whose values it has not seen.
    mock.older = True
    only(unknown)
    done = job()
    held = done.returncode == 2 and "earlier version" in done.stderr and done.stdout.startswith("unknown")
    holds(checks, held, "a secret that may be an older one is not taken for an unknown one", str(done))
    only(live)
    holds(checks, job().returncode == 1, "a valid secret counts more", "")
    mock.older = False
    for name, text in [("long", live + "x" * 20_000), ("broken", lines)]:
        only(text)
        done = job()
        wanted = 1 if name == "long" else 2
        held = done.returncode == wanted and "https://github.example/0/0" in done.stderr
        holds(checks, held, f"the job says what it cannot search in a {name} alert", str(done))
    only(unknown)
    holds(checks, job().returncode == 0, "a secret of nobody is no failure", "")
    mock.busy = 2
    holds(checks, job().returncode == 0 and mock.busy == 0, "the job waits while it asks too often", "")
    mock.elsewhere = True
    done = job()
    holds(checks, done.returncode == 2 and "another address" in done.stderr, "no token goes to another address", str(done))
    mock.elsewhere = False
    environment["CROSSFADE_TOKEN"] = "crossfade_token_wrong"
    done = job()
    holds(checks, done.returncode == 2 and "401" in done.stderr, "a job that cannot search fails", str(done))
    environment["CROSSFADE_TOKEN"] = server.environment["CROSSFADE_TOKEN"]

    mock.pages = pages
    for environment_of in ["production", "staging"]:
        body = {"transition_hours": 0, "confirm_client_name": "Billing", "compromised": True}
        server.api("POST", f"/clients/{client['id']}/environments/{environment_of}/secrets/rotate", body)
    done = job()
    holds(checks, done.returncode == 0 and "revoked" in done.stdout, "the job succeeds once each is ended", str(done))
    mock.stop()


class Mock:
    """GitHub's API with these values in two pages of alerts, and the server behind a proxy that notes what it is asked."""

    def __init__(self, pages, server):
        self.pages, self.asked, self.older, self.busy, self.elsewhere = pages, [], False, 0, False
        mock = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                mock.asked.append((self.path, self.headers["Authorization"], None))
                page = int("page=2" in self.path)
                self.send_response(200)
                if page == 0:
                    host = "http://127.0.0.1:1" if mock.elsewhere else mock.github
                    self.send_header("Link", f'<{host}{self.path}&page=2>; rel="next"')
                self.end_headers()
                alerts = [{"html_url": f"https://github.example/{page}/{number}", "secret": text}
                          for number, text in enumerate(mock.pages[page])]
                self.wfile.write(json.dumps(alerts).encode())

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                mock.asked.append((self.path, self.headers["Authorization"], body.decode()))
                headers = {name: self.headers[name] for name in ["Authorization", "Content-Type"]}
                answer = requests.post(server.url + self.path, body, headers=headers, timeout=30)
                status, found = answer.status_code, answer.json()
                if mock.busy > 0:
                    status, mock.busy = 429, mock.busy - 1
                self.send_response(status)
                self.end_headers()
                if mock.older and status == 200:
                    found["older_secrets_not_searched"] = True
                self.wfile.write(json.dumps(found).encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.github = self.crossfade = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()


def unissued(value):
    """A value with the right checksum that no instance has issued."""
    sys.path.insert(0, str(DIRECTORY))
    import detect_secrets_crossfade as plugin

    return value[:15] + "A" * 43 + plugin.checksum("A" * 43)
