"""PostgreSQL with TLS and a private authority, and a password that is changed while the server runs."""

import contextlib
import pathlib
import subprocess
import tempfile
import time

from cluster import Cluster
from watched import Watched, holds

# The role of the server needs TLS and a password.
ACCESS = """
host all crossfade 127.0.0.1/32 trust
hostssl all app 127.0.0.1/32 scram-sha-256
"""
END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'"


def play(checks, arguments):
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-access-")))
        authority, other = Authority(directory / "authority"), Authority(directory / "other")
        certificate, key = authority.certify("DNS:localhost")
        files = {"pg_hba.conf": ACCESS, "server.crt": certificate, "server.key": key}
        cluster = stack.enter_context(Cluster(arguments.postgres_bin, settings=("fsync=off", "ssl=on"), files=files))
        cluster.execute("CREATE ROLE app LOGIN PASSWORD 'first'")
        cluster.execute("CREATE DATABASE app OWNER app")
        password = directory / "password"
        password.write_text("first\n")
        password.chmod(0o600)
        url = f"postgres://app@localhost:{cluster.port}/app?sslmode=verify-full"
        server = Watched(arguments.binary, directory, f"{url}&sslrootcert={authority.certificate}")
        server.environment["CROSSFADE_DATABASE_PASSWORD_FILE"] = str(password)
        stack.callback(server.stop)
        server.start()
        server.create_client()
        encrypted(checks, server, cluster)
        new_password(checks, server, cluster, password)
        refused(checks, server, url, cluster, authority, other)


class Authority:
    """A private authority, and certificates by it."""

    def __init__(self, directory):
        directory.mkdir()
        self.directory, self.certificate = directory, directory / "ca.pem"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                      "-subj", "/CN=private authority", "-keyout", "ca.key", "-out", "ca.pem")
        directory.chmod(0o755)
        self.certificate.chmod(0o644)

    def certify(self, name):
        """The certificate and the key of a server, as text."""
        (self.directory / "names").write_text(f"subjectAltName={name}\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=database",
                      "-keyout", "server.key", "-out", "request")
        self._openssl("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days",
                      "30", "-extfile", "names", "-out", "server.crt")
        return (self.directory / "server.crt").read_text(), (self.directory / "server.key").read_text()

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True)


def encrypted(checks, server, cluster):
    what = "PostgreSQL with a private authority"
    server.changes(checks, what)
    sessions = cluster.execute("SELECT ssl, COUNT(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                               "WHERE usename = 'app' GROUP BY ssl")
    holds(checks, [ssl for ssl, _ in sessions] == [True], f"{what}: every session is encrypted", str(sessions))


def new_password(checks, server, cluster, password):
    """The password is changed at the server first, then in the file. No restart."""
    what = "a new password"
    cluster.execute("ALTER ROLE app PASSWORD 'second'")
    cluster.execute(END_SESSIONS)
    answer = server.change()
    holds(checks, answer.status_code == 503, f"{what}: changes are refused while the file has the old one", answer.text)
    holds(checks, server.token().status_code == 200, f"{what}: tokens are issued meanwhile")
    password.write_text("second")
    server.changes_soon(checks, what)
    holds(checks, server.process.poll() is None, f"{what}: the process goes on")
    outcome, sentence = server.doctor()["database_password_file"]
    holds(checks, outcome == "ok", f"{what}: doctor knows the file", sentence)
    password.chmod(0o644)
    outcome, sentence = server.doctor()["database_password_file"]
    holds(checks, outcome == "warn", f"{what}: doctor warns of a file that everybody can read", sentence)
    password.chmod(0o600)


def refused(checks, server, url, cluster, authority, other):
    """What a command says of a server that it does not trust, or that speaks no TLS; it does not wait."""
    def says(what, url, text):
        begun = time.monotonic()
        done = subprocess.run(
            [server.binary, "serve", "--listen", "127.0.0.1:0", "--database-url", url, *server.place[:2]],
            env=server.environment, capture_output=True, text=True, timeout=60)
        took = time.monotonic() - begun
        holds(checks, done.returncode == 1 and text in done.stderr, f"{what}: a start says so", done.stderr[-600:])
        holds(checks, took < 10, f"{what}: it is not waited for", f"{took:.1f} s")

    says("an unknown authority", url, "its authority is unknown; set sslrootcert")
    says("another authority", f"{url}&sslrootcert={other.certificate}", "its authority is unknown; set sslrootcert")
    trusted = f"{url}&sslrootcert={authority.certificate}"
    says("another name", trusted.replace("localhost", "127.0.0.1"), "it is for another name than the host")
    cluster.execute("ALTER SYSTEM SET ssl = off")
    cluster.stop("fast")
    cluster.settings = ("fsync=off",)
    cluster.start()
    says("a server without TLS", trusted, "the server speaks no TLS")
