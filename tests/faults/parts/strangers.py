"""Requests without a valid credential, thousands at the same time, while a leaked secret is ended."""

import requests

from harness import Registration
from instance import program, require
from load import enforcement, load, on_both_engines

ROUNDS = 5
CONNECTIONS = 1500
# Seconds. Behind the queue of strangers the change takes longer, or is refused after 5 s.
QUEUED = 4
# Answered without a look at the database: they can cost the change nothing but time of a CPU, which depends on the machine.
# It is printed, and the change must succeed.
UNREAD = {"a cookie that is no session", "the page to sign in"}
UNREAD_CONNECTIONS = 200


def play(checks, arguments):
    for engine, server in on_both_engines(arguments):
        item = server.api("POST", "/properties", {"name": "Leaks"})
        leaked = Registration(server, item["id"], "Leaked")
        user, ended = program(server, "viewer")
        server.api("DELETE", f"/users/{user['id']}")
        for name, request in floods(server, ended).items():
            checks.run(f"{engine}: {name} does not delay the end of a secret", delay, server, leaked, request,
                       f"{engine} {name}", name in UNREAD)


def floods(server, ended):
    # Well-formed credentials that have ended: each is looked up.
    session = server.sign_in()
    name = next(name for name in session.cookies.keys() if name.endswith("_session"))
    cookie = session.cookies[name]
    session.post(f"{server.url}/console/sign-out", data={}, timeout=30)
    invited = server.api("POST", "/users", {"email": "gone@example.com"})
    code = invited["activation_link"]["url"].split("#")[1]
    server.api("DELETE", f"/users/{invited['id']}")
    link = f"link={code}&email=&password=aaaaaaaaaaaaaaaaaaaa&repeated=aaaaaaaaaaaaaaaaaaaa"
    form = "Content-Type: application/x-www-form-urlencoded\r\n"
    post = lambda path, headers, body="": (f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}"
                                           f"Content-Length: {len(body)}\r\n\r\n{body}").encode()
    return {
        "a token that has ended": post("/api/v1/clients", f"Authorization: Bearer {ended}\r\n"
                                       "Content-Type: application/json\r\n", "{}"),
        "a session that has ended": post("/console/sign-out", f"Cookie: {name}={cookie}\r\n"),
        "a cookie that is no session": post("/console/sign-out", f"Cookie: {name}=aaaaaaaaaaaaaaaaaaaaaaaa\r\n"),
        "a link that has ended": post("/console/link", form, link),
        "the page to sign in": b"GET /console/sign-in HTTP/1.1\r\nHost: x\r\n\r\n",
    }


def delay(server, leaked, request, name, is_unread):
    quiet = max(enforcement(server, leaked) for _ in range(ROUNDS))
    with load(server, request, UNREAD_CONNECTIONS if is_unread else CONNECTIONS, warm_up=1) as counts:
        busy = max(enforcement(server, leaked) for _ in range(ROUNDS))
    answered = sum(counts[:500])
    print(f"{name}: slowest {quiet * 1e3:.1f} ms quiet, {busy * 1e3:.1f} ms under load; "
          f"{answered} answered, {sum(counts) - answered} refused")
    require(sum(counts) > 0, "nothing was answered")
    require(is_unread or busy <= QUEUED, f"{busy:.1f} s, and {quiet:.1f} s while it is quiet")
    require(requests.get(f"{server.url}/readyz", timeout=5).status_code == 200, "not ready afterwards")
