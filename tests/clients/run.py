#!/usr/bin/env python3
"""Plays secret rotations against a real server with OAuth client libraries that are not ours."""

import collections
import contextlib
import datetime
import html
import http.server
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

import frame
import front
import provision
from harness import HERE, Adapter, Registration, Server, eventually, fresh_database, require

MAXIMUM_SECONDS = 1800

Library = collections.namedtuple("Library", "program operations refusal other_error user_agent")
# The exceptions are what a program that uses the library has to catch.
LIBRARIES = {
    "oauth4webapi": Library(
        "client.mjs", {"token", "introspect", "revoke"},
        "WWWAuthenticateChallengeError", "ResponseBodyError", "oauth4webapi/",
    ),
    "simple-oauth2": Library("client.mjs", {"token", "revoke"}, "Error", "Error", "simple-oauth2"),
    "authlib": Library("client.py", {"token", "introspect", "revoke"}, "OAuthError", "OAuthError", "python-requests/"),
    "requests-oauthlib": Library(
        "client.py", {"token"}, "InvalidClientError", "InvalidScopeError", "python-requests/"
    ),
}

Verifier = collections.namedtuple("Verifier", "program exceptions")
# The exceptions are those for another issuer, audience and type, a time after `exp`, and a changed signature.
VERIFIERS = {
    "jose": Verifier(
        "verify.mjs", [*["JWTClaimValidationFailed"] * 3, "JWTExpired", "JWSSignatureVerificationFailed"]
    ),
    # jwcrypto says that it misses the key when none of the set fits the signature.
    "jwcrypto": Verifier("verify.py", [*["JWTInvalidClaimValue"] * 2, "WrongType", "JWTExpired", "JWTMissingKey"]),
    "pyjwt": Verifier(
        "verify.py",
        ["InvalidIssuerError", "InvalidAudienceError", "WrongType", "ExpiredSignatureError", "InvalidSignatureError"],
    ),
}
METHODS = ["basic", "post"]
ALGORITHMS = {"production": "ES256", "development": "EdDSA", "staging": "RS256"}
PUBLIC_MEMBERS = {"kty", "use", "key_ops", "alg", "kid", "crv", "x", "y", "n", "e"}


class Suite:
    def __init__(self, checks, server, directory, processes):
        self.checks, self.server = checks, server
        self.directory, self.processes = directory, processes
        self.adapters = {}
        created = server.cli("property", "create", "Clients")
        self.property_id = created["id"]

    def adapter(self, program, library):
        if library not in self.adapters:
            runtime = "node" if program.endswith(".mjs") else sys.executable
            self.adapters[library] = Adapter([runtime, program, library], self.directory)
            self.processes.callback(self.adapters[library].close)
        return self.adapters[library]

    def register(self, name, environment="production"):
        return Registration(self.server, self.property_id, name, environment)

    def verify(self, verifier, token, environment, **expected):
        """Lets a verifier judge a token against the published keys; its answer has claims, or an exception."""
        issuer = self.server.issuer(environment)
        request = {
            "token": token, "issuer": issuer, "audience": issuer, "jwks_uri": f"{issuer}/oauth2/jwks",
            "alg": ALGORITHMS[environment], "typ": "at+jwt", "seconds_ahead": 0,
        }
        return self.adapter(VERIFIERS[verifier].program, verifier).ask(request | expected)


class Caller:
    """One library with one method, as one registration."""

    def __init__(self, suite, library, method, registration):
        self.suite, self.library, self.method, self.registration = suite, library, method, registration

    def call(self, op, secret, **more):
        require(more.get("token", True), "there is no token")  # none would be inactive, too
        issuer = self.suite.server.issuer(self.registration.environment)
        request = {
            "op": op, "method": more.pop("method", self.method), "issuer": issuer,
            "token_endpoint": f"{issuer}/oauth2/token",
            "introspection_endpoint": f"{issuer}/oauth2/introspect",
            "revocation_endpoint": f"{issuer}/oauth2/revoke",
            "client_id": self.registration.client_id, "client_secret": secret["value"],
        }
        answer = self.suite.adapter(LIBRARIES[self.library].program, self.library).ask(request | more)
        source = (secret["id"], LIBRARIES[self.library].user_agent)
        self.registration.attempted[source] += 1
        self.registration.accepted[source] += "exception" not in answer
        return answer

    def token(self, secret, **more):
        answer = self.call("token", secret, **more)
        require("access_token" in answer, f"no token: {answer}")
        return answer

    def works(self, secret, **more):
        """A token is given, and it names the secret that it was given for."""
        answer = self.token(secret, **more)
        require(answer["token_type"].lower() == "bearer", f"token_type is {answer['token_type']}")
        require(answer["expires_in"] == 3600, f"expires_in is {answer['expires_in']}")
        judged = self.suite.verify("jose", answer["access_token"], self.registration.environment)
        require("claims" in judged, f"the token is not valid: {judged}")
        named = judged["claims"]["crossfade_secret"]
        require(named == secret["id"], f"the token names secret {named}, not {secret['id']}")
        return answer["access_token"]

    def refused(self, secret, **more):
        """The library raises what it has for refused credentials."""
        answer = self.call("token", secret, **more)
        seen = (answer.get("status"), answer.get("error"), answer.get("exception"))
        require(seen == (401, "invalid_client", LIBRARIES[self.library].refusal), f"got {answer}")
        require(answer.get("challenge", "basic") == "basic", f"challenged for {answer.get('challenge')}")

    def scope_granted(self, secret, scope):
        answer = self.token(secret, scope=scope)
        granted = answer.get("scope", "")
        granted = granted if isinstance(granted, list) else granted.split()
        require(sorted(granted) == sorted(scope.split()), f"asked for {scope!r}, got {answer}")

    def scope_refused(self, secret, scope):
        answer = self.call("token", secret, scope=scope)
        seen = (answer.get("status"), answer.get("error"), answer.get("exception"))
        require(seen == (400, "invalid_scope", LIBRARIES[self.library].other_error), f"got {answer}")

    def introspects(self, secret, token, active):
        answer = self.call("introspect", secret, token=token)
        require(answer.get("active") is active, f"active should be {active}: {answer}")
        if not active:
            require(set(answer) <= {"active", "status"}, f"an inactive token is described: {answer}")
        return answer

    def revokes(self, secret, token):
        answer = self.call("revoke", secret, token=token)
        require(answer == {"status": 200}, f"got {answer}")


def callers(suite, purpose, operation="token"):
    """Every library that knows the operation, with both methods, each as a client of its own."""
    for library, about in LIBRARIES.items():
        for method in METHODS if operation in about.operations else []:
            name = f"{library} {method}"
            caller = suite.checks.run(
                f"{name}: client for {purpose}",
                lambda: Caller(suite, library, method, suite.register(f"{name} {purpose}")),
            )
            if caller:
                yield name, caller


def discovery(suite):
    run, server = suite.checks.run, suite.server
    caller = Caller(suite, "oauth4webapi", "basic", suite.register("discovery"))

    def found(algorithm, environment):
        issuer = server.issuer(environment)
        metadata = suite.adapter("client.mjs", "oauth4webapi").ask(
            {"op": "discover", "issuer": issuer, "discovery": algorithm}
        )
        require(metadata.get("issuer") == issuer, f"got {metadata}")
        for member, path in [
            ("token_endpoint", "token"), ("introspection_endpoint", "introspect"),
            ("revocation_endpoint", "revoke"), ("jwks_uri", "jwks"),
        ]:
            require(metadata.get(member) == f"{issuer}/oauth2/{path}", f"{member} is {metadata.get(member)}")
        require("client_credentials" in metadata["grant_types_supported"], "client_credentials is missing")
        for endpoint in ["token", "introspection", "revocation"]:
            methods = set(metadata[f"{endpoint}_endpoint_auth_methods_supported"])
            require({"client_secret_basic", "client_secret_post"} <= methods, f"{endpoint} offers {methods}")
        return metadata

    for environment in ALGORITHMS:
        documents = [
            run(f"discovery: {algorithm} in {environment}", found, algorithm, environment)
            for algorithm in ["oauth2", "oidc"]
        ]
        same = documents[0] and documents[0] == documents[1]
        run(f"discovery: one document in {environment}", require, same, documents)
    for algorithm in ["oauth2", "oidc"]:
        secret = caller.registration.secret
        run(f"discovery: token after {algorithm}", lambda: caller.works(secret, discovery=algorithm))


def planned_rotation(suite, name, caller):
    run, registration = suite.checks.run, caller.registration
    old = registration.secret
    run(f"{name}: works before a rotation", caller.works, old)
    new = run(f"{name}: rotates with 24 h", registration.rotate, 24)
    run(f"{name}: old secret works in the transition", caller.works, old)
    run(f"{name}: new secret works in the transition", caller.works, new)
    run(f"{name}: old secret still works after the new one was used", caller.works, old)
    run(f"{name}: old secret is revoked", registration.revoke, old)
    run(f"{name}: old secret is refused after that", caller.refused, old)
    run(f"{name}: new secret still works after that", caller.works, new)


def emergency_rotation(suite, name, caller):
    run, registration = suite.checks.run, caller.registration
    leaked = registration.secret
    earlier = run(f"{name}: works before the emergency", caller.works, leaked)
    # Not every library introspects: for those that do not, another one asks as the same client.
    library = caller.library if "introspect" in LIBRARIES[caller.library].operations else "authlib"
    asker = Caller(suite, library, caller.method, registration)
    run(f"{name}: token is active before the emergency", asker.introspects, leaked, earlier, True)
    fresh = run(f"{name}: rotates at once", lambda: registration.rotate(0, compromised=True, revoke_tokens=True))
    run(f"{name}: leaked secret is refused at once", caller.refused, leaked)
    later = run(f"{name}: fresh secret works at once", caller.works, fresh)
    run(f"{name}: token of the leaked secret is inactive", asker.introspects, fresh, earlier, False)
    run(f"{name}: token of the fresh secret is active", asker.introspects, fresh, later, True)


def usage_evidence(suite, name, caller):
    """Each of the three secrets has its sources, and as many uses as the libraries made."""
    registration = caller.registration

    def counted():
        usage = registration.usage()
        for (secret_id, user_agent), accepted in registration.accepted.items():
            rows = [row for row in usage if row["secret_id"] == secret_id and user_agent in (row["user_agent"] or "")]
            require(rows, f"no use of {secret_id} by {user_agent}: {usage}")
            count, attempted = sum(row["use_count"] for row in rows), registration.attempted[secret_id, user_agent]
            require(accepted <= count <= attempted, f"{accepted} uses in {attempted} attempts, but {count}: {rows}")
        for row in usage:
            require(row["source_ip"] == "127.0.0.1", f"unknown address: {row}")
            require(row["first_used_at"] <= row["last_used_at"], f"used last before first: {row}")
        secret_ids = {secret_id for secret_id, _ in registration.accepted}
        require({row["secret_id"] for row in usage} == secret_ids and len(secret_ids) == 3, f"got {usage}")

    # What is counted in memory may be written a little later.
    suite.checks.run(f"{name}: usage evidence", eventually, counted)


def rotations(suite):
    everyone = list(callers(suite, "rotations"))
    for name, caller in everyone:
        with suite.checks.phase(name):
            planned_rotation(suite, name, caller)
            emergency_rotation(suite, name, caller)
    for name, caller in everyone:
        usage_evidence(suite, name, caller)


def printed_commands(suite):
    """The commands that the Console prints for a client fetch a token, typed as they are printed."""
    run, server = suite.checks.run, suite.server
    console = server.sign_in()

    def fetches_a_token(registration, block, command, directory=None):
        page = console.get(f"{server.url}/console{registration.path}/credentials", timeout=30).text
        printed = re.search(f'<pre id="{block}"[^>]*>(.*?)</pre>', page, re.S)
        require(printed, f"no {block} on the page")
        text = html.unescape(printed.group(1))
        require(registration.secret["value"] not in text, "the command holds the secret")
        place = pathlib.Path(tempfile.mkdtemp(dir=suite.directory))
        (place / "client-secret").write_text(registration.secret["value"] + "\n")
        done = subprocess.run(
            [*command, text], cwd=directory or place, capture_output=True, text=True, timeout=60,
            env=os.environ | {"CLIENT_SECRET": registration.secret["value"]},
        )
        require(done.returncode == 0 and "access_token" in done.stdout, f"{done.returncode}: {done.stdout} {done.stderr}")

    for method in METHODS:
        registration = suite.register(f"printed {method}")
        registration.update(token_endpoint_auth_methods=[f"client_secret_{method}"])
        run(f"printed {method}: curl", fetches_a_token, registration, "try-curl", ["bash", "-ec"])
        run(f"printed {method}: Python", fetches_a_token, registration, "try-python", [sys.executable, "-c"])
        # Where its package is installed.
        node = ["node", "--input-type=module", "-e"]
        run(f"printed {method}: Node", fetches_a_token, registration, "try-node", node, HERE)


def restricted_methods(suite):
    for name, caller in callers(suite, "restriction"):
        run, registration = suite.checks.run, caller.registration
        other = METHODS[caller.method == METHODS[0]]
        method = f"client_secret_{caller.method}"
        run(f"{name}: restricted to {method}", lambda: registration.update(token_endpoint_auth_methods=[method]))
        run(f"{name}: works when restricted to it", caller.works, registration.secret)
        run(f"{name}: {other} is refused then", lambda: caller.refused(registration.secret, method=other))


def scopes(suite):
    for name, caller in callers(suite, "scopes"):
        run, registration = suite.checks.run, caller.registration
        run(f"{name}: is given scopes", lambda: registration.update(scopes=["orders.read", "orders.write"]))
        run(f"{name}: one scope granted", caller.scope_granted, registration.secret, "orders.read")
        run(f"{name}: both scopes granted", caller.scope_granted, registration.secret, "orders.read orders.write")
        run(f"{name}: unknown scope refused", caller.scope_refused, registration.secret, "orders.delete")
        run(f"{name}: unknown beside known scope refused",
            caller.scope_refused, registration.secret, "orders.read orders.delete")


def introspection(suite):
    stranger = suite.register("introspected")
    for name, caller in callers(suite, "introspection", "introspect"):
        run, secret = suite.checks.run, caller.registration.secret
        token = run(f"{name}: token to introspect", caller.works, secret)
        own = run(f"{name}: own token is active", caller.introspects, secret, token, True)

        def described():
            seen = [own[member] for member in ["iss", "client_id", "aud"]]
            issuer = suite.server.issuer("production")
            require(seen == [issuer, caller.registration.client_id, issuer], f"got {own}")
            require(own["exp"] - own["iat"] == 3600, f"got {own}")

        run(f"{name}: own token is described", described)
        run(f"{name}: what is no token is inactive", caller.introspects, secret, "no-token", False)
        run(f"{name}: token with a changed signature is inactive",
            lambda: caller.introspects(secret, token[:-8] + "A" * 8, False))

        other = Caller(suite, caller.library, caller.method, stranger)
        foreign = run(f"{name}: token of another client", other.works, stranger.secret)
        run(f"{name}: foreign token is inactive", caller.introspects, secret, foreign, False)
        run(f"{name}: may introspect", lambda: caller.registration.update(may_introspect=True))
        run(f"{name}: foreign token is active then", caller.introspects, secret, foreign, True)

        def unauthenticated():
            answer = caller.call("introspect", {"id": "wrong", "value": f"{secret['value']}x"}, token=token)
            require(answer.get("status") == 401 and "active" not in answer, f"got {answer}")

        run(f"{name}: introspection with a wrong secret is refused", unauthenticated)


def revocation(suite):
    # Not every library that revokes introspects, too.
    witness = Caller(suite, "authlib", "basic", suite.register("witness"))
    suite.checks.run("revocation: witness may introspect", lambda: witness.registration.update(may_introspect=True))

    def sees(token, active):
        return witness.introspects(witness.registration.secret, token, active)

    for name, caller in callers(suite, "revocation", "revoke"):
        run, secret = suite.checks.run, caller.registration.secret
        token = run(f"{name}: token to revoke", caller.works, secret)
        kept = run(f"{name}: token to keep", caller.works, secret)
        run(f"{name}: active before its revocation", sees, token, True)
        run(f"{name}: revokes it", caller.revokes, secret, token)
        run(f"{name}: inactive after its revocation", sees, token, False)
        run(f"{name}: the other token is still active", sees, kept, True)
        run(f"{name}: revoking it again is no error", caller.revokes, secret, token)
        run(f"{name}: revoking what is no token is no error", caller.revokes, secret, "no-token")

        foreign = run(f"{name}: token of another client", witness.works, witness.registration.secret)
        # RFC 7009 lets the server refuse this or ignore it, but not do it.
        run(f"{name}: tries to revoke a foreign token", lambda: caller.call("revoke", secret, token=foreign))
        run(f"{name}: foreign token is still active", sees, foreign, True)


def only_public_members(suite, environment, expected_keys):
    answer = suite.server.session.get(f"{suite.server.issuer(environment)}/oauth2/jwks", timeout=10)
    keys = answer.json()["keys"]
    for key in keys:
        require(set(key) <= PUBLIC_MEMBERS, f"members {sorted(set(key) - PUBLIC_MEMBERS)} are published")
    require(len({key["kid"] for key in keys}) == len(keys) >= expected_keys, f"{len(keys)} keys")
    return keys


def change_algorithm(suite, environment, algorithm, caller):
    """A key of the new algorithm is published first, and signs when it is told to."""
    run, server = suite.checks.run, suite.server
    secret = caller.registration.secret
    before = run(f"{environment}: token before the change", caller.token, secret)

    def still_es256():
        token = caller.token(secret)["access_token"]
        judged = suite.verify("jose", token, environment, alg="ES256")
        require("claims" in judged, f"got {judged}")

    def published():
        keys = only_public_members(suite, environment, 2)
        listed = {key["kid"] for key in server.cli("env", "keys", environment)}
        require({key["kid"] for key in keys} == listed, f"published {keys}, listed {listed}")
        require(algorithm in [key["alg"] for key in keys], f"got {keys}")

    def old_still_verifies():
        judged = suite.verify("jose", before["access_token"], environment, alg="ES256")
        require("claims" in judged, f"got {judged}")

    def none_pending():
        # The key that was waiting when another one was told to sign at once must not take over when its time comes.
        now = datetime.datetime.now(datetime.timezone.utc)
        keys = server.cli("env", "keys", environment)
        pending = [key for key in keys if datetime.datetime.fromisoformat(key["active_from"]) > now]
        require(not pending, f"these are: {pending}")

    run(f"{environment}: algorithm is changed", server.cli, "env", "update", environment, "--signing-alg", algorithm)
    run(f"{environment}: new key is published at once", published)
    run(f"{environment}: new key does not sign yet", still_es256)
    run(f"{environment}: key is rotated at once",
        server.cli, "env", "rotate-key", environment, "--immediate", "--confirm", environment, "--reason", "check")
    run(f"{environment}: token from before still verifies", old_still_verifies)
    run(f"{environment}: no other key is going to sign later", none_pending)


def verification(suite):
    run = suite.checks.run
    for environment, algorithm in ALGORITHMS.items():
        registration = suite.register(f"verified in {environment}", environment)
        caller = Caller(suite, "oauth4webapi", "basic", registration)
        if algorithm != "ES256":
            change_algorithm(suite, environment, algorithm, caller)
        run(f"{environment}: key set is public", only_public_members, suite, environment, 1)
        old = registration.secret
        new = run(f"{environment}: rotates by the command line", registration.rotate_with_cli, 24)
        for which, secret in [("old", old), ("new", new)]:
            answer = run(f"{environment}: token for the {which} secret", caller.token, secret)
            for verifier in VERIFIERS:
                name = f"{verifier} {algorithm}: {which} secret"
                run(name, judge, suite, verifier, registration, secret, answer)


def judge(suite, verifier, registration, secret, answer):
    """A verifier accepts the token as it is, and nothing that differs from it in one point."""
    environment, token = registration.environment, answer["access_token"]
    judged = suite.verify(verifier, token, environment)
    require("claims" in judged, f"got {judged}")
    claims, header = judged["claims"], judged["header"]
    require(header["alg"] == ALGORITHMS[environment], f"alg is {header['alg']}")
    require(header["typ"] == "at+jwt", f"typ is {header['typ']}")
    require(claims["crossfade_secret"] == secret["id"], f"crossfade_secret is {claims['crossfade_secret']}")
    require(claims["sub"] == claims["client_id"] == registration.client_id, f"got {claims}")
    require(claims["exp"] - claims["iat"] == 3600, f"lives {claims['exp'] - claims['iat']} s")

    signature = token.rindex(".") + 1
    changed = token[:signature] + ("B" if token[signature] == "A" else "A") + token[signature + 1 :]
    differences = [
        {"issuer": suite.server.issuer("elsewhere")}, {"audience": "https://api.example.com"},
        {"typ": "JWT"}, {"seconds_ahead": 3700}, {"token": changed},
    ]
    for difference, exception in zip(differences, VERIFIERS[verifier].exceptions, strict=True):
        wrong = suite.verify(verifier, **({"token": token, "environment": environment} | difference))
        require(wrong.get("exception") == exception, f"expected {exception} for {next(iter(difference))}, got {wrong}")


GUIDE = HERE.parents[1] / "docs/guide/validate-tokens.md"


def guide(suite):
    """The programs in the guide accept a token, and refuse a changed one and one for another audience."""
    blocks = re.findall(r"^## (.+?)\n\n```(js|python)\n(.+?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    suite.checks.run("the guide has three programs", require, len(blocks) == 3, f"it has {len(blocks)}")
    registration = suite.register("of the guide", "production")
    caller = Caller(suite, "oauth4webapi", "basic", registration)
    token = suite.checks.run("token for the guide", caller.token, registration.secret)["access_token"]
    issuer = suite.server.issuer("production")
    signature = token.rindex(".") + 1
    changed = token[:signature] + ("B" if token[signature] == "A" else "A") + token[signature + 1 :]
    for name, language, text in blocks:
        # Beside node_modules, where jose is looked for.
        node = ["node", "--import", "./adapters/node18.mjs", "--input-type=module", "-"]
        command = [sys.executable, "-"] if language == "python" else node
        for what, audience, presented, is_accepted in [
            ("a token", issuer, token, True), ("another audience", "https://api.example.com", token, False),
            ("a changed token", issuer, changed, False),
        ]:
            done = subprocess.run(
                command, cwd=HERE, input=text, capture_output=True, text=True, timeout=30,
                env={**os.environ, "ISSUER": issuer, "AUDIENCE": audience, "TOKEN": presented},
            )
            accepted = done.returncode == 0 and done.stdout.strip() == registration.client_id
            suite.checks.run(f"{name} in the guide: {what}", require, accepted == is_accepted, done.stderr[-500:])


def load(suite):
    """Rotates and revokes while tokens are asked for all the time."""
    run, registration = suite.checks.run, suite.register("load")
    old, rate, part = registration.secret, 400, 2.7
    loader = Adapter([sys.executable, "load.py"], suite.directory)
    suite.processes.callback(loader.close)
    loader.send({
        "token_endpoint": f"{suite.server.issuer('production')}/oauth2/token",
        "client_id": registration.client_id, "secrets": {"old": old["value"]}, "rate": rate, "seconds": 60,
    })
    time.sleep(part)
    rotating = time.monotonic()
    new = registration.rotate(24)
    loader.send({"secrets": {"old": old["value"], "new": new["value"]}})
    rotated = time.monotonic()
    time.sleep(part)
    revoking = time.monotonic()
    registration.revoke(old)
    revoked = time.monotonic()
    time.sleep(part)
    loader.send({"stop": True})
    records = [Record(*record) for record in loader.receive(60)]

    def all_are(statuses, some, least):
        others = collections.Counter(record.status for record in some if record.status not in statuses)
        require(not others, f"of {len(some)} answers, these are not {statuses}: {dict(others)}")
        require(len(some) >= least, f"only {len(some)} requests")

    before = [record for record in records if record.end < revoking]
    # On a busy machine no request may fall into the milliseconds of the rotation itself.
    overlapping = [record for record in records if record.begin < rotated + 0.2 and record.end > rotating - 0.2]
    between = collections.Counter(record.secret for record in before if record.begin > rotated)
    old_after = [record for record in records if record.secret == "old" and record.begin > revoked]
    new_ever = [record for record in records if record.secret == "new"]
    new_after = [record for record in new_ever if record.begin > revoked]

    run("load: no failure before the old secret is revoked", all_are, [200], before, 100)
    run("load: no failure while the rotation is made", all_are, [200], overlapping, 1)
    run("load: both secrets are used in the transition", require, min(between["old"], between["new"]) >= 20, between)
    run("load: new secret never fails", all_are, [200], new_ever, 50)
    # 429 after a hundred failures from one network.
    run("load: old secret is refused from when it was revoked", all_are, [401, 429], old_after, 20)
    run("load: new secret works from then on", all_are, [200], new_after, 20)

    def recorded():
        usage = registration.usage()
        for secret, name in [(old, "old"), (new, "new")]:
            given = sum(1 for record in records if record.secret == name and record.status == 200)
            counted = sum(row["use_count"] for row in usage if row["secret_id"] == secret["id"])
            require(counted == given, f"{given} tokens for the {name} secret, {counted} uses in the evidence")

    run("load: every use is in the evidence", eventually, recorded)
    seconds = max(record.end for record in records) - min(record.begin for record in records)
    slowest = max(record.end - record.begin for record in records)
    statuses = dict(collections.Counter((record.secret, record.status) for record in records))
    print(f"load: {len(records)} requests in {seconds:.1f} s, {len(records) / seconds:.0f} per second, "
          f"slowest {slowest * 1000:.0f} ms, {statuses}")
    print(f"load: {len(overlapping)} during the rotation, {dict(between)} in the transition, "
          f"{len(old_after)} old and {len(new_after)} new after the revocation")


class Deliveries(http.server.BaseHTTPRequestHandler):
    """Keeps what webhooks deliver."""

    taken = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.taken.append((dict(self.headers), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        """Says nothing."""


def webhooks(suite):
    run = suite.checks.run
    with http.server.HTTPServer(("127.0.0.1", 0), Deliveries) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        body = {"name": "Deliveries", "url": f"http://127.0.0.1:{receiver.server_port}/", "confirm_name": "platform"}
        webhook = suite.server.api("POST", "/webhooks", body)
        suite.server.api("POST", f"/webhooks/{webhook['id']}/test", {})
        run("a delivery arrives", eventually, lambda: require(Deliveries.taken, "nothing arrived"))
        headers, body = Deliveries.taken[0]
        asked = {"secret": webhook["signing_secret"], "headers": headers, "body": body}
        adapter = suite.adapter("webhook.mjs", "standardwebhooks")
        answer = adapter.ask(asked)
        run("standardwebhooks verifies a delivery", require, answer.get("payload", {}).get("type") == "webhook.test", answer)
        answer = adapter.ask(asked | {"body": body + " "})
        run("standardwebhooks refuses a changed one", require, answer.get("exception") == "WebhookVerificationError", answer)
        suite.server.api("DELETE", f"/webhooks/{webhook['id']}")
        receiver.shutdown()


Record = collections.namedtuple("Record", "secret begin end status")
PHASES = [
    discovery, rotations, printed_commands, restricted_methods, scopes, introspection, revocation, verification, guide,
    webhooks, provision.provisioning, load,
]


def play(checks, binary, database_url, of_front):
    with contextlib.ExitStack() as stack, checks.phase("front"):
        database = stack.enter_context(fresh_database(database_url)) if database_url else None
        front.play(checks, binary, database, of_front)
    with contextlib.ExitStack() as stack:
        if database_url:
            database_url = stack.enter_context(fresh_database(database_url))
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-clients-"))
        server = Server(binary, directory, database_url)
        stack.callback(server.stop)
        server.environment["CROSSFADE_OUTBOUND_PRIVATE_NETWORKS"] = "127.0.0.1/32"
        server.start()
        suite = Suite(checks, server, directory, stack)
        for phase in PHASES:
            with checks.phase(phase.__name__):
                phase(suite)
        checks.run("the server logged no error", no_errors, server)


def no_errors(server):
    lines = [line for line in server.log.read_text().splitlines() if " ERROR " in line or "panicked" in line]
    require(not lines, f"{len(lines)} lines, the first is: {lines[:1]}")


if __name__ == "__main__":
    options = frame.options(__doc__)
    options.add_argument("--chromium", required=True, help="the browser")
    options.add_argument("--front-rotations", type=int, default=20, help="rotations in front of each issuer")
    options.add_argument("--front-rate", type=int, default=40, help="requests a second meanwhile")
    arguments = options.parse_args()
    of_front = front.Options(arguments.front_rotations, arguments.front_rate, arguments.chromium)
    frame.run("clients", MAXIMUM_SECONDS, lambda checks: play(checks, arguments.binary, arguments.database_url, of_front))
