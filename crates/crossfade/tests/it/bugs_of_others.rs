//! Bugs that other products had in their rotation of secrets, where no test of a rule has them already. The list is
//! docs/concepts/standards.md.

use crate::engines::on_sqlite;
use crate::world::World;
use serde_json::json;

on_sqlite! {
    both_secrets_work_by_each_method_at_each_endpoint,
    two_secrets_in_one_text_are_none,
    a_secret_with_anything_before_or_behind_it_is_refused,
    an_empty_secret_is_refused_also_after_every_secret_has_ended,
}

/// The secret before a rotation with a transition, and the one after it, with the client.
async fn in_transition(world: &World) -> (String, String, String) {
    let client = world.client("Billing", &["production"]).await;
    let registration = client.registration("production");
    let owner = world.owner().await;
    let rotated =
        owner.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await.created();
    let new = rotated["secret"]["value"].as_str().unwrap().to_owned();
    (registration.client_id.clone(), registration.secret.clone(), new)
}

async fn both_secrets_work_by_each_method_at_each_endpoint(world: World) {
    let (id, old, new) = in_transition(&world).await;
    let oauth = world.oauth("production");
    for secret in [&old, &new] {
        let token = oauth.token(&id, secret).await.is_token();
        oauth.token_by_post(&id, secret).await.is_token();
        let (named, by_post) = (("token", token.as_str()), ("client_secret", secret.as_str()));
        let form = [named, ("client_id", id.as_str()), by_post];
        assert_eq!(oauth.basic("introspect", &id, secret, &[named]).await.ok()["active"], true);
        assert_eq!(oauth.form("introspect", &form, &[]).await.ok()["active"], true);
        assert_eq!(oauth.form("revoke", &form, &[]).await.status.as_u16(), 200);
        assert_eq!(oauth.basic("introspect", &id, secret, &[named]).await.ok()["active"], false);
        assert_eq!(oauth.basic("revoke", &id, secret, &[named]).await.status.as_u16(), 200);
    }
}

async fn two_secrets_in_one_text_are_none(world: World) {
    let (id, old, new) = in_transition(&world).await;
    let oauth = world.oauth("production");
    for between in ["", " ", "+", ",", ";", ":", "\n", "\0", "%20"] {
        for text in
            [format!("{old}{between}{new}"), format!("{new}{between}{old}"), format!("{new}{between}{new}")]
        {
            assert_eq!(oauth.token(&id, &text).await.status.as_u16(), 401, "{between:?}");
            assert_eq!(oauth.token_by_post(&id, &text).await.status.as_u16(), 401, "{between:?}");
        }
    }
}

async fn a_secret_with_anything_before_or_behind_it_is_refused(world: World) {
    let (id, old, new) = in_transition(&world).await;
    let oauth = world.oauth("production");
    for secret in [&old, &new] {
        let last = &secret[secret.len() - 1..];
        for text in [
            format!("{secret}x"),
            format!("{secret} "),
            format!(" {secret}"),
            format!("{secret}\0"),
            format!("{secret}{last}"),
            format!("{secret}{}", "a".repeat(72)),
            format!("\"{secret}\""),
            secret[..secret.len() - 1].to_owned(),
            secret[1..].to_owned(),
            secret.to_uppercase(),
            secret.to_lowercase(),
            secret.chars().rev().collect(),
        ] {
            assert_eq!(oauth.token(&id, &text).await.status.as_u16(), 401, "{}", text.len());
            assert_eq!(oauth.token_by_post(&id, &text).await.status.as_u16(), 401, "{}", text.len());
        }
    }
}

async fn an_empty_secret_is_refused_also_after_every_secret_has_ended(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let id = client.registration("production").client_id.clone();
    let owner = world.owner().await;
    let empty = ["", " ", "\0", "null", "undefined", "None", "0", "[]"];
    let refuses = async || {
        let oauth = world.oauth("production");
        for text in empty {
            assert_eq!(oauth.token(&id, text).await.status.as_u16(), 401, "{text:?}");
            assert_eq!(oauth.token_by_post(&id, text).await.status.as_u16(), 401, "{text:?}");
        }
        let without = [("grant_type", "client_credentials"), ("client_id", id.as_str())];
        let answer = oauth.form("token", &without, &[]).await;
        assert_eq!(answer.status.as_u16(), 401, "no secret at all");
    };
    refuses().await;
    owner.post(&client.path("production", "/secrets/rotate"), client.rotation(0)).await.created();
    refuses().await;
    let deletion = json!({"confirm_client_name": "Billing", "reason": "x"});
    owner.delete(&format!("/clients/{}", client.id), deletion).await;
    refuses().await;
}
