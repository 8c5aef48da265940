"""Lists clients, rotates a secret, reads its history and revokes the old one, with the generated client alone."""

import sys

from crossfade_client import AuthenticatedClient
from crossfade_client.api.audit_events import export_audit_events, list_audit_events
from crossfade_client.api.clients import (
    create_client, list_clients, list_rotations, list_secrets, reveal_secret, revoke_secret, rotate_secret,
)
from crossfade_client.api.me import read_me
from crossfade_client.api.properties import create_property
from crossfade_client.models import CreateClient, PropertyBody, RevealSecret, RevokeSecret, RotateSecret
from crossfade_client.models.problem import Problem


def ok(what, condition, seen):
    if not condition:
        sys.exit(f"{what}: {seen}")
    print(f"ok {what}", flush=True)


url, token = sys.argv[1:]
api = AuthenticatedClient(base_url=f"{url}/api/v1", token=token)
me = read_me.sync(client=api)
ok("reads who it is", me.user.grants[0].role == "owner", me)

prop = create_property.sync(client=api, body=PropertyBody(name="Generated"))
body = CreateClient(name="Billing", property_id=prop.id, environments=["production", "staging"])
created = create_client.sync(client=api, body=body)
first = next(it for it in created.registrations if it.environment == "production").secret
ok("creates a client", first.value.startswith("crossfade_live_"), first)

page = list_clients.sync(client=api, property_id=prop.id, limit=1)
ok("lists clients", [it.id for it in page.items] == [created.id] and page.next_cursor is None, page)

place = {"client_path": created.id, "environment": "production", "client": api}
wrong = rotate_secret.sync(**place, body=RotateSecret(transition_hours=24, confirm_client_name="Biling"))
ok("is told why nothing is rotated", isinstance(wrong, Problem) and wrong.code == "confirmation_mismatch", wrong)

body = RotateSecret(
    transition_hours=24, confirm_client_name="Billing", reason="quarterly", expected_current_secret_id=first.id
)
done = rotate_secret.sync(**place, body=body, idempotency_key="a-story-1")
ok("rotates", done.secret.state == "current" and done.previous_secret.id == first.id, done)
again = rotate_secret.sync(**place, body=body, idempotency_key="a-story-1")
same = again.rotation == done.rotation and again.secret == done.secret
ok("repeats without rotating again", same and again.enforced.nodes, again)

history = list_rotations.sync(**place)
[rotation] = history.items
seen = (rotation.id, rotation.ended_as, rotation.reason, rotation.transition_hours, rotation.incoming_secret.id)
ok("reads the history", seen == (done.rotation.id, "retiring", "quarterly", 24, done.secret.id), rotation)

shown = reveal_secret.sync(secret=done.secret.id, **place, body=RevealSecret(reason="set up a host"))
ok("reveals", shown.value == done.secret.value, shown)

revoked = revoke_secret.sync(secret=first.id, **place, body=RevokeSecret(reason="everybody has moved"))
ok("revokes", revoked.secret.state == "revoked" and revoked.secret.revoked_at, revoked)
refused = revoke_secret.sync(secret=first.id, **place, body=RevokeSecret(reason="again"))
ok("is told that it is over", isinstance(refused, Problem) and refused.code == "not_retiring", refused)

states = {it.id: it.state for it in list_secrets.sync(**place).items}
ok("reads the secrets", states == {done.secret.id: "current", first.id: "revoked"}, states)
[rotation] = list_rotations.sync(**place).items
ok("reads how it ended", rotation.ended_as == "revoked" and rotation.outgoing_secret.ended_at, rotation)

actions = [it.action for it in list_audit_events.sync(client=api, client_query=created.id).items]
wanted = ["secret.revoked", "secret.revealed", "secret.revealed", "secret.rotated", "client.created"]
ok("reads the trail", [it for it in actions if it in wanted] == wanted, actions)
exported = export_audit_events.sync_detailed(client=api)
ok("exports the trail", exported.status_code == 200 and exported.content.count(b"\n") >= len(wanted), exported)
