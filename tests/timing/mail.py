#!/usr/bin/env python3
"""How fast queued messages are delivered, and what that costs a token.

    tests/timing/mail.py --binary target/release/crossfade [--database-url postgres://…] --messages 10000 [--webhooks]

Not a gate: what it measures depends on the machine. The mail server is aiosmtpd in a process of its own, and so is the
receiver of webhooks, both without TLS.
"""

import argparse
import contextlib
import http.server
import multiprocessing
import pathlib
import statistics
import sys
import tempfile
import threading
import time

import requests
from aiosmtpd.controller import Controller

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "api")]

from instance import Instance, eventually, free_port, fresh_database, require  # noqa: E402

# Owners who get a mail about each change, and webhooks.
OWNERS, WEBHOOKS = 50, 40
MAXIMUM_SECONDS = 900


class Sink:
    async def handle_DATA(self, server, session, envelope):
        return "250 taken"


def serve_mail(port, over):
    controller = Controller(Sink(), hostname="127.0.0.1", port=port)
    controller.start()
    over.wait(MAXIMUM_SECONDS)
    controller.stop()


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        """Says nothing."""


class Receivers(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 128


def serve_webhooks(port, over):
    receivers = Receivers(("127.0.0.1", port), Receiver)
    threading.Thread(target=receivers.serve_forever, daemon=True).start()
    over.wait(MAXIMUM_SECONDS)
    receivers.shutdown()


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


def fill(server, client, rotations):
    """Queues messages: each rotation is one to each recipient."""
    path = f"/clients/{client['id']}/environments/production/secrets/rotate"
    body = {"transition_hours": 168, "confirm_client_name": client["name"], "reason": "measured", "end_running_transition": True}
    for _ in range(rotations):
        server.api("POST", path, body)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--database-url")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--webhooks", action="store_true", help="to webhooks instead of by mail")
    arguments = parser.parse_args()
    channel, serve = ("webhooks", serve_webhooks) if arguments.webhooks else ("mail", serve_mail)
    sent_total, queued = f"crossfade_{channel}_sent_total", f"crossfade_{channel}_queued"
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(fresh_database(arguments.database_url)) if arguments.database_url else None
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-mail-"))
        server, port = Instance(arguments.binary, directory, url), free_port()
        if arguments.webhooks:
            server.environment["CROSSFADE_OUTBOUND_PRIVATE_NETWORKS"] = "127.0.0.1/32"
        else:
            server.environment |= {
                "CROSSFADE_SMTP_URL": f"smtp://127.0.0.1:{port}", "CROSSFADE_MAIL_FROM": "Crossfade <crossfade@example.com>",
            }
        stack.callback(server.stop)
        server.start()
        property_id = server.api("POST", "/properties", {"name": "Shop"})["id"]
        owners = [f"owner-{number}@example.com" for number in range(OWNERS)]
        if arguments.webhooks:
            owners = []
            for number in range(WEBHOOKS):
                # Half of them of the property, and half of the platform: each has lanes of its own.
                scope = {"confirm_name": "Shop", "property_id": property_id} if number % 2 else {"confirm_name": "platform"}
                server.api("POST", "/webhooks", {"name": f"Hook {number}", "url": f"http://127.0.0.1:{port}/", **scope})
        # At another address it is another place, where messages wait for their release.
        server.kill()
        server.start_again()
        require(metric(server, "crossfade_mail_held") == 1, "messages are not held")
        create = {"name": "Billing", "property_id": property_id, "environments": ["development", "production"], "owners": owners}
        client = server.api("POST", "/clients", create)
        [registration] = [it for it in client["registrations"] if it["environment"] == "development"]
        fill(server, client, arguments.messages // (WEBHOOKS if arguments.webhooks else OWNERS))
        quiet_until = time.monotonic() + 10
        print(f"{'postgres' if url else 'sqlite'}, {channel}: {metric(server, queued):.0f} messages wait")
        print(f"tokens before: {shown(token_times(server, registration, lambda: time.monotonic() > quiet_until))}")
        context = multiprocessing.get_context("fork")
        over = context.Event()
        process = context.Process(target=serve, args=(port, over))
        process.start()
        stack.callback(process.join, 10)
        stack.callback(over.set)
        server.cli("mail", "release", *server.place, "--reason", "measured")
        eventually(lambda: require(metric(server, sent_total) > 0, "nothing is sent"), seconds=60)
        before, begun = metric(server, sent_total), time.monotonic()
        times = token_times(
            server, registration, lambda: metric(server, queued) == 0 or time.monotonic() - begun > MAXIMUM_SECONDS)
        took, sent = time.monotonic() - begun, metric(server, sent_total) - before
        print(f"tokens meanwhile: {shown(times)}")
        print(f"{sent:.0f} messages in {took:.1f} s: {sent / took:.0f} a second")


if __name__ == "__main__":
    main()
