"""Three nodes behind the HAProxy of deploy/, and behind its nginx, are restarted one after the other under load."""

import asyncio
import base64
import contextlib
import multiprocessing
import os
import pathlib
import signal
import ssl
import subprocess
import tempfile
import time

from cluster import Cluster
from instance import eventually, require
from load import answer
from proxies import Proxy, _path_of
from tls import Encrypted, Pair
from watched import holds

NAMES = "DNS:auth.example.com,DNS:crossfade.internal,IP:127.0.0.1"
CONNECTIONS = 20
DRAIN = 4
CONFIGURATIONS = [("haproxy", "haproxy-nodes.cfg"), ("nginx", "crossfade-nodes.conf")]


def play(checks, arguments):
    for program, _ in CONFIGURATIONS:
        require(_path_of(program), f"this part needs the program {program}")
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(Cluster(arguments.postgres_bin, settings=("fsync=off",)))
        cluster.execute("CREATE DATABASE shop")
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-rolling-")))
        pair = Pair(directory / "pair")
        pair.make(name=NAMES)
        os.environ["REQUESTS_CA_BUNDLE"] = str(pair.trusted)
        stack.callback(os.environ.pop, "REQUESTS_CA_BUNDLE")
        nodes = three_nodes(stack, arguments, cluster.url("shop"), directory, pair)
        for program, name in CONFIGURATIONS:
            place = directory / program
            place.mkdir()
            with Proxy(place, program, name, nodes, pair, pair.trusted) as proxy:
                restarts(checks, arguments, nodes, proxy, f"{program}/{name}")


def three_nodes(stack, arguments, url, directory, pair):
    nodes = []
    for name in "abc":
        (directory / name).mkdir()
        if nodes:
            node = nodes[0].beside(directory / name, CROSSFADE_NODE_NAME=name)
        else:
            node = Encrypted(arguments.binary, directory / name, url)
            node.environment |= {
                "CROSSFADE_TRUSTED_PROXIES": "127.0.0.1", "CROSSFADE_PUBLIC_URL": "https://auth.example.com",
                "CROSSFADE_TLS_CERT_FILE": str(pair.certificate), "CROSSFADE_TLS_KEY_FILE": str(pair.key),
                "SSL_CERT_FILE": str(pair.trusted), "CROSSFADE_NODE_NAME": name,
                "CROSSFADE_DRAIN_SECONDS": str(DRAIN),
            }
        stack.callback(node.stop)
        if nodes:
            node.start_again()
        else:
            node.start()
            node.create_client()
        nodes.append(node)
    return nodes


def restarts(checks, arguments, nodes, proxy, what):
    eventually(lambda: require(proxy.token(nodes[0]).status_code == 200, "no token through the proxy"), seconds=20)
    with load(proxy.port, nodes[0], arguments.rate) as (counts, late):
        time.sleep(1)
        for node in nodes:
            node.process.send_signal(signal.SIGTERM)
            code = node.process.wait(DRAIN + 25)
            holds(checks, code == 0, f"{what}: a node stops in order", str(code))
            # At the same address, where the proxy knows it.
            start_at(node, node.url)
            time.sleep(2)
    answers = {status: count for status, count in enumerate(counts) if count}
    print(f"{what}: three restarts under {arguments.rate} requests a second: {answers}, the slowest {late.value:.2f} s")
    holds(checks, set(answers) == {200} and answers[200] > 10 * arguments.rate, f"{what}: no request fails", str(answers))


def start_at(node, url):
    with open(node.log, "a") as log:
        node.process = subprocess.Popen(
            [node.binary, "serve", "--listen", url.split("://")[1], *node.place],
            env=node.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )
    eventually(node._ready, seconds=60)


@contextlib.contextmanager
def load(port, node, rate):
    """So many requests a second over kept connections; yields the number of answers by status, 0 for a broken connection."""
    context = multiprocessing.get_context("fork")
    over, counts, late = context.Event(), context.Array("q", 600), context.Value("d", 0.0)
    process = context.Process(target=_ask, args=(port, node.client_id, node.secret, rate, over, counts, late))
    process.start()
    try:
        yield counts, late
    finally:
        over.set()
        process.join(40)
        if process.is_alive():
            process.terminate()


def _ask(port, client_id, secret, rate, over, counts, late):
    body = b"grant_type=client_credentials"
    pair = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    request = (
        f"POST /env/production/oauth2/token HTTP/1.1\r\nHost: auth.example.com\r\nAuthorization: Basic {pair}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    trusted = ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])

    async def one():
        due = time.monotonic()
        while not over.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusted)
                while not over.is_set():
                    begun = time.monotonic()
                    writer.write(request)
                    counts[await answer(reader)] += 1
                    late.value = max(late.value, time.monotonic() - begun)
                    due = max(due + CONNECTIONS / rate, time.monotonic())
                    await asyncio.sleep(due - time.monotonic())
                writer.close()
            except (OSError, asyncio.IncompleteReadError):
                counts[0] += 1

    async def all_of_them():
        await asyncio.gather(*(one() for _ in range(CONNECTIONS)))

    asyncio.run(all_of_them())
