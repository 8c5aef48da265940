"""Webhooks to real receivers: over TLS, slow, dead, redirecting, gone, endless. The library of Standard Webhooks verifies."""

import contextlib
import http.server
import json
import pathlib
import ssl
import tempfile
import threading
import time

import jsonschema_rs
from standardwebhooks import Webhook, WebhookVerificationError

from instance import require
from tls import Pair
from watched import Watched, holds

SCHEMA = pathlib.Path(__file__).resolve().parents[3] / "docs/reference/webhook-events.json"


class Receiver(http.server.ThreadingHTTPServer):
    """Takes every delivery, or behaves as its `manner` says."""

    daemon_threads = True
    every = []

    def __init__(self, manner="fine", other=None, pair=None):
        self.manner, self.other, self.taken, self.closed_after = manner, other, [], []
        Receiver.every.append(self)
        super().__init__(("127.0.0.1", 0), Handler)
        if pair:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(pair.certificate, pair.key)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        # The certificate is for the address.
        host = "https://127.0.0.1" if pair else "http://localhost"
        self.url = f"{host}:{self.server_address[1]}/hook"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that hangs up is no error here."""

    def kinds(self):
        return [json.loads(body).get("type") for _, body in self.taken]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = self.rfile.read(int(self.headers["content-length"]))
        server.taken.append((dict(self.headers), body))
        if server.manner == "dead":
            time.sleep(30)
        elif server.manner == "slow":
            time.sleep(6)
            self.answer(204)
        elif server.manner == "redirecting":
            self.answer(302, {"location": server.other.url})
        elif server.manner == "gone":
            self.answer(410)
        elif server.manner == "failing once" and len(server.taken) == 1:
            self.answer(500)
        elif server.manner == "endless":
            self.send_response(200)
            self.end_headers()
            begun = time.monotonic()
            with contextlib.suppress(OSError):
                while time.monotonic() < begun + 30:
                    self.wfile.write(b"0" * 65536)
            server.closed_after.append(time.monotonic() - begun)
        else:
            self.answer(204)

    def answer(self, status, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        """Says nothing."""


def play(checks, arguments):
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-webhooks-")))
        pair = Pair(directory / "pair")
        pair.make()
        data = directory / "data"
        data.mkdir()
        server = Watched(arguments.binary, data, None)
        server.environment |= {
            "CROSSFADE_OUTBOUND_PRIVATE_NETWORKS": "127.0.0.1/32, ::1/128", "CROSSFADE_OUTBOUND_CA_FILE": str(pair.certificate),
            # A proxy that a client library would take from the environment.
            "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9",
        }
        stack.callback(server.stop)
        server.start()
        server.create_client()
        _signed(checks, server, Receiver(pair=pair))
        _stopped(checks, server)
        _manners(checks, server)
        _inside(checks, server)
        _valid(checks)


def hook(server, receiver, **more):
    body = {"name": receiver.manner, "url": receiver.url, "confirm_name": "platform", **more}
    return server.api("POST", "/webhooks", body)


def arrived(receiver, number=1):
    def seen():
        require(len(receiver.taken) >= number, f"{len(receiver.taken)} deliveries of {number} arrived")

    return seen


def verifies(secret, headers, body):
    try:
        Webhook(secret).verify(body, headers)
        return True
    except WebhookVerificationError:
        return False


def _signed(checks, server, receiver):
    webhook = hook(server, receiver)
    path, first = f"/webhooks/{webhook['id']}", webhook["signing_secret"]
    server.changes(checks, "a webhook over TLS")
    server.eventually(checks, arrived(receiver), "a delivery arrives over TLS")
    headers, body = receiver.taken[0]
    holds(checks, verifies(first, headers, body), "the library verifies the signature", str(headers))
    holds(checks, not verifies(first, headers, body + b" "), "the library refuses another body")
    holds(checks, server.secret not in body.decode() and first not in body.decode(), "it has no secret")
    second = server.api("POST", f"{path}/rotate-secret", {"overlap_hours": 1})["signing_secret"]
    server.api("POST", f"{path}/test", {})
    server.eventually(checks, arrived(receiver, 2), "a test arrives")
    both = [verifies(secret, *receiver.taken[1]) for secret in (first, second)]
    holds(checks, both == [True, True], "both secrets verify while one takes over", str(both))
    third = server.api("POST", f"{path}/rotate-secret", {"overlap_hours": 0, "end_running_overlap": True})["signing_secret"]
    delivery = server.api("GET", f"{path}/deliveries")["items"][0]
    server.api("POST", f"{path}/deliveries/{delivery['id']}/replay", {})
    server.eventually(checks, arrived(receiver, 3), "a replayed delivery arrives")
    headers, body = receiver.taken[2]
    known = [verifies(secret, headers, body) for secret in (first, second, third)]
    holds(checks, known == [False, False, True], "without an overlap only the new secret verifies", str(known))
    holds(checks, headers["webhook-id"] == delivery["id"], "a replay has the ID of its delivery", str(headers))
    said = server.log.read_text()
    holds(checks, not any(secret in said for secret in (first, second, third)), "the log has no signing secret")
    server.api("DELETE", path)


def _manners(checks, server):
    innocent = Receiver("innocent")
    manners = ("dead", "redirecting", "gone", "failing once", "endless")
    receivers = {manner: Receiver(manner, other=innocent) for manner in manners}
    hooks = {manner: hook(server, receiver) for manner, receiver in receivers.items()}
    fine = Receiver("fine")
    hooks["fine"] = hook(server, fine)
    begun = time.monotonic()
    server.changes(checks, "receivers of every kind")
    server.eventually(checks, arrived(fine), "a receiver that is fine gets its delivery beside a dead one", seconds=10)
    took = time.monotonic() - begun
    holds(checks, took < 10, "it does not wait for the dead one", f"{took:.1f} s")
    server.eventually(checks, arrived(receivers["failing once"], 2), "a failed delivery is repeated", seconds=30)
    ids = {headers["webhook-id"] for headers, _ in receivers["failing once"].taken}
    holds(checks, len(ids) == 1, "under one ID", str(ids))

    def log(manner):
        return server.api("GET", f"/webhooks/{hooks[manner]['id']}/deliveries")["items"]

    def status(manner, *wanted):
        def found():
            [first, *_] = log(manner)
            require((first["status"], first["last_status"]) in wanted, str(first))

        return found

    server.eventually(checks, status("endless", ("sent", 200)), "an endless answer is cut off and counts by its status")
    server.eventually(
        checks, lambda: require(receivers["endless"].closed_after, "still open"), "its connection is closed", seconds=30
    )
    holds(checks, max(receivers["endless"].closed_after, default=99) < 10, "within seconds", str(receivers["endless"].closed_after))
    server.eventually(checks, status("redirecting", ("queued", 302)), "a redirect is a failure")
    holds(checks, not innocent.taken, "where it leads nothing arrives")
    server.eventually(checks, status("gone", ("abandoned", 410)), "410 abandons the delivery")
    gone = server.api("GET", f"/webhooks/{hooks['gone']['id']}")
    holds(checks, (gone["enabled"], gone["disabled_as"]) == (False, "gone"), "and disables the webhook", str(gone))
    server.eventually(
        checks, lambda: require(log("dead")[0]["last_error"], "no answer yet"), "a receiver that never answers is given up after 15 s",
        seconds=40,
    )
    [dead, *_] = log("dead")
    holds(checks, dead["last_error"] == "no answer in time" and dead["last_duration_ms"] >= 14000, "and the log says so", str(dead))
    holds(checks, server.metric("crossfade_webhooks_disabled") == 1, "a metric counts disabled webhooks")
    holds(checks, server.metric("crossfade_webhooks_queued") >= 2, "a metric has the queue")
    outcome, sentence = server.doctor()["webhooks"]
    holds(checks, "disabled" in sentence, "doctor says that a webhook is disabled", f"{outcome} {sentence}")
    for webhook in hooks.values():
        server.api("DELETE", f"/webhooks/{webhook['id']}")


def _stopped(checks, server):
    """A planned stop cuts no delivery, so it comes once."""
    slow = Receiver("slow")
    webhook = hook(server, slow)
    server.changes(checks, "a slow receiver")
    server.eventually(checks, arrived(slow), "a slow receiver gets its delivery")
    server.stop()
    # On another port it would be in another place, and send nothing.
    server.environment["CROSSFADE_PUBLIC_URL"] = server.url
    server.start_again()
    # The expiry of the old secret may have been told meanwhile, too.
    log = server.api("GET", f"/webhooks/{webhook['id']}/deliveries")["items"]
    [delivery] = [one for one in log if one["event"] == "secret.rotated"]
    found = (delivery["status"], delivery["attempts"], slow.kinds().count("secret.rotated"))
    holds(checks, found == ("sent", 1, 1), "a stop waits for the answer, and stores it", str(found))
    server.api("DELETE", f"/webhooks/{webhook['id']}")


def _inside(checks, server):
    """Without the setting, nothing of this machine is asked, by address or by name."""
    receiver = Receiver("inside")
    port = receiver.server_address[1]
    webhook = hook(server, receiver)
    server.stop()
    # On another port it would be in another place, and send nothing.
    server.environment["CROSSFADE_OUTBOUND_PRIVATE_NETWORKS"] = "10.255.0.0/16"
    server.start_again()
    server.api("POST", f"/webhooks/{webhook['id']}/test", {})

    def refused():
        [first, *_] = server.api("GET", f"/webhooks/{webhook['id']}/deliveries")["items"]
        require(first["attempts"] >= 1, str(first))
        require((first["last_error"], first["last_status"]) == ("refused address", None), str(first))

    server.eventually(checks, refused, "a name of this machine is refused when it is connected to")
    for url in (f"http://127.0.0.1:{port}/", f"https://2130706433:{port}/", f"https://[::ffff:7f00:1]:{port}/"):
        body = {"name": "inside", "url": url, "confirm_name": "platform"}
        answer = server.session.post(f"{server.url}/api/v1/webhooks", json=body, timeout=30)
        holds(checks, answer.status_code == 422, f"{url} is refused when it is set", answer.text)
    holds(checks, not receiver.taken, "nothing arrived")


def _valid(checks):
    """Every body that arrived in this part is what the published schema says."""
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text()))
    bodies = [json.loads(body) for receiver in Receiver.every for _, body in list(receiver.taken)]
    errors = [f"{body['type']}: {error}" for body in bodies for error in validator.iter_errors(body)]
    holds(checks, not errors, f"all {len(bodies)} bodies are what their schema says", "; ".join(errors)[:600])
    kinds = {body["type"] for body in bodies}
    holds(checks, {"secret.rotated", "webhook.test"} <= kinds, "those of changes and of tests", str(kinds))
