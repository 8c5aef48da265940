//! Rule 14: a disabled registration refuses everything, and a deleted client stays deleted.

use super::{HOUR, change, items, rotate, secrets, text};
use crate::engines::on_both_engines;
use crate::world::{Principal, World};
use http::Method;
use serde_json::{Value, json};

on_both_engines! {
    a_disabled_registration_refuses_everything_and_enabling_revives_nothing_rule_14,
    enabling_revives_no_token_from_before_rule_14,
    disabling_is_seen_by_others_who_introspect_rule_14,
    a_deleted_client_is_dead_its_history_stays_and_its_client_id_is_never_given_again_rule_14,
}

async fn a_disabled_registration_refuses_everything_and_enabling_revives_nothing_rule_14(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let oauth = world.oauth("production");
    let token = oauth.token(&registration.client_id, &registration.secret).await.is_token();
    let reply = rotate(&owner, &client, client.rotation(24)).await.created();
    let new = text(&reply["secret"]["value"]);
    let path = client.path("production", "");
    for body in [json!({"enabled": false}), json!({"enabled": false, "confirm_client_name": "billing"})] {
        owner.patch(&path, body).await.refused(422, "confirmation_mismatch");
    }
    oauth.token(&registration.client_id, new).await.is_token();
    let before = secrets(&owner, &client).await;
    let disabled = owner
        .patch(&path, json!({"enabled": false, "confirm_client_name": "Billing", "reason": "incident"}))
        .await
        .ok();
    assert_eq!(disabled["enabled"], false);
    for secret in [&registration.secret, new] {
        oauth.token(&registration.client_id, secret).await.is_invalid_client();
        oauth.token_by_post(&registration.client_id, secret).await.is_invalid_client();
        for endpoint in ["introspect", "revoke"] {
            oauth
                .basic(endpoint, &registration.client_id, secret, &[("token", &token)])
                .await
                .is_invalid_client();
        }
    }
    let states_of = |secrets: &[Value]| {
        secrets
            .iter()
            .map(|it| (it["id"].clone(), it["state"].clone(), it["expires_at"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        states_of(&secrets(&owner, &client).await),
        states_of(&before),
        "its secrets are as they were"
    );
    // Its deadlines run on.
    world.advance(HOUR * 24);
    owner.patch(&path, json!({"enabled": true})).await.ok();
    oauth.token(&registration.client_id, &registration.secret).await.is_invalid_client();
    oauth.token(&registration.client_id, new).await.is_token();
}

async fn enabling_revives_no_token_from_before_rule_14(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    let gateway = world.client("Gateway", &["production"]).await;
    let (own, eyes) = (client.registration("production").clone(), gateway.registration("production").clone());
    let path = client.path("production", "");
    let owner = world.owner().await;
    owner.patch(&gateway.path("production", ""), json!({"may_introspect": true})).await.ok();
    let (off, on) = (json!({"enabled": false, "confirm_client_name": "Billing"}), json!({"enabled": true}));
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(world.oauth("production").token(&own.client_id, &own.secret).await.is_token());
        owner.patch(&path, off.clone()).await.ok();
        // To say it again changes nothing.
        owner.patch(&path, off.clone()).await.ok();
        owner.patch(&path, on.clone()).await.ok();
    }
    owner.patch(&path, on.clone()).await.ok();
    let last = world.oauth("production").token(&own.client_id, &own.secret).await.is_token();
    for restarted in [false, true] {
        if restarted {
            world.restart().await;
        }
        let oauth = world.oauth("production");
        for it in [&own, &eyes] {
            for token in &tokens {
                assert_eq!(
                    oauth.introspect(&it.client_id, &it.secret, token).await,
                    json!({"active": false})
                );
            }
            let active = oauth.introspect(&it.client_id, &it.secret, &last).await;
            assert_eq!(active["active"], true, "also in the second in which it was enabled");
        }
        // What has ended is not its client's to revoke either, and is answered alike.
        let revoked = oauth.basic("revoke", &own.client_id, &own.secret, &[("token", &tokens[0])]).await;
        assert_eq!(revoked.status.as_u16(), 200);
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM revoked_tokens").await, 0);
}

async fn disabling_is_seen_by_others_who_introspect_rule_14(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let gateway = world.client("Gateway", &["production"]).await;
    let owner = world.owner().await;
    let (registration, eyes) = (client.registration("production"), gateway.registration("production"));
    let oauth = world.oauth("production");
    owner.patch(&gateway.path("production", ""), json!({"may_introspect": true})).await.ok();
    let token = oauth.token(&registration.client_id, &registration.secret).await.is_token();
    assert_eq!(oauth.introspect(&eyes.client_id, &eyes.secret, &token).await["active"], true);
    owner
        .patch(&client.path("production", ""), json!({"enabled": false, "confirm_client_name": "Billing"}))
        .await
        .ok();
    assert_eq!(oauth.introspect(&eyes.client_id, &eyes.secret, &token).await, json!({"active": false}));
    owner
        .delete(
            &format!("/clients/{}", client.id),
            json!({"confirm_client_name": "Billing", "reason": "gone"}),
        )
        .await;
    assert_eq!(oauth.introspect(&eyes.client_id, &eyes.secret, &token).await, json!({"active": false}));
}

async fn a_deleted_client_is_dead_its_history_stays_and_its_client_id_is_never_given_again_rule_14(
    mut world: World,
) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let registration = client.registration("production").clone();
    let (token, new) = {
        let owner = world.owner().await;
        let reply = rotate(&owner, &client, client.rotation(24)).await.created();
        let path = format!("/clients/{}", client.id);
        owner
            .delete(&path, json!({"confirm_client_name": "billing", "reason": "x"}))
            .await
            .refused(422, "confirmation_mismatch");
        for body in [
            json!({"confirm_client_name": "Billing"}),
            json!({"confirm_client_name": "Billing", "reason": " "}),
        ] {
            let problem = owner.delete(&path, body).await.refused(422, "invalid_body");
            assert_eq!(problem["field"], "reason");
        }
        assert_eq!(owner.call(Method::DELETE, &path, None, &[]).await.status.as_u16(), 400);
        owner.get(&path).await.ok();
        let deleted =
            owner.delete(&path, json!({"confirm_client_name": "Billing", "reason": "retired"})).await;
        assert_eq!(deleted.ok()["enforced"]["nodes"][0]["known_by"], "acknowledged");
        (owner.token.clone(), text(&reply["secret"]["value"]).to_owned())
    };
    assert_eq!(
        world.number("SELECT COUNT(*) FROM secrets WHERE sealed IS NOT NULL").await,
        0,
        "its values are wiped"
    );
    assert_eq!(world.number("SELECT COUNT(*) FROM rotations").await, 1, "its history stays");
    for round in ["running", "restarted"] {
        let owner = Principal { world: &world, token: token.clone() };
        let oauth = world.oauth("production");
        for secret in [&registration.secret, &new] {
            oauth.token(&registration.client_id, secret).await.is_invalid_client();
        }
        for path in [
            format!("/clients/{}", client.id),
            client.path("production", ""),
            client.path("production", "/secrets"),
            client.path("production", "/rotations"),
            client.path("production", "/usage"),
        ] {
            owner.get(&path).await.refused(404, "not_found");
        }
        rotate(&owner, &client, client.rotation(0)).await.refused(404, "not_found");
        change(&owner, &client, &registration.secret_id, "reveal", json!({})).await.refused(404, "not_found");
        let events = items(&owner, &format!("/audit-events?client={}&outcome=done", client.id)).await;
        assert_eq!(events[0]["action"], "client.deleted", "{round}");
        assert_eq!(events[0]["reason"], "retired");
        world.restart().await;
    }
    let owner = Principal { world: &world, token };
    let property = items(&owner, "/properties").await[0]["id"].clone();
    let again = owner
        .post("/clients", json!({"name": "Billing", "property_id": property, "environments": ["production"]}))
        .await
        .created();
    assert_ne!(again["id"], client.id.as_str());
    assert_ne!(again["registrations"][0]["client_id"], registration.client_id.as_str());
    // The database itself refuses to give a client_id a second time.
    let reused = format!(
        "UPDATE registrations SET oauth_client_id = '{}' WHERE client_id = '{}'",
        registration.client_id,
        text(&again["id"])
    );
    assert!(world.try_raw(&reused).await.is_err());
    owner.delete(&format!("/properties/{}", text(&property)), json!({})).await.refused(409, "in_use");
}
