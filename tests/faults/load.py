"""Many requests at the same time from a process of its own, and how long a leaked secret is accepted meanwhile."""

import asyncio
import contextlib
import multiprocessing
import os
import resource
import time

import requests

from instance import eventually, instance, require


def on_both_engines(arguments):
    """A server on SQLite, then one on PostgreSQL if there is one; yields the engine with the server."""
    for engine, url in [("sqlite", None), ("postgres", arguments.database_url)]:
        if engine == "sqlite" or url:
            with instance(type(arguments)(**{**vars(arguments), "database_url": url})) as server:
                yield engine, server


def address(server):
    host, port = server.url.removeprefix("http://").split(":")
    return host, int(port)


async def answer(reader):
    """Reads one answer and returns its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n")
                   if line.startswith(b"content-length:")), 0)
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])


@contextlib.contextmanager
def load(server, request, connections, warm_up, pause_unless=None):
    """Keeps this request running on so many connections; yields the number of answers by status.

    After an answer with another status than `pause_unless`, its connection waits for a second.
    """
    context = multiprocessing.get_context("fork")
    ready, over, counts = context.Event(), context.Event(), context.Array("q", 600)
    process = context.Process(target=_repeat, args=(address(server), request, connections, ready, over, counts, pause_unless))
    process.start()
    ready.wait(10)
    try:
        # On a busy machine, thousands of connections take a while to open.
        eventually(lambda: require(sum(counts) > 0, "nothing was answered"))
        time.sleep(warm_up)
        yield counts
    finally:
        over.set()
        process.join(15)
        if process.is_alive():
            process.terminate()


def _repeat(place, request, connections, ready, over, counts, pause_unless):
    os.nice(5)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    async def one():
        reader, writer = await asyncio.open_connection(*place)
        while not over.is_set():
            writer.write(request)
            status = await answer(reader)
            counts[status] += 1
            if pause_unless not in (None, status):
                await asyncio.sleep(1)
        writer.close()

    async def all_of_them():
        ready.set()
        await asyncio.gather(*(one() for _ in range(connections)), return_exceptions=True)

    asyncio.run(all_of_them())


def enforcement(server, registration):
    """Seconds from the begin of an emergency rotation until the old secret is refused."""
    old = registration.secret["value"]
    begun = time.monotonic()
    registration.rotate(0, compromised=True, end_running_transition=True)
    form = {"grant_type": "client_credentials", "client_id": registration.client_id, "client_secret": old}
    refused = requests.post(f"{server.url}/env/production/oauth2/token", data=form, timeout=60)
    require(refused.status_code == 401, f"the old secret is answered {refused.status_code}")
    return time.monotonic() - begun
