#!/usr/bin/env python3
"""Checks the alerts, the dashboard and the page about watching against a running server and against the source."""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "parts"), str(HERE.parent / "api")]
# The server with TLS.
sys.path += [str(HERE.parent / "faults"), str(HERE.parent / "faults/parts")]

from instance import frame  # noqa: E402


if __name__ == "__main__":
    parts = frame.parts(HERE)
    frame.run_parts("watching", 600, frame.options(__doc__, parts).parse_args(), parts)
