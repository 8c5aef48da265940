#!/usr/bin/env python3
"""Proves the admin API from outside: against its description, with a generated client, under kills, for leaks."""

from instance import frame

PARTS = ["conformance", "generated", "kills", "canaries", "exports"]

if __name__ == "__main__":
    frame.run_parts("api", 2400, frame.options(__doc__, PARTS).parse_args(), PARTS)
