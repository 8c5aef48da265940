"""Every letter, with the worst that people can type, sent over STARTTLS and read back from aiosmtpd as it was written."""

import contextlib
import hashlib
import json
import pathlib
import sqlite3
import tempfile
import time

from instance import free_port, require
from mail import PASSWORD, USER, Mailbox, Server
from tls import Pair
from watched import Watched, holds

# Written by the test `the_letters_that_are_sent_over_starttls_are_these`.
LETTERS = json.loads((pathlib.Path(__file__).resolve().parents[1] / "letters.json").read_text())
# The letters are those to this owner.
TO = "ada@example.com"
ROW = ["id", "created_at", "number", "event", "client_id", "client_name", "environment", "recipients", "actor_name",
       "actor_kind", "source", "reason", "details"]


def play(checks, arguments):
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-letters-")))
        pair = Pair(directory / "pair")
        pair.make()
        password = directory / "password"
        password.write_text(PASSWORD)
        mailbox, port = Mailbox(), free_port()
        controller = Server(mailbox, pair, port)
        controller.start()
        stack.callback(controller.stop)
        data = directory / "data"
        data.mkdir()
        server = Watched(arguments.binary, data, None)
        server.environment |= {
            "CROSSFADE_PUBLIC_URL": "https://auth.example.com",
            "CROSSFADE_SMTP_URL": f"smtp://{USER}@127.0.0.1:{port}?tls=required",
            "CROSSFADE_SMTP_PASSWORD_FILE": str(password), "CROSSFADE_OUTBOUND_CA_FILE": str(pair.certificate),
            "CROSSFADE_MAIL_FROM": "Crossfade <crossfade@example.com>",
        }
        stack.callback(server.stop)
        server.start()
        _queue(data / "data" / "crossfade.db")
        wanted = len(LETTERS)
        taken = lambda: require(len(mailbox.taken) == wanted, f"{len(mailbox.taken)} of {wanted} arrived")  # noqa: E731
        server.eventually(checks, taken, f"all {wanted} letters arrive", seconds=60)
        holds(checks, all(session.ssl for session in mailbox.sessions), "each comes over TLS")
        for number, letter in enumerate(LETTERS):
            name = f"letter {number}, {letter['event']}"
            checks.run(f"{name}, arrives as it was written", _arrived, mailbox, number, letter)


def _queue(database):
    """Writes the rows that changes would have written."""
    now = int(time.time() * 1_000_000)
    with contextlib.closing(sqlite3.connect(database, timeout=20)) as store, store:
        for number, letter in enumerate(LETTERS):
            name = f"letter{number}"
            row = letter | {"id": name, "recipients": json.dumps([TO]), "details": json.dumps(letter["details"])}
            marks = ", ".join("?" * len(ROW))
            store.execute(f"INSERT INTO notifications ({', '.join(ROW)}) VALUES ({marks})", [row[column] for column in ROW])
            store.execute(
                "INSERT INTO deliveries (id, notification_id, channel, recipient, cause, created_at, next_attempt_at)"
                " VALUES (?, ?, 'mail', ?, ?, ?, ?)", [name, name, TO, name, now, now])


def _arrived(mailbox, number, letter):
    messages = [one for one in mailbox.to(TO) if one["Message-ID"] == f"<letter{number}@example.com>"]
    require(len(messages) == 1, f"{len(messages)} messages")
    [message] = messages
    require(str(message["Subject"]) == letter["subject"], f"{message['Subject']!r} instead of {letter['subject']!r}")
    text, page = (message.get_body(preferencelist=[kind]).get_content() for kind in ("plain", "html"))
    for kind, body in (("text", text), ("html", page)):
        written = body.replace("\r\n", "\n")
        require(hashlib.sha256(written.encode()).hexdigest() == letter[f"{kind}_sha256"], f"{kind}: {body}")
