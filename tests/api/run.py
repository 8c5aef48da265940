#!/usr/bin/env python3
"""Proves the admin API from outside: against its description, with a made client, under kills, for leaks."""

import argparse
import os
import signal
import sys

import canaries
import conformance
import generated
import kills
from instance import Checks, Stopped

MAXIMUM_SECONDS = 900
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGALRM]
PARTS = {"conformance": conformance, "generated": generated, "kills": kills, "canaries": canaries}


def stop(number, _):
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)  # nothing interrupts cleaning up
    raise Stopped("took too long" if number == signal.SIGALRM else "was ended")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True, help="the crossfade program")
    parser.add_argument("--database-url", help="a maintenance database; each part makes one of its own beside it")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; may be repeated")
    arguments = parser.parse_args()

    # A proxy that is set for the outside has no business with loopback.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    for number in SIGNALS:
        signal.signal(number, stop)
    signal.alarm(MAXIMUM_SECONDS)

    checks = Checks()
    try:
        for name in arguments.part or PARTS:
            with checks.phase(name):
                PARTS[name].play(checks, arguments)
    except (Exception, Stopped) as error:
        checks.failed += 1
        print(f"FAILED the run: {type(error).__name__}: {error}")
    print(f"api: {checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed or not checks.passed else 0)


if __name__ == "__main__":
    main()
