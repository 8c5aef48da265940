"""What a server answers, or a backup holds, does not steer the terminal of whoever reads it."""

import http.server
import json
import pathlib
import re
import subprocess
import tempfile
import threading

from terminal import terminal
from watched import holds

# Sets the title, clears the screen in seven and in eight bits, rings, goes back, and reorders.
STEERING = "\x1b]0;owned\x07\x1b[2J\x9b2J\r\b\u202eowned\u2069"
ID = "cl_0123456789012345678901"
PROPERTY = "prop_0123456789012345678901"
# A terminal writes \r\n for each line; a spinner or a bar may move the cursor, and nothing else may.
OWN = re.compile(r"\r\n|\r|\x1b\[[0-9]*[AGKm]|\x1b\[\?25[lh]")
STEERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

CLIENT = {
    "id": ID, "name": STEERING, "property_id": PROPERTY, "description": STEERING, "owners": [STEERING],
    "created_at": "2026-11-24T13:05:00.000000Z", "registrations": [],
}
EVENT = {
    "seq": 1, "id": 1, "at": "2026-11-24T13:05:00.000000Z", "actor": {"kind": "user", "id": "usr_0123456789012345678901", "name": STEERING},
    "action": STEERING, "outcome": "done", "reason": STEERING, "target": STEERING, "details": {},
}


class Hostile(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        kind, status = "application/json", 200
        if self.path.startswith("/api/v1/audit-events/export"):
            kind, body = "application/x-ndjson", STEERING + "\n"
        elif self.path.startswith("/api/v1/clients/"):
            body = json.dumps(CLIENT, ensure_ascii=False)
        elif self.path.startswith("/api/v1/clients"):
            body = json.dumps({"items": [CLIENT], "next_cursor": None}, ensure_ascii=False)
        else:
            kind, status = "application/problem+json", 403
            body = json.dumps({"type": "about:blank", "title": STEERING, "status": 403, "code": STEERING,
                               "detail": STEERING}, ensure_ascii=False)
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def play(checks, arguments):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        binary = str(pathlib.Path(arguments.binary).resolve())
        environment = {"CROSSFADE_URL": f"http://127.0.0.1:{server.server_port}", "CROSSFADE_TOKEN": "crossfade_api_x"}
        for command in (
            ["client", "list"], ["client", "list", "--json"], ["client", "show", ID], ["client", "show", ID, "--json"],
            ["audit", "export"], ["whoami"], ["user", "list"],
        ):
            _reads(checks, " ".join(command), [binary, *command], environment)
        piped = subprocess.run([binary, "audit", "export"], env=environment, capture_output=True, timeout=30)
        holds(checks, piped.stdout.decode() == STEERING + "\n", "an export to a file is what the server sent", str(piped))
    finally:
        server.shutdown()
    _backup(checks, binary)


def _reads(checks, what, command, environment):
    with terminal(command, environment) as shown:
        shown.read(20)
        shown.process.wait(10)
    found = STEERS.search(OWN.sub("\n", shown.text))
    holds(checks, "owned" in shown.text, f"{what}: it is shown", repr(shown.text))
    holds(checks, found is None and "\x1b]" not in shown.text and "\x1b[2J" not in shown.text,
          f"{what}: nothing steers the terminal", repr(shown.text))


def _backup(checks, binary):
    with tempfile.TemporaryDirectory() as directory:
        place = ["--data-dir", f"{directory}/data"]
        subprocess.run([binary, "init", *place, "--owner-email", "a@example.com", "--password-stdin"], env={}, text=True,
                       input="correct horse battery staple\n", check=True, capture_output=True)
        saved = pathlib.Path(directory) / "saved"
        subprocess.run([binary, "backup", *place, "--output", saved], env={}, check=True, capture_output=True)
        lines = saved.read_text().splitlines()
        header = json.loads(lines[0])
        for member in header:
            # As far as a JSON text can hold it, in each member of the header in turn.
            changed = json.dumps({**header, member: STEERING}, ensure_ascii=False)
            saved.write_text("\n".join([changed, *lines[1:]]) + "\n")
            command = [binary, "restore", "--from", str(saved), "--data-dir", f"{directory}/new",
                       "--master-key-file", f"{directory}/data/master.key"]
            with terminal(command, {}) as shown:
                shown.read(20)
                status = shown.process.wait(10)
            found = STEERS.search(OWN.sub("\n", shown.text))
            holds(checks, status == 1 and found is None and "\x1b[2J" not in shown.text,
                  f"restore: {member} of a backup steers no terminal", f"{status} {shown.text!r}")
