"""Rotates a client secret of Crossfade for a secret manager, in the four steps of AWS Secrets Manager.

`handler` is a rotation function for AWS Lambda. `rotate` does the same steps with OpenBao or Vault (KV version 2).

Each step can be repeated. The request to Crossfade has an unguessable idempotency key, which is stored before the first
attempt: the token of the rotation in AWS Secrets Manager, a UUID beside the secret in OpenBao. A repeated step gets the
same new secret for 10 minutes. The old secret stays valid for the transition, so programs that still read
the version before are not refused.

Environment: CROSSFADE_URL, CROSSFADE_CLIENT_ID (cl_…), CROSSFADE_CLIENT_NAME, CROSSFADE_ENVIRONMENT, and CROSSFADE_TOKEN,
an API token that can only rotate this registration. The stored secret is a JSON object with the members client_id and
client_secret.
"""

import base64
import json
import os
import urllib.error
import urllib.parse
import urllib.request
import uuid

TRANSITION_HOURS = 24


def send(method, url, headers, body=None):
    """Sends a request and returns the JSON of its response. Fails with the text of a refusal, which has no secret."""
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        failure = RuntimeError(f"{error.code} from {url}: {text}")
        failure.status = error.code
        raise failure from None


class Crossfade:
    """The registration whose secret is rotated."""

    def __init__(self, environment=os.environ):
        self.url = environment["CROSSFADE_URL"].rstrip("/")
        self.token = environment["CROSSFADE_TOKEN"]
        self.client = environment["CROSSFADE_CLIENT_ID"]
        self.name = environment["CROSSFADE_CLIENT_NAME"]
        self.environment = environment["CROSSFADE_ENVIRONMENT"]

    def rotate(self, key):
        path = f"/api/v1/clients/{self.client}/environments/{self.environment}/secrets/rotate"
        body = {
            "transition_hours": TRANSITION_HOURS,
            "confirm_client_name": self.name,
            "reason": "rotation by the secret manager",
            "require_value": True,
        }
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        reply = send("POST", self.url + path, headers, json.dumps(body).encode())
        if "value" not in reply["secret"]:
            raise RuntimeError("The secret was rotated, but its value is not given again. Reveal it, or rotate again.")
        return reply["secret"]["value"]

    def accepts(self, stored):
        """Fails unless the stored secret gets an access token."""
        credentials = f"{stored['client_id']}:{stored['client_secret']}".encode()
        headers = {
            "Authorization": "Basic " + base64.b64encode(credentials).decode(),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        url = f"{self.url}/env/{self.environment}/oauth2/token"
        send("POST", url, headers, urllib.parse.urlencode({"grant_type": "client_credentials"}).encode())


class SecretsManager:
    """A secret in AWS Secrets Manager, with the stages AWSCURRENT and AWSPENDING."""

    def __init__(self, secret, service=None):
        if service is None:
            import boto3

            service = boto3.client("secretsmanager")
        self.secret, self.service = secret, service

    def current(self):
        value = self.service.get_secret_value(SecretId=self.secret, VersionStage="AWSCURRENT")
        return json.loads(value["SecretString"])

    def pending(self, key):
        try:
            value = self.service.get_secret_value(SecretId=self.secret, VersionId=key, VersionStage="AWSPENDING")
        except self.service.exceptions.ResourceNotFoundException:
            return None
        return json.loads(value["SecretString"])

    def put_pending(self, key, stored):
        self.service.put_secret_value(SecretId=self.secret, ClientRequestToken=key, SecretString=json.dumps(stored),
                                      VersionStages=["AWSPENDING"])

    def promote(self, key):
        stages = self.service.describe_secret(SecretId=self.secret)["VersionIdsToStages"]
        if "AWSCURRENT" in stages.get(key, []):
            return
        before = next(version for version, held in stages.items() if "AWSCURRENT" in held)
        self.service.update_secret_version_stage(SecretId=self.secret, VersionStage="AWSCURRENT", MoveToVersionId=key,
                                                 RemoveFromVersionId=before)


class OpenBao:
    """A secret in OpenBao or Vault (KV version 2). The pending one is beside it, at a path with -pending, with its key."""

    def __init__(self, url, token, mount, path):
        self.data, self.token = f"{url.rstrip('/')}/v1/{mount}/data/{path}", token

    def read(self, url):
        try:
            return send("GET", url, {"X-Vault-Token": self.token})["data"]
        except RuntimeError as failure:
            if failure.status == 404:
                return {"data": None, "metadata": {"version": 0}}
            raise

    def write(self, url, stored, version):
        body = json.dumps({"options": {"cas": version}, "data": stored}).encode()
        send("POST", url, {"X-Vault-Token": self.token, "Content-Type": "application/json"}, body)

    def current(self):
        return self.read(self.data)["data"]

    def key(self):
        """Returns the key of the rotation that has not finished. Stores a new one if there is none."""
        pending = self.read(self.data + "-pending")
        if pending["data"] and "key" in pending["data"]:
            return pending["data"]["key"]
        key = str(uuid.uuid4())
        # Refused if another job has stored its key since it was read.
        self.write(self.data + "-pending", {"key": key}, pending["metadata"]["version"])
        return key

    def pending(self, key):
        stored = self.read(self.data + "-pending")["data"]
        return stored.get("secret") if stored and stored.get("key") == key else None

    def put_pending(self, key, stored):
        version = self.read(self.data + "-pending")["metadata"]["version"]
        self.write(self.data + "-pending", {"key": key, "secret": stored}, version)

    def promote(self, key):
        present, stored = self.read(self.data), self.pending(key)
        if present["data"] != stored:
            # Refused if another version was written since it was read.
            self.write(self.data, stored, present["metadata"]["version"])
        # The next rotation gets a key of its own.
        self.write(self.data + "-pending", {}, self.read(self.data + "-pending")["metadata"]["version"])


def create_secret(crossfade, store, key):
    """Rotates the secret, and stores the new one as pending."""
    if store.pending(key) is None:
        store.put_pending(key, {**store.current(), "client_secret": crossfade.rotate(key)})


def set_secret(crossfade, store, key):
    """Does nothing: the server made the secret, so it knows it."""


def test_secret(crossfade, store, key):
    """Gets an access token with the pending secret."""
    crossfade.accepts(store.pending(key))


def finish_secret(crossfade, store, key):
    """Makes the pending secret the current one."""
    store.promote(key)


STEPS = {
    "createSecret": create_secret,
    "setSecret": set_secret,
    "testSecret": test_secret,
    "finishSecret": finish_secret,
}


def handler(event, _context, service=None):
    """Does one step, as AWS Secrets Manager asks for it."""
    store = SecretsManager(event["SecretId"], service)
    STEPS[event["Step"]](Crossfade(), store, event["ClientRequestToken"])


def rotate(crossfade, store):
    """Does all steps, for a secret manager that asks for none. If it was stopped, it goes on with the same rotation."""
    key = store.key()
    for step in STEPS.values():
        step(crossfade, store, key)
