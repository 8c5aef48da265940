"""Many costly reads of a Viewer while a leaked secret is ended: how long the old secret is still accepted."""

import asyncio
import statistics
import time

import requests

from harness import Registration
from instance import eventually, program, require
from load import address, answer, enforcement, load, on_both_engines

CALLERS = 6000
ROUNDS = 15
# Seconds. Behind the queue of reads the end of a secret takes at least twice as long.
QUEUED = 5


def play(checks, arguments):
    for engine, server in on_both_engines(arguments):
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
    body = (f"grant_type=client_credentials&client_id={registration.client_id}"
            f"&client_secret={registration.secret['value']}").encode()

    async def worker(first):
        reader, writer = await asyncio.open_connection(*address(server))
        for number in range(first, CALLERS, 8):
            writer.write(b"POST /env/production/oauth2/token HTTP/1.1\r\nHost: x\r\nUser-Agent: caller/%d\r\n"
                         b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s"
                         % (number, len(body), body))
            require((await answer(reader)) == 200, "a token is refused")
        writer.close()

    await asyncio.gather(*(worker(first) for first in range(8)))


def delay(server, watched, viewer, engine):
    item = server.api("POST", "/properties", {"name": "Leaks"})
    leaked = Registration(server, item["id"], "Leaked")
    quiet = [enforcement(server, leaked) for _ in range(ROUNDS)]
    print(f"{engine} quiet: median {statistics.median(quiet) * 1e3:.1f} ms, slowest {max(quiet) * 1e3:.1f} ms")
    request = (f"GET /api/v1{watched.path}/change-over HTTP/1.1\r\nHost: x\r\n"
               f"Authorization: Bearer {viewer}\r\n\r\n").encode()
    for connections in [100, 1500]:
        with load(server, request, connections, warm_up=0.5, pause_unless=200) as counts:
            busy = [enforcement(server, leaked) for _ in range(ROUNDS)]
        read, refused, other = counts[200], counts[429], sum(counts) - counts[200] - counts[429]
        print(f"{engine} with {connections} reads: median {statistics.median(busy) * 1e3:.1f} ms, slowest "
              f"{max(busy) * 1e3:.1f} ms; {read} read, {refused} refused, {other} other")
        require(read > 0 and other == 0, f"{read}, {refused}, {other} reads were answered, refused, failed")
        # The ratio is a figure to read. What must not come back is an end that waits behind the queue of reads.
        require(max(busy) <= QUEUED, f"{max(busy):.1f} s, and {max(quiet):.1f} s while it is quiet")


def kept(server, watched, viewer):
    headers = {"Authorization": f"Bearer {viewer}"}
    read = lambda: requests.get(f"{server.url}/api/v1{watched.path}/change-over", headers=headers, timeout=30).json()

    def twice():
        """Two readings within the second; a busy machine may need several tries for that."""
        time.sleep(1.1)
        begun = time.monotonic()
        first, second = read()["at"], read()["at"]
        require(time.monotonic() < begun + 0.9, "two readings took a second")
        return first, second

    first, second = eventually(twice, seconds=60)
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
    require(answer.status_code == 200 and took < 5, f"{answer.status_code} after {took:.1f} s")
