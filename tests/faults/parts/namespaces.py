"""The scenes of `links`, with each node in a network namespace of its own: cuts are made in the kernel, by nftables."""

import contextlib
import ctypes
import os
import pathlib
import subprocess
import tempfile
import threading

import urllib3.util.connection

from cluster import Cluster
from forwarder import Forwarder
from links import scenes, three_nodes

libc = ctypes.CDLL(None, use_errno=True)
NEW_NETWORK = 0x40000000  # CLONE_NEWNET
TRUST = "host all all 127.0.0.1/32 trust\nhost all all 10.77.0.0/16 trust\n"


def play(checks, arguments):
    with own_network(), contextlib.ExitStack() as stack:
        links = [stack.enter_context(Link(number)) for number in range(1, 4)]
        stack.enter_context(reachable(links))
        addresses = ",".join(["127.0.0.1", *(link.near for link in links)])
        cluster = stack.enter_context(Cluster(
            arguments.postgres_bin, settings=("fsync=off", f"listen_addresses={addresses}"), files={"pg_hba.conf": TRUST}))
        for link in links:
            link.forward(stack, cluster.port)
        binaries = [link.program(stack, pathlib.Path(arguments.binary).resolve()) for link in links]
        nodes = three_nodes(stack, cluster, binaries, [link.url for link in links])
        scenes(checks, cluster, nodes, links)


def entered(descriptor):
    """The calling thread goes into this network; the process's other threads stay where they are."""
    if libc.setns(descriptor, NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "cannot enter a network namespace; only root can")


@contextlib.contextmanager
def own_network():
    """A network of this process's own, so that nothing else of the machine is touched."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if libc.unshare(NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "cannot make a network namespace; only root can")
    try:
        run("ip", "link", "set", "lo", "up")
        yield
    finally:
        entered(before)
        os.close(before)


@contextlib.contextmanager
def reachable(links):
    """Lets clients of this process reach 127.0.0.1 of each namespace: ports are taken from one range, so only one answers."""
    outside, original = os.open("/proc/thread-self/ns/net", os.O_RDONLY), urllib3.util.connection.create_connection

    def connect(*place, **options):
        refused = None
        for link in links:
            entered(link.descriptor)
            try:
                return original(*place, **options)
            except ConnectionRefusedError as error:
                refused = error
            finally:
                entered(outside)
        raise refused

    urllib3.util.connection.create_connection = connect
    try:
        yield
    finally:
        urllib3.util.connection.create_connection = original
        os.close(outside)


class Link:
    """A namespace, and the wire between it and PostgreSQL: a context manager. What is `None` is dropped by the kernel, and a
    delay is made by a forwarder, because not every kernel can make one."""

    def __init__(self, number):
        self.number, self.lock = number, threading.Lock()
        self.name, self.wire = f"crossfade-{os.getpid()}-{number}", f"wire{number}"
        self.near, self.far = f"10.77.{number}.1", f"10.77.{number}.2"
        self.forwarder, self.silent = None, {}

    def __enter__(self):
        run("ip", "netns", "add", self.name)
        try:
            run("ip", "link", "add", self.wire, "type", "veth", "peer", "name", "wire", "netns", self.name)
            run("ip", "address", "add", f"{self.near}/30", "dev", self.wire)
            run("ip", "link", "set", self.wire, "up")
            for command in (["address", "add", f"{self.far}/30", "dev", "wire"], ["link", "set", "wire", "up"], ["link", "set", "lo", "up"]):
                run("ip", "-n", self.name, *command)
            run("nft", "add", "table", "inet", self.wire)
            for hook in ("input", "output"):
                run("nft", f"add chain inet {self.wire} {hook} {{ type filter hook {hook} priority 0; }}")
            self.descriptor = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        except BaseException:
            run("ip", "netns", "delete", self.name)
            raise
        return self

    def __exit__(self, *_):
        os.close(self.descriptor)
        run("ip", "netns", "delete", self.name)

    def forward(self, stack, port):
        self.forwarder = stack.enter_context(Forwarder(port, host=self.near))
        self.url = f"postgres://crossfade@{self.near}:{self.forwarder.port}/shop?sslmode=disable"

    def program(self, stack, binary):
        """The program, run in the namespace."""
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-namespace-"))
        script = pathlib.Path(directory) / "crossfade"
        script.write_text(f'#!/bin/sh\nexec nsenter --net=/run/netns/{self.name} {binary} "$@"\n')
        script.chmod(0o755)
        return script

    there = property(lambda self: self._late("there"), lambda self, late: self._set("there", late))
    back = property(lambda self: self._late("back"), lambda self, late: self._set("back", late))

    def _late(self, way):
        return None if self.silent.get(way) else getattr(self.forwarder, way)

    def _set(self, way, late):
        hook, side = {"there": ("input", "iifname"), "back": ("output", "oifname")}[way]
        with self.lock:
            run("nft", "flush", "chain", "inet", self.wire, hook)
            if late is None:
                run("nft", f"add rule inet {self.wire} {hook} {side} {self.wire} counter drop")
            else:
                setattr(self.forwarder, way, late)
            self.silent[way] = late is None


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
