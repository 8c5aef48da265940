//! Adding, changing, disabling and deleting a provider.

use super::{
    account, add, begun, events,
    idp::{CLIENT_ID, Idp, SECRET},
    sign_in, signed_in,
};
use crate::{engines::on_both_engines, world::World};
use serde_json::{Value, json};

on_both_engines! {
    a_provider_is_shown_with_what_to_register_and_without_its_secret,
    wrong_settings_are_refused_with_the_member,
    another_issuer_is_confirmed_gets_a_new_secret_and_knows_nobody,
    a_provider_that_is_disabled_or_deleted_ends_its_sessions,
    the_pages_add_change_and_delete_a_provider,
    a_sign_in_does_not_outlive_a_change_of_its_provider,
}

async fn a_provider_is_shown_with_what_to_register_and_without_its_secret(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let owner = world.owner().await;
    let shown = owner.get(&format!("/providers/{id}")).await.ok();
    let expected = json!({
        "id": id, "name": "Example", "issuer": idp.url(""), "client_id": CLIENT_ID,
        "client_authentication": "client_secret_basic", "has_client_secret": true,
        "scopes": ["openid", "email", "profile"], "domains": ["example.com"], "groups_claim": "groups",
        "acr_values": [], "group_grants": [], "groups_from": "claim", "external_id_claim": "sub", "enabled": true,
        "scim_url": format!("https://auth.example.com/scim/v2/{id}"),
        "redirect_uri": format!("https://auth.example.com/console/sign-in/callback/{id}"),
        "back_channel_logout_uri": format!("https://auth.example.com/console/sign-in/back-channel/{id}"),
        "post_logout_redirect_uri": "https://auth.example.com/console/sign-in",
        "created_at": shown["created_at"],
    });
    assert_eq!(shown, expected);
    assert_eq!(owner.get("/providers").await.ok()["items"], json!([shown]));
    let created =
        events(&world, 5).await.into_iter().find(|(action, _)| action == "provider.created").unwrap().1;
    assert!(created["provider"]["has_client_secret"] == true && !created.to_string().contains(SECRET));
    for role in ["operations_manager", "auditor", "viewer"] {
        let other = world.user(&format!("{role}@example.com"), role).await;
        other.get("/providers").await.refused(403, "forbidden");
        other.get(&format!("/providers/{id}")).await.refused(404, "not_found");
    }
}

async fn wrong_settings_are_refused_with_the_member(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let owner = world.owner().await;
    for (member, value) in [
        ("name", json!("")),
        ("issuer", json!("id.example.com")),
        ("issuer", json!("http://id.example.com?a=b")),
        ("issuer", json!("https://10.0.0.1")),
        ("issuer", json!("https://169.254.169.254/latest")),
        ("client_id", json!("")),
        ("client_secret", json!("")),
        ("client_secret", json!("a\nb")),
        ("scopes", json!(["a b"])),
        ("domains", json!(["*.example.com"])),
        ("domains", json!(["example"])),
        ("groups_claim", json!("")),
        ("acr_values", json!(["a\"b"])),
    ] {
        let body = json!({ member: value });
        let refused = owner.patch(&format!("/providers/{id}"), body).await.refused(422, "invalid_body");
        assert_eq!(refused["field"], member, "{refused}");
    }
    let without = json!({"name": "A", "issuer": idp.url(""), "client_id": "a"});
    assert_eq!(
        owner.post("/providers", without.clone()).await.refused(422, "invalid_body")["field"],
        "client_secret"
    );
    let mut public = without;
    public["client_authentication"] = "none".into();
    owner.post("/providers", public.clone()).await.created();
    public["client_secret"] = "x".into();
    public["name"] = "B".into();
    assert_eq!(owner.post("/providers", public).await.refused(422, "invalid_body")["field"], "client_secret");
    let body = json!({"name": "EXAMPLE", "issuer": idp.url(""), "client_id": "a", "client_secret": "b"});
    owner.post("/providers", body).await.refused(409, "name_taken");
    assert_eq!(owner.get(&format!("/providers/{id}")).await.ok()["name"], "Example");
}

async fn another_issuer_is_confirmed_gets_a_new_secret_and_knows_nobody(mut world: World) {
    begun(&mut world).await;
    let (one, two) = (Idp::start().await, Idp::start().await);
    let groups = json!([{"group": "a", "role": "viewer"}]);
    let id = add(&world, &one, "Example", json!({"group_grants": groups})).await;
    let ada = signed_in(&world, &one, &id, json!({"groups": ["a"]})).await;
    let owner = world.owner().await;
    let path = format!("/providers/{id}");
    let mut body = json!({"issuer": two.url("")});
    assert_eq!(owner.patch(&path, body.clone()).await.refused(422, "invalid_body")["field"], "client_secret");
    body["client_secret"] = SECRET.into();
    owner.patch(&path, body.clone()).await.refused(422, "confirmation_mismatch");
    body["confirm_name"] = "Example".into();
    owner.patch(&path, body).await.ok();
    assert!(!ada.is_signed_in().await);
    let told =
        events(&world, 10).await.into_iter().find(|(action, _)| action == "provider.updated").unwrap().1;
    let ended = (&told["ended_sessions"], &told["ended_identities"], &told["client_secret_replaced"]);
    assert_eq!(ended, (&json!(1), &json!(1), &json!(true)));
    assert_eq!(account(&world, "ada@example.com").await["grants"], json!([]));
    // The same subject at another issuer is another person.
    let browser = world.browser();
    sign_in(&browser, &world, &two, &id, json!({"groups": ["a"]})).await.page(403);
    assert!(two.take().iter().any(|it| it.starts_with("POST /token")));
}

async fn a_provider_that_is_disabled_or_deleted_ends_its_sessions(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let ada = signed_in(&world, &idp, &id, json!({})).await;
    let (owner, path) = (world.owner().await, format!("/providers/{id}"));
    owner.patch(&path, json!({"enabled": false})).await.ok();
    assert!(!ada.is_signed_in().await);
    world.browser().get(&format!("/console/sign-in/{id}")).await.page(404);
    assert!(!world.browser().get("/console/sign-in").await.page(200).contains("Sign in with Example"));
    owner.patch(&path, json!({"enabled": true})).await.ok();
    let ada = signed_in(&world, &idp, &id, json!({})).await;
    owner.delete(&path, json!({})).await.expect(204);
    owner.get(&path).await.refused(404, "not_found");
    assert!(!ada.is_signed_in().await);
    let identities = account(&world, "ada@example.com").await["identities"].clone();
    assert_eq!(
        (&identities[0]["provider_name"], &identities[0]["subject"]),
        (&json!("Example"), &json!("ada"))
    );
    assert_eq!(world.number("SELECT COUNT(*) FROM providers WHERE client_secret IS NOT NULL").await, 0);
    // The name is free again.
    add(&world, &idp, "Example", json!({})).await;
}

async fn the_pages_add_change_and_delete_a_provider(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let browser = world.signed_in().await;
    assert!(browser.get("/console/people").await.page(200).contains("href=\"/console/providers\""));
    let issuer = idp.url("");
    let mut fields = vec![
        ("name", "Example"),
        ("issuer", &*issuer),
        ("client_id", CLIENT_ID),
        ("client_authentication", "client_secret_basic"),
        ("client_secret", SECRET),
        ("domains", "example.com, example.org"),
    ];
    let page = browser
        .post("/console/providers", &[("name", "Example"), ("issuer", "x"), ("client_secret", SECRET)])
        .await;
    let page = page.page(422);
    assert!(page.contains("Issuer must be a URL") || page.contains("client_id"), "{page}");
    assert!(!page.contains(SECRET), "a secret is not sent back");
    let path = browser.post("/console/providers", &fields).await.leads_to().to_owned();
    let page = browser.get(&path).await.page(200);
    assert!(page.contains("/console/sign-in/callback/idp_") && !page.contains(SECRET), "{page}");
    let add = [
        ("group", "engineers"),
        ("role", "viewer"),
        ("scope_id", ""),
        ("environments", "staging"),
        ("version", "1"),
    ];
    assert_eq!(browser.post(&format!("{path}/groups"), &add).await.leads_to(), path);
    let page = browser.get(&path).await.page(200);
    assert!(page.contains(">engineers<") && page.contains(">staging<"), "{page}");
    let late = browser.post(&format!("{path}/groups/remove"), &[("number", "0"), ("version", "1")]).await;
    late.page(412);
    let removed = browser.post(&format!("{path}/groups/remove"), &[("number", "0"), ("version", "2")]).await;
    assert_eq!(removed.leads_to(), path);
    fields.retain(|(name, _)| *name != "client_secret");
    fields.extend([
        ("version", "3"),
        ("scopes", "openid groups"),
        ("groups_claim", "roles"),
        ("groups_from", "provisioning"),
        ("external_id_claim", "oid"),
        ("acr_values", ""),
        ("enabled", "true"),
    ]);
    assert_eq!(browser.post(&path, &fields).await.leads_to(), path);
    let id = path.rsplit('/').next().unwrap();
    let shown: Value = world.owner().await.get(&format!("/providers/{id}")).await.ok();
    assert_eq!((&shown["groups_from"], &shown["external_id_claim"]), (&json!("provisioning"), &json!("oid")));
    assert_eq!((&shown["scopes"], &shown["has_client_secret"]), (&json!(["openid", "groups"]), &json!(true)));
    browser.post(&format!("{path}/delete"), &[("confirm_name", "Other")]).await.page(422);
    let deleted = browser.post(&format!("{path}/delete"), &[("confirm_name", "Example")]).await;
    assert_eq!(deleted.leads_to(), "/console/providers");
}

async fn a_sign_in_does_not_outlive_a_change_of_its_provider(mut world: World) {
    begun(&mut world).await;
    let (one, two) = (Idp::start().await, Idp::start().await);
    let id = add(&world, &one, "Example", json!({})).await;
    let browser = world.browser();
    let asked = super::depart(&browser, &id, "").await;
    let token = one.sign(&json!({}), &super::claims(&world, &one, &asked, &json!({})));
    let code = one.give(&asked, token);
    let body = json!({"issuer": two.url(""), "client_secret": SECRET, "confirm_name": "Example"});
    world.owner().await.patch(&format!("/providers/{id}"), body).await.ok();
    browser.get(&super::way_back(&one, &asked, &code)).await.page(403);
    assert!(!browser.is_signed_in().await);
    assert_eq!(world.number("SELECT COUNT(*) FROM identities").await, 0);
}
