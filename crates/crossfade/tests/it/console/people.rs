//! People, roles and tokens, by the forms of the Console.

use super::browser::{Browser, PASSWORD};
use crate::engines::on_both_engines;
use crate::world::{Answer, World};
use http::Method;
use serde_json::json;

on_both_engines! {
    a_person_is_created_comes_in_by_the_link_and_gets_a_role,
    the_first_role_that_sees_secrets_closes_an_account_and_shows_a_link_once,
    a_link_that_went_to_a_wrong_address_does_not_open_the_account_of_the_right_one,
    what_is_wrong_stands_beside_its_field_and_what_was_typed_stays,
    a_role_is_given_within_a_client_and_environments,
    who_may_not_give_a_role_is_not_offered_it_and_is_refused,
    the_last_owner_stays,
    of_two_who_change_an_account_at_once_the_second_is_told,
    too_many_new_tokens_keep_the_form_and_say_when,
    a_token_is_shown_once_and_ends_when_it_is_deleted,
    a_token_of_one_registration_is_chosen_from_the_clients_one_can_read,
}

/// The id in the address of an account's page.
fn id_in(page: &str) -> String {
    let at = page.find("/console/people/usr_").unwrap();
    page[at + "/console/people/".len()..][..26].to_owned()
}

/// The one-time link that a page shows.
fn link_in(page: &str) -> String {
    let at = page.find("https://auth.example.com/console/link#").unwrap();
    page[at..].split('<').next().unwrap().to_owned()
}

async fn create(browser: &Browser<'_>, kind: &str, email: &str, name: &str) -> Answer {
    browser.post("/console/people", &[("kind", kind), ("email", email), ("name", name)]).await
}

async fn a_person_is_created_comes_in_by_the_link_and_gets_a_role(world: World) {
    let owner = world.signed_in().await;
    let page = create(&owner, "person", "bob@example.com", "Bob <b>").await.page(200);
    let (id, link) = (id_in(&page), link_in(&page));
    assert!(page.contains("Bob &#60;b&#62;") && !page.contains("Bob <b>"));
    let path = format!("/console/people/{id}");
    assert!(!owner.get(&path).await.page(200).contains("#crossfade_link_"), "shown once");
    assert!(owner.get("/console/people?q=bob").await.page(200).contains("Invited"));
    let bob = world.browser();
    let new = "four quite unrelated words";
    bob.post("/console/link", &[("link", &*link), ("email", ""), ("password", new), ("repeated", new)])
        .await
        .leads_to();
    assert!(bob.is_signed_in().await);
    assert_eq!(bob.get("/console/people").await.status.as_u16(), 403, "without a role nothing");
    // What somebody chose stands in no command.
    assert!(
        bob.get("/console/account").await.page(200).contains(&format!("crossfade token create --user {id} "))
    );
    let grant = [("role", "operations_manager"), ("scope", "platform")];
    assert_eq!(owner.post(&format!("{path}/grants"), &grant).await.leads_to(), path);
    assert!(
        owner.get(&path).await.page(200).contains("The role was granted, effective from the next request.")
    );
    assert_eq!(bob.get("/console/people").await.status.as_u16(), 200, "from the next request");
    let page = owner.get(&path).await.page(200);
    let at = page.find("/grants/grant_").unwrap();
    let grant = &page[at + "/grants/".len()..][..28];
    assert_eq!(owner.post(&format!("{path}/grants/{grant}/delete"), &[]).await.leads_to(), path);
    assert_eq!(bob.get("/console/people").await.status.as_u16(), 403);
    for typed in ["", "bob@example.com", "bob <b>"] {
        let page = owner.post(&format!("{path}/delete"), &[("confirm_user_name", typed)]).await.page(422);
        assert!(
            page.contains("aria-labelledby=\"delete-title\" open") && page.contains("aria-invalid"),
            "{page}"
        );
    }
    assert!(bob.is_signed_in().await);
    let done = owner.post(&format!("{path}/delete"), &[("confirm_user_name", " Bob <b>")]).await;
    assert_eq!(done.leads_to(), "/console/people");
    assert!(!bob.is_signed_in().await);
    assert_eq!(owner.get(&path).await.status.as_u16(), 404);
}

async fn the_first_role_that_sees_secrets_closes_an_account_and_shows_a_link_once(world: World) {
    let owner = world.signed_in().await;
    let page = create(&owner, "person", "bob@example.com", "Bob").await.page(200);
    let path = format!("/console/people/{}", id_in(&page));
    let bob = world.browser();
    let password = [("email", ""), ("password", PASSWORD), ("repeated", PASSWORD)];
    bob.post("/console/link", &[&[("link", &*link_in(&page))], &password[..]].concat()).await.leads_to();
    assert!(
        owner.get(&path).await.page(200).contains("Its password, sessions, tokens and links end"),
        "told before"
    );
    let manager = world.person("ops@example.com", "operations_manager").await;
    assert!(!manager.get(&path).await.page(200).contains("may have kept one"), "who cannot give it");
    let page = owner
        .post(&format!("{path}/grants"), &[("role", "secret_viewer"), ("scope", "platform")])
        .await
        .page(200);
    let link = link_in(&page);
    assert!(
        page.contains("The role was granted, effective from the next request.")
            && page.contains("Send this link to Bob.")
    );
    assert!(!bob.is_signed_in().await);
    let page = owner.get(&path).await.page(200);
    assert!(
        !page.contains("#crossfade_link_") && !page.contains("Roles that close this account first: Secret"),
        "{page}"
    );
    bob.post("/console/link", &[&[("link", &*link)], &password[..]].concat()).await.leads_to();
    assert!(bob.is_signed_in().await);
}

async fn a_link_that_went_to_a_wrong_address_does_not_open_the_account_of_the_right_one(world: World) {
    let owner = world.signed_in().await;
    let page = create(&owner, "person", "bop@example.com", "Bob").await.page(200);
    let (path, link) = (format!("/console/people/{}", id_in(&page)), link_in(&page));
    let edit = |email| [("name", "Robert"), ("email", email)];
    assert_eq!(owner.post(&path, &edit("bop@example.com")).await.status.as_u16(), 303);
    let stranger = world.browser();
    let open = [("link", &*link), ("email", ""), ("password", "x"), ("repeated", "x")];
    assert_eq!(
        stranger.post("/console/link", &open).await.status.as_u16(),
        422,
        "another name is the same person"
    );
    assert_eq!(owner.post(&path, &edit("bob@example.com")).await.status.as_u16(), 303);
    assert_eq!(stranger.post("/console/link", &open).await.status.as_u16(), 410);
}

async fn what_is_wrong_stands_beside_its_field_and_what_was_typed_stays(world: World) {
    let owner = world.signed_in().await;
    let page = create(&owner, "person", "bob", "Bob").await.page(422);
    assert!(page.contains("aria-labelledby=\"create-person-title\" open"), "{page}");
    assert!(
        page.contains("Email must be an email address")
            && page.contains("aria-invalid=\"true\"")
            && page.contains("value=\"bob\"")
    );
    let taken = create(&owner, "person", "Owner@example.com", "Again").await.page(409);
    assert!(taken.contains("Another user already has this email address."));
    let secret = "crossfade_live_0123456789abcdefghij";
    let refused = create(&owner, "person", "bob@example.com", secret).await.page(422);
    assert!(refused.contains("looks like a Crossfade secret"));
    let page = create(&owner, "program", "hidden@example.com", "deploy").await.page(200);
    assert!(page.contains("crossfade token create --user usr_") && !page.contains("#crossfade_link_"));
    let path = format!("/console/people/{}", id_in(&page));
    let nowhere = [("role", "viewer"), ("scope", "client"), ("client_id", "Billing")];
    let page = owner.post(&format!("{path}/grants"), &nowhere).await.page(422);
    assert!(
        page.contains("Client must be a client&#39;s ID")
            && page.contains("aria-labelledby=\"give-title\" open"),
        "{page}"
    );
    let platform = [("role", "application_manager"), ("scope", "platform")];
    assert!(
        owner
            .post(&format!("{path}/grants"), &platform)
            .await
            .page(422)
            .contains("so choose one under Scope")
    );
    assert_eq!(world.number("SELECT COUNT(*) FROM grants").await, 1, "the Owner's own");
}

async fn a_role_is_given_within_a_client_and_environments(world: World) {
    let client = world.client("Billing <API>", &["staging", "production"]).await;
    let owner = world.signed_in().await;
    let path = format!("/console/people/{}", id_in(&create(&owner, "program", "", "deploy").await.page(200)));
    let fields = [
        ("role", "secret_rotator"),
        ("scope", "client"),
        ("client_id", &*client.id),
        ("property_id", "ignored"),
        ("environments", "staging"),
    ];
    owner.post(&format!("{path}/grants"), &fields).await.leads_to();
    let page = owner.get(&path).await.page(200);
    assert!(page.contains("Client Billing &#60;API&#62;") && page.contains("Secret Rotator"), "{page}");
    let user = world.owner().await.get("/users?q=deploy").await.ok();
    assert_eq!(user["items"][0]["grants"][0]["environments"], json!(["staging"]));
    assert_eq!(user["items"][0]["grants"][0]["client_id"], json!(client.id));
    let again = owner.post(&format!("{path}/grants"), &fields).await;
    assert!(again.page(409).contains("The user already has this role in this scope."));
}

async fn who_may_not_give_a_role_is_not_offered_it_and_is_refused(world: World) {
    let manager = world.person("ops@example.com", "operations_manager").await;
    let path = format!(
        "/console/people/{}",
        id_in(&create(&manager, "person", "bob@example.com", "Bob").await.page(200))
    );
    let page = manager.get(&path).await.page(200);
    assert!(
        page.contains("<option value=\"viewer\">")
            && !page.contains("<option value=\"secret_viewer\">")
            && !page.contains("<option value=\"owner\">")
    );
    for role in ["secret_viewer", "secret_rotator", "owner"] {
        let answer = manager.post(&format!("{path}/grants"), &[("role", role), ("scope", "platform")]).await;
        assert!(answer.page(403).contains("Permission required"), "{role}");
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM grants").await, 2);
    // An account that holds more than one may give is not changed, nor taken over with a link.
    let users = world.owner().await.get("/users?q=owner").await.ok();
    let owner = format!("/console/people/{}", users["items"][0]["id"].as_str().unwrap());
    let page = manager.get(&owner).await.page(200);
    assert!(!page.contains("Delete account") && !page.contains("id=\"edit\""), "{page}");
    for what in ["link", "delete"] {
        assert_eq!(manager.post(&format!("{owner}/{what}"), &[]).await.status.as_u16(), 403, "{what}");
    }
    let viewer = world.person("eve@example.com", "viewer").await;
    assert_eq!(viewer.get("/console/people").await.status.as_u16(), 403);
    assert_eq!(viewer.get(&path).await.status.as_u16(), 404);
    assert_eq!(
        viewer.post("/console/people", &[("name", "x"), ("kind", "program")]).await.status.as_u16(),
        403
    );
}

async fn the_last_owner_stays(world: World) {
    let owner = world.signed_in().await;
    let path = format!("/console/people/{}", id_in(&owner.get("/console/people").await.page(200)));
    let name = [("confirm_user_name", "owner")];
    assert!(owner.post(&format!("{path}/delete"), &name).await.page(409).contains("at least one Owner"));
    assert!(owner.is_signed_in().await);
}

async fn of_two_who_change_an_account_at_once_the_second_is_told(world: World) {
    let owner = world.signed_in().await;
    let path = format!(
        "/console/people/{}",
        id_in(&create(&owner, "person", "bob@example.com", "Bob").await.page(200))
    );
    let fields = |name| [("name", name), ("email", "bob@example.com"), ("version", "1")];
    assert_eq!(owner.post(&path, &fields("Robert")).await.leads_to(), path);
    let second = owner.post(&path, &fields("Bobby")).await.page(412);
    assert!(
        second.contains("has changed since you read it") && second.contains("value=\"Bobby\""),
        "{second}"
    );
    assert!(owner.get(&path).await.page(200).contains("<h1>Robert</h1>"));
}

async fn too_many_new_tokens_keep_the_form_and_say_when(world: World) {
    let owner = world.signed_in().await;
    let mut made = 0;
    let refused = loop {
        let fields = [("name", "night job"), ("expires_days", "30"), ("scope", "client:read")];
        let answer = owner.post("/console/account/tokens", &fields).await;
        if answer.status.as_u16() != 200 {
            break answer;
        }
        made += 1;
        assert!(made < 1000, "there is no limit");
    };
    assert_eq!((refused.header("retry-after"), refused.header("refresh")), (Some("30"), None));
    let page = refused.page(429);
    for kept in
        ["aria-labelledby=\"create-token-title\" open", "value=\"night job\"", "Try again in 30 seconds."]
    {
        assert!(page.contains(kept), "{kept} {page}");
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM api_tokens WHERE name = 'night job'").await, made);
}

async fn a_token_of_one_registration_is_chosen_from_the_clients_one_can_read(world: World) {
    let (billing, ledger) =
        (world.client("Billing", &["production"]).await, world.client("Ledger", &["production"]).await);
    let offered = async |browser: &Browser<'_>| {
        let page = browser.get("/console/account").await.page(200);
        let count = page.matches("<option value=\"cl_").count();
        let offers = |client: &str| page.contains(&format!("<option value=\"{client}\">"));
        (count, offers(&billing.id), offers(&ledger.id), page)
    };
    let owner = world.signed_in().await;
    let (count, has_billing, has_ledger, page) = offered(&owner).await;
    assert_eq!((count, has_billing, has_ledger), (2, true, true), "{page}");
    assert!(
        page.contains("list=\"token-clients\"") && page.contains("<option value=\"production\">Production")
    );
    let fields =
        [("name", "ci"), ("expires_days", "30"), ("client", &billing.id), ("environment", "production")];
    let page = owner.post("/console/account/tokens", &fields).await.page(200);
    assert!(page.contains("crossfade_api_") && page.contains("</a> in production"), "{page}");
    // Only what one can read, and nothing without a role.
    let mia = world.person("mia@example.com", "viewer").await;
    let limit = format!("UPDATE grants SET client_id = '{}' WHERE role = 'viewer'", billing.id);
    world.raw(&limit).await;
    assert_eq!(offered(&mia).await.0, 1);
    assert!(offered(&mia).await.1);
    world.raw("DELETE FROM grants WHERE role = 'viewer'").await;
    assert_eq!(offered(&mia).await.0, 0);
    // However many there are, the page stays short, and any client can be typed.
    crate::owners::hand_over::insert_clients(&world, &billing, 1000, &[]).await;
    let (count, _, _, page) = offered(&owner).await;
    assert!(count == 200 && page.contains("the first 200 clients") && page.len() < 200_000, "{}", page.len());
}

async fn a_token_is_shown_once_and_ends_when_it_is_deleted(world: World) {
    let owner = world.signed_in().await;
    let page = owner
        .post(
            "/console/account/tokens",
            &[("name", "laptop"), ("expires_days", ""), ("scope", "client:read")],
        )
        .await
        .page(200);
    let at = page.find("crossfade_api_").unwrap();
    let token = page[at..].split('<').next().unwrap().to_owned();
    let page = owner.get("/console/account").await.page(200);
    assert!(page.contains("laptop") && page.contains("client:read") && !page.contains(&token), "shown once");
    let bearer = format!("Bearer {token}");
    let call = async |path| {
        world.browser().send(Method::GET, path, None, &[("authorization", &bearer)]).await.status.as_u16()
    };
    assert_eq!((call("/api/v1/clients").await, call("/api/v1/users").await), (200, 403));
    for (fields, what) in [
        ([("name", ""), ("expires_days", "")], "Name must not be empty."),
        ([("name", "x"), ("expires_days", "0")], "Expires after must be a whole number of days"),
        ([("name", "x"), ("expires_days", "1.5")], "Expires after must be a whole number of days"),
    ] {
        let page = owner.post("/console/account/tokens", &fields).await.page(422);
        assert!(
            page.contains(what) && page.contains("aria-labelledby=\"create-token-title\" open"),
            "{page}"
        );
    }
    assert!(
        owner
            .post("/console/account/tokens", &[("name", "x"), ("scope", "everything")])
            .await
            .page(422)
            .contains("is not a permission")
    );
    let at = page.find("laptop<span class=\"sub mono\">").unwrap();
    let id = &page[at..][page[at..].find("tok_").unwrap()..][..26];
    let delete = &format!("/console/account/tokens/{id}/delete");
    let bob = world.person("bob@example.com", "viewer").await;
    assert_eq!(bob.post(delete, &[]).await.status.as_u16(), 404);
    assert_eq!(owner.post(delete, &[]).await.leads_to(), "/console/account");
    assert_eq!(call("/api/v1/clients").await, 401);
    // An Owner's own page lists what is theirs, and nobody else's.
    bob.post("/console/account/tokens", &[("name", "of Bob")]).await.page(200);
    assert!(!owner.get("/console/account").await.page(200).contains("of Bob"));
    assert!(!bob.get("/console/account").await.page(200).contains(PASSWORD));
}
