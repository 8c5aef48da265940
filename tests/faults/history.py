"""What was asked of several nodes and what they answered, and a judge of it: the two promises about the end of a secret."""

import dataclasses
import random
import threading
import time

import requests


# Whoever presents an ended secret again and again is told to wait. A right secret never is.
REFUSED = (401, 429)


@dataclasses.dataclass
class Secret:
    """A secret: when a rotation that made it was answered, and when the one that ended it was asked for and answered."""

    value: str
    works_since: float
    end_asked_at: float = float("inf")
    ended_at: float = float("inf")


@dataclasses.dataclass
class Asked:
    """A request for a token."""

    node: str
    secret: Secret
    begun: float
    answered: float
    status: int


def violations(history):
    """The requests that break a promise, each in a sentence."""
    found = []
    for one in history:
        where = f"node {one.node}, {one.answered - one.begun:.3f} s"
        if one.status == 200 and one.begun > one.secret.ended_at:
            found.append(f"accepted {one.begun - one.secret.ended_at:.3f} s after the reply that it ended ({where})")
        is_valid = one.secret.works_since < one.begun and one.answered < one.secret.end_asked_at
        if one.status in REFUSED and is_valid:
            found.append(f"refused {one.begun - one.secret.works_since:.3f} s after the reply that it works ({where})")
        if one.status not in (200, 503, *REFUSED):
            found.append(f"answered {one.status} ({where})")
    return found


class Recorder:
    """Asks every node for tokens by the present secret and by those that ended last, and keeps all answers."""

    def __init__(self, nodes):
        self.nodes, self.history, self.lock = nodes, [], threading.Lock()
        self.secrets = [Secret(nodes[0].secret, time.monotonic())]
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(node,), daemon=True) for node in nodes for _ in range(2)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(40)

    def _ask(self, node):
        session = requests.Session()
        while not self.stop.is_set():
            with self.lock:
                secret = random.choice([self.secrets[-1], *self.secrets[-3:]])
            begun = time.monotonic()
            try:
                status = session.post(
                    f"{node.issuer('production')}/oauth2/token", auth=(node.client_id, secret.value),
                    data={"grant_type": "client_credentials"}, timeout=20).status_code
            except requests.RequestException:
                # A node that stands still answers nothing.
                continue
            name = node.environment["CROSSFADE_NODE_NAME"]
            self.history.append(Asked(name, secret, begun, time.monotonic(), status))
            time.sleep(0.002)

    def rotate(self, node):
        """Ends the present secret at once; tells how long the reply took, or None if it is not known what became of it."""
        old, asked_at = self.secrets[-1], time.monotonic()
        old.end_asked_at = asked_at
        try:
            answer = node.change(compromised=True)
        except requests.RequestException:
            answer = None
        if answer is not None and answer.status_code == 201:
            old.ended_at = time.monotonic()
            with self.lock:
                self.secrets.append(Secret(answer.json()["secret"]["value"], old.ended_at))
            return old.ended_at - asked_at
        if answer is not None and "Nothing was changed" in answer.text:
            old.end_asked_at = float("inf")
        return None

    def counts(self):
        found = {}
        for one in self.history:
            found.setdefault(one.node, {}).setdefault(one.status, 0)
            found[one.node][one.status] += 1
        return found
