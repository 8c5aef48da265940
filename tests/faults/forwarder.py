"""A TCP forwarder: its target can be switched, as a virtual IP does, and its link can be silent or slow, each way by itself."""

import contextlib
import socket
import threading
import time


class Forwarder:
    """Forwards a port of `host` to another port of 127.0.0.1; a context manager."""

    def __init__(self, target, host="127.0.0.1"):
        self.target, self.pairs, self.lock = target, [], threading.Lock()
        # Seconds by which what is sent to the target, and by it, comes late; None for never.
        self.there, self.back = 0, 0
        self.listener = socket.create_server((host, 0))
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.cut()

    def switch(self, target, cut=True):
        """New connections lead to another port; open ones end, unless they are not to be cut."""
        self.target = target
        if cut:
            self.cut()

    def cut(self):
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for one in pairs:
            for side in one:
                with contextlib.suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)
                side.close()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            with self.lock:
                self.pairs.append((near, far))
            for one, other, way in ((near, far, "there"), (far, near, "back")):
                threading.Thread(target=self._pump, args=(one, other, way), daemon=True).start()

    def _pump(self, one, other, way):
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                came = time.monotonic()
                while (late := getattr(self, way)) is None or time.monotonic() < came + late:
                    time.sleep(0.005)
                other.sendall(data)
        for side in (one, other):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
