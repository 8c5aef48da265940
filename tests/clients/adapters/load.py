"""Asks for tokens at a steady rate, over kept connections, and keeps a record of every answer.

First line on stdin: {token_endpoint, client_id, secrets, rate, seconds}, where `secrets` maps names to values and the workers
use them in turn. Then any number of {secrets}, which replaces them, and {stop}. Answers, at the end, one line:
[[secret, start, end, status], …] where secret is the name, the times are those of time.monotonic() and status is 0 for no answer.
"""

import json
import sys
import threading
import time
from urllib.parse import quote

import requests

WORKERS = 16


class Load:
    def __init__(self, settings):
        self.settings = settings
        self.secrets = list(settings["secrets"].items())
        self.stopped = threading.Event()
        self.records = []

    def work(self, number):
        session = requests.Session()
        interval = WORKERS / self.settings["rate"]
        begun = time.monotonic()
        due = begun + interval * number / WORKERS
        while not self.stopped.is_set() and due < begun + self.settings["seconds"]:
            self.stopped.wait(max(0, due - time.monotonic()))
            self.ask(session, number)
            due = max(due + interval, time.monotonic())  # late ones are not made up for in a burst

    def ask(self, session, number):
        known = self.secrets
        secret, value = known[number % len(known)]
        form, auth, client_id = {"grant_type": "client_credentials"}, None, self.settings["client_id"]
        if number % 4 < 2:
            auth = (quote(client_id, safe=""), quote(value, safe=""))
        else:
            form |= {"client_id": client_id, "client_secret": value}
        begun = time.monotonic()
        try:
            answer = session.post(self.settings["token_endpoint"], data=form, auth=auth, timeout=5)
            status = answer.status_code
        except requests.RequestException as error:
            print(f"load: {error}", file=sys.stderr)
            status = 0
        self.records.append([secret, begun, time.monotonic(), status])


def main():
    load = Load(json.loads(sys.stdin.readline()))
    workers = [threading.Thread(target=load.work, args=[number], daemon=True) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    for line in sys.stdin:
        order = json.loads(line)
        if "secrets" in order:
            load.secrets = list(order["secrets"].items())
        if order.get("stop"):
            break
    load.stopped.set()
    for worker in workers:
        worker.join(timeout=10)
    print(json.dumps(load.records))


main()
