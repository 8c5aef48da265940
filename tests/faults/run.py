#!/usr/bin/env python3
"""Breaks what the server depends on (disk, database, network, clients) and checks that it recovers on its own."""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "parts"), str(HERE.parent / "api")]

from instance import frame  # noqa: E402

MAXIMUM_SECONDS = 2400
SECONDS_OF_A_KILL = 20
PARTS = frame.parts(HERE)
# Parts that load the server and measure its delays or its memory. The first wait most of the time, so that they can run
# beside the others; nothing else should.
CONNECTIONS = ["connections", "tls_connections"]
LOAD = ["costly_reads", "sign_ins", "strangers"]
# Only where the kernel lets root make network namespaces and filter packets.
ALONE = ["namespaces"]
OTHERS = [name for name in PARTS if name not in CONNECTIONS + LOAD + ALONE]
# Lanes may run at the same time: each part has servers, directories and ports of its own.
LANES = {"1": OTHERS[0::2], "2": OTHERS[1::2], "connections": CONNECTIONS, "load": LOAD}


if __name__ == "__main__":
    parser = frame.options(__doc__, PARTS)
    parser.add_argument("--postgres-bin", required=True, type=pathlib.Path, help="directory with initdb and pg_ctl")
    parser.add_argument("--lane", choices=LANES, help="run only the parts of this lane")
    parser.add_argument("--kills", type=int, default=0, help="how often the part `kills` kills on each engine")
    parser.add_argument("--engine", choices=["sqlite", "postgres"], help="the only engine of the part `kills`")
    parser.add_argument("--rate", type=int, default=100, help="requests a second of the part `rolling`")
    parser.add_argument("--rotations", type=int, default=40, help="how often the part `nodes` rotates")
    parser.add_argument("--seed", help="of the part `kills`, which prints it")
    arguments = parser.parse_args()
    seconds = MAXIMUM_SECONDS + arguments.kills * SECONDS_OF_A_KILL
    frame.run_parts("faults", seconds, arguments, LANES.get(arguments.lane, [name for name in PARTS if name not in ALONE]))
