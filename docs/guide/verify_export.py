#!/usr/bin/env python3
"""Verifies an export of the audit trail without Crossfade: verify_export.py trail.jsonl [checkpoint.json | KEY_ID]

Needs Python 3.9 or later and the package `cryptography`. A complete export is verified from its first to its last event, a
filtered one row by row. Exit status: 0 verified, 1 not verified, 7 consistent, but not proven: the signer is not known, or
the checkpoint was not compared.
"""

import base64
import hashlib
import json
import os
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

START = "0" * 64  # the hash before the first event of a trail


class Fault(Exception):
    pass


def require(truth, fault):
    """Not `assert`, which `python -O` leaves out."""
    if not truth:
        raise Fault(fault)


def unique(pairs):
    members = dict(pairs)
    require(len(members) == len(pairs), "a line has two members with the same name")
    return members


def read(line):
    try:
        value = json.loads(line, object_pairs_hook=unique)
    except ValueError:
        value = None
    require(isinstance(value, dict), "a line is not a line of an export")
    return value


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
    require(base64url(statement["key"]) == hashlib.sha256(thumbprint).digest(), "a key has another ID")
    key = Ed25519PublicKey.from_public_bytes(base64url(statement["public_key"]))
    try:
        key.verify(base64url(line["signature"]), canonical(statement))
    except InvalidSignature:
        raise Fault(f"the signature of the statement about event {statement['seq']} is wrong") from None
    return statement


def verify_complete(events, statements, outside):
    """Returns the sentence, and the first event or deleted event whose hash is known."""
    starts = [s for s in statements if s["kind"] == "start"]
    trims = [s for s in statements if s["kind"] == "trim"]
    require(starts or trims, "no signed statement says where the trail begins")
    chained_after = starts[-1]["seq"] if starts else 0
    if trims:
        seq, previous = trims[-1]["seq"], trims[-1]["hash"]
    else:
        seq, previous = starts[-1]["first_seq"] - 1, START
    begin, signed = seq, {}
    for statement in statements + outside:
        signed.setdefault(statement["seq"], []).append(statement["hash"])

    def compare():
        for other in signed.get(seq, []):
            require(other == previous, f"event {seq} is not the one that was signed: the trail was written again")

    compare()
    for event in events:
        require(event["seq"] == seq + 1, f"after event {seq} comes event {event['seq']}")
        seq = event["seq"]
        own = hash_of(event, previous)
        if seq > chained_after:
            require(event["previous_hash"] == previous, f"event {seq - 1} or {seq} was replaced")
            require(event["hash"] == own, f"event {seq} was altered")
        previous = own
        compare()
    end = statements[-1]
    require((seq, previous) == (end["seq"], end["hash"]), f"the end is missing: the last event is {seq}, not {end['seq']}")
    return f"Verified the complete export: events {begin + 1} to {seq}.", begin


def verify_rows(events, export):
    for event in events:
        if event["hash"] is not None:
            require(event["hash"] == hash_of(event, event["previous_hash"]), f"event {event['seq']} was altered")
    return f"Verified each of {len(events)} rows of a filtered export ({export['filter']}).", 0


def main(path, known=None):
    events, statements, lines = [], [], []
    with open(path, "rb") as file:
        for raw in file:
            line = read(raw)
            if "statement" in line:
                statements.append(opened(line))
            else:
                events.append(line)
                lines.append(raw)
    require(statements, "the file has no signed statement")
    export = statements[-1]
    require(export["kind"] == "export", "the file does not end with a statement about an export")
    keys, outside = {statement["key"] for statement in statements}, []
    if known and os.path.exists(known):
        with open(known, "rb") as file:
            outside = [opened(read(file.read()))]
        known = outside[0]["key"]
        require(outside[0]["seq"] <= export["seq"], "the checkpoint is younger than the export")
    require(known is None or keys == {known}, "the export was signed by another key")
    found, begin = verify_rows(events, export) if export["filter"] else verify_complete(events, statements, outside)
    require(
        (len(events), sha256(b"".join(lines))) == (export["events"], export["sha256"]),
        "the lines differ from those that were exported: at least one was added, removed or changed",
    )
    open_questions = []
    if known is None:
        open_questions.append("NOT PROVEN: the signer is not known. Give a checkpoint kept outside, or the ID of the key.")
    if outside and outside[0]["seq"] < begin:
        open_questions.append(
            f"NOT PROVEN: the checkpoint was not compared. It is about event {outside[0]['seq']}, and the trail begins later."
        )
    print(*open_questions, found, sep="\n")
    print(f"Signed at {export['at']} by key {', '.join(sorted(keys))} of instance {export['instance']}.")
    return 7 if open_questions else 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except Fault as fault:
        sys.exit(f"NOT VERIFIED: {fault}")
