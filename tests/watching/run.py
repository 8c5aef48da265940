#!/usr/bin/env python3
"""Checks the alerts, the dashboard and the page about watching against a running server and against the source.

Every module in parts/ is one part, with a function play(checks, arguments).
"""

import importlib
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "parts"), str(HERE.parent / "api")]
# The server with TLS.
sys.path += [str(HERE.parent / "faults"), str(HERE.parent / "faults/parts")]

from instance import frame  # noqa: E402

MAXIMUM_SECONDS = 600
PARTS = sorted(path.stem for path in (HERE / "parts").glob("*.py"))


def play(checks):
    for name in arguments.part or PARTS:
        with checks.phase(name):
            importlib.import_module(name).play(checks, arguments)


if __name__ == "__main__":
    arguments = frame.options(__doc__, PARTS).parse_args()
    frame.run("watching", MAXIMUM_SECONDS, play)
