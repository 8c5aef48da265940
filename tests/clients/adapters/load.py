"""Asks for tokens at a steady rate, over kept connections, and keeps a record of every answer.

First line on stdin: {token_endpoint, client_id, client_secret, rate, seconds}. Then {new_secret} once, from when on
every other worker uses that, and {stop}. Answers, at the end, one line: [[secret, start, end, status], …] where
secret is "old" or "new", the times are those of time.monotonic() and status is 0 for no answer.
"""

import json
import sys
import threading
import time

import requests

WORKERS = 16


class Load:
    def __init__(self, settings):
        self.settings = settings
        self.new_secret = None
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
        secret, value = "old", self.settings["client_secret"]
        if number % 2 and self.new_secret:
            secret, value = "new", self.new_secret
        form, auth = {"grant_type": "client_credentials"}, None
        if number % 4 < 2:
            auth = (self.settings["client_id"], value)
        else:
            form |= {"client_id": self.settings["client_id"], "client_secret": value}
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
        load.new_secret = order.get("new_secret", load.new_secret)
        if order.get("stop"):
            break
    load.stopped.set()
    for worker in workers:
        worker.join(timeout=10)
    print(json.dumps(load.records))


main()
