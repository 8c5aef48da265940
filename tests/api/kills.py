"""Part 3: what was acknowledged is there after kill -9, whole and once.

Several threads change clients of their own and keep a model of them. The server is killed at moments that a seed
chooses; whoever got no answer repeats the request with the same Idempotency-Key when the server is back.
"""

import collections
import random
import threading

import requests

from instance import hours_from_now, instance, require

SEED, KILLS, THREADS = 7, 10, 4
# Requests between two kills.
FEWEST, MOST = 25, 90


class Traffic:
    """The server as the threads see it: here, gone, or gone for good."""

    def __init__(self, server):
        self.server, self.changed = server, threading.Condition()
        self.life, self.up, self.over = 0, True, False
        self.countdown = None
        self.kill_now = threading.Event()
        self.sent = self.repeated = 0

    def begin(self, again):
        """Counts a request and tells where the server is."""
        with self.changed:
            require(self.changed.wait_for(lambda: self.up, timeout=120), "the server did not come back")
            self.sent += 1
            self.repeated += again
            if self.countdown is not None:
                self.countdown -= 1
                if self.countdown <= 0:
                    self.countdown = None
                    self.kill_now.set()
            return self.life, self.server.url

    def lost(self, life):
        with self.changed:
            if life == self.life:
                self.up = False

    def back(self):
        with self.changed:
            self.life, self.up = self.life + 1, True
            self.changed.notify_all()


class Registration:
    """The model of one registration: what it must be after all that was acknowledged."""

    def __init__(self, client):
        self.id, self.name = client["id"], client["name"]
        [registration] = client["registrations"]
        self.oauth_id = registration["client_id"]
        self.current, self.retiring = registration["secret"]["id"], None
        self.values = {self.current: registration["secret"]["value"]}
        self.ended = {}  # secret: its state
        self.rotations = []  # oldest first
        self.extended = 0
        self.done = collections.Counter({"client.created": 1})

    @property
    def path(self):
        return f"/clients/{self.id}/environments/production"


class Worker(threading.Thread):
    def __init__(self, number, traffic):
        super().__init__(daemon=True)
        self.number, self.traffic = number, traffic
        self.random = random.Random(f"{SEED}-{number}")
        self.session = requests.Session()
        self.session.headers["Authorization"] = traffic.server.session.headers["Authorization"]
        self.registrations, self.users, self.keys, self.trouble = [], {}, 0, None

    def run(self):
        try:
            while not self.traffic.over:
                self.step()
        except Exception as error:
            self.trouble = error

    def change(self, method, path, body=None):
        """One change, repeated under its key until it is answered."""
        self.keys += 1
        headers = {"Idempotency-Key": f"kill-{self.number}-{self.keys}"}
        again = False
        while True:
            life, url = self.traffic.begin(again)
            try:
                answer = self.session.request(method, f"{url}/api/v1{path}", json=body, headers=headers, timeout=30)
            except requests.RequestException:
                self.traffic.lost(life)
                again = True
                continue
            require(answer.ok, f"{method} {path} {body} answers {answer.status_code}: {answer.text}")
            return answer.json() if answer.content else None

    def step(self):
        if len(self.registrations) < 2 or self.random.random() < 0.03:
            return self.create_client()
        if self.random.random() < 0.1:
            return self.create_user()
        it = self.random.choice(self.registrations)
        if it.retiring and self.random.random() < 0.6:
            return self.random.choice([self.revoke, self.extend, self.roll_back])(it)
        return self.rotate(it)

    def create_client(self):
        body = {
            "name": f"Client {self.number}.{len(self.registrations)}", "property_id": self.traffic.property,
            "environments": ["production"],
        }
        self.registrations.append(Registration(self.change("POST", "/clients", body)))

    def create_user(self):
        name = f"User {self.number}.{len(self.users)}"
        user = self.change("POST", "/users", {"kind": "program", "name": name})
        grant = self.change("POST", f"/users/{user['id']}/grants", {"role": "viewer"})
        self.users[user["id"]] = (name, grant["id"])

    def rotate(self, it):
        hours = self.random.choice([0, 24, 24, 168])
        body = {"transition_hours": hours, "confirm_client_name": it.name, "end_running_transition": True}
        if self.random.random() < 0.5:
            body["expected_current_secret_id"] = it.current
        done = self.change("POST", f"{it.path}/secrets/rotate", body)
        if it.retiring:
            it.rotations[-1]["ended_as"] = "superseded"
            it.ended[it.retiring] = "expired", "revoked"
        new, old = done["secret"]["id"], it.current
        require(done["previous_secret"]["id"] == old, f"{old} was current, but {done} replaced another")
        it.rotations.append({
            "id": done["rotation"]["id"], "out": old, "in": new, "hours": hours,
            "ended_as": "retiring" if hours else "expired",
        })
        if not hours:
            it.ended[old] = ("expired",)
        it.retiring, it.current, it.extended = old if hours else None, new, 0
        it.values[new] = done["secret"]["value"]
        it.done["secret.rotated"] += 1

    def revoke(self, it):
        self.change("POST", f"{it.path}/secrets/{it.retiring}/revoke", {"reason": "kill test"})
        it.rotations[-1]["ended_as"], it.ended[it.retiring], it.retiring = "revoked", ("revoked",), None
        it.done["secret.revoked"] += 1

    def extend(self, it):
        if it.rotations[-1]["hours"] != 24 or it.extended > 5:
            return
        it.extended += 1
        body = {"expires_at": hours_from_now(24 + 20 * it.extended), "reason": "kill test"}
        answer = self.change("POST", f"{it.path}/secrets/{it.retiring}/extend", body)
        it.rotations[-1]["until"] = answer["secret"]["expires_at"]
        it.done["secret.extended"] += 1

    def roll_back(self, it):
        rotation = it.rotations[-1]
        self.change("POST", f"{it.path}/rotations/{rotation['id']}/rollback", {"reason": "kill test"})
        rotation["ended_as"], it.ended[it.current] = "rolled_back", ("revoked",)
        it.current, it.retiring = it.retiring, None
        it.done["secret.rolled_back"] += 1


def check_registration(server, it):
    """State and history are exactly the model."""
    states = {secret["id"]: secret for secret in server.pages(f"{it.path}/secrets")}
    require(len(states) == len(it.values), f"{len(it.values)} secrets were made, there are {len(states)}")
    valid = {name for name, secret in states.items() if secret["state"] in ("current", "retiring")}
    require(valid == {it.current, it.retiring} - {None}, f"valid: {valid}, not {it.current} and {it.retiring}")
    require(states[it.current]["state"] == "current", f"got {states[it.current]}")
    require(states[it.current]["expires_at"] is None, f"got {states[it.current]}")
    for name, wanted in it.ended.items():
        if name not in valid:
            require(states[name]["state"] in wanted, f"{name} is {states[name]['state']}, not one of {wanted}")
    history = [
        (one["id"], one["outgoing_secret"]["id"], one["incoming_secret"]["id"], one["transition_hours"],
         one["ended_as"])
        for one in server.pages(f"{it.path}/rotations")
    ]
    wanted = [(one["id"], one["out"], one["in"], one["hours"], one["ended_as"]) for one in reversed(it.rotations)]
    require(history == wanted, f"the history is {history}, and should be {wanted}")
    if it.retiring and "until" in it.rotations[-1]:
        require(states[it.retiring]["expires_at"] == it.rotations[-1]["until"], f"got {states[it.retiring]}")


def check_tokens(server, it):
    """The endpoint that decides agrees: valid secrets work, and ended ones do not."""
    for name, value in list(it.values.items())[-4:]:
        answer = requests.post(
            f"{server.issuer('production')}/oauth2/token", data={"grant_type": "client_credentials"},
            auth=(it.oauth_id, value), timeout=30,
        )
        wanted = 200 if name in (it.current, it.retiring) else 401
        require(answer.status_code == wanted, f"{name} is answered with {answer.status_code}, not {wanted}")


def check_trail(server, registrations, users):
    events = server.pages("/audit-events")
    numbers = [event["seq"] for event in reversed(events)]
    require(numbers == list(range(numbers[0], numbers[0] + len(numbers))), f"the numbers have gaps: {numbers}")
    require(numbers[0] == 1, f"the first is {numbers[0]}")
    seen = collections.defaultdict(collections.Counter)
    for event in events:
        seen[event["client_id"]][event["action"]] += event["outcome"] == "done"
    for it in registrations:
        counts = {action: count for action, count in seen[it.id].items() if action in ACTIONS}
        require(counts == dict(it.done), f"{it.id} has the events {counts}, and should have {dict(it.done)}")
        told = {event["target"] for event in events if event["action"] == "secret.rotated" and
                event["client_id"] == it.id}
        require(told == {one["id"] for one in it.rotations}, f"rotations in the trail: {told}")
    created = collections.Counter(event["target"] for event in events if event["action"] == "user.created")
    require(all(created[user] == 1 for user in users), "an account without its one event")


ACTIONS = {"client.created", "secret.rotated", "secret.revoked", "secret.extended", "secret.rolled_back"}


def check_accounts(server, users):
    there = {
        user["id"]: (user["name"], [grant["id"] for grant in user["grants"]])
        for user in server.pages("/users") if user["kind"] == "program"
    }
    wanted = {user: (name, [grant]) for user, (name, grant) in users.items()}
    require(there == wanted, f"there are {there}, and should be {wanted}")


def check_clients(server, registrations):
    there = sorted((client["id"], client["name"]) for client in server.pages("/clients"))
    require(there == sorted((it.id, it.name) for it in registrations), f"the clients are {there}")


def play(checks, arguments):
    with instance(arguments) as server:
        traffic = Traffic(server)
        traffic.property = server.api("POST", "/properties", {"name": "Kills"})["id"]
        chance = random.Random(SEED)
        workers = [Worker(number, traffic) for number in range(THREADS)]
        for worker in workers:
            worker.start()
        for number in range(KILLS):
            checks.run(f"kill {number + 1} and start again", kill, traffic, chance)
        finish(traffic, workers)
        for worker in workers:
            checks.run(f"thread {worker.number} got an answer to everything", require, not worker.trouble, worker.trouble)
        # What is looked at was read from the disk, not left in memory.
        server.kill()
        server.start_again()
        registrations = [it for worker in workers for it in worker.registrations]
        users = {user: facts for worker in workers for user, facts in worker.users.items()}
        for it in registrations:
            checks.run(f"{it.name}: state and history", check_registration, server, it)
            checks.run(f"{it.name}: tokens", check_tokens, server, it)
        checks.run("every client once", check_clients, server, registrations)
        checks.run("every account and grant once", check_accounts, server, users)
        checks.run("the trail has no gap and every change once", check_trail, server, registrations, users)
        total = sum(sum(it.done.values()) for it in registrations) + 2 * len(users)
        checks.run("enough was going on", require, total >= 200 and traffic.repeated >= KILLS // 2,
                   f"{total} changes, {traffic.repeated} repeated")
        print(f"kills: {total} changes, {traffic.sent} requests, {traffic.repeated} repeated after a kill", flush=True)


def kill(traffic, chance):
    traffic.kill_now.clear()
    with traffic.changed:
        traffic.countdown = chance.randint(FEWEST, MOST)
    require(traffic.kill_now.wait(60), "the threads have stopped")
    # Somewhere within the requests that are under way.
    threading.Event().wait(chance.random() * 0.02)
    with traffic.changed:
        traffic.up = False
    traffic.server.kill()
    traffic.server.start_again()
    traffic.back()


def finish(traffic, workers):
    traffic.over = True
    for worker in workers:
        worker.join(60)
        require(not worker.is_alive(), "a thread does not end")
