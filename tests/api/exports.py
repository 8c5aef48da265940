"""Part 5: exports of the trail hold for a program in another language, and OCSF holds to its schema."""

import json
import pathlib
import subprocess
import sys
import tempfile

import ocsf_emitter
from ocsf_emitter._models import Authentication, EntityManagement

from instance import instance, program, require

VERIFIER = pathlib.Path(__file__).resolve().parents[2] / "docs/guide/verify_export.py"


def judged(*arguments):
    """What the verifier of the documentation says about an export."""
    done = subprocess.run([sys.executable, VERIFIER, *arguments], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


class Exports:
    def __init__(self, server, directory):
        self.server, self.directory = server, pathlib.Path(directory)
        property_id = server.api("POST", "/properties", {"name": "Zürich 請求書 \"x\"\\ 😀"})["id"]
        client = {"name": "Billing", "property_id": property_id, "environments": ["staging"]}
        server.api("POST", "/clients", client)
        program(server, "viewer")
        self.checkpoint = self.file("checkpoint.json", server._run(["audit", "checkpoint"]))
        self.lines = server._run(["audit", "export"]).splitlines(keepends=True)
        self.events = sum(1 for line in self.lines if not line.startswith('{"statement"'))

    def file(self, name, text):
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        return path

    def judge(self, lines, *more):
        path = self.file("trail.jsonl", "".join(lines))
        said = judged(path, *more)
        own = subprocess.run(
            [self.server.binary, "audit", "verify", path, *(("--checkpoint", *more) if more else ())],
            env=self.server.environment, capture_output=True, text=True, timeout=60,
        )
        require(own.returncode == said[0], f"the two differ: {said} {own}")
        return said

    def whole(self):
        status, said = self.judge(self.lines, self.checkpoint)
        require(status == 0 and f"complete export: events 1 to {self.events}." in said, said)

    def filtered(self):
        lines = self.server._run(["audit", "export", "--action", "user.created"]).splitlines(keepends=True)
        status, said = self.judge(lines, self.checkpoint)
        require(status == 0 and "rows of a filtered export (action=user.created)" in said, said)
        require(self.judge(lines[1:])[0] == 1, "a row that was left out is not missed")

    def unknown(self):
        status, said = self.judge(self.lines)
        require(status == 7 and said.startswith("NOT PROVEN: the signer is not known."), said)
        key = json.loads(self.checkpoint.read_text())["statement"]["key"]
        status, said = judged(self.file("trail.jsonl", "".join(self.lines)), key)
        require(status == 0, said)
        status, said = judged(self.file("trail.jsonl", "".join(self.lines)), "other")
        require(status == 1, said)

    def altered(self):
        lines, middle = self.lines, self.events // 2
        changed = json.loads(lines[middle])
        changed["target"] = "other"
        again = json.dumps(changed, ensure_ascii=False) + "\n"
        for name, bent in {
            "an altered event": [*lines[:middle], again, *lines[middle + 1:]],
            "a missing event": lines[:middle] + lines[middle + 1:],
            "a doubled event": lines[:middle + 1] + lines[middle:],
            "two events in the wrong order": [*lines[:middle], lines[middle + 1], lines[middle], *lines[middle + 2:]],
            "a missing end": lines[:self.events - 1] + lines[self.events:],
            "a line written differently": [*lines[:middle], " " + lines[middle], *lines[middle + 1:]],
            "a member that is there twice": [
                *lines[:middle], lines[middle].replace('{"seq"', '{"seq":1,"seq"'), *lines[middle + 1:]
            ],
            "a changed statement": [*lines[:-1], lines[-1].replace('"filter":""', '"filter":"x"')],
        }.items():
            require(self.judge(bent)[0] == 1, f"{name} is not found")

    def ocsf(self):
        exported = [json.loads(line) for line in self.server._run(["audit", "export", "--format", "ocsf"]).splitlines()]
        classes = {3002: Authentication, 3004: EntityManagement}
        for event in exported:
            found = classes[event["class_uid"]].model_validate(event)
            ocsf_emitter.validate(found)
            unknown = set(event) - set(type(found).model_fields)
            require(not unknown, f"members that the class does not have: {unknown}")
        raw = [json.loads(event["raw_data"])["seq"] for event in exported]
        require(raw == list(range(1, len(raw) + 1)) and len(raw) >= self.events, f"not the whole trail: {raw}")


def play(checks, arguments):
    with instance(arguments) as server, tempfile.TemporaryDirectory(prefix="crossfade-exports-") as directory:
        exports = Exports(server, directory)
        checks.run("a complete export holds for a program in another language", exports.whole)
        checks.run("a filtered export holds row by row", exports.filtered)
        checks.run("both programs say when the signer is not known", exports.unknown)
        checks.run("both programs find what was altered, removed, doubled, moved or cut off", exports.altered)
        checks.run("OCSF events hold to the schema of their class", exports.ocsf)
