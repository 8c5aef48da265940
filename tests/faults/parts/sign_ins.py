"""Floods of sign-ins: what they take of memory, whom they delay, and whom they lock out."""

import contextlib
import pathlib
import re
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import requests

from harness import OWNER
from instance import Instance, eventually, require

MIB = 1024
HASH = 19 * MIB
WRONG = "wrong horse battery staple"
# Seconds, and how many times as long as a sign-in when nothing else happens. Behind 300 strangers it takes longer.
SOON = 4
TIMES = 10


def play(checks, arguments):
    with signed_in(arguments) as server, ThreadPoolExecutor(320) as pool:
        checks.run("50 sign-ins at once keep no memory", memory, server, pool)
        checks.run("300 strangers delay nobody who is known", strangers, server, pool)
        checks.run("a flood from one network delays no other", one_network, server, pool)
        checks.run("400 failures at an account lock nobody out", distributed, server, pool)


@contextlib.contextmanager
def signed_in(arguments):
    """A server that believes forwarded addresses from this machine, and a browser of its Owner."""
    with tempfile.TemporaryDirectory(prefix="crossfade-sign-ins-") as directory:
        server = Instance(arguments.binary, directory, None)
        server.directory = pathlib.Path(directory)
        server.environment["CROSSFADE_TRUSTED_PROXIES"] = "127.0.0.0/8"
        server.environment["CROSSFADE_FRESH_SIGN_IN_MINUTES"] = "1"
        try:
            server.start()
            server.browser = server.sign_in()
            server.device_name = next(name for name in server.browser.cookies.keys() if name.endswith("_device"))
            server.device = server.browser.cookies[server.device_name]
            server.soon = SOON + TIMES * min(sign_in(server, "198.51.100.2").took for _ in range(3))
            yield server
        finally:
            server.stop()


def sign_in(server, address, email=OWNER, password=None, cookies=None):
    form = {"email": email, "password": password or server.password, "to": "/console"}
    begun = time.monotonic()
    answer = requests.post(f"{server.url}/console/sign-in", data=form, headers={"X-Forwarded-For": address},
                           cookies=cookies, timeout=60, allow_redirects=False)
    answer.took = time.monotonic() - begun
    return answer


def memory_of(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])


def memory(server, pool):
    for _ in range(3):
        sign_in(server, "198.51.100.1")
    time.sleep(1)
    before, most, over = memory_of(server), 0, threading.Event()

    def watch():
        nonlocal most
        while not over.wait(0.005):
            most = max(most, memory_of(server))

    watching = threading.Thread(target=watch)
    watching.start()
    answers = list(pool.map(lambda _: sign_in(server, "198.51.100.1"), range(50)))
    over.set()
    watching.join()
    require(all(it.status_code == 303 for it in answers), f"they answer {[it.status_code for it in answers]}")
    require(most < before + 2 * HASH + 16 * MIB, f"{before} KiB before, {most} KiB at most")

    def given_back():
        now = memory_of(server)
        require(now < before * 1.2, f"{before} KiB before, {most} KiB at most, {now} KiB afterwards")
        return now

    now = eventually(given_back, seconds=30)
    print(f"memory: {before / MIB:.0f} MiB before, {most / MIB:.0f} MiB at most, {now / MIB:.0f} MiB afterwards")


def strangers(server, pool):
    flood = [pool.submit(sign_in, server, f"10.1.{number % 250}.{number // 250 + 1}", f"nobody{number}@example.com",
                         WRONG) for number in range(300)]
    time.sleep(0.2)
    begun = time.monotonic()
    confirmed = server.browser.post(f"{server.url}/console/confirm", data={"password": server.password},
                                    headers={"Accept": "application/json"}, timeout=60)
    took = time.monotonic() - begun
    known = from_known_browser(server)
    answers = [it.result() for it in flood]
    require(confirmed.status_code == 200, f"the fresh sign-in answers {confirmed.status_code}")
    require(took < server.soon, f"the fresh sign-in takes {took:.1f} s")
    require(known.status_code == 303 and known.took < server.soon, f"{known.status_code} after {known.took:.1f} s")
    statuses = sorted({it.status_code for it in answers})
    require(statuses == [422, 503], f"the strangers are answered {statuses}")
    busy = [it for it in answers if it.status_code == 503]
    require(all(it.headers.get("Retry-After") for it in busy), "a 503 has no Retry-After")
    require(all("Nothing was changed. Try again in" in it.text for it in busy), "a 503 has no sentence")
    slowest = max(it.took for it in answers)
    print(f"300 strangers: {len(busy)} refused, slowest {slowest:.1f} s, fresh sign-in {took:.2f} s")


def one_network(server, pool):
    flood = [pool.submit(sign_in, server, f"203.0.113.{number + 1}", f"nobody{number}@example.com", WRONG)
             for number in range(120)]
    time.sleep(0.2)
    honest = sign_in(server, "198.18.0.1")
    answers = [it.result() for it in flood]
    require(honest.status_code == 303 and honest.took < server.soon, f"{honest.status_code} after {honest.took:.1f} s")
    require(any(it.status_code == 503 for it in answers), "nobody was refused, so there was no flood")


def distributed(server, pool):
    addresses = [f"10.{100 + network}.0.{host + 1}" for host in range(10) for network in range(40)]
    flood = [pool.submit(sign_in, server, address, OWNER, WRONG) for address in addresses]
    time.sleep(0.5)
    known = from_known_browser(server)
    require(known.status_code == 303 and known.took < server.soon, f"{known.status_code} after {known.took:.1f} s")
    owner = sign_in(server, "192.0.2.99", password=WRONG)
    require(owner.status_code == 422 and owner.took < 10 + server.soon, f"{owner.status_code} after {owner.took:.1f} s")
    statuses = [it.result().status_code for it in flood]
    require(set(statuses) <= {422, 503}, f"the flood is answered {sorted(set(statuses))}")
    owner = sign_in(server, "192.0.2.99")
    require(owner.status_code == 303 and owner.took < 10 + server.soon, f"{owner.status_code} after {owner.took:.1f} s")


def from_known_browser(server):
    answer = sign_in(server, "192.0.2.77", cookies={server.device_name: server.device})
    server.device = answer.cookies.get(server.device_name, server.device)
    return answer
