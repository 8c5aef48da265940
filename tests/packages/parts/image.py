"""The image: built without a daemon, and served as clusters do: its user, a read-only root, PostgreSQL, no volume."""

import json
import os
import pathlib
import re
import subprocess
import tarfile
import tempfile

from confined import PASSWORD, Confined
from instance import OWNER, fresh_database, require
from watched import holds

ROOT = pathlib.Path(__file__).resolve().parents[3]
USER = 65532
# Besides the libraries of a program that is linked dynamically.
FILES = {"usr/local/bin/crossfade", "etc/ssl/certs/ca-certificates.crt"}


def play(checks, arguments):
    if os.geteuid() != 0:
        raise RuntimeError("this part mounts the root of the image so that it cannot be written to: run it as root")
    with tempfile.TemporaryDirectory() as directory, fresh_database(arguments.database_url) as url:
        directory = pathlib.Path(directory)
        directory.chmod(0o755)
        first, second = (build(arguments.binary, directory / name) for name in ("first", "second"))
        holds(checks, first.digest == second.digest, "two builds give one image", f"{first.digest} {second.digest}")
        _look(checks, first, arguments.binary)
        root = directory / "root"
        first.unpack(root)
        _serve(checks, directory, root, url)


class Image:
    """An image in an archive of buildah."""

    def __init__(self, archive):
        self.archive = tarfile.open(archive)
        [manifest] = self.json("index.json")["manifests"]
        self.digest = manifest["digest"]
        self.manifest = self.blob(self.digest)
        self.config = self.blob(self.manifest["config"]["digest"])["config"]

    def json(self, name):
        return json.load(self.archive.extractfile(name))

    def blob(self, digest):
        return self.json(f"blobs/{digest.replace(':', '/')}")

    def layers(self):
        for layer in self.manifest["layers"]:
            name = f"blobs/{layer['digest'].replace(':', '/')}"
            yield tarfile.open(fileobj=self.archive.extractfile(name))

    def members(self):
        return [member for layer in self.layers() for member in layer.getmembers()]

    def unpack(self, root):
        for layer in self.layers():
            layer.extractall(root, numeric_owner=True)


def build(binary, directory):
    """Builds the image with a store of its own, as on another machine."""
    directory.mkdir()
    store = directory / "storage.conf"
    store.write_text(f'[storage]\ndriver = "vfs"\nrunroot = "{directory}/run"\ngraphroot = "{directory}/graph"\n')
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "CONTAINERS_STORAGE_CONF": str(store),
                   "BUILDAH_ISOLATION": "chroot"}
    done = subprocess.run([ROOT / "deploy/container/build.sh", binary, f"oci-archive:{directory}/image.tar"],
                          env=environment, capture_output=True, text=True, timeout=300)
    require(done.returncode == 0, f"build.sh exits {done.returncode}: {done.stderr}")
    return Image(directory / "image.tar")


def _look(checks, image, binary):
    config = image.config
    holds(checks, config["User"] == f"{USER}:{USER}", "the image has a user that is not root", str(config))
    holds(checks, (config["Entrypoint"], config["Cmd"]) == (["/usr/local/bin/crossfade"], ["serve"]), "it serves",
          str(config))
    files = {member.name.strip("./"): member for member in image.members() if not member.isdir()}
    libraries = set(re.findall(r"(?<=/)[^ \n]*\.so\S*(?= \(0x)", subprocess.run(
        ["ldd", binary], capture_output=True, text=True, timeout=30).stdout))
    others = {name for name in files if name not in FILES}
    holds(checks, set(files) >= FILES and others <= libraries, "it has the program, its libraries and certificates",
          f"{sorted(others)} {sorted(libraries)}")
    owned = [(member.name, member.uid, member.mode) for member in image.members()
             if (member.uid, member.gid) != (0, 0) or member.mode & 0o7022]
    holds(checks, not owned, "root owns every file, and nobody else can write to one", str(owned))


def _serve(checks, directory, root, url):
    # What a runtime mounts: /proc, the files of the network, and the secrets.
    for name in ["proc", "etc/crossfade"]:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ["resolv.conf", "hosts"]:
        (root / "etc" / name).write_bytes(pathlib.Path("/etc", name).read_bytes())
    # The instance and its key are made beside the cluster, with a connection to the same database.
    done = subprocess.run(
        [root / "usr/local/bin/crossfade", "init", "--data-dir", directory / "made", "--owner-email", OWNER,
         "--password-stdin"], env={"CROSSFADE_DATABASE_URL": url}, input=PASSWORD, text=True, capture_output=True,
        timeout=60)
    holds(checks, done.returncode == 0, "init makes the instance and its key", done.stderr)
    key = root / "etc/crossfade/master.key"
    key.write_bytes((directory / "made/master.key").read_bytes())
    address = root / "etc/crossfade/url"
    address.write_text(f"{url}\n")
    for file in [key, address]:
        os.chown(file, 0, USER)
        file.chmod(0o440)
    run = (f'mount --make-rprivate / && mount --bind {root} {root} && mount --rbind /proc {root}/proc && '
           f'mount -o remount,bind,ro {root} && exec setpriv --no-new-privs '
           f'chroot --userspec={USER}:{USER} --groups={USER} {root} /usr/local/bin/crossfade "$@"')
    container = Confined(["unshare", "--mount", "sh", "-c", run, "sh"], {
        "CROSSFADE_DATABASE_URL_FILE": "/etc/crossfade/url", "CROSSFADE_MASTER_KEY_FILE": "/etc/crossfade/master.key"})
    container.serves(checks, directory / "log")
    left = [path for path in root.rglob("*") if path.is_file() and path.stat().st_uid == USER]
    holds(checks, not left, "nothing was written", str(left))
