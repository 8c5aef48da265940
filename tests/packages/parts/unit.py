"""The systemd unit: verified, examined, and the program run under its restrictions without systemd."""

import base64
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from confined import PASSWORD, Confined
from instance import OWNER, require
from watched import holds

ROOT = pathlib.Path(__file__).resolve().parents[3]
DIRECTORY = ROOT / "deploy/systemd"
UNIT = DIRECTORY / "crossfade.service"
SANDBOX = pathlib.Path(__file__).resolve().parents[1] / "sandbox.py"
USER = 65534


def play(checks, arguments):
    if os.geteuid() != 0:
        raise RuntimeError("this part mounts a root that cannot be written to: run it as root")
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        directory.chmod(0o755)
        binary = directory / "crossfade"
        shutil.copy(arguments.binary, binary)
        _examine(checks, directory, binary)
        _serve(checks, directory, binary)
        _local(checks, directory, binary)
        _steps(checks, directory, binary)


def _run(*command, **more):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, **more)


def _examine(checks, directory, binary):
    # The program is not installed here, and so are not the user and the key.
    unit = directory / "crossfade.service"
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/crossfade", str(binary)))
    done = _run("systemd-analyze", "verify", "--man=no", unit)
    # Units of this machine, on which ours depends, may have faults of their own.
    own = [line for line in done.stderr.splitlines() if "crossfade" in line]
    holds(checks, not own, "systemd finds no fault in the unit", done.stderr)
    plain = unit.read_text()
    unit.write_text(plain + (DIRECTORY / "privileged-port.conf").read_text())
    done = _run("systemd-analyze", "verify", "--man=no", unit)
    own = [line for line in done.stderr.splitlines() if "crossfade" in line]
    holds(checks, not own, "systemd finds no fault in the addition for port 443", done.stderr)
    unit.write_text(plain + "\n[Service]\nProtectSistem=yes\n")
    done = _run("systemd-analyze", "verify", "--man=no", unit)
    holds(checks, "ProtectSistem" in done.stderr, "a misspelt setting is noticed", done.stderr)
    done = _run("systemd-analyze", "security", "--offline=true", "--no-pager", UNIT)
    level = re.search(r"exposure level for crossfade.service: ([0-9.]+)", done.stdout)
    written = re.search(r"Overall exposure level[^\n]*: ([0-9.]+)", (DIRECTORY / "README.md").read_text())
    holds(checks, level and written and level[1] == written[1], "the README has the level of exposure",
          f"{level and level[1]} {written and written[1]}")


def _serve(checks, directory, binary):
    """The server as the unit starts it: as a user, with a key of its own, and three directories that it can write to."""
    key = directory / "master.key"
    state, journal, logs = own = [directory / name for name in ["state", "journal", "logs"]]
    unit = UNIT.read_text()
    for line in ["StateDirectory=crossfade crossfade-journal", "LogsDirectory=crossfade"]:
        holds(checks, f"\n{line}\n" in unit, f"the unit has {line}", unit)
    for place in own:
        place.mkdir(mode=0o700)
        os.chown(place, USER, USER)
    done = _run("setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", binary, "init", "--data-dir", state,
                "--owner-email", OWNER, "--password-stdin", input=PASSWORD, env={})
    holds(checks, done.returncode == 0, "init makes the instance and its key", done.stderr)
    shutil.move(state / "master.key", key)
    os.chown(key, USER, USER)
    key.chmod(0o400)
    writable = " && ".join(f"mount --bind {place} {place} && mount -o remount,bind,rw {place}" for place in own)
    run = (f'mount --make-rprivate / && mount -o remount,bind,ro / && {writable} && '
           f'cd {state} && umask 0077 && ulimit -c 0 && exec setpriv "$@"')
    prefix = ["unshare", "--mount", "sh", "-c", run, "sh", "--reuid", USER, "--regid", USER, "--clear-groups",
              "--no-new-privs", "--bounding-set=-all", SANDBOX, UNIT, binary]
    ends, trail = journal / "ends.journal", logs / "audit.jsonl"
    confined = Confined(prefix, {"CROSSFADE_DATA_DIR": str(state), "CROSSFADE_MASTER_KEY_FILE": str(key),
                                 "CROSSFADE_JOURNAL_FILE": str(ends), "CROSSFADE_AUDIT_FILE": str(trail)})
    confined.serves(checks, directory / "log")
    holds(checks, '"end"' in ends.read_text(), "the rotation is noted in the journal", ends.read_text())
    holds(checks, "secret.rotated" in trail.read_text(), "the rotation is in the file of the trail", trail.read_text())
    # Restrictions that restrict nothing would prove nothing.
    probe = ("import ctypes, mmap, os, socket\n"
             "def refused(what):\n"
             "    try: what()\n"
             "    except OSError as error: return error.errno\n"
             "print(refused(lambda: socket.socket(socket.AF_NETLINK)),\n"
             "      refused(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)),\n"
             "      refused(lambda: os.chown('/', 0, 0)), refused(lambda: open('/etc/probe', 'w')))\n")
    done = _run(*prefix[:-1], "/usr/bin/python3", "-c", probe, env={"PATH": os.environ["PATH"]})
    holds(checks, done.stdout.split() == ["1", "1", "1", "30"], "what the unit forbids is refused",
          done.stdout + done.stderr)


def _local(checks, directory, binary):
    """The script for local commands: the settings, the user and the key of the service."""
    configuration = directory / "etc"
    configuration.mkdir(mode=0o700)
    shutil.copy(directory / "master.key", configuration / "master.key")
    os.chown(configuration / "master.key", 0, 0)
    # A database that is used with a journal is not used without it.
    journal = directory / "journal/ends.journal"
    (configuration / "crossfade.env").write_text("CROSSFADE_PUBLIC_URL=https://auth.example.com\n"
                                                 f"CROSSFADE_JOURNAL_FILE='{journal}'\n"
                                                 "CROSSFADE_TRUSTED_PROXIES=127.0.0.1/32\n")
    script = (DIRECTORY / "crossfade-local").read_text()
    for place, own in [("/etc/crossfade", configuration), ("/var/lib/crossfade", directory / "state"),
                       ("/usr/local/bin/crossfade", binary), ("user=crossfade", f"user={USER}")]:
        require(place in script, f"the script has no {place}")
        script = script.replace(place, str(own))
    command = ["sh", "-c", script, "crossfade-local"]
    done = _run(*command, "token", "create", "--user", OWNER, "--name", "local")
    works = done.returncode == 0 and done.stdout.startswith("crossfade_api_")
    holds(checks, works, "a local command works", done.stderr)
    left = [path for path in pathlib.Path("/run").glob("crossfade-key.*")]
    holds(checks, not left, "the copy of the key is gone", str(left))
    others = [path for path in (directory / "state").iterdir() if path.stat().st_uid != USER]
    holds(checks, not others, "every file belongs to the service", str(others))
    before = (configuration / "master.key").read_text()
    done = _run(*command, "keys", "rotate")
    told = f"Put a new key on the first line of {configuration}/master.key" in done.stderr
    holds(checks, done.returncode == 1 and told, "a rotation puts no key into the copy, and says what to do",
          f"{done.returncode} {done.stderr}")
    done = _run(*command, "keys", "list")
    holds(checks, done.returncode == 0 and "missing" not in done.stdout, "the database still opens",
          done.stdout + done.stderr)
    new = "crossfade-master-key-1:" + base64.b64encode(os.urandom(32)).decode()
    (configuration / "master.key").write_text(f"{new}\n{before}")
    done = _run(*command, "keys", "rotate")
    holds(checks, done.returncode == 0, "with a new key in front, the rotation seals", done.stderr)
    (configuration / "master.key").write_text(f"{new}\n")
    done = _run(*command, "keys", "list")
    holds(checks, done.returncode == 0 and "missing" not in done.stdout, "the new key alone opens the database",
          done.stdout + done.stderr)
    done = _run(*command, "user", "nonsense")
    holds(checks, done.returncode == 2, "the status of a command is that of the script", str(done.returncode))


# Changes to these directories of the machine go to memory, and end with the namespace.
OVERLAYS = """
mount --make-rprivate / && mount -t tmpfs none "$1"
for place in etc usr/local var/lib; do
    mkdir -p "$1/$place/upper" "$1/$place/work"
    mount -t overlay overlay -o "lowerdir=/$place,upperdir=$1/$place/upper,workdir=$1/$place/work" "/$place"
done
install -m 755 "$2" /usr/local/bin/crossfade
printf '#!/bin/sh\\necho systemctl "$@"\\n' >/usr/local/sbin/systemctl && chmod 755 /usr/local/sbin/systemctl
export PATH=/usr/local/sbin:/usr/local/bin:$PATH
sh -e "$3"
systemd-analyze verify --man=no /etc/systemd/system/crossfade.service
stat -c '%U %a' /etc/crossfade/master.key
"""


def _steps(checks, directory, binary):
    """The steps of the README, with a systemctl that does nothing."""
    steps = directory / "steps.sh"
    steps.write_text("\n".join(re.findall(r"```sh\n(.*?)```", (DIRECTORY / "README.md").read_text(), re.DOTALL)))
    memory = directory / "memory"
    memory.mkdir()
    done = _run("unshare", "--mount", "sh", "-ec", OVERLAYS, "sh", memory, binary, steps, cwd=DIRECTORY)
    holds(checks, done.returncode == 0, "the steps of the README work", done.stdout + done.stderr)
    said = done.stdout.splitlines()
    holds(checks, "systemctl enable --now crossfade" in said, "they enable the service", done.stdout)
    holds(checks, said[-1:] == ["root 600"], "only root can read the key", done.stdout)
    doctor = [line for line in said if line.startswith(("warn ", "fail "))]
    holds(checks, not doctor, "doctor finds nothing", str(doctor))
