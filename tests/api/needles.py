"""What a secret value looks like when it has got somewhere that it should not be."""

import base64
import hashlib

# Enough of a value to be no accident, and little enough to find a piece of it.
PIECE = 20


class Canaries:
    """Values that the server handed out or was given, each with the forms in which it could be found again."""

    def __init__(self):
        self.names, self.forms, self.lookups = {}, {}, {}

    def add(self, name, value, looked_up=False):
        """Remembers a value. Its piece is taken from the random part, which ends the value.

        What is looked up by its digest, an API token or a link, has that digest in the database by design: it says
        nothing of the 256 random bits. In the log or in an answer it has no business either.
        """
        piece = value[-PIECE - 4:-4]
        if value not in self.names:
            self.names[value] = name
            self.forms[value] = {*forms(piece.encode()), *digests(value.encode())}
            self.lookups[value] = set(digests(value.encode())) if looked_up else set()

    def found(self, data, allowed=(), stored=False):
        """The names of those that stand in the data and may not; in what is stored, digests to look up by may."""
        return sorted({
            self.names[value] for value, forms in self.forms.items()
            if value not in allowed
            and any(form in data for form in (forms - self.lookups[value] if stored else forms))
        })


def forms(piece):
    yield piece
    yield piece[::-1]
    yield from (piece.hex().encode(), piece.hex().upper().encode())
    yield from base64_anywhere(piece)
    # As a JSON list of numbers, and as the debug output of bytes.
    yield ", ".join(map(str, piece)).encode()
    yield ",".join(map(str, piece)).encode()
    yield "".join(f"%{byte:02X}" for byte in piece).encode()


def digests(whole):
    digest = hashlib.sha256(whole).digest()
    yield digest
    yield from (digest.hex().encode(), digest.hex().upper().encode())
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(digest).rstrip(b"=")
    yield ", ".join(map(str, digest)).encode()


def base64_anywhere(piece):
    """The base64 of whatever holds the piece: Basic credentials, say. It has three forms, by where the piece begins."""
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + piece)
        begin, end = [0, 2, 3][shift], len(text.rstrip(b"=")) - bool((shift + len(piece)) % 3)
        yield text[begin:end]
        yield text[begin:end].translate(bytes.maketrans(b"+/", b"-_"))
