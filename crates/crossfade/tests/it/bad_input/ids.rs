//! IDs that are unknown, malformed or of another kind, and objects that the caller is not permitted to read.

use super::{HOUR, NO_ROTATION, NO_SECRET, NOBODY, snapshot, text};
use crate::engines::on_both_engines;
use crate::world::{Answer, World};
use serde_json::json;

on_both_engines! {
    ids_that_are_foreign_unknown_malformed_or_of_another_kind_are_one_and_the_same_404,
    what_one_may_not_read_is_the_same_404,
}

async fn ids_that_are_foreign_unknown_malformed_or_of_another_kind_are_one_and_the_same_404(world: World) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let other = world.client("Other", &["production"]).await;
    let gone = world.client("Gone", &["production"]).await;
    let owner = world.owner().await;
    owner
        .delete(&format!("/clients/{}", gone.id), json!({"confirm_client_name": "Gone", "reason": "x"}))
        .await;
    let rotated =
        owner.post(&other.path("production", "/secrets/rotate"), other.rotation(24)).await.created();
    let foreign_rotation = text(&rotated["rotation"]["id"]);
    let before = (snapshot(&owner, &client).await, snapshot(&owner, &other).await);
    let expected = owner.get(&format!("/clients/{NOBODY}")).await;
    let same = |answer: Answer, what: &str| {
        assert_eq!(answer.status.as_u16(), 404, "{what}");
        assert_eq!(
            (answer.bytes, answer.headers),
            (expected.bytes.clone(), expected.headers.clone()),
            "{what}"
        );
    };
    let property = owner.get("/properties").await.ok()["items"][0]["id"].clone();
    let secret = &client.registration("production").secret_id;
    let lower = client.id.to_lowercase();
    let clients = [
        &*gone.id,
        secret,
        text(&property),
        "cl_",
        "x",
        "%20",
        "..",
        "%2e%2e",
        "%00",
        "%FF",
        "%F0%9F%92%B8",
        &client.name,
        &lower,
        &client.id[..24],
        "null",
        "*",
    ];
    for id in clients {
        for rest in [
            "",
            "/environments/production",
            "/environments/production/secrets",
            "/environments/production/rotations",
            "/environments/production/usage",
        ] {
            let path = format!("/clients/{id}{rest}");
            same(owner.get(&path).await, &path);
        }
        let path = format!("/clients/{id}/environments/production/secrets/rotate");
        same(owner.post(&path, client.rotation(0)).await, &path);
        let path = format!("/clients/{id}");
        same(owner.delete(&path, json!({"confirm_client_name": client.name, "reason": "x"})).await, &path);
    }
    for environment in ["development", "nowhere", "Production", "production%20", "%00", "-", "prod.uction"] {
        let path = client.path(environment, "/secrets");
        same(owner.get(&path).await, &path);
    }
    // What belongs to another registration is not there, whatever is asked of it.
    let staging = &client.registration("staging").secret_id;
    let foreign = &other.registration("production").secret_id;
    for id in [
        staging,
        foreign,
        &gone.registration("production").secret_id,
        NO_SECRET,
        foreign_rotation,
        &client.id,
        "x",
        "%00",
        "%FF",
    ] {
        for (verb, body) in [
            ("reveal", json!({})),
            ("revoke", json!({"reason": "x"})),
            ("extend", json!({"reason": "x", "expires_at": world.now().after(HOUR).to_string()})),
        ] {
            let path = client.path("production", &format!("/secrets/{id}/{verb}"));
            same(owner.post(&path, body).await, &path);
        }
    }
    for id in [foreign_rotation, NO_ROTATION, secret, "x", "%00"] {
        let path = client.path("production", &format!("/rotations/{id}/rollback"));
        same(owner.post(&path, json!({"reason": "x"})).await, &path);
    }
    for path in ["/properties/prop_0000000000000000000000", "/properties/x", "/properties/%00"] {
        same(owner.get(path).await, path);
        same(owner.patch(path, json!({"name": "x"})).await, path);
        same(owner.delete(path, json!({})).await, path);
    }
    for path in ["/environments/nowhere", "/environments/%00", "/environments/A"] {
        same(owner.patch(path, json!({"name": "x"})).await, path);
        same(owner.delete(path, json!({})).await, path);
    }
    for path in ["/tokens/tok_0000000000000000000000", "/tokens/x", "/nothing", "/clients/", "/clients//x/y"]
    {
        same(owner.delete(path, json!({})).await, path);
    }
    assert_eq!((snapshot(&owner, &client).await, snapshot(&owner, &other).await), before);
}

async fn what_one_may_not_read_is_the_same_404(world: World) {
    let mine = world.client("Mine", &["production"]).await;
    let theirs = world.client("Theirs", &["production"]).await;
    let owner = world.owner().await;
    let bob = world.user("bob@example.com", "secret_rotator").await;
    let property = owner.get(&format!("/clients/{}", mine.id)).await.ok()["property_id"].clone();
    world
        .raw(&format!("UPDATE grants SET property_id = '{}' WHERE role = 'secret_rotator'", text(&property)))
        .await;
    bob.post(&mine.path("production", "/secrets/rotate"), mine.rotation(24)).await.created();
    let expected = bob.get(&format!("/clients/{NOBODY}")).await;
    let secret = &theirs.registration("production").secret_id;
    let rotate = theirs.path("production", "/secrets/rotate");
    let reveal = theirs.path("production", &format!("/secrets/{secret}/reveal"));
    for answer in [
        bob.get(&format!("/clients/{}", theirs.id)).await,
        bob.get(&theirs.path("production", "/secrets")).await,
        bob.post(&rotate, theirs.rotation(0)).await,
        bob.post(&rotate, json!({})).await,
        bob.post(&reveal, json!({})).await,
        bob.delete(
            &format!("/clients/{}", theirs.id),
            json!({"confirm_client_name": "Theirs", "reason": "x"}),
        )
        .await,
    ] {
        assert_eq!(
            (answer.status, answer.bytes, answer.headers),
            (expected.status, expected.bytes.clone(), expected.headers.clone())
        );
    }
    let list = bob.get("/clients").await.ok();
    assert_eq!(
        list["items"].as_array().unwrap().iter().map(|it| text(&it["id"])).collect::<Vec<_>>(),
        [mine.id.as_str()]
    );
    // What one may read but not do is 403.
    bob.patch(&format!("/clients/{}", mine.id), json!({"name": "x"})).await.refused(403, "forbidden");
    bob.get("/audit-events").await.refused(403, "forbidden");
}
