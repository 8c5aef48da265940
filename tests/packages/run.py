#!/usr/bin/env python3
"""Checks what Crossfade is installed with: the systemd unit, the image and the manifests for Kubernetes."""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "parts"), str(HERE.parent / "api"), str(HERE.parent / "faults")]

from instance import frame  # noqa: E402


if __name__ == "__main__":
    # Settings of whoever runs this are not those of the programs under test.
    for name in [name for name in os.environ if name.startswith("CROSSFADE_")]:
        del os.environ[name]
    parts = frame.parts(HERE)
    frame.run_parts("packages", 900, frame.options(__doc__, parts).parse_args(), parts)
