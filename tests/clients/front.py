"""Front mode: callers with secrets of Crossfade get the tokens of an issuer that knows nothing of it."""

import base64
import contextlib
import hmac
import json
import pathlib
import tempfile
import threading
import time
import uuid

import requests

from harness import Adapter, Server, free_port, require

ENVIRONMENT = "staging"
FORM = {"grant_type": "client_credentials"}


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
        # Not in the header, because raw Basic cannot carry a client_id with a colon.
        form = {**form, "client_id": self.client_id, "client_secret": (secret or self.secret)["value"]}
        return session.post(self.url(endpoint), data=form, timeout=40)

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


def signed_assertion(client_id, secret, audience):
    """An assertion of a client (RFC 7523), signed with its secret."""
    def encoded(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    now = int(time.time())
    claims = {"iss": client_id, "sub": client_id, "aud": audience, "jti": uuid.uuid4().hex, "iat": now, "exp": now + 60}
    head = b".".join(encoded(json.dumps(part).encode()) for part in [{"alg": "HS256"}, claims])
    return (head + b"." + encoded(hmac.digest(secret.encode(), head, "sha256"))).decode()


def of_unregistered(run, server, front, issuer):
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
        form = {**FORM, "client_id": front.client_id, "client_secret": "first%+ :secret"}
        require(ask(401, form).json()["error"] == "invalid_client", "the upstream secret of a registered client works")

    def set_passing(value):
        server.api("PATCH", f"/environments/{ENVIRONMENT}", {"unregistered_clients": value})

    run("oidc-provider: an unregistered client is refused", ask, 401, other)
    run("oidc-provider: unregistered clients pass", set_passing, "pass")
    run("oidc-provider: an unregistered client gets a token", ask, 200, other)
    run("oidc-provider: one that signs its assertions, too", lambda: ask(200, assertion()))
    run("oidc-provider: a wrong secret is refused there", ask, 401, {**other, "client_secret": "wrong"})
    run("oidc-provider: a public client reaches the issuer", public)
    run("oidc-provider: a preflight is answered", preflight)
    run("oidc-provider: a registered client does not pass", own)
    run("oidc-provider: a registered client gets a token as before", front.token)
    run("oidc-provider: unregistered clients are refused again", set_passing, "refuse")
    run("oidc-provider: they are", ask, 401, other)


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
    post = front.post

    def is_token():
        answer = front.token()
        require(answer["token_type"] == "Bearer", answer)
        return answer["access_token"]

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
    old = front.secret
    of_unregistered(run, server, front, issuer)
    run("oidc-provider: a wrong secret is refused here", front.is_refused, {"value": "wrong"})
    run("oidc-provider: the upstream secret is refused here", front.is_refused, {"value": first})
    run("oidc-provider: rotation", front.rotate, 24)
    for secret in [old, front.secret]:
        run("oidc-provider: both secrets work", front.token, secret)
    count, failures = run("oidc-provider: rotations under load", rotations_under_load, front) or (0, ["none"])
    run(f"oidc-provider: none of {count} requests failed", require, count > 100 and not failures, str(failures[:3]))
    run("oidc-provider: an ended secret is refused", front.is_refused, old)
    run("oidc-provider: the next upstream secret is set", lambda: front.set_upstream(next=second))
    run("oidc-provider: the secret is changed there", provider.ask, {"client_id": client_id, "client_secret": second})
    run("oidc-provider: nobody notices", is_token)
    run("oidc-provider: the secret is changed again", provider.ask, {"client_id": client_id, "client_secret": "third"})

    def unavailable():
        answer = post("token", FORM)
        require(answer.status_code == 503 and answer.json()["error"] == "temporarily_unavailable", answer.text)

    run("oidc-provider: a caller with a right secret gets 503", unavailable)


def play(checks, binary, database_url):
    """`database_url`: of an empty database, or None."""
    with contextlib.ExitStack() as ending:
        directory = pathlib.Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-front-")))
        server = Server(binary, directory, database_url)
        server.environment["CROSSFADE_OUTBOUND_PRIVATE_NETWORKS"] = "127.0.0.0/8"
        ending.callback(server.stop)
        server.start()
        port = free_port()
        provider = Adapter(["node", "oidc-provider.mjs", str(port)], directory)
        ending.callback(provider.close)
        of_oidc_provider(checks.run, server, provider, f"http://127.0.0.1:{port}")
        canaries = ["first%", "crossfade_test_", "crossfade_live_"]
        log = server.log.read_text()
        checks.run("no secret is in the log", require, not any(canary in log for canary in canaries), "one is")
