"""Part 1: the API does what its own description says, as schemathesis sees it."""

import json
import os
import pathlib
import re
import subprocess
import sys

import jsonschema_rs

from instance import OWNER, instance, operations, program, require, token_of

HERE = pathlib.Path(__file__).resolve().parent
SPARE_TOKENS = 12
# Random requests for each operation, beside those that cover its schema.
EXAMPLES = 4 * int(os.environ.get("CROSSFADE_TEST_CASES", "1"))
MAXIMUM_SECONDS = 1200


def seeded(server):
    """Something of every kind that a path can name."""
    api = server.api
    prop = api("POST", "/properties", {"name": "Seed"})["id"]
    scratch = api("POST", "/environments", {"slug": "scratch", "name": "Scratch", "kind": "test"})["slug"]
    environments = ["development", "production"]
    client = api("POST", "/clients", {"name": "Seed client", "property_id": prop, "environments": environments})
    path = f"/clients/{client['id']}/environments/production"
    done = api("POST", f"{path}/secrets/rotate", {"transition_hours": 168, "confirm_client_name": "Seed client"})
    user = api("POST", "/users", {"email": "ada@example.com", "name": "Ada"})["id"]
    grant = api("POST", f"/users/{user}/grants", {"role": "viewer", "client_id": client["id"]})["id"]
    for number in range(SPARE_TOKENS):
        token_of(server, "ada@example.com", f"spare {number}")
    token_of(server, "ada@example.com", "ended")
    tokens = [token for token in server.pages("/tokens") if token["user_id"] == user]
    [ended] = [token["id"] for token in tokens if token["name"] == "ended"]
    api("DELETE", f"/tokens/{ended}")
    return {
        "url": server.url, "owner_token": server.environment["CROSSFADE_TOKEN"], "property": prop,
        "environment": "production", "scratch": scratch, "client": client["id"],
        "secret": done["secret"]["id"], "rotation": done["rotation"]["id"], "user": user, "grant": grant,
        "ended_token": ended, "token": ended,
        "spare_tokens": [token["id"] for token in tokens if token["id"] != ended],
    }


def schemathesis(server, seed, token, answers):
    environment = os.environ | {
        "CROSSFADE_SEED": json.dumps(seed), "CROSSFADE_TOKEN": token, "CROSSFADE_ANSWERS": str(answers),
        "PYTHONPATH": str(HERE), "PYTHONWARNINGS": "ignore",
    }
    command = [
        sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "--config-file", str(HERE / "schemathesis.toml"), "run",
        f"{server.url}/api/openapi.json", "--url", f"{server.url}/api/v1", "--checks", "all", "--no-color",
        "--max-examples", str(EXAMPLES),
    ]
    done = subprocess.run(
        command, env=environment, cwd=server.directory, capture_output=True, text=True, timeout=MAXIMUM_SECONDS
    )
    summary = re.search(r"^=+ (.*) =+\s*\Z", done.stdout, re.M)
    print(f"schemathesis: {summary.group(1) if summary else 'no summary'}", flush=True)
    if done.returncode != 0:
        print(done.stdout, done.stderr, flush=True)
    require(done.returncode == 0, f"schemathesis exits {done.returncode}")
    require(re.search(r"Tested: \d+", done.stdout), "schemathesis tested nothing")


def play(checks, arguments):
    with instance(arguments) as server:
        document = server.session.get(f"{server.url}/api/openapi.json", timeout=30).json()
        bodies(checks, document)
        described = operations(document)
        seed = seeded(server)
        viewer, viewer_token = program(server, "viewer")
        kept = [server.api("GET", "/me")["user"]["id"], viewer["id"]]
        own_grants = [grant["id"] for user in kept for grant in server.pages(f"/users/{user}/grants")]
        own_tokens = [token["id"] for token in server.pages("/tokens") if token["user_id"] in kept]
        seed["kept"] = kept + own_grants + own_tokens
        for role, token in [("owner", seed["owner_token"]), ("viewer", viewer_token)]:
            answers = server.directory / f"{role}.json"
            checks.run(f"schemathesis as {role}", schemathesis, server, seed, token, answers)
            rows = json.loads(answers.read_text())
            for operation, (method, _) in described.items():
                counts = {status: count for name, status, count in rows if name == operation}
                done = sum(count for status, count in counts.items() if 200 <= status < 300)
                if operation in ("release_quarantine", "release_mail", "test_mail") and role == "owner":
                    # Nothing is held, and mail is not set up.
                    wanted = not done and counts.get(409)
                    checks.run(f"{operation} finds nothing to do", require, wanted, f"answers: {counts}")
                elif role == "owner":
                    checks.run(f"{operation} succeeds for the owner", require, done, f"answers: {counts}")
                elif operation == "identify_secrets":
                    # It changes nothing for anybody, and its answers hold what the role can read.
                    checks.run("identify_secrets succeeds for the viewer", require, done, f"answers: {counts}")
                elif method != "GET":
                    wanted = not done and counts
                    checks.run(f"{operation} changes nothing for the viewer", require, wanted, f"answers: {counts}")
        checks.run("the server is still there", server._ready)
        checks.run("the server logged no error", no_errors, server)


# Bodies beside the documented examples, by operation: what is allowed, and what must not be.
ALLOWED = {
    "create_user": [
        {"kind": "program", "name": "CI"}, {"email": "ada@example.com"},
        {"kind": "person", "email": "ada@example.com", "name": "Ada"},
    ],
    "rotate_secret": [
        {"transition_hours": 0, "confirm_client_name": "Billing", "compromised": True, "revoke_tokens": True},
        {"transition_hours": 168, "confirm_client_name": "Billing"},
        {"transition_hours": 0, "confirm_client_name": "Billing", "revoke_tokens": True},
        {"transition_hours": 1, "confirm_client_name": "Billing", "revoke_tokens": True, "end_running_transition": True},
    ],
    "create_grant": [
        {"role": "owner"}, {"role": "viewer", "client_id": "cl_7bLx3Q9aTzKw5mPd2RfYh8"},
        {"role": "viewer", "environments": ["staging"]}, {"role": "owner", "property_id": None, "environments": None},
        {"role": "auditor", "property_id": "prop_7bLx3Q9aTzKw5mPd2RfYh8"},
        {"role": "application_manager", "client_id": "cl_7bLx3Q9aTzKw5mPd2RfYh8", "environments": ["staging"]},
        {"role": "application_manager", "property_id": "prop_7bLx3Q9aTzKw5mPd2RfYh8"},
    ],
    "schedule_drill": [
        {"length_seconds": 60, "confirm_client_name": "Billing", "reason": "who?"},
        {"length_seconds": 60, "repeat": 1, "confirm_client_name": "Billing", "reason": "who?"},
    ],
    "update_registration": [
        {"enabled": True}, {"enabled": None}, {"enabled": False, "confirm_client_name": "Billing"},
    ],
}
FORBIDDEN = {
    "create_user": [
        {}, {"kind": "program"}, {"kind": "person", "name": "Ada"}, {"kind": "robot", "name": "CI"},
        {"kind": "program", "name": "CI", "email": "ci@example.com"}, {"email": "ada@example.com", "admin": True},
    ],
    "rotate_secret": [
        {"transition_hours": 24, "confirm_client_name": "Billing", "compromised": True}, {"transition_hours": 24},
        {"transition_hours": 169, "confirm_client_name": "Billing"}, {"confirm_client_name": "Billing"},
        {"transition_hours": "24", "confirm_client_name": "Billing"},
        {"transition_hours": 24, "confirm_client_name": "Billing", "revoke_tokens": True},
    ],
    "create_grant": [
        {}, {"role": "king"},
        {"role": "viewer", "client_id": "cl_7bLx3Q9aTzKw5mPd2RfYh8", "property_id": "prop_7bLx3Q9aTzKw5mPd2RfYh8"},
        {"role": "viewer", "environments": []}, {"role": "viewer", "environments": ["staging"] * 101},
        {"role": "owner", "property_id": "prop_7bLx3Q9aTzKw5mPd2RfYh8"},
        {"role": "owner", "client_id": "cl_7bLx3Q9aTzKw5mPd2RfYh8"},
        {"role": "operations_manager", "environments": ["staging"]},
        {"role": "application_manager"}, {"role": "application_manager", "environments": ["staging"]},
        {"role": "application_manager", "property_id": None},
    ],
    "schedule_drill": [
        {"length_seconds": 60, "repeat": 2, "confirm_client_name": "Billing", "reason": "who?"},
        {"length_seconds": 60, "every_seconds": 600, "confirm_client_name": "Billing", "reason": "who?"},
        {"length_seconds": 60, "repeat": 1, "every_seconds": 600, "confirm_client_name": "Billing", "reason": "who?"},
        {"length_seconds": 901, "confirm_client_name": "Billing", "reason": "who?"},
    ],
    "update_registration": [
        {"enabled": False}, {"enabled": False, "confirm_client_name": None}, {"access_token_ttl_seconds": 59},
    ],
}


def bodies(checks, document):
    """Each documented body, and combinations of its members, as a validator of others judges them."""
    seen = set()
    for methods in document["paths"].values():
        for operation in methods.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content is None:
                continue
            name = operation["operationId"]
            seen.add(name)
            schema = content["schema"] | {"components": document["components"]}
            validator = jsonschema_rs.Draft202012Validator(schema)
            for body in [content["example"], *ALLOWED.get(name, [])]:
                errors = [str(error) for error in validator.iter_errors(body)]
                checks.run(f"{name} takes {json.dumps(body)[:60]}", require, not errors, f"{body}: {errors[:1]}")
            for body in FORBIDDEN.get(name, []):
                refused = not validator.is_valid(body)
                checks.run(f"{name} refuses {json.dumps(body)[:60]}", require, refused, f"{body} is valid")
    require(set(ALLOWED) | set(FORBIDDEN) <= seen, f"there is no {(set(ALLOWED) | set(FORBIDDEN)) - seen}")


def no_errors(server):
    lines = [line for line in server.log.read_text().splitlines() if " ERROR " in line or "panicked" in line]
    require(not lines, f"{len(lines)} lines, the first is: {lines[:1]}")
