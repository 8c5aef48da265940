"""Mail over STARTTLS with a password, read back from a mail server that is not ours: aiosmtpd."""

import asyncio
import contextlib
import email
import email.policy
import pathlib
import re
import shutil
import sqlite3
import ssl
import tempfile
import time

import requests
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from instance import free_port, program, require
from tls import Pair
from watched import Watched, holds

USER, PASSWORD = "crossfade", "a pass:word / with signs %"
# Everything that opens something, by its kind.
CREDENTIAL = re.compile(r"crossfade_(live|test|api|session|link|device)_[0-9A-Za-z]{20}")
# Names that must reach a mailbox as they are.
NAMES = ["é" * 200, "صندوق الدفع", "תשלומים", "\"Quotes\" <b>&amp; 'more'", "Billing: Bcc, eve"]


# How long the server takes to examine a message to a recipient whose address says that it is slow.
SLOW_SECONDS = 6


class Mailbox:
    """What the server has taken. It refuses the recipients whose address says so."""

    def __init__(self):
        self.taken, self.sessions, self.begun = [], [], []

    async def handle_RCPT(self, server, session, envelope, address, options):
        for code in ("550", "451"):
            if address.startswith(f"refuse-{code}"):
                return f"{code} refused by this test"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.begun += envelope.rcpt_tos
        if envelope.rcpt_tos[0].startswith("slow"):
            await asyncio.sleep(SLOW_SECONDS)
        self.sessions.append(session)
        self.taken.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content, policy=email.policy.default)))
        return "250 taken"

    def to(self, address):
        return [message for recipients, message in self.taken if recipients == [address]]


class Server(Controller):
    def __init__(self, mailbox, pair, port):
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(pair.certificate, pair.key)
        super().__init__(mailbox, hostname="127.0.0.1", port=port)

    def factory(self):
        return SMTP(
            self.handler, hostname="mail.test", tls_context=self.context, require_starttls=True, auth_required=True,
            authenticator=self.check, enable_SMTPUTF8=True,
        )

    def check(self, server, session, envelope, mechanism, data):
        # The library answers a refusal only if it is told that nobody else did.
        success = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=success, handled=False)


def play(checks, arguments):
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-mail-")))
        pair = Pair(directory / "pair")
        pair.make()
        password = directory / "password"
        password.write_text("not-the-password\n")
        mailbox, port = Mailbox(), free_port()
        controller = Server(mailbox, pair, port)
        data = directory / "data"
        data.mkdir()
        server = Watched(arguments.binary, data, None)
        server.environment |= {
            "CROSSFADE_SMTP_URL": f"smtp://{USER}@127.0.0.1:{port}?tls=required",
            "CROSSFADE_SMTP_PASSWORD_FILE": str(password), "CROSSFADE_OUTBOUND_CA_FILE": str(pair.certificate),
            "CROSSFADE_MAIL_FROM": "Crossfade <crossfade@example.com>",
        }
        stack.callback(server.stop)
        server.start()
        server.create_client()
        _down(checks, server)
        _misconfigured(checks, server, pair)
        controller.start()
        stack.callback(controller.stop)
        _refused_password(checks, server, password)
        _tested(checks, server, mailbox)
        _delivered(checks, server, mailbox)
        _refused(checks, server, mailbox)
        _slow(checks, server, mailbox)
        _stopped(checks, server, mailbox)
        _names(checks, server, mailbox)
        _people(checks, server, mailbox)
        _alarms(checks, server, mailbox)
        _deferred(checks, server)
        _copied(checks, server, directory / "copy")
        _canary(checks, server, mailbox)
        _untrusted(checks, server, pair, directory)


def own(server, *owners):
    client = server.path.split("/environments")[0]
    server.api("PATCH", client, {"owners": list(owners), "confirm_client_name": "Billing"})


def _log_says(server, *words):
    def said():
        text = server.log.read_text()
        require(all(word in text for word in words), f"the log lacks one of {words}: {text[-800:]}")

    return said


def _down(checks, server):
    own(server, "ada@example.com")
    server.changes(checks, "mail server down")
    server.eventually(checks, _log_says(server, "cannot send mail", "cannot connect"), "a server that is down is logged")
    holds(checks, server.metric("crossfade_mail_queued") >= 2, "a metric has the queue")
    _, sentence = server.doctor()["mail"]
    holds(checks, "cannot connect" in sentence, "doctor says that the mail server is down", sentence)
    failing = lambda: server.cli("mail", "show", *server.place)["failing_since"]  # noqa: E731
    server.eventually(checks, lambda: require(failing(), "nothing"), "the command says since when the server cannot send")


def _misconfigured(checks, server, pair):
    """Each wrong setting is named, by two servers that work with the right one."""
    starttls = Server(Mailbox(), pair, free_port())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    only_tls = Controller(Mailbox(), hostname="127.0.0.1", port=free_port(), ssl_context=context)
    right = dict(server.environment)
    with contextlib.ExitStack() as stack:
        for controller in [starttls, only_tls]:
            controller.start()
            stack.callback(controller.stop)
        stack.callback(server.environment.update, right)
        at = f"127.0.0.1:{starttls.port}"
        for url, what, said in [
            (f"smtps://{at}", "TLS on a port that begins without", "does not begin with TLS: use smtp://"),
            (f"smtp://{at}", "no STARTTLS where it is required", "requires STARTTLS: add ?tls=required"),
            (f"smtp://{USER}@{at}", "a password without STARTTLS", "on an unencrypted connection: add ?tls=required"),
            (f"smtp://{at}?tls=required", "no user where one is required", "requires a sign-in: set a user"),
            (f"smtp://{USER}@{at}?tls=required", "a wrong password", "refuses the user or password: 535"),
            (f"smtp://127.0.0.1:{only_tls.port}?tls=required", "STARTTLS on a port of TLS", "use smtps://"),
            (f"smtps://127.0.0.1:{only_tls.port}", "the right settings", "Sent a test message"),
        ]:
            server.environment |= right | {"CROSSFADE_SMTP_URL": url}
            if "@" not in url:
                del server.environment["CROSSFADE_SMTP_PASSWORD_FILE"]
            done = server.tested_mail("ada@example.com")
            holds(checks, said in done and "not-the-password" not in done, f"a test of mail names {what}", done)


def _refused_password(checks, server, password):
    _, sentence = server.doctor()["mail"]
    holds(checks, "refuses the user or password: 535" in sentence, "doctor says that the password is refused", sentence)
    password.write_text(PASSWORD + "\n")
    outcome, sentence = server.doctor()["mail"]
    holds(checks, "takes mail" in sentence, "a new password is used without a restart", f"{outcome} {sentence}")
    said = server.log.read_text() + sentence
    holds(checks, PASSWORD not in said and "not-the-password" not in said, "no password is shown")


def _tested(checks, server, mailbox):
    said = server.tested_mail("tester@example.com")
    holds(checks, "Sent a test message to tester@example.com. Accepted by" in said, "a test by the command is accepted", said)
    message = _one(server, mailbox, checks, "tester@example.com", "Test message from Crossfade", "and arrives")
    for body in _bodies(message):
        held = all(text in body for text in ["This is a test message", "/console", "crossfade mail test"])
        holds(checks, held, "and says who asked for it, as text and as HTML", body)
    holds(checks, server.cli("mail", "show", *server.place)["failing_since"] is None, "which ends the failure")


def _delivered(checks, server, mailbox):
    def arrived():
        require(len(mailbox.to("ada@example.com")) >= 2, f"{len(mailbox.taken)} messages arrived")

    # Without the test, messages that failed would be tried again after a minute.
    server.eventually(checks, arrived, "what waited is sent after an accepted test", seconds=20)
    rotated = [one for one in mailbox.to("ada@example.com") if "rotated" in one["Subject"]]
    holds(checks, len(rotated) == 1, "one rotation is one message", str([one["Subject"] for one in rotated]))
    [message] = rotated
    found = {name: message[name] for name in ("From", "To", "Auto-Submitted")}
    wanted = {"From": "Crossfade <crossfade@example.com>", "To": "ada@example.com", "Auto-Submitted": "auto-generated"}
    holds(checks, {name: str(text) for name, text in found.items()} == wanted, "the headers are right", str(found))
    holds(checks, message["Message-ID"].endswith("@example.com>") and message["Date"], "it has an ID and a date")
    text, page = (message.get_body(preferencelist=[kind]).get_content() for kind in ("plain", "html"))
    link = f"{server.url}/console{server.path}/security"
    holds(checks, link in text and link in page, "text and HTML lead to the client", text)
    holds(checks, server.secret not in text + page, "it has no secret")
    holds(checks, all(session.ssl for session in mailbox.sessions), "every message came over TLS")


def _refused(checks, server, mailbox):
    own(server, "refuse-550@example.com", "bob@example.com")
    server.eventually(checks, _log_says(server, "a message was refused", "550 refused by this test"), "a refusal is logged")
    server.eventually(checks, lambda: require(mailbox.to("bob@example.com"), "nothing for bob"), "the others get theirs")
    holds(checks, server.metric("crossfade_mail_refused_total") >= 1, "a metric counts refusals")
    _, sentence = server.doctor()["mail"]
    holds(checks, "could not be delivered" in sentence, "doctor says that a message was lost", sentence)


def _begins(server, mailbox, checks, address):
    server.eventually(checks, lambda: require(address in mailbox.begun, str(mailbox.begun[-5:])), f"a message to {address} begins")


def _slow(checks, server, mailbox):
    """What is queued while a message is under way does not wait for it."""
    own(server, "slow@example.com")
    _begins(server, mailbox, checks, "slow@example.com")
    own(server, "quick@example.com")
    server.eventually(
        checks, lambda: require(mailbox.to("quick@example.com"), "nothing"), "others arrive while one is slow", seconds=SLOW_SECONDS)
    holds(checks, not mailbox.to("slow@example.com"), "before the slow one")
    server.eventually(checks, lambda: require(server.metric("crossfade_mail_queued") == 0, "it waits"), "the slow one is taken, too")


def _stopped(checks, server, mailbox):
    """A planned stop cuts no dialog, so the message comes once."""
    own(server, "slow-stop@example.com")
    _begins(server, mailbox, checks, "slow-stop@example.com")
    begun = time.monotonic()
    server.process.terminate()
    served = []
    while time.monotonic() - begun < SLOW_SECONDS / 3:
        served.append(server.token().status_code)
        time.sleep(0.1)
    holds(checks, set(served) == {200}, "requests are served while the end waits for a message", str(served))
    server.stop()
    took = time.monotonic() - begun
    holds(checks, took < 2 * SLOW_SECONDS, "a stop waits for the dialog, and for no more", f"{took:.1f} s")
    holds(checks, len(mailbox.to("slow-stop@example.com")) == 1, "the message was taken before the stop")
    # On another port it would be in another place, and send nothing.
    server.environment["CROSSFADE_PUBLIC_URL"] = server.environment.get("CROSSFADE_PUBLIC_URL", server.url)
    server.start_again()
    holds(checks, server.metric("crossfade_mail_queued") == 0, "its result was stored")
    own(server, "after-stop@example.com")
    server.eventually(checks, lambda: require(mailbox.to("after-stop@example.com"), "nothing"), "the next process sends the next")
    messages = mailbox.to("slow-stop@example.com")
    holds(checks, sorted(one["Subject"] for one in messages) == sorted({one["Subject"] for one in messages}), "each came once")


def _names(checks, server, mailbox):
    property_id = server.api("GET", "/properties")["items"][0]["id"]
    for number, name in enumerate(NAMES):
        to = f"names-{number}@example.com"
        body = {"name": name, "property_id": property_id, "environments": ["production"], "owners": [to]}
        client = server.api("POST", "/clients", body)
        rotation = {"transition_hours": 24, "confirm_client_name": name, "reason": "checked"}
        server.api("POST", f"/clients/{client['id']}/environments/production/secrets/rotate", rotation)

        def read(to=to, name=name):
            messages = mailbox.to(to)
            subjects = sorted(str(message["Subject"]).split(":")[0] for message in messages)
            require(subjects == ["Secret rotated", "You are an owner"], subjects)
            for message in messages:
                check(message, name)

        def check(message, name):
            known = {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"}
            require(set(message.keys()) == known, f"the headers are {message.keys()}")
            text = message.get_body(preferencelist=["plain"]).get_content()
            require(name.split()[-1] in text.replace("\n", " "), text)
            require(name[:20] in str(message["Subject"]), str(message["Subject"]))
            page = message.get_body(preferencelist=["html"]).get_content()
            require("<b>" not in page, "the name is markup")

        server.eventually(checks, read, f"a name like {name[:10]!r} arrives as it is")


def _bodies(message):
    return [message.get_body(preferencelist=[kind]).get_content() for kind in ("plain", "html")]


def _one(server, mailbox, checks, address, subject, what, seconds=60):
    """The one message to this address with this subject."""
    def found():
        return [one for one in mailbox.to(address) if str(one["Subject"]).startswith(subject)]

    server.eventually(checks, lambda: require(len(found()) == 1, str([one["Subject"] for one in mailbox.to(address)])), what, seconds)
    return found()[0]


def _people(checks, server, mailbox):
    address = "new@example.com"
    user = server.api("POST", "/users", {"email": address, "name": "New"})
    url = user["activation_link"]["url"]
    holds(checks, user["activation_link"]["mailed"], "the reply says that the link was mailed, and has it")
    invitation = _one(server, mailbox, checks, address, "You were invited", "an invitation arrives")
    holds(checks, all(url in body for body in _bodies(invitation)), "its text and HTML have the link")
    value = url.rpartition("#")[2]
    fields = {"link": value, "email": "", "password": "another horse battery staple", "repeated": "another horse battery staple"}
    session = requests.Session()
    used = session.post(
        f"{server.url}/console/link", data=fields, headers={"Sec-Fetch-Site": "same-origin"}, timeout=30, allow_redirects=False)
    holds(checks, used.status_code == 303, "the mailed link opens the account", f"{used.status_code} {used.text[:300]}")
    _one(server, mailbox, checks, address, "Your password was set", "its use is told")
    server.api("POST", f"/users/{user['id']}/grants", {"role": "viewer"})
    granted = _one(server, mailbox, checks, address, "You were granted a role", "a role is told")
    holds(checks, "whole platform" in _bodies(granted)[0], "with its scope", _bodies(granted)[0])
    reset = _reset(checks, server, mailbox, user, address)
    closed = server.api("POST", f"/users/{user['id']}/grants", {"role": "secret_rotator"})
    withheld = _one(server, mailbox, checks, address, "A link to set your password", "a link that sees secrets is told")
    secret = closed["activation_link"]["url"].rpartition("#")[2]
    holds(checks, all(secret not in body for body in _bodies(withheld)), "and is not mailed")
    others = [one for one in mailbox.to(address) if one not in (invitation, reset)]
    holds(checks, all("console/link" not in body for one in others for body in _bodies(one)), "no other message has a link")
    log = server.log.read_text()
    holds(checks, value not in log and secret not in log, "no link is in the log")


def _reset(checks, server, mailbox, user, address):
    """A link to set a new password is mailed if somebody creates it who is not an Owner."""
    _, token = program(server, "operations_manager")
    answer = requests.post(
        f"{server.url}/api/v1/users/{user['id']}/link", json={}, headers={"Authorization": f"Bearer {token}"}, timeout=30)
    holds(checks, answer.status_code == 201 and answer.json()["mailed"], "a manager creates a link for a new password", answer.text)
    url = answer.json()["url"]
    message = _one(server, mailbox, checks, address, "Set a new password for Crossfade", "it is mailed")
    holds(checks, all(url in body for body in _bodies(message)), "its text and HTML have the link")
    fields = {"link": url.rpartition("#")[2], "email": ""} | dict.fromkeys(["password", "repeated"], "a third horse battery staple")
    used = requests.post(
        f"{server.url}/console/link", data=fields, headers={"Sec-Fetch-Site": "same-origin"}, timeout=30, allow_redirects=False)
    holds(checks, used.status_code == 303, "and sets the new password", f"{used.status_code} {used.text[:300]}")
    return message


def _alarms(checks, server, mailbox):
    address = "wake@example.com"
    own(server, address)
    old = server.secret
    server.api("POST", "/leaks", {"text": f"key = {old}"})
    leak = _one(server, mailbox, checks, address, "Leaked current secret reported", "a reported leak is told")
    holds(checks, all(old not in body for body in _bodies(leak)), "without the secret")
    server.changes(checks, "after the leak")
    for _ in range(25):
        requests.post(
            f"{server.issuer('production')}/oauth2/token", auth=(server.client_id, old),
            data={"grant_type": "client_credentials"}, timeout=30)
    presented = _one(server, mailbox, checks, address, "Ended secret still presented", "an ended secret in use is told", 90)
    holds(checks, all(old not in body for body in _bodies(presented)), "without the secret, too")


def _canary(checks, server, mailbox):
    """Nothing that opens anything is in a message, but the link in an invitation or a reset."""
    wrong, links = [], 0
    for _, message in mailbox.taken:
        text = " ".join([*_bodies(message), *(str(value) for value in message.values())])
        may_have_link = str(message["Subject"]).startswith(("You were invited", "Set "))
        links += may_have_link
        found = set(CREDENTIAL.findall(text))
        if any(kind != "link" or not may_have_link for kind in found):
            wrong.append((str(message["Subject"]), found))
    holds(checks, not wrong and links >= 1, "no message has a secret, and only invitations and resets have a link", str(wrong))
    # Before there is an Owner, the server prints a link for the first one.
    found = set(CREDENTIAL.findall(server.log.read_text())) - {"link"}
    holds(checks, not found, "the log has none", str(found))


def _copied(checks, server, directory):
    """A copy of the database with the settings of the original sends nothing until it is released."""
    source, place = pathlib.Path(server.place[1]), directory / "data"
    place.mkdir(parents=True)
    shutil.copy(source / "master.key", place / "master.key")
    with contextlib.closing(sqlite3.connect(source / "crossfade.db")) as original, \
            contextlib.closing(sqlite3.connect(place / "crossfade.db")) as copied:
        original.backup(copied)
    copy = Watched(server.binary, directory, None)
    copy.environment |= {name: text for name, text in server.environment.items() if name.startswith("CROSSFADE_")}
    copy.environment["CROSSFADE_PUBLIC_URL"] = server.url
    copy.session, copy.path, copy.secret = server.session, server.path, server.secret
    try:
        copy.start_again()
        holds(checks, copy.metric("crossfade_mail_held") == 1, "a copy is held")
        _, sentence = copy.doctor()["mail"]
        holds(checks, "another place" in sentence, "doctor says so", sentence)
        time.sleep(3)
        sent = copy.metric("crossfade_mail_sent_total"), copy.metric("crossfade_mail_failed_total")
        holds(checks, sent == (0, 0), "it tries to send nothing", str(sent))
        released = copy.cli("mail", "release", *copy.place, "--reason", "moved")
        holds(checks, released["abandoned"] == 1, "what waited in the original is abandoned", str(released))
        copy.eventually(
            checks, lambda: require(copy.metric("crossfade_mail_held") == 0, "it is held"), "the release ends that")
        holds(checks, copy.metric("crossfade_mail_queued") == 0, "nothing of the original waits")
    finally:
        copy.stop()


def _deferred(checks, server):
    before = server.metric("crossfade_mail_failed_total")
    own(server, "refuse-451@example.com")
    server.eventually(
        checks, lambda: require(server.metric("crossfade_mail_failed_total") > before, "none failed"),
        "a refusal for now is counted and waits",
    )
    server.eventually(
        checks, lambda: require(server.metric("crossfade_mail_queued") == 1, "not one waits"), "it alone waits in the queue"
    )


def _untrusted(checks, server, pair, directory):
    system = directory / "system.pem"
    shutil.copy(pair.certificate, system)
    pair.make()  # another certificate, in the file of trusted ones alone
    _, sentence = server.doctor()["mail"]
    holds(checks, "certificate" in sentence, "a certificate that does not fit is refused", sentence)
    server.environment["SSL_CERT_FILE"] = str(system)
    _, sentence = server.doctor()["mail"]
    holds(checks, "certificate" not in sentence, "the authorities of the system count beside those of the file", sentence)
