"""A server in a confined environment, and what an operator does with it."""

import json
import os
import pathlib
import re
import subprocess

import requests

from instance import OWNER, eventually, free_port, require
from watched import holds

PASSWORD = "correct horse battery staple\n"


def hides_memory(checks, pid):
    """A process that is dumpable owns its environment; that of another one belongs to root."""
    process = pathlib.Path("/proc", str(pid))
    limit = re.search(r"^Max core file size +(\S+) +(\S+)", (process / "limits").read_text(), re.MULTILINE)
    holds(checks, limit.groups() == ("0", "0"), "the server writes no core dump", limit[0])
    user = process.joinpath("status").read_text().split("\nUid:")[1].split()[0]
    owner = (process / "environ").stat().st_uid
    holds(checks, owner == 0, "the memory of the server is hidden from its user", f"user {user}, owner {owner}")


class Confined:
    """Runs the program with a prefix of commands that confines it."""

    def __init__(self, prefix, environment):
        self.prefix = [str(word) for word in prefix]
        self.listen = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.listen}"
        self.environment = {"PATH": os.environ["PATH"], "CROSSFADE_LISTEN": self.listen, "CROSSFADE_DRAIN_SECONDS": "0",
                            **environment}

    def run(self, *arguments, stdin=""):
        return subprocess.run([*self.prefix, *arguments], env=self.environment, input=stdin, capture_output=True,
                              text=True, timeout=120)

    def serves(self, checks, log):
        """Serves, makes a token, rotates a secret, examines, and stops; every step must work."""
        with open(log, "w") as output:
            process = subprocess.Popen([*self.prefix, "serve"], env=self.environment, stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=output)
        try:
            checks.run("the server serves", eventually, self.ready, 60)
            hides_memory(checks, process.pid)
            said = log.read_text()
            holds(checks, " ERROR " not in said, "the log has no error", said)
            done = self.run("token", "create", "--user", OWNER, "--name", "walk")
            holds(checks, done.returncode == 0, "a token is made", done.stderr)
            checks.run("a secret is rotated, and both secrets work", self.rotates, done.stdout.strip())
            self.metrics(checks)
            done = self.run("doctor", "--json")
            found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
            failed = [check for check in found.values() if check["outcome"] == "fail"]
            holds(checks, not failed, "doctor finds nothing that fails", str(failed))
            holds(checks, found["server"]["outcome"] == "ok", "doctor finds the server", str(found.get("server")))
        finally:
            process.terminate()
            status = process.wait(30)
        holds(checks, status == 0, "a stop ends in order", f"status {status}: {log.read_text()[-1000:]}")

    def ready(self):
        try:
            status = requests.get(f"{self.url}/readyz", timeout=5).status_code
        except requests.ConnectionError:
            status = None
        require(status == 200, f"/readyz answers {status}")

    def rotates(self, token):
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {token}"

        def api(path, body):
            answer = session.post(f"{self.url}/api/v1{path}", json=body, timeout=30)
            require(answer.status_code == 201, answer.text)
            return answer.json()

        property_id = api("/properties", {"name": "Shop"})["id"]
        body = {"name": "Billing", "property_id": property_id, "environments": ["production"]}
        client = api("/clients", body)
        [registration] = client["registrations"]
        body = {"transition_hours": 24, "confirm_client_name": "Billing", "reason": "check"}
        rotated = api(f"/clients/{client['id']}/environments/production/secrets/rotate", body)
        for secret in [registration["secret"]["value"], rotated["secret"]["value"]]:
            answer = requests.post(f"{self.url}/env/production/oauth2/token", timeout=30,
                                   auth=(registration["client_id"], secret), data={"grant_type": "client_credentials"})
            require(answer.status_code == 200, answer.text)

    def metrics(self, checks):
        text = requests.get(f"{self.url}/metrics", timeout=30).text
        for name in ["process_start_time_seconds", "process_open_fds", "crossfade_serve_lock_held"]:
            holds(checks, f"\n{name} " in text, f"the metric {name} is there", text)
