"""Front mode: callers with secrets of Crossfade get the tokens of issuers that know nothing of it."""

import base64
import contextlib
import json
import pathlib
import tempfile
import threading
import time

import requests

from harness import Adapter, Registration, Server, free_port, require

ENVIRONMENT = "staging"
FORM = {"grant_type": "client_credentials"}


def claims(token):
    """The header and the claims of a token, unverified."""
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2]]


class Front:
    """A client of an issuer that is taken over by a server in front of it."""

    def __init__(self, server, name, client_id, secret):
        self.server, self.name, self.client_id = server, name, client_id
        created = server.api("POST", "/clients", {
            "name": name, "property_id": server.api("POST", "/properties", {"name": name})["id"],
            "environments": [ENVIRONMENT], "client_id": client_id,
        })
        self.path = f"/clients/{created['id']}/environments/{ENVIRONMENT}"
        self.secret = created["registrations"][0]["secret"]
        self.set_upstream(secret=secret)

    def set_upstream(self, **body):
        self.server.api("PUT", f"{self.path}/upstream-credential", body)

    def rotate(self, hours):
        body = {"transition_hours": hours, "confirm_client_name": self.name, "end_running_transition": True}
        self.secret = self.server.api("POST", f"{self.path}/secrets/rotate", body)["secret"]
        return self.secret

    def url(self, endpoint):
        return f"{self.server.issuer(ENVIRONMENT)}/oauth2/{endpoint}"

    def post(self, endpoint, form, secret=None, session=requests):
        credentials = (self.client_id, (secret or self.secret)["value"])
        return session.post(self.url(endpoint), data=form, auth=credentials, timeout=40)

    def token(self, secret=None):
        answer = self.post("token", FORM, secret)
        require(answer.status_code == 200, f"{answer.status_code} {answer.text}")
        return answer.json()

    def is_refused(self, secret):
        answer = self.post("token", FORM, secret)
        require((answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text)


def put_in_front(server, kind, issuer, endpoints):
    upstream = {"kind": kind, "servers": [{"name": "main", "issuer": issuer, **endpoints}]}
    server.api("PATCH", f"/environments/{ENVIRONMENT}", {
        "issuer_mode": "upstream", "upstream": upstream, "confirm_environment_slug": ENVIRONMENT,
    })


def rotations_under_load(front, rotations=20, seconds=8):
    """Rotates while callers ask with the old and with the new secret. Returns the number of requests, and what failed."""
    valid, failures, done = [front.secret], [], threading.Event()
    counted = []

    def ask(number):
        with requests.Session() as session:
            while not done.is_set():
                known = valid[:]
                secret = known[number % len(known)]
                answer = front.post("token", FORM, secret, session)
                # A secret that ended since then may be refused.
                if answer.status_code != 200 and secret in valid:
                    failures.append(f"{answer.status_code} {answer.text}")
                counted.append(1)
                time.sleep(0.02)

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(rotations):
        # What this rotation ends is no longer expected to work.
        valid[:] = valid[-1:]
        time.sleep(0.1)
        valid.append(front.rotate(24))
        time.sleep(max(0, seconds / rotations - 0.1))
    done.set()
    for thread in threads:
        thread.join(60)
    return len(counted), failures


def of_crossfade(run, server, issuer):
    """Another Crossfade server as the issuer."""
    own = Registration(issuer, issuer.api("POST", "/properties", {"name": "Issuer"})["id"], "Billing")
    base = f"{issuer.issuer('production')}/oauth2"
    endpoints = {
        "token_endpoint": f"{base}/token", "revocation_endpoint": f"{base}/revoke",
        "introspection_endpoint": f"{base}/introspect",
    }
    run("crossfade: is put in front", put_in_front, server, "generic", issuer.issuer("production"), endpoints)
    front = run("crossfade: client is taken over", Front, server, "Billing", own.client_id, own.secret["value"])

    def equal():
        direct = requests.post(f"{base}/token", data=FORM, auth=(own.client_id, own.secret["value"]), timeout=10)
        through = front.token()
        (head, direct), (own_head, claimed) = claims(direct.json()["access_token"]), claims(through["access_token"])
        require(head == own_head, f"{head} {own_head}")
        for member in ["iss", "aud", "sub", "client_id", "crossfade_secret"]:
            require(direct[member] == claimed[member], f"{member}: {direct[member]} {claimed[member]}")

    run("crossfade: tokens are those of the issuer", equal)

    def introspected():
        token = front.token()["access_token"]
        require(front.post("introspect", {"token": token}).json()["active"], "it is inactive")
        require(front.post("revoke", {"token": token}).status_code == 200, "the revocation was refused")
        require(not front.post("introspect", {"token": token}).json()["active"], "it is active")

    run("crossfade: introspection and revocation", introspected)
    old = front.secret
    new = run("crossfade: rotation", front.rotate, 24)
    for secret in [old, new]:
        run("crossfade: both secrets work", front.token, secret)
    run("crossfade: the upstream secret is refused", front.is_refused, own.secret)
    count, failures = run("crossfade: rotations under load", rotations_under_load, front) or (0, ["none"])
    run(f"crossfade: none of {count} requests failed", require, count > 100 and not failures, str(failures[:3]))
    run("crossfade: an ended secret is refused", front.is_refused, old)

    # The secret at the issuer is rotated, and nobody notices.
    current = own.secret
    following = own.rotate(24)
    run("crossfade: the next upstream secret is set", lambda: front.set_upstream(next=following["value"]))
    run("crossfade: works before the old one ends", front.token)
    run("crossfade: the old upstream secret ends", own.revoke, current)
    run("crossfade: works after the old one has ended", front.token)
    run("crossfade: the client is disabled at the issuer",
        lambda: own.update(enabled=False, confirm_client_name="Billing"))

    def unavailable():
        answer = front.post("token", FORM)
        require(answer.status_code == 503 and answer.json()["error"] == "temporarily_unavailable", answer.text)

    run("crossfade: a caller with a right secret gets 503", unavailable)


def of_oidc_provider(run, server, provider, issuer):
    """oidc-provider as the issuer."""
    client_id, first, second = "billing:app 1", "first%+ :secret", "second"
    run("oidc-provider: serves", provider.ask, {"client_id": client_id, "client_secret": first})
    endpoints = {
        "token_endpoint": f"{issuer}/token", "pushed_authorization_request_endpoint": f"{issuer}/request",
        "device_authorization_endpoint": f"{issuer}/device/auth",
        "revocation_endpoint": f"{issuer}/token/revocation",
        "introspection_endpoint": f"{issuer}/token/introspection",
    }
    run("oidc-provider: is put in front", put_in_front, server, "generic", issuer, endpoints)
    front = run("oidc-provider: client is taken over", Front, server, "App", client_id, first)
    # The credentials are in the body, because raw Basic cannot carry a client_id with a colon.
    def post(endpoint, form, secret=None):
        form = {**form, "client_id": client_id, "client_secret": (secret or front.secret)["value"]}
        return requests.post(front.url(endpoint), data=form, timeout=40)

    def is_token():
        answer = post("token", FORM)
        require(answer.status_code == 200 and answer.json()["token_type"] == "Bearer", answer.text)
        return answer.json()["access_token"]

    token = run("oidc-provider: token", is_token)
    run("oidc-provider: introspection",
        lambda: require(post("introspect", {"token": token}).json()["active"], "it is inactive"))
    run("oidc-provider: revocation",
        lambda: require(post("revoke", {"token": token}).status_code == 200, "it was refused"))
    run("oidc-provider: the token has ended",
        lambda: require(not post("introspect", {"token": token}).json()["active"], "it is active"))

    def pushed():
        answer = post("par", {
            "response_type": "code", "redirect_uri": "https://app.example.com/callback", "scope": "openid",
            "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method": "S256",
        })
        require(answer.status_code == 201 and answer.json()["request_uri"], answer.text)

    def device():
        answer = post("device_authorization", {"scope": "openid"})
        require(answer.status_code == 200 and answer.json()["user_code"], answer.text)
        pending = post("token", {
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": answer.json()["device_code"],
        })
        require(pending.json()["error"] == "authorization_pending", pending.text)

    def other_fault():
        answer = post("token", {"grant_type": "authorization_code", "code": "none", "redirect_uri": "https://a"})
        require((answer.status_code, answer.json()["error"]) == (400, "invalid_grant"), answer.text)

    run("oidc-provider: pushed authorization request", pushed)
    run("oidc-provider: device authorization", device)
    run("oidc-provider: a fault of the caller reaches it", other_fault)
    wrong = post("token", FORM, {"value": "crossfade_test_wrong"})
    run("oidc-provider: a wrong secret is refused here", require, wrong.status_code == 401, wrong.text)
    run("oidc-provider: the next upstream secret is set", lambda: front.set_upstream(next=second))
    run("oidc-provider: the secret is changed there", provider.ask, {"client_id": client_id, "client_secret": second})
    run("oidc-provider: nobody notices", is_token)


def play(checks, binary, database_urls):
    """`database_urls`: of an empty database for each of three servers, or None."""
    run = checks.run
    with contextlib.ExitStack() as ending:
        directory = pathlib.Path(ending.enter_context(tempfile.TemporaryDirectory()))
        servers = []
        for name, url in zip(["issuer", "front", "other"], database_urls, strict=True):
            place = directory / name
            place.mkdir()
            server = Server(binary, place, url)
            server.environment["CROSSFADE_OUTBOUND_PRIVATE_NETWORKS"] = "127.0.0.0/8"
            ending.callback(server.stop)
            server.start()
            servers.append(server)
        issuer, front, other = servers
        of_crossfade(run, front, issuer)
        port = free_port()
        provider = Adapter(["node", "oidc-provider.mjs", str(port)], directory)
        ending.callback(provider.close)
        of_oidc_provider(run, other, provider, f"http://127.0.0.1:{port}")
        log = "".join(server.log.read_text() for server in servers)
        canaries = ["first%", "crossfade_test_", "crossfade_live_"]
        run("no secret is in a log", require, not any(canary in log for canary in canaries), "one is")
