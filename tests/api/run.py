#!/usr/bin/env python3
"""Proves the admin API from outside: against its description, with a generated client, under kills, for leaks."""

import canaries
import conformance
import exports
import generated
import kills
from instance import frame

MAXIMUM_SECONDS = 2400
PARTS = {"conformance": conformance, "generated": generated, "kills": kills, "canaries": canaries, "exports": exports}


def play(checks):
    for name in arguments.part or PARTS:
        with checks.phase(name):
            PARTS[name].play(checks, arguments)


if __name__ == "__main__":
    arguments = frame.options(__doc__, PARTS).parse_args()
    frame.run("api", MAXIMUM_SECONDS, play)
