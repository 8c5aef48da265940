#!/usr/bin/env python3
"""Breaks what the server depends on (disk, database, network, clients) and checks that it recovers on its own.

Every module in parts/ is one part, with a function play(checks, arguments).
"""

import argparse
import importlib
import os
import pathlib
import signal
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "parts"), str(HERE.parent / "api")]

from instance import Checks, Stopped  # noqa: E402

MAXIMUM_SECONDS = 900
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGALRM]
PARTS = sorted(path.stem for path in (HERE / "parts").glob("*.py"))


def stop(number, _):
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)  # nothing interrupts cleaning up
    raise Stopped("took too long" if number == signal.SIGALRM else "was ended")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True, help="the crossfade program")
    parser.add_argument("--postgres-bin", required=True, type=pathlib.Path, help="directory with initdb and pg_ctl")
    parser.add_argument("--database-url", help="a maintenance database of a shared PostgreSQL server")
    parser.add_argument("--part", action="append", choices=PARTS, help="run only this part; repeatable")
    arguments = parser.parse_args()

    # A proxy that is set for the outside must not be used for loopback.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    for number in SIGNALS:
        signal.signal(number, stop)
    signal.alarm(MAXIMUM_SECONDS)

    checks = Checks()
    try:
        for name in arguments.part or PARTS:
            with checks.phase(name):
                importlib.import_module(name).play(checks, arguments)
    except (Exception, Stopped) as error:
        checks.failed += 1
        print(f"FAILED the run: {type(error).__name__}: {error}")
    print(f"faults: {checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed or not checks.passed else 0)


if __name__ == "__main__":
    main()
