"""Several servers of one PostgreSQL database: what one changes, the others enforce; what one sees, the others judge by."""

import contextlib
import os
import pathlib
import signal
import statistics
import subprocess
import tempfile
import threading
import time

import requests

from cluster import Cluster
from history import REFUSED
from watched import Watched, holds

LEASE = 4


def play(checks, arguments):
    with Cluster(arguments.postgres_bin, settings=("fsync=off",)) as cluster, contextlib.ExitStack() as stack:
        cluster.execute("CREATE DATABASE shop")
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-nodes-")))
        journal = {"CROSSFADE_LEASE_SECONDS": str(LEASE), "CROSSFADE_JOURNAL_FILE": str(directory / "a.journal")}
        first = Watched(arguments.binary, directory / "a", cluster.url("shop"))
        (directory / "a").mkdir()
        first.environment |= journal | {"CROSSFADE_NODE_NAME": "a"}
        stack.callback(first.stop)
        first.start()
        first.create_client()
        nodes = [first]
        for name in ("b", "c"):
            (directory / name).mkdir()
            node = first.beside(directory / name, CROSSFADE_NODE_NAME=name,
                                CROSSFADE_JOURNAL_FILE=str(directory / f"{name}.journal"))
            stack.callback(node.stop)
            node.start_again()
            nodes.append(node)
        are_listed(checks, nodes)
        a_secret_counts_everywhere(checks, nodes, arguments.rotations)
        what_each_sees_is_one(checks, nodes)
        journals_agree(checks, nodes, directory, arguments)
        one_stands_still(checks, nodes)
        one_is_killed(checks, nodes, cluster)
        one_after_another(checks, nodes)


def names(answer):
    return sorted(node["name"] for node in answer.json())


def listed(node):
    return requests.get(f"{node.url}/api/v1/nodes", headers=node.session.headers, timeout=30)


def are_listed(checks, nodes):
    for node in nodes:
        holds(checks, names(listed(node)) == ["a", "b", "c"], "every node lists all nodes", listed(node).text)
    leading = [node for node in nodes if node.logged("this node leads")]
    holds(checks, len(leading) == 1, "one of them leads", str(len(leading)))


def token(node, secret):
    return requests.post(f"{node.issuer('production')}/oauth2/token", auth=(node.client_id, secret),
                         data={"grant_type": "client_credentials"}, timeout=30).status_code


def a_secret_counts_everywhere(checks, nodes, rotations):
    """The first request after the reply: the new secret works at every node, and the ended one at none."""
    wrong, known, took = [], set(), []
    for number in range(rotations):
        at, old = nodes[number % len(nodes)], nodes[0].secret
        begun = time.monotonic()
        answer = at.change()
        took.append(time.monotonic() - begun)
        if answer.status_code != 201:
            wrong.append((number, answer.text))
            break
        known |= {(node["name"], node["known_by"]) for node in answer.json()["enforced"]["nodes"]}
        for node in nodes:
            node.secret = at.secret
            found = (token(node, old), token(node, at.secret))
            # Whoever presents an ended secret again and again is told to wait.
            if found[0] not in REFUSED or found[1] != 200:
                wrong.append((number, found))
    holds(checks, not wrong, f"{rotations} rotations: the first request at each node finds the new secret", str(wrong))
    everyone = {(name, "acknowledged") for name in "abc"}
    holds(checks, known == everyone, "each reply says that every node has acknowledged", str(known))
    median = 1000 * statistics.median(took)
    print(f"a rotation that is in force at three nodes took {median:.0f} ms (median), {1000 * max(took):.0f} ms at most")


def judged(node):
    answer = requests.get(f"{node.url}/api/v1{node.path}/change-over", headers=node.session.headers, timeout=30)
    return answer.json()


def callers(found):
    of_all = found["callers"]
    return of_all["items"] if isinstance(of_all, dict) else of_all


def last_use_of_old(found):
    return callers(found)[0]["old"]["last_used_at"]


def what_each_sees_is_one(checks, nodes):
    """Uses at three nodes by one caller are one row, and every node's judgement knows them at once."""
    a, b, c = nodes
    for node in nodes:
        holds(checks, token(node, a.secret) == 200, "a token before the rotation")
    old = a.secret
    answer = a.change(transition_hours=24)
    holds(checks, answer.status_code == 201, "a rotation with a transition", answer.text)
    new = answer.json()["secret"]["value"]
    for node in nodes:
        node.secret = new
        for _ in range(3):
            token(node, old)
            token(node, new)
    for node in nodes:
        found = judged(node)
        items = callers(found)
        holds(checks, len(items) == 1, "one caller, whichever node it asked", str(found)[:1500])
        uses = [items[0][which]["use_count"] for which in ("old", "new")]
        # The old one was used at each node after its own rotation, and before this one.
        holds(checks, uses == [15, 9], "its uses at all nodes are counted", str(items)[:600])
    before = last_use_of_old(judged(b))
    token(c, old)
    # A reading is kept for a second.
    time.sleep(1.1)
    after = last_use_of_old(judged(b))
    holds(checks, after > before, "a use at one node is known to another one's next judgement", f"{before} {after}")


def journals_agree(checks, nodes, directory, arguments):
    """Every node notes what ends, whoever ends it; one without a journal does not serve beside them."""
    def ends(name):
        return [line for line in (directory / f"{name}.journal").read_text().splitlines() if '"registration"' in line]

    time.sleep(2)
    sizes = {name: len(ends(name)) for name in "abc"}
    answer = nodes[0].change(compromised=True)
    holds(checks, answer.status_code == 201, "a secret ends", answer.text)
    for node in nodes:
        node.secret = nodes[0].secret

    def noted():
        grown = {name: len(ends(name)) for name in "abc"}
        assert all(grown[name] > sizes[name] for name in "abc"), f"{sizes} {grown}"

    nodes[0].eventually(checks, noted, "an end is in the journal of every node", seconds=10)
    (directory / "d").mkdir()
    without = nodes[0].beside(directory / "d", CROSSFADE_NODE_NAME="d")
    without.environment.pop("CROSSFADE_JOURNAL_FILE")
    without.serve_fails(checks, "a node without a journal beside others that have one", "CROSSFADE_JOURNAL_FILE")
    holds(checks, token(nodes[1], nodes[1].secret) == 200, "the others serve on")


def one_stands_still(checks, nodes):
    """A node that does not answer is a gap in what the others know, and is waited for until its lease has ended."""
    a, b, c = nodes
    old = a.secret
    a.change(transition_hours=24)
    token(c, old)
    c.process.send_signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        found = judged(b)
        took = time.monotonic() - begun
        gaps = [reason for reason in found["reasons"] if "gap" in str(reason)]
        holds(checks, found["verdict"] != "safe_to_end" and gaps, "a node that does not answer is a gap", str(found)[:900])
        holds(checks, took < 4, "its answer is waited for a second", f"{took:.1f} s")
        begun = time.monotonic()
        answer = a.change(compromised=True)
        took = time.monotonic() - begun
        holds(checks, answer.status_code == 201 and took < LEASE + 3, "an end waits for its lease at most", f"{took:.1f} s")
        known = {node["name"]: node["known_by"] for node in answer.json()["enforced"]["nodes"]}
        holds(checks, known == {"a": "acknowledged", "b": "acknowledged", "c": "lease_ended"}, "and says so", str(known))
        print(f"an end beside a node that stands still took {took:.1f} s with leases of {LEASE} s")
    finally:
        c.process.send_signal(signal.SIGCONT)
    for node in nodes:
        node.secret = a.secret
    statuses = set()
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        statuses.add(token(c, old))
    holds(checks, 200 not in statuses, "when it wakes, it never accepts the ended secret", str(statuses))
    c.eventually(checks, lambda: check(token(c, c.secret), 200), "it decides again with a new lease", seconds=20)


def check(found, wanted):
    assert found == wanted, f"{found}, not {wanted}"


def one_is_killed(checks, nodes, cluster):
    """The node that leads is killed: another one leads, and what the killed one saw is a gap."""
    [(id,)] = cluster.execute("SELECT name FROM leader JOIN nodes ON nodes.id = leader.node_id", "shop")
    [leader] = [node for node in nodes if node.environment["CROSSFADE_NODE_NAME"] == id]
    others = [node for node in nodes if node is not leader]
    before = sum(node.logged("this node leads") for node in others)
    leader.kill()
    statuses = {token(node, node.secret) for node in others for _ in range(5)}
    holds(checks, statuses == {200}, "the others issue tokens meanwhile", str(statuses))

    def led():
        assert sum(node.logged("this node leads") for node in others) == before + 1, "nobody leads"

    others[0].eventually(checks, led, "another node leads when the lease of the killed one has ended", 4 * LEASE)

    def noted():
        [(gaps,)] = cluster.execute("SELECT COUNT(*) FROM evidence_gaps WHERE kind = 'killed'", "shop")
        assert gaps >= 1, gaps

    others[0].eventually(checks, noted, "what the killed one saw is noted as a gap", 30)
    leader.start_again()
    holds(checks, token(leader, leader.secret) == 200, "it serves again, as a node with another ID")
    holds(checks, names(listed(leader)) .count(id) == 2, "the killed one is listed for a day", listed(leader).text)


def one_after_another(checks, nodes):
    """Each node is stopped and started again while callers ask those that are ready: no request fails."""
    stop, failed, asked = threading.Event(), [], [0]
    ready = set(range(len(nodes)))

    def ask():
        while not stop.is_set():
            for at in list(ready):
                try:
                    status = token(nodes[at], nodes[at].secret)
                except requests.RequestException as error:
                    status = str(error)
                asked[0] += 1
                # One that has just been taken out may have stopped.
                if status != 200 and at in ready:
                    failed.append((at, status))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for at, node in enumerate(nodes):
        ready.discard(at)
        time.sleep(0.3)
        node.process.send_signal(signal.SIGINT)
        code = node.process.wait(30)
        holds(checks, code == 0, "a node stops in order", str(code))
        node.start_again()
        ready.add(at)
        time.sleep(0.3)
    changed = nodes[1].change()
    holds(checks, changed.status_code == 201, "changes work during it", changed.text)
    stop.set()
    for thread in threads:
        thread.join(30)
    # The secret has changed at the end.
    failed = [failure for failure in failed if failure[1] != 401]
    holds(checks, not failed and asked[0] > 50, f"none of {asked[0]} requests failed", str(failed[:5]))
    for node in nodes:
        node.secret = nodes[1].secret
    holds(checks, {token(node, node.secret) for node in nodes} == {200}, "every node serves at the end")
