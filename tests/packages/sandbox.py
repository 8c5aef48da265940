#!/usr/bin/python3
"""Runs a program under the system call filter of a systemd unit, for machines that systemd has not booted.

    sandbox.py UNIT PROGRAM ARGUMENT…

Applies SystemCallFilter=, SystemCallErrorNumber=, MemoryDenyWriteExecute= and RestrictAddressFamilies= as systemd does.
Debian's python3-seccomp is for the system's own Python.
"""

import errno
import mmap
import os
import socket
import subprocess
import sys

import seccomp

UNIT, PROGRAM, *ARGUMENTS = sys.argv[1:]


def settings(name):
    with open(UNIT) as unit:
        return [line.strip().partition("=")[2] for line in unit if line.startswith(f"{name}=")]


def calls(entry):
    """The system calls of an entry, which can be a set."""
    if not entry.startswith("@"):
        return {entry}
    said = subprocess.run(["systemd-analyze", "syscall-filter", entry], capture_output=True, text=True, check=True)
    lines = [line.strip() for line in said.stdout.splitlines()[1:]]
    entries = [line for line in lines if line and not line.startswith("#")]
    return set().union(*map(calls, entries))


def allowed():
    # The sets that systemd adds to every list of allowed calls.
    found = calls("@default")
    for setting in settings("SystemCallFilter"):
        entries = set().union(*map(calls, setting.removeprefix("~").split()))
        found = found - entries if setting.startswith("~") else found | entries
    return found


def main():
    refused = seccomp.ERRNO(getattr(errno, settings("SystemCallErrorNumber")[0]))
    filter = seccomp.SyscallFilter(refused)
    families = [getattr(socket, family) for family in settings("RestrictAddressFamilies")[0].split()]
    memory = settings("MemoryDenyWriteExecute") == ["yes"]
    write_and_execute, execute = mmap.PROT_WRITE | mmap.PROT_EXEC, mmap.PROT_EXEC
    # A call without a number on this architecture is no call.
    for call in sorted(allowed() | {"execve"}):
        number = seccomp.resolve_syscall(seccomp.Arch(), call)
        if number < 0:
            continue
        if call == "socket":
            for family in families:
                filter.add_rule(seccomp.ALLOW, call, seccomp.Arg(0, seccomp.EQ, family))
        elif memory and call == "mmap":
            for bits in (0, mmap.PROT_WRITE, mmap.PROT_EXEC):
                filter.add_rule(seccomp.ALLOW, call, seccomp.Arg(2, seccomp.MASKED_EQ, write_and_execute, bits))
        elif memory and call in ("mprotect", "pkey_mprotect"):
            filter.add_rule(seccomp.ALLOW, call, seccomp.Arg(2, seccomp.MASKED_EQ, execute, 0))
        else:
            filter.add_rule(seccomp.ALLOW, call)
    filter.load()
    os.execv(PROGRAM, [PROGRAM, *ARGUMENTS])


main()
