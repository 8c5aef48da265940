#!/usr/bin/env python3
"""Verifies an export of the audit trail without Crossfade: verify_export.py trail.jsonl [checkpoint.json]

Needs the package `cryptography`. A complete export is verified from its first to its last event, a filtered one row by row.
"""

import base64
import hashlib
import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

START = "0" * 64  # the hash before the first event of a trail


def canonical(value):
    """The canonical form of RFC 8785. Events and statements have only whole numbers, and names in ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def base64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def hash_of(event, previous):
    members = event | {"previous_hash": previous}
    return sha256(canonical({name: value for name, value in members.items() if name != "hash" and value is not None}))


def opened(line):
    """A statement whose signature fits the public key in it."""
    statement = line["statement"]
    thumbprint = canonical({"crv": "Ed25519", "kty": "OKP", "x": statement["public_key"]})
    assert base64url(statement["key"]) == hashlib.sha256(thumbprint).digest(), "a key has another ID"
    key = Ed25519PublicKey.from_public_bytes(base64url(statement["public_key"]))
    try:
        key.verify(base64url(line["signature"]), canonical(statement))
    except InvalidSignature:
        raise AssertionError(f"the signature of the statement about event {statement['seq']} is wrong") from None
    return statement


def verify_complete(events, statements):
    start = next((s for s in statements if s["kind"] == "start"), None)
    trims = [s for s in statements if s["kind"] == "trim"]
    chained_after = start["seq"] if start else 0
    if trims:
        seq, previous = trims[-1]["seq"], trims[-1]["hash"]
    else:
        seq, previous = start["first_seq"] - 1, START
    signed = {}
    for statement in statements:
        signed.setdefault(statement["seq"], []).append(statement["hash"])
    first = seq + 1
    for event in events:
        assert event["seq"] == seq + 1, f"after event {seq} comes event {event['seq']}"
        seq = event["seq"]
        own = hash_of(event, previous)
        if seq > chained_after:
            assert event["previous_hash"] == previous, f"event {seq - 1} or {seq} was replaced"
            assert event["hash"] == own, f"event {seq} was altered"
        previous = own
        for other in signed.get(seq, []):
            assert other == own, f"event {seq} is not the one that was signed: the trail was written again"
    end = statements[-1]
    assert (seq, previous) == (end["seq"], end["hash"]), f"the end is missing: the last event is {seq}, not {end['seq']}"
    return f"Verified the complete export: events {first} to {seq}."


def verify_rows(events, export, lines):
    for event in events:
        if event["hash"] is not None:
            assert event["hash"] == hash_of(event, event["previous_hash"]), f"event {event['seq']} was altered"
    assert (len(events), sha256(b"".join(lines))) == (export["events"], export["sha256"]), "rows were added, removed or changed"
    return f"Verified each of {len(events)} rows of a filtered export ({export['filter']})."


def main(path, checkpoint=None):
    events, statements, lines = [], [], []
    with open(path, "rb") as file:
        for raw in file:
            line = json.loads(raw)
            if "statement" in line:
                statements.append(opened(line))
            else:
                events.append(line)
                lines.append(raw)
    export = statements[-1]
    assert export["kind"] == "export", "the file does not end with a statement about an export"
    keys = {statement["key"] for statement in statements}
    if checkpoint:
        with open(checkpoint, "rb") as file:
            outside = opened(json.load(file))
        assert keys == {outside["key"]}, "the export was signed by another key than the checkpoint"
        assert outside["seq"] <= export["seq"], "the checkpoint is younger than the export"
        statements.insert(0, outside)
    print(verify_rows(events, export, lines) if export["filter"] else verify_complete(events, statements))
    print(f"Signed at {export['at']} by key {', '.join(sorted(keys))} of instance {export['instance']}.")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except AssertionError as fault:
        sys.exit(f"NOT VERIFIED: {fault}")
