"""A proxy that is set for the outside is not asked for this machine, by no command."""

import socket
import subprocess
import threading

from instance import free_port
from watched import holds, watched


class Proxy:
    """Takes connections, and counts them."""

    def __init__(self):
        self.seen = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                self.seen.append(connection.recv(4096))

    def variables(self):
        names = ["http_proxy", "https_proxy", "all_proxy"]
        return {name: self.url for lower in names for name in (lower, lower.upper())}


def play(checks, arguments):
    proxy = Proxy()
    with watched(arguments) as server:
        # run.py excepts this machine from proxies, which this part must not.
        excepted = ("NO_PROXY", "no_proxy")
        environment = {name: value for name, value in server.environment.items() if name not in excepted}
        environment |= proxy.variables()
        for command in (["client", "list"], ["whoami"], ["audit", "export"], ["client", "show", "Billing"]):
            done = subprocess.run([server.binary, *command], env=environment, capture_output=True, text=True, timeout=60)
            holds(checks, done.returncode == 0, f"{' '.join(command)} works", done.stderr)
        listen = server.url.removeprefix("http://")
        done = subprocess.run([server.binary, "doctor", "--listen", listen, *server.place], env=environment,
                              capture_output=True, text=True, timeout=60)
        holds(checks, "is ready at" in done.stdout, "doctor finds the server", done.stdout)
    done = subprocess.run([server.binary, "demo", "--quick", "--listen", f"127.0.0.1:{free_port()}"],
                          env=proxy.variables(), capture_output=True, text=True, timeout=120)
    holds(checks, done.returncode == 0, "the demo plays", done.stderr[-500:])
    holds(checks, not proxy.seen, "the proxy was never asked", str(proxy.seen[:1]))
    proxy.socket.close()
