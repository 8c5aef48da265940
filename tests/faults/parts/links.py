"""Three nodes whose links to PostgreSQL are cut, slow or silent one way, which stand still and whose clocks are wrong, while secrets
end all the time."""

import base64
import contextlib
import json
import pathlib
import signal
import tempfile
import time

import requests

from cluster import Cluster
from forwarder import Forwarder
from history import Recorder, violations
from instance import eventually, require
from watched import Watched, holds

LEASE = 4
# Debian's way to give a process another clock.
FAKETIME = "/usr/$LIB/faketime/libfaketime.so.1"


def play(checks, arguments):
    with Cluster(arguments.postgres_bin, settings=("fsync=off",)) as cluster, contextlib.ExitStack() as stack:
        links = [stack.enter_context(Forwarder(cluster.port)) for _ in "abc"]
        urls = [f"postgres://crossfade@127.0.0.1:{link.port}/shop" for link in links]
        scenes(checks, cluster, three_nodes(stack, cluster, [arguments.binary] * 3, urls), links)


def three_nodes(stack, cluster, binaries, urls):
    """Three nodes of one new database, each with its own program and its own way there."""
    cluster.execute("CREATE DATABASE shop")
    directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-links-")))
    nodes = []
    for name, binary, url in zip("abc", binaries, urls, strict=True):
        (directory / name).mkdir()
        node = nodes[0].beside(directory / name) if nodes else Watched(binary, directory / name, url)
        node.binary, node.place[3] = str(binary), url
        node.environment |= {"CROSSFADE_NODE_NAME": name, "CROSSFADE_LEASE_SECONDS": str(LEASE)}
        stack.callback(node.stop)
        if nodes:
            node.start_again()
        else:
            node.start()
            node.create_client()
        nodes.append(node)
    return nodes


def scenes(checks, cluster, nodes, links):
    """Plays each scene while all nodes are asked for tokens, and judges all requests."""
    with Recorder(nodes) as recorder:
        for scene in (steady, cut, slow_then_cut, silent_one_way, too_slow_to_know_the_time, stands_still, restarted, clocks_off):
            begun, before = time.monotonic(), len(recorder.history)
            took = scene(recorder, nodes, links, cluster)
            for link in links:
                link.there = link.back = 0
            eventually(lambda: decide(nodes, recorder), seconds=40)
            broken = violations(recorder.history[before:])
            holds(checks, not broken, f"{scene.__name__}: no node breaks a promise", "; ".join(broken[:5]))
            holds(checks, took, f"{scene.__name__}: secrets end meanwhile")
            print(f"{scene.__name__}: {len(took)} ends, answered in {min(took, default=0):.2f} to "
                  f"{max(took, default=0):.2f} s; {len(recorder.history) - before} requests in "
                  f"{time.monotonic() - begun:.0f} s")
    print(f"answers: {recorder.counts()}")


def decide(nodes, recorder):
    for node in nodes:
        node.secret = recorder.secrets[-1].value
        status = node.token().status_code
        require(status == 200, f"{node.environment['CROSSFADE_NODE_NAME']} answers {status}")


def rotate_for(recorder, node, seconds):
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        took.append(recorder.rotate(node))
        time.sleep(0.05)
    return [one for one in took if one is not None]


def steady(recorder, nodes, links, _):
    return rotate_for(recorder, nodes[0], 2) + rotate_for(recorder, nodes[2], 2)


def cut(recorder, nodes, links, _):
    """Nothing passes for longer than a lease."""
    links[2].there = links[2].back = None
    return rotate_for(recorder, nodes[0], 2 * LEASE)


def slow_then_cut(recorder, nodes, links, cluster):
    """The answer to a node's request for a lease comes late, though in time, and then nothing passes."""
    link = links[2]
    # A node that misses a renewal because the machine is busy connects anew, which takes too long over a slow link.
    for _ in range(8):
        link.back = 0
        eventually(lambda: decide(nodes[2:], recorder), seconds=40)
        link.back = 0.9
        if is_granted_within(cluster, 2 * LEASE):
            break
    else:
        raise AssertionError("node c is granted no lease over a slow link")
    link.there = None
    time.sleep(1.1)
    link.back = None
    took = rotate_for(recorder, nodes[0], 1)
    # What the node answers until its lease would have ended by a wrong count.
    time.sleep(1)
    return took


def is_granted_within(cluster, seconds):
    granted, end = lease_of_c(cluster), time.monotonic() + seconds
    while time.monotonic() < end:
        if lease_of_c(cluster) not in (None, granted):
            return True
    return False


def lease_of_c(cluster):
    [(until,)] = cluster.execute("SELECT MAX(lease_until) FROM nodes WHERE name = 'c'", "shop")
    return until


def silent_one_way(recorder, nodes, links, _):
    """What the database says does not arrive, then what the node says."""
    links[1].back = None
    took = rotate_for(recorder, nodes[0], 1.5 * LEASE)
    links[1].back, links[1].there = 0, None
    return took + rotate_for(recorder, nodes[0], 1.5 * LEASE)


def too_slow_to_know_the_time(recorder, nodes, links, _):
    links[2].there = links[2].back = 0.15
    return rotate_for(recorder, nodes[0], 1.5 * LEASE)


def stands_still(recorder, nodes, links, _):
    """A node is stopped, and wakes while secrets end."""
    took = []
    for _ in range(2):
        nodes[1].process.send_signal(signal.SIGSTOP)
        took += rotate_for(recorder, nodes[0], 1.5 * LEASE)
        nodes[1].process.send_signal(signal.SIGCONT)
        took += rotate_for(recorder, nodes[0], 1)
    return took


def clocks_off(recorder, nodes, links, cluster):
    """The machines of two nodes have clocks that are five minutes off."""
    for node, shift in ((nodes[1], "+300"), (nodes[2], "-300")):
        node.stop()
        node.environment |= {"LD_PRELOAD": FAKETIME, "FAKETIME": shift, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        node.start_again()
    took = rotate_for(recorder, nodes[1], 4) + rotate_for(recorder, nodes[2], 4)
    for node, side in ((nodes[1], "ahead of"), (nodes[2], "behind")):
        told = requests.get(f"{node.url}/readyz", timeout=5).text
        require(f"clock is 5 minutes {side} the database" in told, told)
        require(f"clock is 5 minutes {side} the database" in node.log.read_text(), "the log does not tell")
        node.secret = recorder.secrets[-1].value
        answer = node.token()
        claims = json.loads(base64.urlsafe_b64decode(answer.json()["access_token"].split(".")[1] + "=="))
        require(abs(claims["iat"] - time.time()) < 10, f"a token is issued {claims['iat'] - time.time():.0f} s from now")
    return took


def restarted(recorder, nodes, links, cluster):
    """PostgreSQL is restarted, and then killed."""
    took = rotate_for(recorder, nodes[0], 1)
    cluster.stop("fast")
    time.sleep(1)
    cluster.start()
    took += rotate_for(recorder, nodes[1], 3)
    cluster.kill()
    cluster.start_again()
    return took + rotate_for(recorder, nodes[2], 3)
