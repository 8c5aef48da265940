//! Single sign-on in a restored database: a provider, an identity and the use of passwords that had ended stay ended.

use super::{Saved, journal, journal::restored_with, restarted};
use crate::{
    console::browser::PASSWORD,
    engines::on_both_engines,
    world::{OWNER, World},
};
use serde_json::{Value, json};

on_both_engines! {
    a_restore_revives_no_identity_and_no_provider,
    a_restore_lets_no_password_in_that_was_switched_off,
}

async fn add(world: &World, name: &str) -> String {
    let body = json!({
        "name": name, "issuer": "https://id.example.com", "client_id": "crossfade", "client_secret": "very secret",
        "domains": ["example.com"],
    });
    world.owner().await.post("/providers", body).await.created()["id"].as_str().unwrap().to_owned()
}

async fn providers(world: &World) -> Vec<Value> {
    let all = world.owner().await.get("/providers").await.ok();
    all["items"].as_array().unwrap().clone()
}

async fn a_restore_revives_no_identity_and_no_provider(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let (disabled, deleted, kept) =
        (add(&world, "Disabled").await, add(&world, "Deleted").await, add(&world, "Kept").await);
    world.person("bob@example.com", "viewer").await;
    for provider in [&kept, &disabled] {
        world
            .raw(&format!(
                "INSERT INTO identities (provider_id, subject, user_id, created_account, created_at)
                 SELECT '{provider}', 'bob', id, 0, 1 FROM users WHERE email = 'bob@example.com'"
            ))
            .await;
    }
    let saved = Saved::of(&world).await;
    let owner = world.owner().await;
    owner.patch(&format!("/providers/{disabled}"), json!({"enabled": false})).await.ok();
    assert_eq!(owner.delete(&format!("/providers/{deleted}"), json!({})).await.status, 204);
    // A new password with a link unlinks what others may have linked.
    let found = owner.get("/users?q=bob").await.ok();
    let link = format!("/users/{}/link", found["items"][0]["id"].as_str().unwrap());
    let url = owner.post(&link, json!({})).await.created();
    let code = url["url"].as_str().unwrap().rsplit('#').next().unwrap().to_owned();
    let new = "a sentence that nobody guesses";
    let form = [("link", &*code), ("email", ""), ("password", new), ("repeated", new)];
    world.browser().post("/console/link", &form).await.leads_to();
    assert_eq!(world.number("SELECT COUNT(*) FROM identities").await, 0);
    let after = restored_with(&saved, &world, &path).await;
    assert_eq!(after.app.quarantine(), None);
    assert_eq!(after.number("SELECT COUNT(*) FROM identities").await, 0);
    let enabled: Vec<Value> = providers(&after)
        .await
        .into_iter()
        .filter(|it| it["enabled"] == true)
        .map(|it| it["name"].clone())
        .collect();
    assert_eq!(enabled, ["Kept"]);
}

async fn a_restore_lets_no_password_in_that_was_switched_off(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    add(&world, "Example").await;
    world.person("bob@example.com", "viewer").await;
    let saved = Saved::of(&world).await;
    let owner = world.owner().await;
    let found = owner.get(&format!("/users?q={OWNER}")).await.ok();
    let body = json!({"passwords": "break_glass", "break_glass": [found["items"][0]["id"]]});
    owner.patch("/sign-in-policy", body.clone()).await.ok();
    let after = restored_with(&saved, &world, &path).await;
    let policy = after.owner().await.get("/sign-in-policy").await.ok();
    assert_eq!((&policy["passwords"], &policy["break_glass"]), (&body["passwords"], &body["break_glass"]));
    assert!(after.browser().sign_in("bob@example.com", PASSWORD).await.page(422).contains("switched off"));
    assert_eq!(after.browser().sign_in(OWNER, PASSWORD).await.leads_to(), "/console");
}
