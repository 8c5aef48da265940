#!/usr/bin/env python3
"""Scans the TLS of a real server with sslyze and testssl.sh. They must find exactly what expected.txt lists."""

import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "faults"), str(HERE.parent / "faults" / "parts"), str(HERE.parent / "api")]

from instance import frame, require  # noqa: E402
from tls import Encrypted, Pair  # noqa: E402

MAXIMUM_SECONDS = 600
MAXIMUM_UNKNOWN = 4


def sslyze(port):
    """The ids of what does not comply with Mozilla's configuration "intermediate"."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "found.json"
        command = [pathlib.Path(sys.executable).parent / "sslyze", f"127.0.0.1:{port}", "--json_out", path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        [scan] = json.loads(path.read_text())["server_scan_results"]
        require(scan["scan_status"] == "COMPLETED", done.stdout[-2000:])
    require("COMPLIANCE AGAINST TLS CONFIGURATION" in done.stdout, done.stdout[-2000:])
    judged = done.stdout.split("COMPLIANCE AGAINST TLS CONFIGURATION")[1]
    found = {line.split("*")[1].split(":")[0].strip() for line in judged.splitlines() if line.strip().startswith("* ")}
    for attack, is_found in [
        ("heartbleed", scan["scan_result"]["heartbleed"]["result"]["is_vulnerable_to_heartbleed"]),
        ("compression", scan["scan_result"]["tls_compression"]["result"]["supports_compression"]),
        ("ccs_injection", scan["scan_result"]["openssl_ccs_injection"]["result"]["is_vulnerable_to_ccs_injection"]),
    ]:
        found |= {attack} if is_found else set()
    return found


def testssl(port):
    """The ids of everything that testssl.sh does not call good or mere information."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "found.json"
        command = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--jsonfile", path,
                   f"https://127.0.0.1:{port}/"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, stdin=subprocess.DEVNULL)
        findings = json.loads(path.read_text())
    require(len(findings) > 100, f"only {len(findings)} findings: {done.stdout[-2000:]}")
    # On a busy machine it cannot tell a few things, and then says WARN.
    unknown = [one["id"] for one in findings if one["severity"] == "WARN"]
    require(len(unknown) <= MAXIMUM_UNKNOWN, f"testssl.sh could not tell: {unknown}")
    return {one["id"] for one in findings if one["severity"] not in ("OK", "INFO", "WARN")}


def play(checks):
    lines = [line.split() for line in (HERE / "expected.txt").read_text().splitlines() if not line.startswith("#")]
    with checks.phase("tls"), tempfile.TemporaryDirectory(prefix="crossfade-tls-") as directory:
        pair = Pair(pathlib.Path(directory) / "pair")
        pair.make()
        with Encrypted.serving(arguments, directory, pair) as server:
            for scanner in (sslyze, testssl):
                expected = {found for tool, found, *_ in lines if tool == scanner.__name__}
                found = scanner(server.port())
                checks.run(f"{scanner.__name__} finds what is expected", require, found == expected,
                           f"new: {sorted(found - expected)}, gone: {sorted(expected - found)}")


if __name__ == "__main__":
    arguments = frame.options(__doc__, ["tls"]).parse_args()
    frame.run("tls", MAXIMUM_SECONDS, play)
