"""rotate.sh as a scheduler runs it: with wrong settings, with a delivery that fails, stopped and killed at its steps."""

import os
import pathlib
import shutil
import signal
import subprocess
import time
import uuid

from instance import eventually, require
from watched import holds

DIRECTORY = pathlib.Path(__file__).resolve().parents[2] / "deploy/pipelines"
# Notes each attempt, then fails as often as `fails` says, waits as long as `pause` says, and delivers.
DELIVER = """#!/bin/sh
set -eu
{ cat "$1"; echo; } >>attempts
env >environment
fails=$(cat fails)
if [ "$fails" -gt 0 ]; then
    echo $((fails - 1)) >fails
    exit 1
fi
sleep "$(cat pause)"
cp "$1" "delivered-$$"
"""


def run_shell_jobs(checks, site):
    watched = site.directory / "watched"
    watched.mkdir()
    job = Job(site, watched)
    # All that is wrong with the settings is found before anything is changed.
    for wrong in [{"DELIVER": "./nothing.sh"}, {"DELIVER": ""}, {"CLIENT": ""}, {"CLIENT": "--help"}, {"CROSSFADE_TOKEN": ""},
                  {"RUN": "a\nb"}]:
        done = job.run("1s", **wrong)
        holds(checks, done.returncode not in (0, 8) and not site.rotations(), f"rotate.sh refuses {wrong}", str(done))
    done = job.run("80d")
    holds(checks, done.returncode == 0 and "young enough" in done.stdout, "rotate.sh leaves a young secret", done.stderr)
    holds(checks, not job.delivered() and not site.rotations(), "and delivers nothing", "")

    done = job.rotate()
    holds(checks, done.returncode == 0 and len(job.delivered()) == 1, "rotate.sh rotates an old secret", str(done))
    new = site.stored | {"client_secret": job.delivered()[0]}
    holds(checks, site.accepts(new), "rotate.sh delivers a new secret", "")
    holds(checks, not job.left(), "rotate.sh leaves no file", str(job.left()))
    holds(checks, site.token not in job.environment_of_delivery(), "the delivery has no token of Crossfade", "")
    done = job.run("80d")
    holds(checks, done.returncode == 0 and "young enough" in done.stdout, "a used secret is young enough", str(done))

    _undelivered(checks, site, job)
    _stopped(checks, site, job)
    _traced(checks, site, job)


class Job:
    """rotate.sh, with a program that delivers and can fail."""

    def __init__(self, site, directory):
        self.site, self.directory = site, directory
        deliver = directory / "deliver.sh"
        deliver.write_text(DELIVER)
        deliver.chmod(0o755)
        (directory / "temporary").mkdir()
        self.fails(0)
        self.pauses(0)

    def fails(self, times):
        (self.directory / "fails").write_text(f"{times}\n")

    def pauses(self, seconds):
        (self.directory / "pause").write_text(f"{seconds}\n")

    def environment(self, age, more):
        return self.site.environment | {
            "CLIENT": self.site.name, "ENVIRONMENT": self.site.environment_slug, "MAX_AGE": age,
            "DELIVER": "./deliver.sh", "WAIT": "", "PAUSES": "0 0",
            "TMPDIR": str(self.directory / "temporary"), "RUN": self.new_run(),
        } | more

    def new_run(self):
        """A name for a run. One that has found a young secret is told the same when it is repeated."""
        self.last_run = str(uuid.uuid4())
        return self.last_run

    def start(self, age, *shell, **more):
        return subprocess.Popen([*shell, DIRECTORY / "rotate.sh"], env=self.environment(age, more), cwd=self.directory,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                start_new_session=True)

    def run(self, age, *shell, **more):
        process = self.start(age, *shell, **more)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def rotate(self, *shell, **more):
        """Runs it until the secret is a second old, after forgetting what was delivered."""
        self.forget()

        def rotated():
            done = self.run("1s", *shell, **more)
            require("young enough" not in done.stdout, "the secret is younger than a second")
            return done

        return eventually(rotated, 30)

    def started(self, has_begun, **more):
        """Starts it until the secret is a second old, and returns the process once this has begun."""
        self.forget()
        for _ in range(100):
            process = self.start("1s", **more)
            while process.poll() is None and not has_begun():
                time.sleep(0.05)
            if has_begun():
                return process
            process.communicate()
        raise AssertionError("the secret does not grow old")

    def forget(self):
        for path in [*self.directory.glob("delivered-*"), self.directory / "attempts"]:
            path.unlink(missing_ok=True)

    def delivered(self):
        return [path.read_text() for path in self.directory.glob("delivered-*")]

    def attempts(self):
        path = self.directory / "attempts"
        return path.read_text().split() if path.exists() else []

    def environment_of_delivery(self):
        return (self.directory / "environment").read_text()

    def left(self):
        return [str(path) for path in (self.directory / "temporary").rglob("*")]


def _undelivered(checks, site, job):
    """A secret that was not delivered is delivered by a repeated run, or loudly missed by every later one."""
    site.end_old()
    job.fails(2)
    done = job.rotate()
    attempts = job.attempts()
    held = done.returncode == 0 and len(attempts) == 3 and len(set(attempts)) == 1 and job.delivered() == attempts[:1]
    holds(checks, held, "rotate.sh repeats the delivery of one secret", str(done))
    site.end_old()

    job.fails(1000)
    done, run = job.rotate(), job.last_run
    held = done.returncode == 9 and "was not delivered" in done.stderr and not job.delivered() and not job.left()
    holds(checks, held, "rotate.sh reports a delivery that fails", str(done))
    attempts, before = job.attempts(), len(site.rotations())
    job.fails(0)
    for _ in range(2):
        done = job.run("80d")
        held = done.returncode == 9 and "No caller has used the current secret" in done.stderr and not job.delivered()
        holds(checks, held, "a later run reports a secret that no caller uses", str(done))
    done = job.run("1s", RUN=run)
    held = done.returncode == 0 and job.delivered() == [attempts[0]] and len(site.rotations()) == before
    holds(checks, held, "the same run delivers the same secret", str(done))
    holds(checks, site.accepts(site.stored | {"client_secret": attempts[0]}), "which is valid", "")
    site.end_old()


def _stopped(checks, site, job):
    # A signal for the script alone, while it delivers and while it waits.
    job.pauses(2)
    process = job.started(job.attempts)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    held = process.returncode == 130 and len(job.delivered()) == 1 and not job.left()
    holds(checks, held, "a run that is stopped while it delivers ends the delivery", f"{process.returncode} {job.left()}")
    job.pauses(0)
    site.end_old()

    process = job.started(job.delivered, WAIT="2h")
    time.sleep(1)
    holds(checks, process.poll() is None and not job.left(), "no secret is on the disk while it waits", str(job.left()))
    process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    process.communicate(timeout=30)
    held = process.returncode == 130 and time.monotonic() - begun < 10
    holds(checks, held, "a run that waits is stopped immediately, with all that it started", str(process.returncode))
    done = job.run("80d")
    holds(checks, done.returncode == 9, "and a later run reports that no caller uses the secret", str(done))
    site.end_old()

    # Killed with all its processes while it delivers, as by a machine that fails.
    job.pauses(60)
    process, run = job.started(job.attempts), job.last_run
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    [lost] = job.attempts()
    job.pauses(0)
    done = job.run("80d")
    holds(checks, done.returncode == 9 and not job.delivered(), "a killed run is reported by the next one", str(done))
    done = job.run("1s", RUN=run)
    holds(checks, done.returncode == 0 and job.delivered() == [lost], "and its repetition delivers its secret", str(done))
    shutil.rmtree(job.directory / "temporary")
    (job.directory / "temporary").mkdir()
    site.end_old()


def _traced(checks, site, job):
    """A run with an unused secret until the time is up, whose shell prints each command."""
    done = job.rotate("sh", "-x", WAIT="1s")
    said = done.stdout + done.stderr
    held = done.returncode == 9 and "No caller has used the new secret" in said
    holds(checks, held, "a run that has waited in vain for the first caller reports it", str(done.returncode))
    [value] = job.delivered()
    holds(checks, value not in said and site.token not in said, "a trace of rotate.sh has no secret", "")
    site.end_old()
