"""The rules for scanners and the job for GitHub's alerts. The API of GitHub is a small mock, because GitHub cannot run here."""

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
    if program := shutil.which("gitleaks"):
        report = place.parent / "report.json"
        command = [program, "dir", "--config", DIRECTORY / "gitleaks.toml", "--report-path", report, "--exit-code", "0", place]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        rows = [it for it in json.loads(report.read_text()) if it["RuleID"] == rule["id"]]
        found = {pathlib.Path(it["File"]).name for it in rows}
        holds(checks, found == {name for name, (_, yes) in texts.items() if yes}, "gitleaks finds every secret", str(rows))


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
    pages = [
        [{"number": 1, "html_url": "https://github.example/1", "secret": live},
         {"number": 2, "html_url": "https://github.example/2", "secret": "ghp_" + "a" * 36}],
        [{"number": 3, "html_url": "https://github.example/3", "secret": test},
         {"number": 4, "html_url": "https://github.example/4", "secret": unissued(live)}],
    ]
    asked = []

    class Mock(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["Authorization"]))
            last = "page=2" in self.path
            self.send_response(200)
            if not last:
                self.send_header("Link", f'<http://127.0.0.1:{mock.server_port}{self.path}&page=2>; rel="next"')
            self.end_headers()
            self.wfile.write(json.dumps(pages[last]).encode())

        def log_message(self, *_):
            pass

    mock = http.server.HTTPServer(("127.0.0.1", 0), Mock)
    threading.Thread(target=mock.serve_forever, daemon=True).start()
    environment = {
        "PATH": os.environ["PATH"], "GITHUB_API_URL": f"http://127.0.0.1:{mock.server_port}", "GITHUB_ORG": "acme",
        "GITHUB_TOKEN": "github", "CROSSFADE_URL": server.url, "CROSSFADE_TOKEN": server.environment["CROSSFADE_TOKEN"],
    }

    def job():
        return subprocess.run(
            [sys.executable, DIRECTORY / "github_alerts.py"], env=environment, capture_output=True, text=True, timeout=60
        )

    done = job()
    lines = sorted(line.split("\t") for line in done.stdout.splitlines())
    wanted = sorted([
        ["current", "Billing in production", "https://github.example/1"],
        ["current", "Billing in staging", "https://github.example/3"],
        ["unknown", "-", "https://github.example/4"],
    ])
    holds(checks, (done.returncode, lines) == (1, wanted), "the job names the secrets in GitHub's alerts", str(done))
    paths = [path for path, _ in asked]
    held = len(asked) == 2 and paths[0].startswith("/orgs/acme/secret-scanning/alerts?state=open") and asked[0][1] == "Bearer github"
    holds(checks, held, "the job reads every page of the alerts", str(asked))
    held = live[15:] not in done.stdout + done.stderr
    holds(checks, held, "the job prints no secret", "")
    for environment_of in ["production", "staging"]:
        body = {"transition_hours": 0, "confirm_client_name": "Billing", "compromised": True}
        server.api("POST", f"/clients/{client['id']}/environments/{environment_of}/secrets/rotate", body)
    done = job()
    holds(checks, done.returncode == 0 and "revoked" in done.stdout, "the job succeeds once each is ended", str(done))
    mock.shutdown()


def unissued(value):
    """A value with the right checksum that no instance has issued."""
    sys.path.insert(0, str(DIRECTORY))
    import detect_secrets_crossfade as plugin

    return value[:15] + "A" * 43 + plugin.checksum("A" * 43)
