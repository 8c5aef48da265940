"""Part 2: a client that a generator makes from the description, and nothing else, is enough to rotate a secret."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from instance import instance, require

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = "crossfade_client"


def generate(server, directory):
    document = pathlib.Path(directory) / "openapi.json"
    document.write_text(server.session.get(f"{server.url}/api/openapi.json", timeout=30).text)
    program = pathlib.Path(sys.executable).parent / "openapi-python-client"
    done = subprocess.run(
        [program, "generate", "--path", document, "--output-path", pathlib.Path(directory) / PACKAGE,
         "--meta", "none", "--config", HERE / "openapi-python-client.yaml", "--fail-on-warning"],
        capture_output=True, text=True, timeout=120, env=os.environ | {"NO_COLOR": "1", "COLUMNS": "200"},
    )
    require(done.returncode == 0, f"the generator exits {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def every_operation(server, directory):
    document = json.loads((pathlib.Path(directory) / "openapi.json").read_text())
    ids = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
    made = {path.stem for path in (pathlib.Path(directory) / PACKAGE / "api").glob("*/*.py")} - {"__init__"}
    require(made == ids, f"without a function: {ids - made}; beyond the document: {made - ids}")


def play(checks, arguments):
    with instance(arguments) as server, tempfile.TemporaryDirectory(prefix="crossfade-client-") as directory:
        checks.run("a client is generated without a warning", generate, server, directory)
        checks.run("it has a function for each operation", every_operation, server, directory)
        # Another process, which has the generated client and no knowledge of ours.
        environment = os.environ | {"PYTHONPATH": directory, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, HERE / "story.py", server.url, server.environment["CROSSFADE_TOKEN"]],
            env=environment, capture_output=True, text=True, timeout=120,
        )
        told = [line.removeprefix("ok ") for line in done.stdout.splitlines() if line.startswith("ok ")]
        for step in told:
            checks.run(step, lambda: None)
        checks.run("the story is told to its end", require, done.returncode == 0 and told, done.stderr[-1000:])
