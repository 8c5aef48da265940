"""Front mode: callers with secrets of Crossfade get the tokens of issuers that know nothing of it."""

import base64
import collections
import contextlib
import hashlib
import hmac
import json
import pathlib
import secrets
import sys
import tempfile
import time
import urllib.parse
import uuid

import requests

from harness import Adapter, Server, free_port, require

FORM = {"grant_type": "client_credentials"}
CANARY = "upstream-canary"

# Rotations in front of an issuer, the requests a second during them, and the browser.
Options = collections.namedtuple("Options", "rotations rate chromium")
Record = collections.namedtuple("Record", "secret begin end status")


class Issuer:
    """An issuer that is a process of its own, with one client."""

    def __init__(self, name, command, path, endpoints, client_id, directory, ending):
        port = free_port()
        self.name, self.client_id = name, client_id
        self.adapter = Adapter([*command, str(port)], directory)
        ending.callback(self.adapter.close)
        self.base = f"http://127.0.0.1:{port}"
        self.issuer = f"{self.base}{path}"
        self.endpoints = {name: f"{self.base}{path}" for name, path in endpoints.items()}

    def set_secret(self, secret):
        self.adapter.ask({"client_id": self.client_id, "client_secret": secret})

    def token(self, secret):
        """A token that is fetched without Crossfade."""
        form = {**FORM, "client_id": self.client_id, "client_secret": secret}
        return requests.post(self.endpoints["token_endpoint"], data=form, timeout=40).json()


class Other:
    """Another Crossfade as the issuer."""

    def __init__(self, binary, directory, ending):
        self.name = "crossfade"
        (directory / "issuer").mkdir()
        server = self.server = Server(binary, directory / "issuer", None)
        ending.callback(server.stop)
        server.start()
        property_id = server.api("POST", "/properties", {"name": "Upstream"})["id"]
        created = server.api("POST", "/clients", {
            "name": "Upstream", "property_id": property_id, "environments": ["production"]})
        registration = created["registrations"][0]
        self.path = f"/clients/{created['id']}/environments/production"
        self.client_id, self.secret = registration["client_id"], registration["secret"]
        self.issuer = server.issuer("production")
        paths = {"token": "token", "revocation": "revoke", "introspection": "introspect"}
        self.endpoints = {f"{name}_endpoint": f"{self.issuer}/oauth2/{path}" for name, path in paths.items()}

    def rotate(self, hours):
        body = {"transition_hours": hours, "confirm_client_name": "Upstream", "end_running_transition": True}
        self.secret = self.server.api("POST", f"{self.path}/secrets/rotate", body)["secret"]

    def token(self, secret):
        form = {**FORM, "client_id": self.client_id, "client_secret": secret}
        return requests.post(self.endpoints["token_endpoint"], data=form, timeout=40).json()


class Front:
    """The client of an issuer, taken over by an environment in front of it."""

    def __init__(self, server, issuer, secret):
        self.server, self.name, self.client_id = server, f"App of {issuer.name}", issuer.client_id
        self.environment = issuer.name
        server.api("POST", "/environments", {"slug": self.environment, "name": issuer.name, "kind": "live"})
        server.api("PATCH", f"/environments/{self.environment}", {
            "issuer_mode": "upstream", "confirm_environment_slug": self.environment,
            "upstream": {"kind": "generic", "servers": [{"name": "main", "issuer": issuer.issuer, **issuer.endpoints}]},
        })
        created = server.api("POST", "/clients", {
            "name": self.name, "property_id": server.api("POST", "/properties", {"name": self.name})["id"],
            "environments": [self.environment], "client_id": self.client_id,
        })
        self.path = f"/clients/{created['id']}/environments/{self.environment}"
        self.secret = created["registrations"][0]["secret"]
        self.set_upstream(secret=secret)

    def set_upstream(self, **body):
        self.server.api("PUT", f"{self.path}/upstream-credential", body)

    def rotate(self, hours):
        body = {"transition_hours": hours, "confirm_client_name": self.name, "end_running_transition": True}
        self.secret = self.server.api("POST", f"{self.path}/secrets/rotate", body)["secret"]
        return self.secret

    def url(self, endpoint):
        return f"{self.server.issuer(self.environment)}/oauth2/{endpoint}"

    def post(self, endpoint, form, secret=None):
        # Not in the header, because raw Basic cannot carry a client_id with a colon.
        form = {**form, "client_id": self.client_id, "client_secret": (secret or self.secret)["value"]}
        return requests.post(self.url(endpoint), data=form, timeout=40)

    def token(self, secret=None):
        answer = self.post("token", FORM, secret)
        require(answer.status_code == 200, f"{answer.status_code} {answer.text}")
        return answer.json()

    def is_refused(self, secret, statuses=(401,)):
        answer = self.post("token", FORM, secret)
        require(answer.status_code in statuses, f"{answer.status_code} {answer.text}")
        require(answer.status_code != 401 or answer.json()["error"] == "invalid_client", answer.text)

    def is_unavailable(self):
        answer = self.post("token", FORM)
        require(answer.status_code == 503 and answer.json()["error"] == "temporarily_unavailable", answer.text)

    def is_active(self, token):
        answer = self.post("introspect", {"token": token})
        require(answer.status_code == 200, f"{answer.status_code} {answer.text}")
        return answer.json()["active"]


def rotations_under_load(front, options, directory):
    """Rotates while callers ask with the old and with the new secret. Each secret works until it is ended, and never after."""
    values, began, ended = [front.secret], [0], {}
    with contextlib.closing(Adapter([sys.executable, "load.py"], directory)) as loader:
        loader.send({
            "token_endpoint": front.url("token"), "client_id": front.client_id, "secrets": {"0": values[0]["value"]},
            "rate": options.rate, "seconds": 600,
        })
        for number in range(1, options.rotations + 1):
            # This rotation ends what the one before it replaced.
            loader.send({"secrets": {str(number - 1): values[-1]["value"]}})
            time.sleep(0.05)
            begun = time.monotonic()
            values.append(front.rotate(24))
            if number > 1:
                ended[number - 2] = (begun, time.monotonic())
                # Refusals are counted by network, and limited.
                front.is_refused(values[number - 2], (401, 429))
            loader.send({"secrets": {str(it): values[it]["value"] for it in (number - 1, number)}})
            time.sleep(0.05 + 3 / options.rate)
        loader.send({"stop": True})
        records = [Record(int(secret), *more) for secret, *more in loader.receive(60)]
    wrong = []
    for record in records:
        ending = ended.get(record.secret, (float("inf"), float("inf")))
        # One that was under way when its secret was ended can have either answer.
        if record.end < ending[0] and record.status != 200 or record.begin > ending[1] and record.status == 200:
            wrong.append(record)
    require(not wrong, f"{len(wrong)} of {len(records)}: {wrong[:3]}")
    seconds = max(record.end for record in records) - min(record.begin for record in records)
    both = collections.Counter(record.secret for record in records)
    require(len(both) > options.rotations * 0.9, f"only {len(both)} of {options.rotations + 1} secrets were used")
    print(f"  {front.environment}: {options.rotations} rotations in {seconds:.0f} s, {len(records) / seconds:.0f} requests a second, none failed")


def claims_of(token):
    """The header and the claims of a JWT, without those that differ between any two."""
    header, payload = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    return header, {name: value for name, value in payload.items() if name not in ("iat", "exp", "nbf", "jti")}


def of_every_issuer(run, front, issuer, secret, options, directory):
    """What holds in front of every issuer. `secret` is the one that it has."""
    name = issuer.name
    token = run(f"{name}: token", front.token) or {}
    run(f"{name}: introspection", lambda: require(front.is_active(token["access_token"]), "it is inactive"))
    run(f"{name}: revocation",
        lambda: require(front.post("revoke", {"token": token["access_token"]}).status_code == 200, "it was refused"))
    run(f"{name}: the token has ended", lambda: require(not front.is_active(token["access_token"]), "it is active"))

    def same():
        direct, through = issuer.token(secret), front.token()
        require(direct.keys() == through.keys(), f"{direct.keys()} {through.keys()}")
        if direct["access_token"].count(".") == 2:
            direct, through = claims_of(direct["access_token"]), claims_of(through["access_token"])
            require(direct == through, f"{direct} {through}")

    def other_fault():
        answer = front.post("token", {"grant_type": "made_up"})
        require((answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type"), answer.text)

    run(f"{name}: its tokens are those fetched directly", same)
    run(f"{name}: a fault of the caller reaches it", other_fault)
    old = front.secret
    run(f"{name}: a wrong secret is refused here", front.is_refused, {"value": "wrong"})
    run(f"{name}: the upstream secret is refused here", front.is_refused, {"value": secret})
    run(f"{name}: rotation", front.rotate, 24)
    for valid in [old, front.secret]:
        run(f"{name}: both secrets work", front.token, valid)
    run(f"{name}: no request fails while secrets are rotated", rotations_under_load, front, options, directory)
    run(f"{name}: an ended secret is refused", front.is_refused, old, (401, 429))


def changes_upstream(run, front, issuer):
    """The secret at the issuer is changed, announced and then not."""
    name = issuer.name
    run(f"{name}: the next upstream secret is set", lambda: front.set_upstream(next=f"second-{CANARY}"))
    run(f"{name}: the secret is changed there", issuer.set_secret, f"second-{CANARY}")
    run(f"{name}: nobody notices", front.token)
    run(f"{name}: the secret is changed again", issuer.set_secret, "third")
    run(f"{name}: a caller with a right secret gets 503", front.is_unavailable)


def signs_in(front, issuer, browser):
    """Authorization code with PKCE, in a browser that goes to the issuer itself, and a refresh. Returns the last answer."""
    verifier, callback = secrets.token_urlsafe(48), "https://app.example.com/callback"
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    pushed = front.post("par", {
        "response_type": "code", "redirect_uri": callback, "scope": "openid offline_access", "prompt": "consent",
        "code_challenge": challenge, "code_challenge_method": "S256", "state": "the-state",
    })
    require(pushed.status_code == 201, pushed.text)
    query = urllib.parse.urlencode({"client_id": front.client_id, "request_uri": pushed.json()["request_uri"]})
    arrived = browser.ask({"url": f"{issuer.base}/auth?{query}", "until": callback})
    require(arrived.get("url", "").startswith(callback), arrived)
    found = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(arrived["url"]).query))
    require(found["state"] == "the-state" and found["iss"] == issuer.issuer, found)
    answer = front.post("token", {
        "grant_type": "authorization_code", "code": found["code"], "redirect_uri": callback, "code_verifier": verifier,
    })
    require(answer.status_code == 200, answer.text)
    claims = claims_of(answer.json()["id_token"])[1]
    require((claims["iss"], claims["aud"], claims["sub"]) == (issuer.issuer, front.client_id, "ada"), claims)
    return answer.json()


def refreshes(front, token):
    """Refreshes with the secret before a rotation and with the one after it."""
    old = front.secret
    front.rotate(24)
    for secret in [old, front.secret]:
        answer = front.post("token", {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}, secret)
        require(answer.status_code == 200, answer.text)
        token = answer.json()


def connects_device(front, browser):
    begun = front.post("device_authorization", {"scope": "openid"})
    require(begun.status_code == 200, begun.text)
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": begun.json()["device_code"]}
    pending = front.post("token", form)
    require(pending.json()["error"] == "authorization_pending", pending.text)
    arrived = browser.ask({"url": begun.json()["verification_uri_complete"]})
    answer = front.post("token", form)
    require(answer.status_code == 200, f"{answer.text} {arrived}")


def signed_assertion(client_id, secret, audience):
    """An assertion of a client (RFC 7523), signed with its secret."""
    def encoded(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    now = int(time.time())
    claims = {"iss": client_id, "sub": client_id, "aud": audience, "jti": uuid.uuid4().hex, "iat": now, "exp": now + 60}
    head = b".".join(encoded(json.dumps(part).encode()) for part in [{"alg": "HS256"}, claims])
    return (head + b"." + encoded(hmac.digest(secret.encode(), head, "sha256"))).decode()


def of_unregistered(run, server, front, issuer, secret):
    """Clients that the issuer has and that are not registered here."""
    def ask(status, form, **more):
        answer = requests.post(front.url("token"), data=form, timeout=40, **more)
        require(answer.status_code == status, f"{answer.status_code} {answer.text}")
        return answer

    other = {**FORM, "client_id": "other", "client_secret": "secret-of-other"}

    def assertion():
        return {
            **FORM, "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": signed_assertion("signed", "secret-of-signed-secret-of-signed", issuer),
        }

    def public():
        form = {
            "grant_type": "authorization_code", "code": "none", "client_id": "spa",
            "redirect_uri": "https://spa.example.com/callback", "code_verifier": "v" * 43,
        }
        answer = ask(400, form, headers={"Origin": "https://spa.example.com"})
        require(answer.json()["error"] == "invalid_grant", answer.text)
        require(answer.headers.get("access-control-allow-origin"), answer.headers)

    def preflight():
        headers = {"Origin": "https://spa.example.com", "Access-Control-Request-Method": "POST"}
        answer = requests.options(front.url("token"), headers=headers, timeout=40)
        require(answer.ok and answer.headers.get("access-control-allow-methods"), f"{answer} {answer.headers}")

    def own():
        form = {**FORM, "client_id": front.client_id, "client_secret": secret}
        require(ask(401, form).json()["error"] == "invalid_client", "the upstream secret of a registered client works")

    def set_passing(value):
        server.api("PATCH", f"/environments/{front.environment}", {"unregistered_clients": value})

    def listed():
        path = f"/environments/{front.environment}/unregistered-clients"
        expected = [("signed", ["assertion"], 1, 0), ("other", ["client_secret_post"], 1, 1), (None, [], 0, 1)]
        deadline = time.monotonic() + 60
        found = None
        while found != expected and time.monotonic() < deadline:
            time.sleep(1)
            items = server.api("GET", path)["items"]
            found = [
                (it["client_id"], it["authentication_methods"], it["accepted_count"], it["refused_count"])
                for it in items
            ]
        require(found == expected, found)

    run("oidc-provider: an unregistered client is refused", ask, 401, other)
    run("oidc-provider: unregistered clients pass", set_passing, "pass")
    run("oidc-provider: an unregistered client gets a token", ask, 200, other)
    run("oidc-provider: one that signs its assertions, too", lambda: ask(200, assertion()))
    run("oidc-provider: a wrong secret is refused there", ask, 401, {**other, "client_secret": "wrong"})
    run("oidc-provider: a public client reaches the issuer", public)
    run("oidc-provider: a preflight is answered", preflight)
    run("oidc-provider: clients with tokens are listed, and the rest is a number", listed)
    run("oidc-provider: a registered client does not pass", own)
    run("oidc-provider: a registered client gets a token as before", front.token)
    run("oidc-provider: unregistered clients are refused again", set_passing, "refuse")
    run("oidc-provider: they are", ask, 401, other)


def of_adoption(run, server, front):
    """Clients that the issuer has, whose secrets are learned."""
    def ask(number, secret):
        client_id = f"adopted-{number}"
        if number % 2:
            return requests.post(
                front.url("token"), data={**FORM, "client_id": client_id, "client_secret": secret}, timeout=40)
        basic = f"{client_id}:{urllib.parse.quote_plus(secret)}"
        header = {"Authorization": f"Basic {base64.b64encode(basic.encode()).decode()}"}
        return requests.post(front.url("token"), data=FORM, headers=header, timeout=40)

    def gets(number, secret, status=200):
        answer = ask(number, secret)
        require(answer.status_code == status, f"{number}: {answer.status_code} {answer.text}")

    def known(number):
        return f"secret-%+ of-adopted-{number}"

    def path(number):
        return f"/clients/{clients[number]['id']}/environments/{front.environment}"

    def register():
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        server.api("PATCH", f"/environments/{front.environment}", {"adopt_until": until})
        property_id = server.api("POST", "/properties", {"name": "Adopted"})["id"]
        return [server.api("POST", "/clients", {
            "name": f"Adopted {number}", "property_id": property_id, "environments": [front.environment],
            "client_id": f"adopted-{number}", "adopt": True,
        }) for number in range(10)]

    def waiting():
        return len(server.api("GET", "/clients?without_secret=true")["items"])

    def learn():
        for number in range(10):
            gets(number, "wrong", 401)
            require(waiting() == 10 - number, f"{waiting()} wait before {number}")
            gets(number, known(number))
        require(waiting() == 0, f"{waiting()} wait")
        for number in range(10):
            gets(number, known(number))
            secrets = server.api("GET", f"{path(number)}/secrets")["items"]
            require([it["origin"] for it in secrets] == ["imported"] and secrets[0]["use_count"] == 2, secrets)

    def stop():
        server.api("PATCH", f"/environments/{front.environment}", {"adopt_until": None})
        for number in range(10):
            gets(number, "wrong", 401)
            gets(number, known(number))

    def rotate(number):
        body = {"transition_hours": 24, "confirm_client_name": f"Adopted {number}"}
        new = server.api("POST", f"{path(number)}/secrets/rotate", body)["secret"]["value"]
        gets(number, new)
        gets(number, known(number))
        old = server.api("GET", f"{path(number)}/secrets")["items"][1]
        require((old["origin"], old["state"]) == ("imported", "retiring"), old)
        server.api("POST", f"{path(number)}/secrets/{old['id']}/revoke", {"reason": "moved"})
        gets(number, known(number), 401)
        gets(number, new)

    clients = run("oidc-provider: ten clients are registered without a secret", register)
    run("oidc-provider: their secrets are learned when the issuer accepts them", learn)
    run("oidc-provider: they are verified here afterwards", stop)
    for number in range(2):
        run(f"oidc-provider: a learned secret is rotated away and ended, {number + 1} of 2", rotate, number)


def of_oidc_provider(run, server, options, directory, ending):
    browser = Adapter(["node", "browser.mjs", options.chromium], directory)
    ending.callback(browser.close)
    endpoints = {
        "token_endpoint": "/token", "pushed_authorization_request_endpoint": "/request",
        "device_authorization_endpoint": "/device/auth", "revocation_endpoint": "/token/revocation",
        "introspection_endpoint": "/token/introspection",
    }
    issuer = Issuer(
        "oidc-provider", ["node", "oidc-provider.mjs"], "", endpoints, "billing:app 1", directory, ending)
    secret = f"first%+ :{CANARY}"
    issuer.set_secret(secret)
    front = run("oidc-provider: client is taken over", Front, server, issuer, secret)

    def wrong_code():
        answer = front.post("token", {"grant_type": "authorization_code", "code": "none", "redirect_uri": "https://a"})
        require((answer.status_code, answer.json()["error"]) == (400, "invalid_grant"), answer.text)

    token = run("oidc-provider: a person signs in, after a pushed authorization request", signs_in, front, issuer, browser)
    run("oidc-provider: refreshes during a rotation", refreshes, front, token)
    run("oidc-provider: a person connects a device", connects_device, front, browser)
    run("oidc-provider: a wrong code", wrong_code)
    of_unregistered(run, server, front, issuer.issuer, secret)
    of_adoption(run, server, front)
    of_every_issuer(run, front, issuer, secret, options, directory)
    changes_upstream(run, front, issuer)


def of_python(name, path, endpoints):
    """An issuer in Python, whose adapter has this name."""
    def play(run, server, options, directory, ending):
        command = [sys.executable, f"{name}_provider.py"]
        issuer = Issuer(name, command, path, endpoints, f"{name}-app", directory, ending)
        secret = f"first-{CANARY}"
        issuer.set_secret(secret)
        front = run(f"{name}: client is taken over", Front, server, issuer, secret)
        of_every_issuer(run, front, issuer, secret, options, directory)
        changes_upstream(run, front, issuer)

    return play


def of_crossfade(run, server, options, directory, ending):
    issuer = run("crossfade: serves", Other, server.binary, directory, ending)
    front = run("crossfade: client is taken over", Front, server, issuer, issuer.secret["value"])
    of_every_issuer(run, front, issuer, issuer.secret["value"], options, directory)

    def is_own():
        answer = server.session.put(
            f"{server.url}/api/v1{front.path}/upstream-credential", json={"secret": front.secret["value"]}, timeout=40)
        require((answer.status_code, answer.json()["code"]) == (422, "invalid_body"), answer.text)

    run("crossfade: the registration's own secret is no upstream secret", is_own)
    run("crossfade: rotation there", issuer.rotate, 24)
    run("crossfade: the next upstream secret is set", lambda: front.set_upstream(next=issuer.secret["value"]))
    run("crossfade: nobody notices", front.token)
    run("crossfade: rotation there ends both secrets", issuer.rotate, 0)
    run("crossfade: a caller with a right secret gets 503", front.is_unavailable)
    run("crossfade: its secret is set", lambda: front.set_upstream(secret=issuer.secret["value"]))
    run("crossfade: and works", front.token)


ISSUERS = [
    of_oidc_provider,
    of_python("authlib", "", {
        "token_endpoint": "/oauth/token", "revocation_endpoint": "/oauth/revoke",
        "introspection_endpoint": "/oauth/introspect",
    }),
    of_python("django", "/o", {
        "token_endpoint": "/o/token/", "revocation_endpoint": "/o/revoke_token/",
        "introspection_endpoint": "/o/introspect/",
    }),
    of_crossfade,
]


def play(checks, binary, database_url, options):
    """`database_url`: of an empty database, or None."""
    with contextlib.ExitStack() as ending:
        directory = pathlib.Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-front-")))
        server = Server(binary, directory, database_url)
        server.environment["CROSSFADE_OUTBOUND_PRIVATE_NETWORKS"] = "127.0.0.0/8"
        ending.callback(server.stop)
        server.start()
        for play_issuer in ISSUERS:
            play_issuer(checks.run, server, options, directory, ending)
        log = server.log.read_text()
        found = [canary for canary in [CANARY, "secret-%+ of-", "crossfade_test_", "crossfade_live_"] if canary in log]
        checks.run("no secret is in the log", require, not found, found)
