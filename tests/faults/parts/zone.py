"""A machine in a zone of its own: deadlines are the time that they were asked for, whatever a wall clock there shows."""

import datetime
import tempfile

from watched import Watched, holds

# Half an hour off, and on the other side of the date line.
ZONES = ["Asia/Kolkata", "Pacific/Kiritimati", "America/St_Johns"]


def play(checks, arguments):
    for zone in ZONES:
        with tempfile.TemporaryDirectory(prefix="crossfade-faults-") as directory:
            server = Watched(arguments.binary, directory, None)
            server.environment["TZ"] = zone
            try:
                server.start()
                server.create_client()
                before = datetime.datetime.now(datetime.UTC)
                answer = server.change(transition_hours=5).json()
                until = datetime.datetime.fromisoformat(answer["previous_secret"]["expires_at"])
                late = (until - before - datetime.timedelta(hours=5)).total_seconds()
                holds(checks, 0 <= late < 10, f"{zone}: a deadline does not depend on the zone of the machine",
                      answer["previous_secret"]["expires_at"])
                shown = server.cli("secret", "list", "Billing", "--env", "production")
                times = {one["expires_at"] for one in shown if one["expires_at"]}
                holds(checks, times == {answer["previous_secret"]["expires_at"]}, f"{zone}: the command line shows it",
                      str(times))
            finally:
                server.stop()
