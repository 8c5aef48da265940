"""Arranges what a request of schemathesis needs to be there, and counts the answers.

Only the valid parts of a request are touched: what it made invalid on purpose is sent as it is. Each operation gets
things of its own, made just before by an Owner, so that what one deletes is not what the next one reads.
"""

import atexit
import collections
import itertools
import json
import os
import pathlib
import re
import secrets
import time

import requests
import schemathesis
from schemathesis.core.parameters import ParameterLocation

from instance import hours_from_now

SEED = json.loads(os.environ["CROSSFADE_SEED"])
URL = SEED["url"]
# Invisible like those that the pattern of a line leaves out, but beyond what it can name.
INVISIBLE = re.compile("[\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]")

owner = requests.Session()
owner.headers["Authorization"] = f"Bearer {SEED['owner_token']}"
spare_tokens = iter(SEED["spare_tokens"])
answers = collections.Counter()
numbers = itertools.count()


def api(method, path, body=None):
    for _ in range(20):
        answer = owner.request(method, f"{URL}/api/v1{path}", json=body, timeout=30)
        if answer.status_code != 429:
            break
        time.sleep(min(int(answer.headers.get("Retry-After", "1")), 3))
    answer.raise_for_status()
    return answer.json() if answer.content else None


def fresh(kind):
    return f"{kind} {next(numbers)} {secrets.token_hex(4)}"


def new_client(environments=("development",)):
    body = {"name": fresh("Client"), "property_id": SEED["property"], "environments": list(environments)}
    return api("POST", "/clients", body)


def new_user():
    return api("POST", "/users", {"email": f"u{next(numbers)}-{secrets.token_hex(4)}@example.com"})


def running_transition():
    """A client of which a secret is retiring, as parameters of a path, and the answer to its rotation."""
    client = new_client()
    body = {"transition_hours": 24, "confirm_client_name": client["name"]}
    done = api("POST", f"/clients/{client['id']}/environments/development/secrets/rotate", body)
    return {"client": client["id"], "environment": "development"}, done


def retiring_secret():
    path, done = running_transition()
    return path | {"secret": done["previous_secret"]["id"]}


def latest_rotation():
    path, done = running_transition()
    return path | {"rotation": done["rotation"]["id"]}


def running_drill():
    path, _ = running_transition()
    name = api("GET", f"/clients/{path['client']}")["name"]
    body = {"length_seconds": 60, "confirm_client_name": name, "reason": "who is left?"}
    drill = api("POST", f"/clients/{path['client']}/environments/development/drills", body)
    return path | {"drill": drill["id"]}


def stored_secret():
    client = new_client()
    [registration] = client["registrations"]
    return {"client": client["id"], "environment": "development", "secret": registration["secret"]["id"]}


def new_environment():
    slug = f"s{next(numbers)}-{secrets.token_hex(4)}"
    return {"environment": api("POST", "/environments", {"slug": slug, "name": slug, "kind": "test"})["slug"]}


def client_in_front():
    """A client in an environment in front of an issuer that never resolves."""
    path = new_environment()
    server = {"name": "main", "issuer": "https://issuer.invalid", "token_endpoint": "https://issuer.invalid/token"}
    body = {
        "issuer_mode": "upstream", "upstream": {"kind": "generic", "servers": [server]},
        "confirm_environment_slug": path["environment"],
    }
    api("PATCH", f"/environments/{path['environment']}", body)
    body = {
        "name": fresh("Client"), "property_id": SEED["property"], "environments": [path["environment"]],
        "client_id": fresh("web:app"),
    }
    return path | {"client": api("POST", "/clients", body)["id"]}


def new_grant():
    user = new_user()
    grant = api("POST", f"/users/{user['id']}/grants", {"role": "viewer"})
    return {"user": user["id"], "grant": grant["id"]}


def new_webhook():
    """A webhook of a client of its own."""
    client = new_client()
    # A name that never resolves: nothing leaves this machine.
    body = {"name": fresh("Webhook"), "url": "https://hooks.invalid/", "client_id": client["id"], "confirm_name": client["name"]}
    return {"webhook": api("POST", "/webhooks", body)["id"]}


def without_providers():
    """Deletes all providers, because their number is limited."""
    for provider in api("GET", "/providers")["items"]:
        owner.delete(f"{URL}/api/v1/providers/{provider['id']}", timeout=30)


def new_provider():
    """A provider of its own. Nobody signs in with it, so nothing is asked of it."""
    without_providers()
    body = {"name": fresh("Provider"), "issuer": "https://id.invalid", "client_id": "crossfade", "client_secret": "a secret"}
    return {"provider": api("POST", "/providers", body)["id"]}


def new_provisioning_token():
    """A provisioning token of a provider of its own."""
    path = new_provider()
    return path | {"token": api("POST", f"/providers/{path['provider']}/provisioning-tokens", {})["id"]}


def new_delivery():
    """The first delivery of a webhook of its own. Tests of webhooks have a pace."""
    path = new_webhook()
    return path | {"delivery": api("POST", f"/webhooks/{path['webhook']}/test")["id"]}


# What the path of an operation leads to, where that is not one of the things that everybody reads.
ARRANGED = {
    "delete_property": lambda: {"property": api("POST", "/properties", {"name": fresh("Property")})["id"]},
    # A property of its own: limits would bound what others give to clients of the shared one.
    "update_limits": lambda: {
        "property": api("POST", "/properties", {"name": fresh("Property")})["id"], "environment": SEED["scratch"],
    },
    "delete_environment": new_environment,
    "update_environment": lambda: {"environment": SEED["scratch"]},
    "read_upstream_credential": client_in_front,
    "update_upstream_credential": client_in_front,
    "test_upstream_credential": client_in_front,
    "release_upstream_credential": client_in_front,
    "rotate_signing_key": lambda: {"environment": SEED["scratch"]},
    "delete_client": lambda: {"client": new_client()["id"]},
    "update_client_messages": lambda: {"client": new_client()["id"]},
    "create_registration": lambda: {"client": new_client()["id"]},
    "update_registration": lambda: {"client": new_client()["id"], "environment": "development"},
    "rotate_secret": lambda: {"client": new_client()["id"], "environment": "development"},
    "reveal_secret": stored_secret,
    "revoke_secret": retiring_secret,
    "extend_secret": retiring_secret,
    "rollback_secret": latest_rotation,
    "mark_seen": latest_rotation,
    "schedule_drill": lambda: running_transition()[0],
    "stop_drill": running_drill,
    "read_webhook": new_webhook,
    "update_webhook": new_webhook,
    "delete_webhook": new_webhook,
    "rotate_webhook_secret": new_webhook,
    "test_webhook": new_webhook,
    "list_deliveries": new_webhook,
    "replay_delivery": new_delivery,
    "read_provider": new_provider,
    "update_provider": new_provider,
    "delete_provider": new_provider,
    "list_provisioning_tokens": new_provider,
    "create_provisioning_token": new_provider,
    "delete_provisioning_token": new_provisioning_token,
    "update_user": lambda: {"user": new_user()["id"]},
    "delete_user": lambda: {"user": new_user()["id"]},
    "create_link": lambda: {"user": new_user()["id"]},
    "remove_factors": lambda: {"user": new_user()["id"]},
    "create_grant": lambda: {"user": new_user()["id"]},
    "delete_grant": new_grant,
    "delete_token": lambda: {"token": next(spare_tokens, SEED["ended_token"])},
}


def settle_query(operation, case):
    # A cursor is what an answer gave out: any other is refused.
    case.query = {name: value for name, value in case.query.items() if name != "cursor"}
    # Clients are not looked for in an environment that is not there: a slip would look like an empty list.
    if operation == "list_clients" and "environment" in case.query:
        case.query["environment"] = SEED["environment"]
    # Nor are roles that cover what is not there.
    if operation == "list_access":
        for name in ("client", "environment"):
            if name in case.query:
                case.query[name] = SEED[name]


def settle_headers(case, all_valid):
    # The same key with another request is refused.
    if case.headers.get("Idempotency-Key"):
        case.headers["Idempotency-Key"] = case.headers["Idempotency-Key"][:200] + secrets.token_hex(8)
    # Another version is refused before anybody reads the body: what is wrong there would not be seen.
    if not all_valid:
        case.headers.pop("If-Match", None)


def client_name(case):
    answer = owner.get(f"{URL}/api/v1/clients/{case.path_parameters['client']}", timeout=30)
    return answer.json().get("name", "")


def allow_audience(case, audience):
    """Sets the limits of the client's property, so that its registration can be given this audience."""
    client = owner.get(f"{URL}/api/v1/clients/{case.path_parameters['client']}", timeout=30).json()
    environment = case.path_parameters["environment"]
    if "property_id" in client:
        path = f"/properties/{client['property_id']}/environments/{environment}/limits"
        owner.put(f"{URL}/api/v1{path}", json={"audiences": [audience], "scopes": None}, timeout=30)


def settle_body(operation, case):
    """What a schema cannot say of a body: names that are typed to confirm, things that must exist, a near future."""
    body = case.body
    if operation in ("delete_client", "rotate_secret", "schedule_drill"):
        body["confirm_client_name"] = client_name(case)
    if operation == "update_registration" and body.get("enabled") is False:
        body["confirm_client_name"] = client_name(case)
    if operation == "update_registration" and "/env/" in (body.get("audience") or ""):
        body["audience"] = None  # Taken from an answer: the issuer of another environment is refused.
    if operation == "update_registration" and body.get("audience"):
        allow_audience(case, body["audience"])
    # What is a network cannot be said in a pattern, because all bits behind its prefix must be zero.
    if operation == "update_registration" and body.get("allowed_networks"):
        body["allowed_networks"] = [f"10.{number}.0.0/16" for number, _ in enumerate(body["allowed_networks"])]
    if operation == "create_provisioning_token" and body.get("allowed_networks"):
        body["allowed_networks"] = [f"10.{number}.0.0/16" for number, _ in enumerate(body["allowed_networks"])]
    if operation == "update_client" and "owners" in body:
        body["confirm_client_name"] = client_name(case)
    if operation in ("create_client", "update_client") and "owners" in body:
        # A webhook among the owners must exist.
        body["owners"] = [owner for owner in body.get("owners") or [] if "@" in owner]
    if operation in ("create_webhook", "update_webhook"):
        settle_webhook(operation, case)
    if operation in ("create_provider", "update_provider"):
        settle_provider(operation, case)
    if operation == "update_client_messages":
        body["confirm_client_name"] = client_name(case)
    # The names of time zones are no pattern.
    if operation == "update_own_messages" and body.get("time_zone"):
        body["time_zone"] = "Europe/Berlin"
    if operation == "delete_user" and (body.get("hand_over_to") or body.get("confirm_user_name")):
        body["confirm_user_name"] = user(case).get("name", "")
        if body.get("hand_over_to"):
            body["hand_over_to"] = "heir@example.com"
    if operation == "update_sign_in_policy":
        # The Owner has no second factor, and so cannot ask others for one.
        if "second_factor" in body:
            body["second_factor"] = "optional"
        # Only Owners who have a password, and at least one where passwords are switched off.
        if "break_glass" in body or body.get("passwords") == "break_glass":
            body["break_glass"] = [SEED["kept"][0]]
    if operation == "extend_secret":
        body["expires_at"] = hours_from_now(100)
    # Windows that fit into what is left of the transition, and what that secret is depends on the transition.
    if operation == "schedule_drill":
        settle_drill(body)
    # These stand in the schema as conditions, which the coverage phase does not read.
    if operation == "rotate_secret" and (body.get("compromised") or body.get("revoke_tokens")):
        body["transition_hours"] = 0
    if operation == "create_grant":
        settle_scope(body)
    if operation in ("create_client", "create_grant") and body.get("property_id"):
        body["property_id"] = SEED["property"]
    if operation == "create_grant" and body.get("client_id"):
        body["client_id"] = SEED["client"]
    if operation in ("create_client", "create_grant") and body.get("environments"):
        body["environments"] = ["development", "production"]
    if operation == "create_registration":
        body["environment"] = "production"
    # Only environments in front of another issuer take one, and these do not issue their own tokens.
    if operation in ("create_client", "create_registration"):
        body.pop("client_id", None)
    if operation == "update_environment":
        body.pop("issuer_mode", None)
        body.pop("upstream", None)
    if operation == "update_upstream_credential":
        body["secret"] = "a secret of the issuer"
        if body.get("next"):
            body["next"] = "its next secret"
    if operation == "update_user" and body.get("email") and is_program(case):
        body["email"] = None


def settle_webhook(operation, case):
    """A client of its own, because their number is limited, and a URL, a key and environments that fit."""
    body = case.body
    if body.get("url") is not None or operation == "create_webhook":
        body["url"] = "https://hooks.invalid/other"
    if body.get("environments"):
        body["environments"] = ["development"]
    if operation == "update_webhook":
        webhook = owner.get(f"{URL}/api/v1/webhooks/{case.path_parameters['webhook']}", timeout=30).json()
        body.pop("routing_key", None)
        if webhook.get("client_id"):
            body["confirm_name"] = api("GET", f"/clients/{webhook['client_id']}")["name"]
        return
    client = new_client()
    body |= {"client_id": client["id"], "confirm_name": client["name"]}
    body.pop("property_id", None)
    body.pop("routing_key", None)
    if body.get("format") == "pagerduty":
        body["routing_key"] = "0123456789abcdef"


def settle_provider(operation, case):
    """A name of its own, an issuer that is a host, a secret where one is used, and groups that give what is there."""
    body = case.body
    if operation == "create_provider":
        without_providers()
        body["name"] = fresh("Provider")
    elif body.get("name"):
        body["name"] = fresh("Provider")
    if body.get("issuer") is not None or operation == "create_provider":
        body["issuer"] = "https://other.invalid"
        body["client_secret"] = "another secret"
    if operation == "update_provider":
        found = owner.get(f"{URL}/api/v1/providers/{case.path_parameters['provider']}", timeout=30).json()
        body["confirm_name"] = found.get("name", "")
        body.pop("client_authentication", None)
        if "client_secret" in body:
            body["client_secret"] = "another secret"
    elif body.get("client_authentication") == "none":
        body.pop("client_secret", None)
    else:
        body["client_secret"] = "another secret"
    if body.get("domains"):
        body["domains"] = ["example.com"]
    for entry in body.get("group_grants") or []:
        settle_scope(entry)
        if entry.get("property_id"):
            entry["property_id"] = SEED["property"]
        if entry.get("client_id"):
            entry["client_id"] = SEED["client"]
        if entry.get("environments"):
            entry["environments"] = ["development", "production"]


def user(case):
    return owner.get(f"{URL}/api/v1/users/{case.path_parameters['user']}", timeout=30).json()


def is_program(case):
    return user(case).get("kind") == "program"


def settle_drill(body):
    body.pop("secret_id", None)
    if body.get("starts_at"):
        body["starts_at"] = hours_from_now(1)
    body.pop("every_seconds", None)
    if (body.get("repeat") or 1) > 1:
        body["every_seconds"] = body["length_seconds"] * 2 + 60


def settle_scope(body):
    """One scope, and one that fits the role. The schema has this as conditions, which the coverage phase does not read."""
    if body.get("property_id"):
        body.pop("client_id", None)
    if body["role"] in ("owner", "operations_manager"):
        for member in ("property_id", "client_id", "environments"):
            body.pop(member, None)
    if body["role"] == "application_manager" and not body.get("property_id"):
        body["client_id"] = SEED["client"]


def plain(value):
    """What a schema cannot rule out: invisible characters beyond its patterns, and 3.0 for the whole number 3."""
    if isinstance(value, str):
        return INVISIBLE.sub("x", value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or not case.operation.definition.raw.get("operationId"):
        return
    operation = case.operation.definition.raw["operationId"]
    valid = {place: not case.meta.is_negative_at(place) for place in ParameterLocation}
    # In the stateful phase the ids are those of what an earlier step made.
    stateful = case.meta.phase.name.value == "stateful"
    # But a deadline that is the latest already cannot be extended.
    if valid[ParameterLocation.PATH] and case.path_parameters and (not stateful or operation == "extend_secret"):
        arranged = ARRANGED.get(operation, dict)()
        case.path_parameters = {
            name: arranged.get(name) or SEED.get(name, value) for name, value in case.path_parameters.items()
        }
    if operation in ("delete_user", "delete_token", "delete_grant"):
        spare_the_caller(case)
    if valid[ParameterLocation.QUERY] and case.query:
        settle_query(operation, case)
    if valid[ParameterLocation.HEADER] and case.headers:
        settle_headers(case, all(valid.values()))
    if valid[ParameterLocation.BODY] and isinstance(case.body, dict):
        case.body = plain(case.body)
        settle_body(operation, case)


def spare_the_caller(case):
    """Nobody is to end the accounts and tokens with which the tests are made."""
    for name, value in (case.path_parameters or {}).items():
        if value in SEED["kept"]:
            case.path_parameters[name] = value[:-1] + ("0" if value[-1] != "0" else "1")


@schemathesis.hook
def after_call(context, case, response):
    operation = case.operation.definition.raw.get("operationId")
    if operation and case.method.upper() == case.operation.method.upper():
        answers[operation, response.status_code] += 1


@atexit.register
def write_down():
    rows = [[operation, status, count] for (operation, status), count in sorted(answers.items())]
    pathlib.Path(os.environ["CROSSFADE_ANSWERS"]).write_text(json.dumps(rows))
