"""The image for jobs and a pod of it, without a registry and without a cluster: Containerfile is built on a root of this
machine's Debian packages, the pod's container runs in it, and the API of Kubernetes is a stub."""

import base64
import contextlib
import http.server
import json
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import tempfile
import threading
import uuid

import yaml
from instance import eventually, require
from watched import holds

DIRECTORY = pathlib.Path(__file__).resolve().parents[2] / "deploy/pipelines"
UNUSED = ("/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/usr/share/info", "/usr/share/zoneinfo")
ACCOUNT = "var/run/secrets/kubernetes.io/serviceaccount"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
# Looks whether what Containerfile installs is in the root, and configures it. There is no network to get it from.
APT_GET = f"""#!/bin/sh
set -eu
[ "$1" = install ] || exit 0
shift
for package; do
    case $package in
        -*) ;;
        *) [ -e "/packages/$package" ] || {{ echo "no $package" >&2; exit 100; }} ;;
    esac
    case $package in ca-certificates) cp /packages/ca-certificates /{CERTIFICATES} ;; esac
done
"""


def run_cluster_jobs(checks, site):
    """Runs the pods of cronjob.yaml until each has delivered, or has said that it has not."""
    with image(DIRECTORY, site.server.binary) as root:
        values = {"CROSSFADE_URL": site.server.url, "PAUSES": "0 0"}
        pod = Pod(DIRECTORY / "cronjob.yaml", site.directory, values, {"rotate-billing-api": {"token": site.token}})
        cluster = Cluster(pod)
        try:
            _delivers(checks, site, root, pod, cluster)
            _fails(checks, site, root, pod, cluster)
            _is_confined(checks, site, root, pod, cluster)
        finally:
            cluster.stop()


def _output(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, **more)
    require(done.returncode == 0, f"{command[0]} exits {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def _packages(wanted):
    """The essential packages, those that are wanted, and all that they depend on, as this machine has them."""
    form = "${Package}\t${Essential}\t${db:Status-Status}\t${Pre-Depends}, ${Depends}\n"
    there, essential = {}, set()
    for line in _output("dpkg-query", "-W", "-f", form).splitlines():
        name, is_essential, status, needs = line.split("\t")
        if status == "installed":
            there[name] = re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]+)", needs)
            essential |= {name} if is_essential == "yes" else set()
    missing = set(wanted) - set(there)
    require(not missing, f"this machine has no {', '.join(missing)}: install it with apt-get")
    all_of_them, new = set(), essential | set(wanted)
    while new:
        all_of_them |= new
        new = {need for name in new for need in there[name] if need in there} - all_of_them
    return sorted(all_of_them)


def debian_root(root, wanted):
    """A root with the files of these packages, without what configures them."""
    for name in ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "tmp", "proc", "dev", "packages", ACCOUNT]:
        (root / name).mkdir(parents=True)
    for name in ["bin", "sbin", "lib", "lib64"]:
        (root / name).symlink_to(f"usr/{name}")
    packages = _packages(wanted)
    for line in _output("dpkg-query", "-L", *packages).splitlines():
        if not line.startswith("/") or line.startswith(UNUSED) or not os.path.lexists(line):
            continue
        target = root / line[1:]
        if os.path.isdir(line) and not os.path.islink(line):
            target.mkdir(parents=True, exist_ok=True)
        elif not os.path.lexists(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(line, target, follow_symlinks=False)
    for name in packages:
        (root / "packages" / name).touch()
    shutil.copy(f"/{CERTIFICATES}", root / "packages/ca-certificates")
    (root / CERTIFICATES).parent.mkdir(parents=True, exist_ok=True)
    (root / "usr/bin/apt-get").write_text(APT_GET)
    (root / "usr/bin/apt-get").chmod(0o755)


@contextlib.contextmanager
def image(directory, binary):
    """The root of the image that Containerfile makes in `directory`, with this program."""
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        (place / "storage.conf").write_text(
            f'[storage]\ndriver = "vfs"\nrunroot = "{place}/run"\ngraphroot = "{place}/graph"\n')
        environment = {"PATH": os.environ["PATH"], "HOME": str(place), "BUILDAH_ISOLATION": "chroot",
                       "CONTAINERS_STORAGE_CONF": str(place / "storage.conf")}

        def buildah(*arguments):
            return _output("buildah", *arguments, env=environment).strip()

        text = (directory / "Containerfile").read_text()
        [installed] = re.findall(r"apt-get install ([^&]*)", text)
        debian_root(place / "debian", [word for word in installed.split() if word[0] not in "-\\"])
        context = place / "context"
        shutil.copytree(directory, context)
        shutil.copy(binary, context / "crossfade")
        base = buildah("from", "scratch")
        buildah("copy", "--quiet", base, place / "debian", "/")
        buildah("commit", "--quiet", base, "localhost/debian")
        buildah("rm", base)
        shutil.rmtree(place / "debian")
        buildah("build", "--quiet", "--build-arg", "BASE=localhost/debian", "--tag", "localhost/jobs", context)
        container = buildah("from", "localhost/jobs")
        yield pathlib.Path(buildah("mount", container))


class Pod:
    """The one container of the CronJob's pods."""

    def __init__(self, manifest, directory, values, secrets):
        documents = {document["kind"]: document for document in yaml.safe_load_all(manifest.read_text())}
        job = documents["CronJob"]["spec"]["jobTemplate"]["spec"]
        self.role, self.namespace = documents["Role"], documents["CronJob"]["metadata"]["namespace"]
        self.spec, self.values, self.secrets = job["template"]["spec"], values, secrets
        require("initContainers" not in self.spec and len(self.spec["containers"]) == 1, "more than one container")
        [self.container] = self.spec["containers"]
        self.account = directory / "account"

    def environment(self, job):
        found = {}
        for variable in self.container["env"]:
            source = variable.get("valueFrom", {})
            if "secretKeyRef" in source:
                value = self.secrets[source["secretKeyRef"]["name"]][source["secretKeyRef"]["key"]]
            elif "fieldRef" in source:
                value = {"metadata.namespace": self.namespace,
                         "metadata.labels['batch.kubernetes.io/controller-uid']": job}[source["fieldRef"]["fieldPath"]]
            else:
                value = variable["value"]
            found[variable["name"]] = value
        # The path of the image, and what the cluster sets.
        return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/"} | found | self.values

    def command(self, root):
        """A command that does in `root` what the container does: its user, a root that cannot be written to, its mounts."""
        require(self.container["securityContext"]["readOnlyRootFilesystem"], "the root can be written to")
        user, group = (self.spec["securityContext"][name] for name in ["runAsUser", "runAsGroup"])
        mounts = []
        for mount in self.container["volumeMounts"]:
            [volume] = [it for it in self.spec["volumes"] if it["name"] == mount["name"]]
            require(volume["emptyDir"]["medium"] == "Memory", "the volume is on a disk")
            mounts.append(f"mount -t tmpfs -o mode=2777,gid={group} tmpfs {root}{mount['mountPath']}")
        script = " && ".join([
            "mount --make-rprivate /", f"mount --bind {root} {root}", f"mount --rbind /proc {root}/proc",
            f"mount --rbind /dev {root}/dev", f"mount --bind {self.account} {root}/{ACCOUNT}",
            f"mount -o remount,bind,ro {root}", *mounts,
            # Capabilities go with the user, because nothing gives a program more than its caller has.
            f'exec setpriv --no-new-privs chroot --userspec={user}:{group} --groups={group} {root} "$@"',
        ])
        return ["unshare", "--mount", "sh", "-c", script, "sh", *self.container["command"], *self.container.get("args", [])]

    def start(self, root, job=None, **more):
        """Starts the pod for a job, by default a new one."""
        environment = self.environment(job or str(uuid.uuid4())) | more
        return subprocess.Popen(self.command(root), env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def run(self, root, job=None, **more):
        process = self.start(root, job, **more)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


class Cluster:
    """A stub of the API of Kubernetes: it patches Secrets, for the service account of a pod."""

    def __init__(self, pod):
        self.pod, self.token = pod, f"{uuid.uuid4().hex}.{uuid.uuid4().hex}"
        self.stored, self.attempts, self.failing, self.lists = {}, [], 0, []
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PATCH(self):
                status = stub.patched(self.path, self.headers, self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(status)
                self.end_headers()
                # As the API does, with the values.
                self.wfile.write(json.dumps({"kind": "Secret", "data": stub.stored}).encode())

            def log_message(self, *_):
                pass

        pod.account.mkdir()
        pod.account.chmod(0o755)
        certificate, key = _certificate(pod.account)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        key.unlink()
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        (pod.account / "token").write_text(self.token)
        (pod.account / "token").chmod(0o644)
        pod.values |= {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.server.server_port)}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def patched(self, path, headers, body):
        self.lists.append(_processes())
        [rule] = self.pod.role["rules"]
        wanted = f"/api/v1/namespaces/{self.pod.namespace}/secrets/"
        if headers["Authorization"] != f"Bearer {self.token}":
            return 401
        named = path.startswith(wanted) and path.removeprefix(wanted) in rule["resourceNames"]
        if not named or "patch" not in rule["verbs"]:
            return 403
        kinds = ["application/merge-patch+json", "application/strategic-merge-patch+json"]
        if headers["Content-Type"] not in kinds:
            return 415
        try:
            patch = json.loads(body)
            new = {name: base64.b64decode(value, validate=True).decode() for name, value in patch["data"].items()}
        except (ValueError, KeyError):
            return 400
        self.attempts.append(new)
        if self.failing > 0:
            self.failing -= 1
            return 503
        self.stored |= new
        return 200

    def stop(self):
        self.server.shutdown()


def _processes():
    """What every user of this machine sees in a list of processes."""
    lists = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lists.append(path.read_bytes())
    return b"\0".join(lists).decode(errors="replace")


def _certificate(directory):
    certificate, key = directory / "ca.crt", directory / "key.pem"
    _output("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=kubernetes", "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key)
    return certificate, key


def _rotated(pod, root):
    """Runs a pod of a new job until the secret is a second old. Returns how the last one ended, and its job."""
    def rotated():
        job = str(uuid.uuid4())
        done = pod.run(root, job, MAX_AGE="1s")
        require("young enough" not in done.stdout, "the secret is younger than a second")
        return done, job

    return eventually(rotated, 30)


def _delivers(checks, site, root, pod, cluster):
    done = pod.run(root)
    holds(checks, done.returncode == 0 and "young enough" in done.stdout, "a pod leaves a young secret", str(done))
    holds(checks, not cluster.attempts, "and stores nothing", str(cluster.attempts))
    cluster.failing = 1
    done, _ = _rotated(pod, root)
    new = cluster.stored.get("client-secret", "")
    held = done.returncode == 0 and cluster.attempts == [{"client-secret": new}] * 2
    holds(checks, held, "a pod stores the new secret, and repeats what the cluster refuses", str(done))
    holds(checks, site.accepts(site.stored | {"client_secret": new}), "the stored secret is valid", "")
    seen = "".join(cluster.lists) + done.stdout + done.stderr
    secrets = [new, base64.b64encode(new.encode()).decode(), cluster.token, site.token]
    held = "curl" in seen and not any(it in seen for it in secrets)
    holds(checks, held, "no list of processes and no log has a secret", "")
    site.end_old()


def _fails(checks, site, root, pod, cluster):
    """The cluster refuses a whole pod: the next pod of the job delivers, and pods of later jobs report it."""
    cluster.failing = 1000
    done, job = _rotated(pod, root)
    new, before = cluster.attempts[-1], len(site.rotations())
    held = done.returncode == 9 and "was not delivered" in done.stderr and cluster.stored != new
    holds(checks, held, "a pod that cannot deliver fails", str(done))
    cluster.failing = 0
    done = pod.run(root)
    held = done.returncode == 9 and "No caller has used the current secret" in done.stderr and cluster.stored != new
    holds(checks, held, "a later job reports a secret that no caller uses", str(done))
    done = pod.run(root, job=job, MAX_AGE="1s")
    held = done.returncode == 0 and cluster.stored == new and len(site.rotations()) == before
    holds(checks, held, "the next pod of the job delivers the same secret", str(done))
    site.end_old()


def _is_confined(checks, site, root, pod, cluster):
    before = dict(cluster.stored)
    token, fake = pod.account / "token", "crossfade_live_" + "x" * 49
    script = f"printf %s {fake} >/tmp/secret && exec sh -x /usr/local/bin/deliver-kubernetes.sh /tmp/secret"
    pod.container = pod.container | {"command": ["sh", "-c", script]}
    done = pod.run(root)
    held = done.returncode == 0 and cluster.stored == {"client-secret": fake}
    holds(checks, held, "the delivery can be run alone", str(done))
    secrets = [fake, base64.b64encode(fake.encode()).decode(), cluster.token]
    holds(checks, not any(it in done.stderr for it in secrets), "a trace of the delivery has no secret", "")
    for wrong in [{"SECRET": "other"}, {"NAMESPACE": "kube-system"}, {"SECRET": "billing-api?dryRun=All"}, {"SECRET": "../x"},
                  {"SECRET": ".."}, {"MEMBER": 'a":"b'}, {"KUBERNETES_SERVICE_HOST": "localhost"}]:
        cluster.stored = dict(before)
        done = pod.run(root, **wrong)
        holds(checks, done.returncode not in (0, 9) and cluster.stored == before, f"the delivery refuses {wrong}", str(done))
    token.write_text("another account")
    done = pod.run(root)
    holds(checks, done.returncode != 0 and cluster.stored == before, "another account delivers nothing", str(done))
    pod.container = pod.container | {"command": ["sh", "-c", "id -u; touch /usr/local/bin/x"]}
    done = pod.run(root)
    held = done.returncode != 0 and done.stdout.strip() == "65532" and "Read-only file system" in done.stderr
    holds(checks, held, "the pod has a user that is not root, and a root that cannot be written to", str(done))
