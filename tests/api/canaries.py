"""Part 4: a secret value stands in the answer that was asked for it, and nowhere else.

Every secret, API token, one-time link, password and access token of a run is remembered. Afterwards it is looked for,
also in pieces, encoded and hashed, in the log at its most talkative, in the database as it lies on the disk, in a
backup, in the journal and its damaged copy, in the trail, in the metrics, in the process list, in what doctor prints,
and in every other answer to every role.
The walk `profile` of tests/console looks for them in the profile of a browser.
"""

import base64
import contextlib
import gzip
import json
import pathlib
import re
import secrets
import shutil
import subprocess

import requests

from instance import OWNER, ROLES, eventually, instance, operations, program, require, token_of
from needles import Canaries

# Where a person may put a secret by mistake; {} is the secret.
MISTAKES = [
    ("POST", "/api/v1/properties", {"name": "{}"}), ("POST", "/api/v1/properties", {"{}": 1}),
    ("POST", "/api/v1/properties", ["{}"]), ("PATCH", "/api/v1/environments/staging", {"name": "a {} b"}),
    ("PATCH", "/api/v1/environments/staging", {"kind": "{}"}), ("POST", "/api/v1/users", {"email": "{}@example.com"}),
    ("POST", "/api/v1/environments", {"slug": "{}", "name": "x", "kind": "test"}),
    ("GET", "/api/v1/clients?q={}", None), ("GET", "/api/v1/clients?cursor={}", None),
    ("GET", "/api/v1/clients?{}=1", None), ("GET", "/api/v1/clients/{}", None), ("GET", "/api/v1/{}", None),
    ("GET", "/api/v1/environments/{}", None), ("GET", "/api/v1/audit-events?actor={}", None),
    ("GET", "/api/v1/audit-events?action={}", None), ("GET", "/api/v1/authentication-failures?reason={}", None),
    ("DELETE", "/api/v1/tokens/{}", None), ("PUT", "/api/v1/clients?client_secret={}", None),
    ("GET", "/{}", None), ("GET", "/console/{}?{}", None), ("GET", "/docs/errors?{}", None),
]
HEADERS = ["Authorization", "Cookie", "Idempotency-Key", "If-Match", "User-Agent", "X-Request-Id", "Referer", "Accept"]


class Suite:
    def __init__(self, server, checks):
        self.server, self.checks, self.canaries = server, checks, Canaries()
        self.answers = []  # what was asked, the answer, the values that it may hold
        self.canaries.add("password of the owner", server.password)
        self.canaries.add("token of the owner", server.environment["CROSSFADE_TOKEN"], looked_up=True)
        self.key = (server.directory / "data" / "master.key").read_text().strip().rpartition(":")[2]
        self.canaries.add("master key", self.key)

    def ask(self, method, path, token=None, gives=None, **more):
        """One request; `gives` takes from the answer the values that it was asked for, by name."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= more.pop("headers", {})
        answer = requests.request(method, f"{self.server.url}{path}", headers=headers, timeout=30, **more)
        given = gives(answer.json()) if gives and answer.ok else {}
        for name, value in given.items():
            self.canaries.add(name, value, looked_up="link" in name)
        require(bool(given) or not gives, f"{method} {path} gives nothing: {answer.status_code} {answer.text}")
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
        self.answers.append((f"{method} {path}", f"{head}\n\n".encode() + answer.content, set(given.values())))
        return answer

    def api(self, method, path, token, body=None, gives=None, **more):
        return self.ask(method, f"/api/v1{path}", token, gives, json=body, **more)


def registration_secrets(client):
    return {f"first secret of {it['environment']}": it["secret"]["value"] for it in client["registrations"]}


def flows(suite):
    """Everything that hands out or takes a value."""
    server, owner = suite.server, suite.server.environment["CROSSFADE_TOKEN"]
    prop = suite.api("POST", "/properties", owner, {"name": "Canaries"}).json()["id"]
    body = {"name": "Canary", "property_id": prop, "environments": ["development", "production"]}
    client = suite.api("POST", "/clients", owner, body, registration_secrets).json()
    path = f"/clients/{client['id']}/environments"
    suite.api("POST", path, owner, {"environment": "staging"}, lambda it: {"first secret of staging": it["secret"]["value"]})
    secret, rotation, drill = rotations(suite, f"{path}/production", owner)
    person = people(suite, owner)
    tokens = {}
    for role in ROLES:
        scope = {"property_id": prop} if role == "application_manager" else {}
        _, tokens[role] = program(server, role, **scope)
        suite.canaries.add(f"token of the {role}", tokens[role], looked_up=True)
    # Who may create and not see gets no value; an Owner asks for it afterwards.
    body |= {"name": "Unseen", "environments": ["production"]}
    unseen = suite.api("POST", "/clients", tokens["application_manager"], body).json()
    where = f"/clients/{unseen['id']}/environments/production/secrets"
    [first] = suite.api("GET", where, owner).json()["items"]
    suite.api("POST", f"{where}/{first['id']}/reveal", owner, gives=lambda it: {"unseen secret": it["value"]})
    [registration] = client["registrations"][-1:]
    made_for = registration["id"]
    oauth(suite, registration["client_id"], registration["secret"]["value"])
    by_hand(suite, client["id"])
    body = {"name": "Canary", "url": "https://hooks.invalid/", "client_id": client["id"], "confirm_name": "Canary"}
    webhook = suite.api("POST", "/webhooks", owner, body, lambda it: {"signing secret": it["signing_secret"]}).json()["id"]
    signing = lambda it: {"second signing secret": it["signing_secret"]}  # noqa: E731
    suite.api("POST", f"/webhooks/{webhook}/rotate-secret", owner, {"overlap_hours": 1}, signing)
    delivery = suite.api("POST", f"/webhooks/{webhook}/test", owner).json()["id"]
    # A provider's client secret is never given back.
    suite.canaries.add("client secret at a provider", "canary-secret-at-the-provider")
    body = {"name": "Canary", "issuer": "https://id.invalid", "client_id": "a", "client_secret": "canary-secret-at-the-provider"}
    provider = suite.api("POST", "/providers", owner, body).json()["id"]
    provisioning(suite, provider, owner)
    grant = server.api("GET", f"/users/{person}")["grants"]
    grant = (grant or [{"id": "grant_" + "0" * 22}])[0]["id"]
    token = server.pages("/tokens")[0]["id"]
    suite.ids = {
        "property": prop, "client": client["id"], "environment": "production", "secret": secret,
        "registration": made_for, "rotation": rotation, "drill": drill, "user": person, "grant": grant, "token": token,
        "webhook": webhook, "delivery": delivery, "provider": provider,
    }
    return tokens


def provisioning(suite, provider, owner):
    """A provisioning token: used, and put by mistake where a provider names people, groups, filters and its own ID."""
    path, base = f"/providers/{provider}/provisioning-tokens", f"/scim/v2/{provider}"
    value = suite.api("POST", path, owner, {}, lambda it: {"provisioning token": it["value"]}).json()["value"]
    require(suite.ask("GET", f"{base}/Users", value).ok, "the provisioning token is refused")
    operations = [{"op": "replace", "path": value, "value": value}, {"op": "add", "value": {value: value}}]
    for method, where, body in [
        ("POST", "/Users", {"userName": value, "externalId": value}), ("POST", "/Groups", {"displayName": value}),
        ("PUT", f"/Users/{value}", {"userName": value}), ("GET", f"/Users/{value}", None), ("DELETE", f"/Groups/{value}", None),
        ("GET", f"/Groups?filter={value}", None), ("GET", f'/Users?filter=userName%20{value}%20"{value}"', None),
        *[("PATCH", "/Users/su_" + "0" * 22, {"Operations": [operation]}) for operation in operations],
    ]:
        answer = suite.ask(method, base + where, value, json=body)
        require(not answer.ok, f"{method} {where} takes a secret: {answer.status_code}")
    require(not suite.ask("GET", f"/scim/v2/{value}/Users", value).ok, "a token is the ID of a provider")
    for header in ["If-Match", "Accept"]:
        suite.ask("GET", f"{base}/Users", value, headers={header: value})
    require(not suite.api("GET", "/me", value).ok, "a provisioning token is an API token")


def rotations(suite, path, owner):
    """A secret that was rotated, repeated, revealed, drilled, revoked and rolled back; its id, a rotation's, a drill's."""
    body = {"transition_hours": 24, "confirm_client_name": "Canary", "reason": "canary"}
    value = lambda name: lambda it: {name: it["secret"]["value"]}  # noqa: E731
    key = {"Idempotency-Key": "canary-1"}
    rotate = f"{path}/secrets/rotate"
    done = suite.api("POST", rotate, owner, body, value("rotated secret"), headers=key).json()
    suite.api("POST", rotate, owner, body, value("rotated secret"), headers=key)
    suite.api("POST", rotate, owner, body)
    secret, old = done["secret"]["id"], done["previous_secret"]["id"]
    for name in [secret, old]:
        shown = {"reason": "canary"}
        suite.api("POST", f"{path}/secrets/{name}/reveal", owner, shown, lambda it: {"revealed secret": it["value"]})
    drill = {"length_seconds": 5, "confirm_client_name": "Canary", "reason": "canary"}
    drill = suite.api("POST", f"{path}/drills", owner, drill).json()
    suite.api("POST", f"{path}/secrets/{old}/revoke", owner, {"reason": "canary"})
    again = suite.api("POST", rotate, owner, body, value("second secret")).json()
    suite.api("POST", f"{path}/rotations/{again['rotation']['id']}/rollback", owner, {"reason": "canary"})
    suite.api("POST", rotate, owner, body | {"transition_hours": 0, "compromised": True}, value("third secret"))
    return secret, again["rotation"]["id"], drill["id"]


def people(suite, owner):
    """A person who sets a password with one link and has another; the id."""
    url = lambda it: it.get("activation_link", it)["url"].rpartition("#")[2]  # noqa: E731
    person = suite.api(
        "POST", "/users", owner, {"email": "grace@example.com"}, lambda it: {"activation link": url(it)}
    ).json()
    password = "Wörd & " + secrets.token_hex(16)
    suite.canaries.add("password of a person", password)
    form = {"link": person["activation_link"]["url"], "email": "", "password": password, "repeated": password}
    require(suite.ask("POST", "/console/link", data=form).status_code == 200, "the link does not work")
    suite.ask("POST", "/console/link", data=form)
    suite.ask("POST", "/console/link", data=form | {"repeated": "another"})
    suite.api("POST", f"/users/{person['id']}/link", owner, gives=lambda it: {"second link": url(it)})
    return person["id"]


def oauth(suite, client_id, value):
    base = "/env/production/oauth2"
    form = {"grant_type": "client_credentials"}
    auth = (client_id, value)
    # The first secret of production has ended by now: these are refused, and must not be told of.
    suite.ask("POST", f"{base}/token", data=form, auth=auth)
    suite.ask("POST", f"{base}/token?client_secret={value}&client_id={client_id}", data=form)
    suite.ask("POST", f"{base}/token", data=form | {"client_id": client_id, "client_secret": value})
    suite.ask("POST", f"{base}/token", data={"grant_type": value, "scope": value}, auth=auth)
    suite.ask("POST", f"{base}/{value}", data=form)
    owner = suite.server.environment["CROSSFADE_TOKEN"]
    [it] = [it for it in suite.server.pages("/clients") if it["name"] == "Canary"]
    [registration] = [one for one in it["registrations"] if one["environment"] == "production"]
    path = f"/clients/{it['id']}/environments/production/secrets"
    [current] = [one for one in suite.server.pages(path) if one["state"] == "current"]
    good = suite.api("POST", f"{path}/{current['id']}/reveal", owner, gives=lambda it: {"revealed secret": it["value"]})
    auth = (registration["client_id"], good.json()["value"])
    token = suite.ask(
        "POST", f"{base}/token", gives=lambda it: {"access token": it["access_token"]}, data=form, auth=auth
    ).json()["access_token"]
    suite.ask("POST", f"{base}/introspect", data={"token": token}, auth=auth)
    suite.ask("POST", f"{base}/introspect", data={"token": auth[1]}, auth=auth)
    suite.ask("POST", f"{base}/revoke", data={"token": token}, auth=auth)
    suite.ask("POST", f"{base}/token", data=form | {"scope": auth[1]}, auth=auth)


def by_hand(suite, client):
    """Local commands, and remote ones: a value goes where it was said to go."""
    server = suite.server
    link = server._run(["owner", "recover", *server.place, "--email", OWNER])
    suite.canaries.add("recovery link", re.search(r"#(\S+)", link).group(1), looked_up=True)
    # The journal gets these keys, sealed.
    server._run(["keys", "create", *server.place])
    file = server.directory / "secret.txt"
    command = ["secret", "rotate", client, "--env", "development", "--transition", "1h", "--confirm", "Canary",
               "--reason", "canary", "--output", str(file)]
    done = subprocess.run(
        [server.binary, *command], env=server.environment, capture_output=True, timeout=60, stdin=subprocess.DEVNULL
    )
    require(done.returncode == 0, f"crossfade secret rotate exits {done.returncode}: {done.stderr}")
    suite.canaries.add("secret in a file", file.read_text().strip())
    file.unlink()
    suite.answers.append(("crossfade secret rotate --output", done.stdout + done.stderr, set()))


def mistakes(suite, tokens):
    """A secret in every place where a person may paste it."""
    value = next(value for value, name in suite.canaries.names.items() if name == "rotated secret")
    owner = tokens["owner"]
    for method, path, body in MISTAKES:
        body = json.loads(json.dumps(body).replace("{}", value)) if body is not None else None
        answer = suite.ask(method, path.replace("{}", value), owner, json=body)
        require(not answer.ok or "?" in path, f"{method} {path} takes a secret: {answer.status_code}")
    for name in HEADERS:
        for text in [value, f"Bearer {value}", f"Basic {value}"]:
            suite.ask("POST", "/api/v1/properties", owner, headers={name: text}, json={"name": secrets.token_hex(8)})
            suite.ask("GET", "/env/production/oauth2/jwks", headers={name: text})
    suite.ask("POST", "/api/v1/properties", owner, data=f'{{"name": {value}', headers={"Content-Type": "application/json"})
    suite.ask("POST", "/api/v1/properties", owner, data=value, headers={"Content-Type": value})
    # The one place for a secret that was found: its answer names the secret and does not repeat it.
    for text in [f"found {value} here", base64.b64encode(f"id:{value}".encode()).decode()]:
        answer = suite.ask("POST", "/api/v1/leaks", owner, json={"text": text})
        require(answer.ok and answer.json()["found"][0]["identified"], f"a found secret is not identified: {answer.text}")


def everybody(suite, tokens):
    """Every operation of the document, to every role: what reads with the ids that there are, the rest refused."""
    described = operations(suite.ask("GET", "/api/openapi.json").json())
    value = next(value for value, name in suite.canaries.names.items() if name == "rotated secret")
    for role, token in [*tokens.items(), ("nobody", None)]:
        for method, path in described.values():
            filled = re.sub(r"{(\w+)}", lambda it: suite.ids[it.group(1)], path)
            if method == "GET":
                answer = suite.api("GET", filled, token)
                # A limited token does not read what a person has set for themselves, and only front mode has upstream credentials.
                is_open = role == "owner" and path != "/me/messages" and not path.endswith("/upstream-credential")
                require(not is_open or answer.ok, f"GET {filled} answers the owner {answer.status_code}")
                while answer.ok and "next" in answer.links:
                    answer = suite.ask("GET", answer.links["next"]["url"], token)
            else:
                answer = suite.api(method, filled, token, {"nonsense": value, value: 1})
                require(not answer.ok, f"{method} {filled} takes nonsense from {role}: {answer.status_code}")
    for path in ["/healthz", "/readyz", "/metrics", "/docs/errors", "/console/link", "/env/production/oauth2/jwks",
                 "/.well-known/oauth-authorization-server/env/production"]:
        require(suite.ask("GET", path).ok, f"{path} is not there")


def on_disk(suite):
    """The database as it lies there while the server runs; more than one file with SQLite."""
    server = suite.server
    if server.database_url:
        dump = shutil.which("pg_dump")
        require(dump, "there is no pg_dump")
        done = subprocess.run([dump, "--inserts", server.database_url], capture_output=True, timeout=60)
        require(done.returncode == 0, f"pg_dump exits {done.returncode}: {done.stderr}")
        return {"pg_dump": done.stdout}
    files = [file for file in (server.directory / "data").rglob("*") if file.is_file() and file.name != "master.key"]
    require(any(file.name.endswith("-wal") for file in files), f"there is no write-ahead log: {files}")
    return {file.name: file.read_bytes() for file in files}


def journal(suite):
    """The journal, and what was put aside because it was damaged."""
    return {file.name: file.read_bytes() for file in suite.server.journal.parent.iterdir()}


def damage(suite):
    """A line of the journal is changed: the server begins a quarantine, and after a release keeps it beside a new one."""
    server, ready = suite.server, suite.server._ready
    server.stop()
    lines = server.journal.read_bytes().splitlines(keepends=True)
    require(len(lines) > 10, f"the journal has {len(lines)} lines")
    lines[5] = lines[5][::-1].strip() + b"\n"
    server.journal.write_bytes(b"".join(lines))
    server._ready = lambda: None
    server.start_again()
    server._ready = ready
    eventually(lambda: quarantined(server), seconds=30)
    server._run(["quarantine", "release", *server.place, "--reason", "canary"])
    eventually(server._ready, seconds=30)
    eventually(lambda: require(len(journal(suite)) == 2, f"no new journal: {list(journal(suite))}"), seconds=30)


def quarantined(server):
    try:
        text = requests.get(f"{server.url}/readyz", timeout=5).text
    except requests.RequestException as error:
        raise AssertionError(str(error)) from error
    require("quarantine" in text, text)


def backup(suite):
    file = suite.server.directory / "backup"
    suite.server._run(["backup", *suite.server.place, "--output", str(file)])
    data = file.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def look(suite, log_format):
    run, canaries, server = suite.checks.run, suite.canaries, suite.server

    def nowhere(name, read):
        def check():
            data = read()
            require(len(data) > 100, f"{name} is empty")
            # What is there by right has to be found, or nothing would be proved.
            require(suite.ids["client"].encode() in data or name in UNNAMED, f"{name} does not hold what it should")
            found = canaries.found(data, stored=name == "a backup")
            require(not found, f"{name} holds: {', '.join(found)}")
        run(f"{log_format}: nothing in {name}", check)

    files = run(f"{log_format}: the database can be read", on_disk, suite) or {}
    run(f"{log_format}: there is a database", require, files, "no file")
    run(f"{log_format}: the database has the client", require,
        any(suite.ids["client"].encode() in data for data in files.values()), list(files))
    noted = journal(suite)
    run(f"{log_format}: the journal has the client", require,
        any(suite.ids["registration"].encode() in data for data in noted.values()), list(noted))
    for name, data in [*files.items(), *noted.items()]:
        found = canaries.found(data, stored=True)
        run(f"{log_format}: nothing in {name}", require, not found, f"{name} holds: {', '.join(found)}")
    for name, data in (run(f"{log_format}: the processes can be read", processes, server) or {}).items():
        found = canaries.found(data)
        run(f"{log_format}: nothing in {name}", require, not found, f"{name} holds: {', '.join(found)}")
    run(f"{log_format}: the server leaves no core dump", core_dumps, server)
    nowhere("a backup", lambda: backup(suite))
    nowhere("the trail", lambda: server.session.get(f"{server.url}/api/v1/audit-events/export", timeout=30).content)
    nowhere("crossfade audit export", lambda: server._run(["audit", "export"]).encode())
    nowhere("crossfade doctor", lambda: doctor(server))
    nowhere("the metrics", lambda: server.session.get(f"{server.url}/metrics", timeout=30).content)
    nowhere("the log", lambda: server.log.read_bytes())
    run(f"{log_format}: the log is talkative", talkative, server)

    def answers():
        wrong = [(what, found) for what, data, allowed in suite.answers if (found := canaries.found(data, allowed))]
        require(not wrong, f"{len(wrong)} answers hold what was not asked for: {wrong[:5]}")
    run(f"{log_format}: each of {len(suite.answers)} answers has only what it was asked for", answers)
    run(f"{log_format}: enough values and answers", require,
        len(canaries.names) >= 20 and len(suite.answers) >= 300, f"{len(canaries.names)}, {len(suite.answers)}")


# These name no client.
UNNAMED = {"the metrics", "the log", "crossfade doctor"}


def processes(server):
    """What every user of the machine sees of the server's processes, and what its own user sees; and of every command."""
    found = {"the arguments of the commands": b"\0".join("\0".join(command).encode() for command in server.commands)}
    processes = [server.process.pid]
    for process in processes:
        directory = pathlib.Path(f"/proc/{process}")
        for thread in (directory / "task").iterdir():
            processes += map(int, (thread / "children").read_text().split())
        for name in ["cmdline", "environ", "comm"]:
            with contextlib.suppress(PermissionError):  # not even the server's own user may read it
                found[f"{name} of process {processes.index(process)}"] = (directory / name).read_bytes()
    require(b"serve" in found["cmdline of process 0"], "this is not the server")
    return found


def core_dumps(server):
    limits = pathlib.Path(f"/proc/{server.process.pid}/limits").read_text()
    [line] = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    require(line.split()[4:6] == ["0", "0"], line)


def doctor(server):
    done = subprocess.run(
        [server.binary, "doctor", "--listen", server.url.split("/")[2], *server.place], env=server.environment,
        capture_output=True, timeout=90,
    )
    return done.stdout + done.stderr


def talkative(server):
    # One line a request to the OAuth endpoints is written only to whoever asks for more than usual.
    lines = [line for line in server.log.read_text().splitlines() if "DEBUG" in line and "oauth2/token" in line]
    require(len(lines) >= 5, f"the log has {len(lines)} such lines")


def needles_work(suite):
    """A value that is somewhere is found there, in each of its forms."""
    value = next(iter(suite.canaries.forms))
    for form in suite.canaries.forms[value]:
        require(suite.canaries.found(b"before " + form + b" after"), f"{form} is not found")


def play(checks, arguments):
    for log_format in ["text", "json"]:
        with instance(arguments, log_format) as server:
            suite = Suite(server, checks)
            checks.run(f"{log_format}: needles are found", needles_work, suite)
            tokens = checks.run(f"{log_format}: values are made", flows, suite)
            checks.run(f"{log_format}: values are pasted where they do not belong", mistakes, suite, tokens)
            checks.run(f"{log_format}: every role asks for everything", everybody, suite, tokens)
            look(suite, log_format)
            if log_format == "text":
                checks.run("a damaged journal is put aside", damage, suite)
                for name, data in journal(suite).items():
                    found = suite.canaries.found(data, stored=True)
                    checks.run(f"nothing in {name}", require, not found, f"{name} holds: {', '.join(found)}")
