"""The frame of a test program: its options, what ends it early, and the last line with the counts."""

import argparse
import importlib
import os
import signal
import sys

from harness import Checks, Stopped

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGALRM]


def options(description, parts=()):
    """A parser with the options that every test program has; with parts, one that can run some of them."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--binary", required=True, help="the crossfade program")
    parser.add_argument("--database-url", help="a maintenance database; the tests create and drop others beside it")
    if parts:
        parser.add_argument("--part", action="append", choices=parts, help="run only this part; repeatable")
    return parser


def run(name, seconds, play):
    """Calls play(checks), prints the counts under this name, and ends the process, with status 1 if a check failed."""
    # A proxy that is set for the outside must not be used for loopback.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    for number in SIGNALS:
        signal.signal(number, _stop)
    signal.alarm(seconds)

    checks = Checks()
    try:
        play(checks)
    except (Exception, Stopped) as error:
        checks.failed += 1
        print(f"FAILED the run: {type(error).__name__}: {error}")
    print(f"{name}: {checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed or not checks.passed else 0)


def parts(directory):
    """The names of the parts of a test program: the modules in its directory parts/, each with play(checks, arguments)."""
    return sorted(path.stem for path in (directory / "parts").glob("*.py"))


def run_parts(name, seconds, arguments, chosen):
    """Runs these parts, or those that the options name."""
    def play(checks):
        for part in arguments.part or chosen:
            with checks.phase(part):
                importlib.import_module(part).play(checks, arguments)

    run(name, seconds, play)


def _stop(number, _):
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)  # nothing interrupts cleaning up
    raise Stopped("took too long" if number == signal.SIGALRM else "was ended")
