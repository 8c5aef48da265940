"""The journal as it lies on the disk, compared with what clients know of a registration."""

import base64
import json

from instance import require


class Noted:
    """The last state of each registration in a journal, and the access tokens that were revoked."""

    def __init__(self, path):
        self.valid, self.tokens = {}, set()
        # A last line that is not complete was never acknowledged.
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                end = json.loads(line[65:]).get("end", {}).get("end", {})
            except (ValueError, AttributeError):
                continue
            if "registration" in end:
                state = end["registration"]
                self.valid[state["id"]] = {secret["id"] for secret in state["valid"]}
            elif "access_token" in end:
                self.tokens.add(end["access_token"]["jti"])

    def check(self, ledger):
        """Every end that was answered is noted; without an open change, exactly the valid secrets are."""
        state = ledger.state
        require(ledger.registration in self.valid, f"{ledger.name} is not in the journal")
        valid, known = self.valid[ledger.registration], {state.current, state.retiring} - {None}
        revived = valid & (state.secrets - known)
        require(not revived, f"{ledger.name}: the journal still has {revived}, which had ended")
        if not ledger.open:
            require(valid == known, f"{ledger.name}: the journal has {valid}, valid are {known}")
        missing = [token for token in ledger.revoked_tokens if jti(token) not in self.tokens]
        require(not missing, f"{ledger.name}: {len(missing)} revoked tokens are not in the journal")


def jti(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["jti"]
