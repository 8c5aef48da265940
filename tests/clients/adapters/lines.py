import json
import sys


def serve(handle, describe):
    """Answers every line on stdin with one line on stdout. What `handle` raises, `describe` turns into an answer."""
    for line in sys.stdin:
        try:
            answer = handle(json.loads(line))
        except Exception as error:
            answer = {"exception": type(error).__name__, "message": str(error), **describe(error)}
        print(json.dumps(answer), flush=True)
