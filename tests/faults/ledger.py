"""What clients know of one registration: every change that was answered, and at most one whose outcome nobody told them.

After a crash, the server must show exactly what was answered; the open change may be there as a whole, or not at all.
"""

import copy

import requests

from instance import hours_from_now, require

# Tokens and revoked tokens that are still looked at.
KEPT_TOKENS = 6
# Many revoked tokens may share an event, and introspection tells of each; jobs note expiries and sums when they run.
UNCOUNTED = {"access_token.revoked", "authentication.failures", "secret.expired"}
# The outcome of a change, as the clients know it.
DONE, NOT_DONE, OPEN = "done", "not done", "open"


class State:
    """Secrets and history of a registration; `until` is the deadline of the retiring secret."""

    def __init__(self, secret):
        self.current, self.retiring, self.until = secret, None, None
        self.secrets, self.rotations = {secret}, []  # newest first: id, outgoing, incoming, hours, how it ended

    def facts(self):
        return self.current, self.retiring, self.until, sorted(self.secrets), self.rotations

    def difference(self, seen):
        """What was expected and what was found instead."""
        return [pair for pair in zip(self.facts(), seen.facts()) if pair[0] != pair[1]]

    def rotated(self, rotation, incoming, hours, until):
        after = copy.deepcopy(self)
        if after.retiring:
            after.end("superseded")
        after.rotations.insert(0, [rotation, self.current, incoming, hours, "retiring" if hours else "expired"])
        after.secrets.add(incoming)
        after.current = incoming
        after.retiring, after.until = (self.current, until) if hours else (None, None)
        return after

    def ended(self, how):
        after = copy.deepcopy(self)
        if how == "rolled_back":
            after.current = self.retiring
        after.end(how)
        return after

    def extended(self, until):
        after = copy.deepcopy(self)
        after.until = until
        return after

    def end(self, how):
        self.rotations[0][4], self.retiring, self.until = how, None, None


class Ledger:
    """One registration, used by one thread: it sends changes, and remembers what it was told."""

    def __init__(self, client):
        self.id, self.name = client["id"], client["name"]
        [registration] = client["registrations"]
        self.oauth_id, self.registration = registration["client_id"], registration["id"]
        self.path = f"/clients/{self.id}/environments/production"
        self.state = State(registration["secret"]["id"])
        self.values = {registration["secret"]["id"]: registration["secret"]["value"]}
        self.tokens, self.revoked_tokens = [], []
        self.events = {"client.created": 1, "registration.created": 1}
        self.open = None  # the action whose outcome is open, and what the state is if it was done

    def done(self, action, state=None):
        self.events[action] = self.events.get(action, 0) + 1
        self.state = state or self.state

    def rotate(self, caller, chance):
        hours = chance.choice([0, 24, 24, 168])
        body = {"transition_hours": hours, "confirm_client_name": self.name, "end_running_transition": True}
        before = self.state
        # Whether it was done shows in the history, which then also has the new ids.
        outcome, answer = caller.change(f"{self.path}/secrets/rotate", body)
        if outcome == DONE:
            new = answer["secret"]
            self.values[new["id"]] = new["value"]
            until = answer["previous_secret"]["expires_at"]
            self.done("secret.rotated", before.rotated(answer["rotation"]["id"], new["id"], hours, until))
        elif outcome == OPEN:
            self.open = "secret.rotated", lambda seen: rotated_as_seen(before, hours, seen)
        return outcome

    def revoke(self, caller, _):
        path = f"{self.path}/secrets/{self.state.retiring}/revoke"
        return self.end(caller, path, {"reason": "kill test"}, "secret.revoked", "revoked")

    def roll_back(self, caller, _):
        path = f"{self.path}/rotations/{self.state.rotations[0][0]}/rollback"
        body = {"reason": "kill test", "acknowledge_in_use": True}
        return self.end(caller, path, body, "secret.rolled_back", "rolled_back")

    def end(self, caller, path, body, action, how):
        return self.settle(caller.change(path, body)[0], action, self.state.ended(how))

    def extend(self, caller, chance):
        if self.state.rotations[0][3] != 24:
            return self.reveal(caller, chance)
        until = hours_from_now(25 + chance.randrange(100)).replace("Z", ".000000Z")
        if until <= self.state.until:
            return self.reveal(caller, chance)
        path = f"{self.path}/secrets/{self.state.retiring}/extend"
        outcome, _ = caller.change(path, {"expires_at": until, "reason": "kill test"})
        return self.settle(outcome, "secret.extended", self.state.extended(until))

    def reveal(self, caller, _):
        secret = self.state.current
        outcome, answer = caller.change(f"{self.path}/secrets/{secret}/reveal", {"reason": "kill test"})
        if outcome == DONE:
            known = self.values.setdefault(secret, answer["value"])
            require(known == answer["value"], f"{secret} has two values")
        return self.settle(outcome, "secret.revealed", self.state)

    def settle(self, outcome, action, after):
        if outcome == DONE:
            self.done(action, after)
        elif outcome == OPEN:
            self.open = action, lambda _: after
        return outcome

    def take_token(self, caller, chance):
        known = [name for name in (self.state.current, self.state.retiring) if name in self.values]
        if not known:
            return self.reveal(caller, chance)
        secret = self.values[chance.choice(known)]
        outcome, answer = caller.oauth("token", (self.oauth_id, secret), {"grant_type": "client_credentials"})
        if outcome == DONE:
            self.tokens = [*self.tokens, answer["access_token"]][-KEPT_TOKENS:]
        return outcome

    def revoke_token(self, caller, chance):
        if not self.tokens or self.state.current not in self.values:
            return self.take_token(caller, chance)
        token = self.tokens.pop(chance.randrange(len(self.tokens)))
        outcome, _ = caller.oauth("revoke", (self.oauth_id, self.values[self.state.current]), {"token": token})
        if outcome == DONE:
            self.revoked_tokens = [*self.revoked_tokens, token][-KEPT_TOKENS:]
        elif outcome == NOT_DONE:
            self.tokens.append(token)
        return outcome  # a token whose revocation is open is not looked at again

    def step(self, caller, chance):
        """One request of a kind that chance chooses; returns its outcome."""
        kinds = [self.rotate, self.rotate, self.reveal, self.take_token, self.take_token, self.revoke_token]
        if self.state.retiring:
            kinds += [self.revoke, self.extend, self.extend, self.roll_back]
        return chance.choice(kinds)(caller, chance)

    def check(self, server):
        """The server shows what was answered, and the open change as a whole or not at all."""
        secrets = {one["id"]: one for one in server.pages(f"{self.path}/secrets")}
        history = [
            [one["id"], one["outgoing_secret"]["id"], one["incoming_secret"]["id"], one["transition_hours"], one["ended_as"]]
            for one in server.pages(f"{self.path}/rotations")
        ]
        seen = State.__new__(State)
        by_state = {}
        for name, secret in secrets.items():
            by_state.setdefault(secret["state"], []).append(name)
        current, retiring = by_state.get("current", []), by_state.get("retiring", [])
        require(len(current) == 1, f"{len(current)} current secrets")
        require(len(retiring) <= 1, f"{len(retiring)} retiring secrets")
        require(secrets[current[0]]["expires_at"] is None, f"the current secret has a deadline: {secrets[current[0]]}")
        seen.current, seen.retiring = current[0], retiring[0] if retiring else None
        seen.until = secrets[retiring[0]]["expires_at"] if retiring else None
        seen.secrets, seen.rotations = set(secrets), history
        agree(secrets, history)

        allowed = [(None, self.state)]
        if self.open:
            action, after = self.open
            allowed.append((action, after(seen)))
        found = [action for action, state in allowed if state and state.facts() == seen.facts()]
        require(found, f"{self.name}: {[state.difference(seen) for _, state in allowed if state]}")
        # A reveal shows in the trail only.
        self.unsettled = self.open[0] if self.open and len(found) > 1 else None
        if self.open and found == [self.open[0]]:
            self.done(self.open[0], seen)
        self.open = None

    def check_trail(self, counted):
        """The trail has every change that was answered, once, and nothing else."""
        counted = {action: count for action, count in counted.items() if count and action not in UNCOUNTED}
        if self.unsettled and counted.get(self.unsettled, 0) == self.events.get(self.unsettled, 0) + 1:
            self.done(self.unsettled)
        self.unsettled = None
        require(counted == self.events, f"the trail has {counted}, answered were {self.events}")

    def check_endpoints(self, server):
        """What decides agrees with what is shown: valid secrets get tokens, ended ones none; tokens are what was said."""
        ended = [name for name in self.values if name not in (self.state.current, self.state.retiring)][-3:]
        for secret in [self.state.current, self.state.retiring, *ended]:
            if secret in self.values:
                status = self.ask(server, "token", secret, {"grant_type": "client_credentials"}).status_code
                require(status == (401 if secret in ended else 200), f"{secret} is answered {status}")
        if self.state.current not in self.values:  # its rotation was done, and its answer lost
            return
        for tokens, active in [(self.tokens, True), (self.revoked_tokens, False)]:
            for token in tokens:
                answer = self.ask(server, "introspect", self.state.current, {"token": token}).json()
                require(answer["active"] is active, f"a token that is {'' if active else 'not '}valid is told {answer}")

    def ask(self, server, endpoint, secret, form):
        return requests.post(f"{server.issuer('production')}/oauth2/{endpoint}", data=form, timeout=30,
                             auth=(self.oauth_id, self.values[secret]))


def rotated_as_seen(before, hours, seen):
    """What a rotation made of this state, with the ids and the deadline that only the server knows; None if it did not."""
    if len(seen.rotations) != len(before.rotations) + 1:
        return None
    rotation, _, incoming, _, _ = seen.rotations[0]
    if incoming in before.secrets:
        return None
    return before.rotated(rotation, incoming, hours, seen.until)


def agree(secrets, history):
    """Each rotation and its secrets tell the same story."""
    wanted = {"retiring": {"retiring"}, "expired": {"expired"}, "revoked": {"revoked"},
              "superseded": {"expired", "revoked"}}
    for rotation, outgoing, incoming, hours, ended_as in history:
        require(outgoing in secrets and incoming in secrets, f"{rotation} names a secret that is not there")
        if ended_as == "rolled_back":
            require(secrets[incoming]["state"] == "revoked", f"{incoming} was rolled back: {secrets[incoming]}")
        else:
            state = secrets[outgoing]["state"]
            require(state in wanted[ended_as], f"{rotation} ended as {ended_as}, but {outgoing} is {state}")
    made = {incoming for _, _, incoming, _, _ in history}
    require(len(made) == len(history) == len(secrets) - 1, f"{len(secrets)} secrets and {len(history)} rotations")
