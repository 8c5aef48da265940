#!/usr/bin/env python3
"""How fast queued messages are delivered, and what that costs a token.

    tests/timing/mail.py --binary target/release/crossfade [--database-url postgres://…] --messages 10000

Not a gate: what it measures depends on the machine. The mail server is aiosmtpd in a process of its own, without TLS.
"""

import argparse
import contextlib
import multiprocessing
import pathlib
import statistics
import sys
import tempfile
import time

import requests
from aiosmtpd.controller import Controller

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "api")]

from instance import Instance, eventually, free_port, fresh_database, require  # noqa: E402

OWNERS = 50
MAXIMUM_SECONDS = 900


class Sink:
    async def handle_DATA(self, server, session, envelope):
        return "250 taken"


def serve_mail(port, over):
    controller = Controller(Sink(), hostname="127.0.0.1", port=port)
    controller.start()
    over.wait(MAXIMUM_SECONDS)
    controller.stop()


def metric(server, name):
    text = requests.get(f"{server.url}/metrics", timeout=30).text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(name + " "))


def token_times(server, registration, until):
    """Milliseconds of tokens, about 50 a second, until `until` holds."""
    session, times = requests.Session(), []
    auth = (registration["client_id"], registration["secret"]["value"])
    while not until():
        for _ in range(25):
            begun = time.perf_counter()
            answer = session.post(
                f"{server.issuer('development')}/oauth2/token", auth=auth, data={"grant_type": "client_credentials"}, timeout=30)
            times.append((time.perf_counter() - begun) * 1000)
            require(answer.status_code == 200, answer.text)
            time.sleep(0.02)
    return times


def shown(times):
    cuts = statistics.quantiles(times, n=100)
    return f"p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms, {len(times)} tokens"


def fill(server, client, messages):
    """Queues this number of messages: each rotation is one to each owner."""
    path = f"/clients/{client['id']}/environments/production/secrets/rotate"
    body = {"transition_hours": 168, "confirm_client_name": client["name"], "reason": "measured", "end_running_transition": True}
    for _ in range(messages // OWNERS):
        server.api("POST", path, body)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--database-url")
    parser.add_argument("--messages", type=int, default=10_000)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(fresh_database(arguments.database_url)) if arguments.database_url else None
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-mail-"))
        server, port = Instance(arguments.binary, directory, url), free_port()
        server.environment |= {
            "CROSSFADE_SMTP_URL": f"smtp://127.0.0.1:{port}", "CROSSFADE_MAIL_FROM": "Crossfade <crossfade@example.com>",
        }
        stack.callback(server.stop)
        server.start()
        # At another address it is another place, where messages wait for their release.
        server.kill()
        server.start_again()
        require(metric(server, "crossfade_mail_held") == 1, "messages are not held")
        property_id = server.api("POST", "/properties", {"name": "Shop"})["id"]
        owners = [f"owner-{number}@example.com" for number in range(OWNERS)]
        create = {"name": "Billing", "property_id": property_id, "environments": ["development", "production"], "owners": owners}
        client = server.api("POST", "/clients", create)
        [registration] = [it for it in client["registrations"] if it["environment"] == "development"]
        fill(server, client, arguments.messages)
        queued = metric(server, "crossfade_mail_queued")
        quiet_until = time.monotonic() + 10
        print(f"{'postgres' if url else 'sqlite'}: {queued:.0f} messages wait")
        print(f"tokens before: {shown(token_times(server, registration, lambda: time.monotonic() > quiet_until))}")
        context = multiprocessing.get_context("fork")
        over = context.Event()
        process = context.Process(target=serve_mail, args=(port, over))
        process.start()
        stack.callback(process.join, 10)
        stack.callback(over.set)
        server.cli("mail", "release", *server.place, "--reason", "measured")
        eventually(lambda: require(metric(server, "crossfade_mail_sent_total") > 0, "nothing is sent"), seconds=60)
        before, begun = metric(server, "crossfade_mail_sent_total"), time.monotonic()
        times = token_times(
            server, registration,
            lambda: metric(server, "crossfade_mail_queued") == 0 or time.monotonic() - begun > MAXIMUM_SECONDS)
        took, sent = time.monotonic() - begun, metric(server, "crossfade_mail_sent_total") - before
        print(f"tokens meanwhile: {shown(times)}")
        print(f"{sent:.0f} messages in {took:.1f} s: {sent / took:.0f} a second")


if __name__ == "__main__":
    main()
