"""Many costly reads of a Viewer while a leaked secret is ended: how long the old secret is still accepted."""

import asyncio
import multiprocessing
import os
import statistics
import time

import requests

from harness import Registration
from instance import instance, program, require

CALLERS = 6000
ROUNDS = 15
# Seconds. Behind the queue of reads the end of a secret takes at least twice as long.
QUEUED = 5


def play(checks, arguments):
    for engine in ["sqlite", "postgres"]:
        if engine == "postgres" and not arguments.database_url:
            continue
        url = arguments.database_url if engine == "postgres" else None
        arguments_of = type(arguments)(**{**vars(arguments), "database_url": url})
        with instance(arguments_of) as server:
            item = server.api("POST", "/properties", {"name": "Reads"})
            watched = Registration(server, item["id"], "Watched")
            _, viewer = program(server, "viewer", property_id=item["id"])
            asyncio.run(fill(server, watched))
            watched.rotate(24)
            checks.run(f"{engine}: costly reads do not delay the end of a secret", delay, server, watched, viewer, engine)
            checks.run(f"{engine}: a reading is kept for a second", kept, server, watched, viewer)
            checks.run(f"{engine}: a read stops with its client", hang_up, server, watched, viewer)


async def fill(server, registration):
    """Token requests of thousands of callers."""
    host, port = server.url.removeprefix("http://").split(":")
    body = (f"grant_type=client_credentials&client_id={registration.client_id}"
            f"&client_secret={registration.secret['value']}").encode()

    async def worker(first):
        reader, writer = await asyncio.open_connection(host, int(port))
        for number in range(first, CALLERS, 8):
            writer.write(b"POST /env/production/oauth2/token HTTP/1.1\r\nHost: x\r\nUser-Agent: caller/%d\r\n"
                         b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s"
                         % (number, len(body), body))
            require((await answer(reader)) == 200, "a token is refused")
        writer.close()

    await asyncio.gather(*(worker(first) for first in range(8)))


async def answer(reader):
    """Reads one answer and returns its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n")
                   if line.startswith(b"content-length:")), 0)
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])


def load(url, path, token, connections, ready, over, counts):
    """Keeps as many reads running, from a process of its own."""
    os.nice(5)

    async def run():
        host, port = url.removeprefix("http://").split(":")
        request = (f"GET /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n").encode()

        async def one():
            reader, writer = await asyncio.open_connection(host, int(port))
            while not over.is_set():
                writer.write(request)
                status = await answer(reader)
                if status == 200:
                    counts[0] += 1
                else:
                    counts[1 if status == 429 else 2] += 1
                    await asyncio.sleep(1)
            writer.close()

        ready.set()
        await asyncio.gather(*(one() for _ in range(connections)), return_exceptions=True)

    asyncio.run(run())


def enforcement(server, registration):
    """Seconds from the begin of an emergency rotation until the old secret is refused."""
    old = registration.secret["value"]
    begun = time.monotonic()
    registration.rotate(0, compromised=True, end_running_transition=True)
    form = {"grant_type": "client_credentials", "client_id": registration.client_id, "client_secret": old}
    answer = requests.post(f"{server.url}/env/production/oauth2/token", data=form, timeout=60)
    require(answer.status_code == 401, f"the old secret is answered {answer.status_code}")
    return time.monotonic() - begun


def delay(server, watched, viewer, engine):
    item = server.api("POST", "/properties", {"name": "Leaks"})
    leaked = Registration(server, item["id"], "Leaked")
    quiet = [enforcement(server, leaked) for _ in range(ROUNDS)]
    print(f"{engine} quiet: median {statistics.median(quiet) * 1e3:.1f} ms, slowest {max(quiet) * 1e3:.1f} ms")
    context = multiprocessing.get_context("fork")
    for connections in [100, 1500]:
        ready, over, counts = context.Event(), context.Event(), context.Array("q", 3)
        reading = context.Process(target=load, args=(server.url, f"{watched.path}/change-over", viewer, connections,
                                                     ready, over, counts))
        reading.start()
        ready.wait(10)
        time.sleep(0.5)
        try:
            busy = [enforcement(server, leaked) for _ in range(ROUNDS)]
        finally:
            over.set()
            reading.join(15)
            if reading.is_alive():
                reading.terminate()
        print(f"{engine} with {connections} reads: median {statistics.median(busy) * 1e3:.1f} ms, slowest "
              f"{max(busy) * 1e3:.1f} ms; {counts[0]} read, {counts[1]} refused, {counts[2]} other")
        require(counts[0] > 0 and counts[2] == 0, f"{list(counts)} reads were answered, refused, failed")
        # The ratio is a figure to read. What must not come back is an end that waits behind the queue of reads.
        require(max(busy) <= QUEUED, f"{max(busy):.1f} s, and {max(quiet):.1f} s while it is quiet")


def kept(server, watched, viewer):
    headers = {"Authorization": f"Bearer {viewer}"}
    time.sleep(1.1)
    read = lambda: requests.get(f"{server.url}/api/v1{watched.path}/change-over", headers=headers, timeout=30).json()
    first, second = read()["at"], read()["at"]
    require(first == second, "a second reading was computed at once")
    time.sleep(1.1)
    require(read()["at"] != first, "a reading is kept for longer than a second")


def hang_up(server, watched, viewer):
    """Clients that go away do not keep the turns of their account."""
    path = f"{server.url}/api/v1{watched.path}/usage?limit="
    headers = {"Authorization": f"Bearer {viewer}"}
    for limit in range(1, 100):
        try:
            requests.get(path + str(limit), headers=headers, timeout=0.001)
        except requests.RequestException:
            pass
    begun = time.monotonic()
    answer = requests.get(path + "200", headers=headers, timeout=30)
    took = time.monotonic() - begun
    require(answer.status_code == 200 and took < 1, f"{answer.status_code} after {took:.1f} s")
