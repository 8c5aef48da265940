#!/usr/bin/env python3
"""Checks what Crossfade is installed with: the systemd unit, the image and the manifests for Kubernetes.

Every module in parts/ is one part, with a function play(checks, arguments).
"""

import importlib
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "parts"), str(HERE.parent / "api"), str(HERE.parent / "faults")]

from instance import frame  # noqa: E402

MAXIMUM_SECONDS = 900
PARTS = sorted(path.stem for path in (HERE / "parts").glob("*.py"))


def play(checks):
    for name in arguments.part or PARTS:
        with checks.phase(name):
            importlib.import_module(name).play(checks, arguments)


if __name__ == "__main__":
    # Settings of whoever runs this are not those of the programs under test.
    for name in [name for name in os.environ if name.startswith("CROSSFADE_")]:
        del os.environ[name]
    arguments = frame.options(__doc__, PARTS).parse_args()
    frame.run("packages", MAXIMUM_SECONDS, play)
