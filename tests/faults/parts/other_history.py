"""A cold copy of the database is put back and changed by another server, while this one waits for its lock."""

import contextlib
import os
import pathlib
import shutil
import tempfile

import requests

from cluster import Cluster
from forwarder import Forwarder
from harness import Registration
from instance import free_port, require
from watched import Watched, holds


def play(checks, arguments):
    with Cluster(arguments.postgres_bin, settings=("fsync=off",)) as cluster:
        cluster.execute("CREATE DATABASE app")
        other_history(checks, arguments, cluster)


def other_history(checks, arguments, cluster):
    what = "a copy that another server has changed"
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(Forwarder(cluster.port))
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-history-")))
        server = Watched(arguments.binary, directory, f"postgres://crossfade@127.0.0.1:{proxy.port}/app")
        stack.callback(server.stop)
        server.start()
        server.create_client()
        property_id = server.api("POST", "/properties", {"name": "Others"})["id"]
        steady, leaked = Registration(server, property_id, "Steady"), server.secret
        server.stop()
        cluster.stop("fast")
        copy = f"{cluster.directory}/copy"
        copy_data(cluster, cluster._data, copy)
        cluster.start()
        server.start_again()
        for _ in range(2):
            steady.rotate(0, compromised=True)
        proxy.switch(free_port())
        cluster.stop("fast")
        shutil.rmtree(cluster._data)
        copy_data(cluster, copy, cluster._data)
        cluster.start()
        other = Watched(arguments.binary, directory, cluster.url("app"))
        other.environment |= {name: value for name, value in server.environment.items() if name.startswith("CROSSFADE")}
        other.session, other.log = server.session, directory / "other.log"
        other.path, other.client_id, other.secret = server.path, server.client_id, server.secret
        stack.callback(other.stop)
        other.start_again()
        holds(checks, other.change(compromised=True).status_code == 201, f"{what}: the other server rotates")
        # Beyond what the first one has applied, so that its position alone does not tell.
        steady.server = other
        for _ in range(3):
            steady.rotate(0, compromised=True)
        other.stop()
        proxy.switch(cluster.port)

        def refuses():
            server.secret = leaked
            ready = requests.get(f"{server.url}/readyz", timeout=30)
            require(ready.status_code == 200 and "no changes" not in ready.text, ready.text)
            require(server.token().status_code == 401, "the leaked secret is accepted")

        server.eventually(checks, refuses, f"{what}: everything is loaded from it", seconds=20)
        server.secret = other.secret
        server.changes_soon(checks, what)


def copy_data(cluster, source, target):
    shutil.copytree(source, target)
    os.chmod(target, 0o700)
    if cluster.user:
        for root, folders, files in os.walk(target):
            for name in [root, *(os.path.join(root, one) for one in folders + files)]:
                shutil.chown(name, cluster.user)
