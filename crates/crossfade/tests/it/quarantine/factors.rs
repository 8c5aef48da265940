//! Second factors in a restored database: what had ended stays ended, and no password is enough where a factor is lost.

use super::{Saved, journal, journal::restored_with, restarted};
use crate::{
    console::{browser::PASSWORD, factors::enrol},
    engines::on_both_engines,
    world::{OWNER, Principal, World},
};
use serde_json::json;

on_both_engines! {
    a_restore_revives_no_removed_factor_and_no_used_code,
    a_factor_that_a_restore_has_lost_leaves_no_password,
    nothing_about_factors_is_changed_in_a_quarantine,
}

async fn a_restore_revives_no_removed_factor_and_no_used_code(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let bob = world.person("bob@example.com", "viewer").await;
    enrol(&world, &bob).await;
    let here = world.signed_in_as(OWNER).await;
    let (_, codes) = enrol(&world, &here).await;
    let saved = Saved::of(&world).await;
    let browser = world.browser();
    browser.sign_in(OWNER, PASSWORD).await.leads_to();
    browser.post("/console/sign-in/code", &[("code", &codes[0])]).await.leads_to();
    assert!(browser.is_signed_in().await);
    let owner = world.owner().await;
    let users = owner.get("/users?q=bob").await.ok();
    let id = users["items"][0]["id"].as_str().unwrap();
    owner.delete(&format!("/users/{id}/factors"), json!({})).await.ok();
    owner.patch("/sign-in-policy", json!({"second_factor": "secret_roles"})).await.ok();
    let after = restored_with(&saved, &world, &path).await;
    assert_eq!(after.app.quarantine(), None);
    let again = after.browser();
    again.sign_in(OWNER, PASSWORD).await.leads_to();
    let wrong = again.post("/console/sign-in/code", &[("code", &codes[0])]).await;
    assert_eq!(wrong.status, 422, "used before");
    again.post("/console/sign-in/code", &[("code", &codes[1])]).await.leads_to();
    assert!(again.is_signed_in().await);
    assert_eq!(after.browser().sign_in("bob@example.com", PASSWORD).await.leads_to(), "/console");
    let policy = after.owner().await.get("/sign-in-policy").await.ok();
    assert_eq!(policy["second_factor"], "secret_roles");
}

async fn a_factor_that_a_restore_has_lost_leaves_no_password(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let bob = world.person("bob@example.com", "viewer").await;
    let saved = Saved::of(&world).await;
    enrol(&world, &bob).await;
    let after = restored_with(&saved, &world, &path).await;
    assert_eq!(after.browser().sign_in("bob@example.com", PASSWORD).await.status, 422);
    assert_eq!(after.browser().sign_in(OWNER, PASSWORD).await.leads_to(), "/console");
}

async fn nothing_about_factors_is_changed_in_a_quarantine(world: World) {
    let here = world.signed_in().await;
    let (_, codes) = enrol(&world, &here).await;
    let token = world.owner().await.token;
    let saved = Saved::of(&world).await;
    let after = saved.restored(&world, None).await;
    let browser = after.browser();
    browser.sign_in(OWNER, PASSWORD).await.leads_to();
    browser.post("/console/sign-in/code", &[("code", &codes[0])]).await.leads_to();
    for (path, name) in [("/console/account/factors", "tablet"), ("/console/account/recovery-codes", "")] {
        assert_eq!(browser.post(path, &[("name", name)]).await.status, 503, "{path}");
    }
    let owner = Principal { world: &after, token };
    owner.patch("/sign-in-policy", json!({"second_factor": "everyone"})).await.refused(503, "quarantined");
    assert_eq!(after.number("SELECT COUNT(*) FROM factors").await, 1);
}
