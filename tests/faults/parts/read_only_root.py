"""A container as clusters start it: a user without a name, a read-only root, PostgreSQL, and a mounted key."""

import json
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile

import requests

from cluster import Cluster
from instance import OWNER, eventually, free_port, require
from watched import holds

NOBODY = 65534


class Container:
    """Runs the program as user 65534 on a root that cannot be written to."""

    def __init__(self, binary, directory, url):
        self.directory, self.url = pathlib.Path(directory), url
        self.binary = self.directory / "crossfade"
        shutil.copy(binary, self.binary)
        self.key = self.directory / "master.key"
        self.listen = f"127.0.0.1:{free_port()}"

    def command(self, *arguments):
        # The working directory is the root, as in an image that sets none.
        run = 'mount --make-rprivate / && mount -o remount,bind,ro / && cd / && exec setpriv "$@"'
        user = ["--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--no-new-privs"]
        return ["unshare", "--mount", "sh", "-c", run, "sh", *user, str(self.binary), *arguments]

    def run(self, *arguments, stdin="", seconds=60):
        return subprocess.run(self.command(*arguments), env=self.environment, input=stdin, capture_output=True,
                              text=True, timeout=seconds)

    @property
    def environment(self):
        return {"PATH": os.environ["PATH"], "CROSSFADE_DATABASE_URL": self.url,
                "CROSSFADE_MASTER_KEY_FILE": str(self.key), "CROSSFADE_LISTEN": self.listen,
                "CROSSFADE_DRAIN_SECONDS": "0"}

    def mount_key(self, mode):
        os.chown(self.key, 0, NOBODY)
        self.key.chmod(mode)

    def ready(self):
        try:
            status = requests.get(f"http://{self.listen}/readyz", timeout=5).status_code
        except requests.ConnectionError:
            status = None
        require(status == 200, f"/readyz answers {status}")


def play(checks, arguments):
    if os.geteuid() != 0:
        raise RuntimeError("this part mounts a root that cannot be written to, and only root can: run it as root")
    with Cluster(arguments.postgres_bin) as postgres, tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        postgres.execute("CREATE DATABASE crossfade")
        container = Container(arguments.binary, directory, postgres.url("crossfade"))
        _make_key(container)
        _play(checks, container)


def _make_key(container):
    """The key of an instance elsewhere: what a secret store would hold."""
    with tempfile.TemporaryDirectory() as elsewhere:
        subprocess.run([container.binary, "init", "--data-dir", f"{elsewhere}/data", "--owner-email", OWNER,
                        "--password-stdin"], env={}, input="correct horse battery staple\n", text=True, check=True,
                       capture_output=True)
        shutil.copy(f"{elsewhere}/data/master.key", container.key)


def _play(checks, container):
    probe = subprocess.run(container.command(), env={}, capture_output=True, text=True, timeout=30)
    if "Usage" not in probe.stderr:
        raise RuntimeError(f"this part needs unshare, mount and setpriv: {probe.stderr}")

    container.mount_key(0o444)
    done = container.run("init", "--new-instance", "--owner-email", OWNER, "--password-stdin",
                         stdin="correct horse battery staple\n")
    holds(checks, done.returncode == 1 and "mode 444" in done.stderr, "a key that everybody can read is refused",
          done.stderr)
    container.mount_key(0o440)
    done = container.run("init", "--new-instance", "--owner-email", OWNER, "--password-stdin",
                         stdin="correct horse battery staple\n")
    holds(checks, done.returncode == 0, "an instance is made without a data directory", done.stderr)

    log = container.directory / "log"
    with open(log, "w") as output:
        server = subprocess.Popen(container.command("serve"), env=container.environment, stdin=subprocess.DEVNULL,
                                  stdout=output, stderr=output)
    try:
        checks.run("the server serves", eventually, container.ready, 20)
        said = log.read_text()
        holds(checks, "ERROR" not in said, "the log has no error", said)
        done = container.run("token", "create", "--user", OWNER, "--name", "ci")
        token = done.stdout.strip()
        holds(checks, done.returncode == 0 and token.startswith("crossfade_api_"), "a token is made", done.stderr)
        answer = requests.post(f"http://{container.listen}/api/v1/properties", json={"name": "Shop"}, timeout=30,
                               headers={"Authorization": f"Bearer {token}"})
        holds(checks, answer.status_code == 201, "a change is stored", answer.text)
        _doctor(checks, container, "warn", 0)
        container.mount_key(0o444)
        _doctor(checks, container, "fail", 1)
    finally:
        server.terminate()
        status = server.wait(20)
    holds(checks, status == 0, "a stop ends in order", f"status {status}")
    done = container.run("serve")
    holds(checks, done.returncode == 1 and "mode 444" in done.stderr,
          "a server refuses a key that everybody can read", done.stderr)
    container.key.chmod(0o400)
    done = container.run("serve")
    holds(checks, done.returncode == 1 and "Permission denied" in done.stderr,
          "a key that the server cannot read is named", done.stderr)
    holds(checks, stat.S_IMODE(container.key.stat().st_mode) == 0o400, "the key is as it was")
    holds(checks, not pathlib.Path("/crossfade-data").exists(), "no data directory was made")


def _doctor(checks, container, files, status):
    done = container.run("doctor", "--json")
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    others = [check for name, check in found.items() if check["outcome"] != "ok" and name not in ("files", "client_owners")]
    holds(checks, not others, "doctor finds nothing but the key", str(others))
    holds(checks, found["files"]["outcome"] == files and done.returncode == status,
          f"doctor tells the key as {files}", f"{done.returncode} {found['files']}")
    holds(checks, "data_directory" not in found, "doctor asks for no data directory")
