"""Plugin for detect-secrets 1: detect-secrets scan --plugin detect_secrets_crossfade.py"""

import re
import zlib

from detect_secrets.plugins.base import RegexBasedDetector

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class CrossfadeDetector(RegexBasedDetector):
    """Finds client secrets with the right prefix and checksum, so that it reports no other text."""

    secret_type = "Crossfade client secret"
    denylist = [re.compile(r"crossfade_(?:live|test)_[0-9A-Za-z]{49}")]

    def analyze_string(self, string):
        return (secret for secret in super().analyze_string(string) if is_checksummed(secret))


def is_checksummed(secret):
    return checksum(secret[15:-6]) == secret[-6:]


def checksum(random):
    """The CRC-32 of the 43 random characters, in base 62."""
    number, digits = zlib.crc32(random.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = DIGITS[digit] + digits
    return digits
