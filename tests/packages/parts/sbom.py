"""The list of what the program is made of: its schema, and that it is complete."""

import json
import pathlib
import subprocess
import tomllib

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from instance import require
from watched import holds

ROOT = pathlib.Path(__file__).resolve().parents[3]


def play(checks, _):
    first, second = (run("deploy/sbom.py") for _ in range(2))
    holds(checks, first == second, "two lists are the same", "")
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    problem = validator.validate_str(first)
    holds(checks, problem is None, "the list fits the schema of CycloneDX 1.6", str(problem))
    wrong = json.loads(first) | {"specVersion": 7}
    checks.run("a wrong list is noticed", require, validator.validate_str(json.dumps(wrong)) is not None, "")
    listed = {it["bom-ref"]: it for it in json.loads(first)["components"]}
    names = {it["name"] for it in listed.values()}
    linked = {"rust-std", "crossfade-core", "tokio", "aws-lc-sys", "libsqlite3-sys", "sqlx-postgres"}
    holds(checks, names >= linked, "it has what is linked", str(linked - names))
    others = {"proptest", "sqlx-mysql", "quinn", "askama_derive", "cc", "rcgen"} & names
    holds(checks, not others, "it has nothing of tests, of the compiler and of other features", str(others))
    locked = {it["checksum"] for it in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"] if "checksum" in it}
    foreign = [it for it in listed.values() if "purl" in it]
    unknown = [it["bom-ref"] for it in foreign if it["hashes"][0]["content"] not in locked]
    holds(checks, len(foreign) > 100 and not unknown, "every crate of others has the checksum of Cargo.lock", str(unknown))
    nameless = [it["bom-ref"] for it in listed.values() if "licenses" not in it]
    holds(checks, not nameless, "every crate has a licence", str(nameless))


def run(*words):
    return subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120).stdout
