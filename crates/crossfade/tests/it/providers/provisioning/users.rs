//! People: how they are provisioned, found and changed.

use super::{Scim, id_of, refused};
use crate::{
    engines::on_both_engines,
    providers::{MICRO, account, begun, events, idp::Idp, sign_in, signed_in},
    world::World,
};
use crossfade_app::Intent;
use crossfade_core::audit::Origin;
use http::Method;
use serde_json::{Value, json};

on_both_engines! {
    a_person_is_provisioned_read_changed_and_signs_in,
    a_person_who_signed_in_first_is_found_by_who_they_are,
    who_is_not_active_is_let_in_by_no_earlier_identity,
    no_account_is_taken_over_by_its_address,
    what_is_not_valid_is_refused_with_its_word,
    two_requests_at_once_provision_one_person,
    two_processes_provision_one_person,
    people_are_listed_filtered_and_paged,
    what_okta_and_entra_send_changes_a_person,
    another_address_changes_the_account_as_a_manager_does,
    an_account_that_is_provisioned_is_linked_with_nobody_else,
    a_change_of_an_outdated_version_is_refused,
    a_person_of_another_claim_is_recognised_by_it,
    the_server_says_what_it_can_do,
}

async fn a_person_is_provisioned_read_changed_and_signs_in(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let scim = Scim::add(&world, &idp, "Example", json!({})).await;
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "Ada@example.com", "externalId": "ada",
        "name": {"givenName": "Ada", "familyName": "Lovelace"}, "emails": [{"value": "ada@example.com", "primary": true}],
        "password": "canary-password", "title": "Countess",
    });
    let answer = scim.post("/Users", body).await;
    let (location, tag) =
        (answer.header("location").unwrap().to_owned(), answer.header("etag").unwrap().to_owned());
    let ada = answer.created();
    assert_eq!((&ada["userName"], &ada["active"]), (&json!("ada@example.com"), &json!(true)));
    assert!(ada.get("title").is_none() && ada.get("password").is_none(), "{ada}");
    assert_eq!(
        (ada["meta"]["location"].as_str().unwrap(), ada["meta"]["version"].as_str().unwrap()),
        (&*location, &*tag)
    );
    let path = format!("/Users/{}", id_of(&ada));
    assert!(
        location.ends_with(&path) && location.starts_with("https://auth.example.com/scim/v2/idp_"),
        "{location}"
    );
    assert_eq!(scim.get(&path).await.ok(), ada);
    let known = scim.call(Method::GET, &path, None, &[("if-none-match", &tag)]).await;
    assert_eq!(known.status, 304);
    let own = account(&world, "ada@example.com").await;
    assert_eq!(
        (&own["name"], &own["activated"], &own["grants"]),
        (&json!("Ada Lovelace"), &json!(false), &json!([]))
    );
    let told = events(&world, 10).await;
    let created = told.iter().find(|(action, _)| action == "scim_user.created").unwrap();
    assert_eq!((&created.1["user_id"], &created.1["account_existed"]), (&own["id"], &json!(false)));
    assert!(told.iter().any(|(action, _)| action == "user.created"));
    // The same person signs in, whatever the token says of the address.
    let browser = signed_in(&world, &idp, &scim.id, json!({"email": "other@example.com"})).await;
    assert!(browser.is_signed_in().await);
    let own = account(&world, "ada@example.com").await;
    assert_eq!(own["identities"][0]["subject"], "ada");
    let renamed = json!({"userName": "ada@example.com", "externalId": "ada", "displayName": "Ada King"});
    let changed = scim.put(&path, renamed.clone()).await.ok();
    assert!(changed.get("emails").is_none() && changed.get("name").is_none(), "replaced: {changed}");
    assert_eq!(account(&world, "ada@example.com").await["name"], "Ada King");
    // The same again changes nothing.
    let before = events(&world, 1).await;
    assert_eq!(scim.put(&path, renamed).await.ok()["meta"]["version"], changed["meta"]["version"]);
    assert_eq!(events(&world, 1).await, before);
    assert!(browser.is_signed_in().await);
    refused(&scim.get("/Users/su_0000000000000000000009").await, 404, None);
    refused(&scim.get("/Users/usr_1").await, 404, None);
}

async fn a_person_who_signed_in_first_is_found_by_who_they_are(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let scim = Scim::add(&world, &idp, "Example", json!({})).await;
    let browser = signed_in(&world, &idp, &scim.id, json!({})).await;
    let own = account(&world, "ada@example.com").await;
    assert!(scim.find("Users", r#"externalId eq "ada""#).await.is_empty());
    let nameless = json!({"userName": "ada@example.com", "externalId": "ada"});
    let id = id_of(&scim.post("/Users", nameless).await.created());
    assert_eq!(account(&world, "ada@example.com").await["name"], own["name"], "no name was said");
    let told = events(&world, 5).await;
    let created = told.iter().find(|(action, _)| action == "scim_user.created").unwrap();
    assert_eq!((&created.1["user_id"], &created.1["account_existed"]), (&own["id"], &json!(true)));
    let name = json!([{"op": "replace", "path": "displayName", "value": "Ada K."}]);
    scim.patch(&format!("/Users/{id}"), name).await.ok();
    assert_eq!(account(&world, "ada@example.com").await["name"], "Ada K.");
    assert!(browser.is_signed_in().await);
    // Another person with the same account would be two people in one.
    let body = json!({"userName": "bob@example.com", "externalId": "ada"});
    refused(&scim.post("/Users", body).await, 409, Some("uniqueness"));
    // Whoever the provider provisions does not leave it by a link of their own.
    world.raw("UPDATE users SET password_hash = 'x' WHERE email = 'ada@example.com'").await;
    let unlink = format!("/console/account/providers/{}/unlink", scim.id);
    let answer = browser.post(&unlink, &[]).await;
    assert_eq!(answer.status.as_u16(), 409, "{}", String::from_utf8_lossy(&answer.bytes));
    assert_eq!(world.number("SELECT COUNT(*) FROM identities").await, 1);
}

async fn who_is_not_active_is_let_in_by_no_earlier_identity(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let scim = Scim::add(&world, &idp, "Example", json!({})).await;
    let browser = signed_in(&world, &idp, &scim.id, json!({})).await;
    let token = world.token_of("ada@example.com", &[]).await;
    // A first synchronisation tells of people who have gone, too.
    let body = json!({"userName": "ada@example.com", "externalId": "ada", "active": false});
    scim.post("/Users", body).await.created();
    assert!(!browser.is_signed_in().await);
    token.get("/me").await.refused(401, "unauthenticated");
    let page = sign_in(&world.browser(), &world, &idp, &scim.id, json!({})).await.page(403);
    assert!(page.contains("has deactivated your account"), "{page}");
}

async fn no_account_is_taken_over_by_its_address(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let scim = Scim::add(&world, &idp, "Example", json!({})).await;
    world.user("victim@example.com", "operations_manager").await;
    let body =
        |active: bool| json!({"userName": "victim@example.com", "externalId": "mallory", "active": active});
    let detail = refused(&scim.post("/Users", body(true)).await, 409, Some("uniqueness"));
    assert!(detail.contains("links it with Example"), "{detail}");
    // Nor as inactive: the provider would take the account for deleted.
    refused(&scim.post("/Users", body(false)).await, 409, Some("uniqueness"));
    // Inactive first, and active once somebody has the address.
    let early = json!({"userName": "early@example.com", "externalId": "early", "active": false});
    let path = format!("/Users/{}", id_of(&scim.post("/Users", early).await.created()));
    world.user("early@example.com", "viewer").await;
    let activate = json!([{"op": "replace", "path": "active", "value": true}]);
    refused(&scim.patch(&path, activate).await, 409, Some("uniqueness"));
    // Under another address first, and renamed later.
    let bob = scim.person("bob").await;
    let rename = json!([{"op": "replace", "path": "userName", "value": "victim@example.com"}]);
    refused(&scim.patch(&format!("/Users/{bob}"), rename).await, 409, Some("uniqueness"));
    assert_eq!(scim.delete(&path).await.status, 204);
    refused(
        &scim
            .patch(
                &format!("/Users/{bob}"),
                json!([{"op": "replace", "path": "userName", "value": "victim@example.com"}]),
            )
            .await,
        409,
        Some("uniqueness"),
    );
    let victim = account(&world, "victim@example.com").await;
    assert_eq!((&victim["identities"], victim["grants"].as_array().unwrap().len()), (&json!([]), 1));
    assert!(
        !sign_in(
            &world.browser(),
            &world,
            &idp,
            &scim.id,
            json!({"sub": "mallory", "email": "victim@example.com"})
        )
        .await
        .status
        .is_redirection()
    );
}

async fn what_is_not_valid_is_refused_with_its_word(mut world: World) {
    begun(&mut world).await;
    let scim = Scim::without_idp(&world, "Example", json!({"external_id_claim": "oid"})).await;
    let detail = refused(
        &scim.post("/Users", json!({"userName": "ada@example.com"})).await,
        400,
        Some("invalidValue"),
    );
    assert!(detail.contains("claim oid"), "{detail}");
    for (body, status, word) in [
        (json!({"externalId": "a"}), 400, "invalidValue"),
        (json!({"userName": "ada", "externalId": "a"}), 400, "invalidValue"),
        (json!({"userName": "ada@other.example", "externalId": "a"}), 400, "invalidValue"),
        (json!({"userName": "ada@sub.example.com", "externalId": "a"}), 400, "invalidValue"),
        (json!({"userName": "a@example.com", "externalId": "a", "active": "maybe"}), 400, "invalidValue"),
        (
            json!({"userName": "a@example.com", "externalId": "a", "displayName": scim.token}),
            400,
            "invalidValue",
        ),
    ] {
        let detail = refused(&scim.post("/Users", body.clone()).await, status, Some(word));
        assert!(detail.contains("Nothing was changed."), "{body}: {detail}");
    }
    for (query, word) in [
        ("filter=unknown%20eq%20%221%22", "invalidFilter"),
        ("filter=userName", "invalidFilter"),
        ("startIndex=x", "invalidValue"),
        ("count=many", "invalidValue"),
        ("sortBy=userName", "invalidValue"),
    ] {
        refused(&scim.get(&format!("/Users?{query}")).await, 400, Some(word));
    }
    refused(&scim.call(Method::POST, "/Users", Some(json!([])), &[]).await, 400, Some("invalidSyntax"));
    let typed = scim.call(Method::POST, "/Users", None, &[("content-type", "text/plain")]).await;
    refused(&typed, 400, Some("invalidSyntax"));
    let long = json!({"userName": "a@example.com", "externalId": "a", "displayName": "x".repeat(1_100_000)});
    refused(&scim.post("/Users", long).await, 413, None);
    refused(&scim.get("/Me").await, 501, None);
    refused(&scim.post("/Bulk", json!({})).await, 501, None);
    refused(&scim.get("/Other").await, 404, None);
    refused(&scim.delete("/Users").await, 405, None);
    assert_eq!(world.number("SELECT COUNT(*) FROM scim_users").await, 0);
    assert_eq!(world.number("SELECT COUNT(*) FROM users").await, 1);
}

async fn two_requests_at_once_provision_one_person(mut world: World) {
    begun(&mut world).await;
    let scim = Scim::without_idp(&world, "Example", json!({})).await;
    let body = |name: &str| json!({"userName": format!("{name}@example.com"), "externalId": "same"});
    let both = tokio::join!(scim.post("/Users", body("one")), scim.post("/Users", body("two")));
    let mut statuses = [both.0.status.as_u16(), both.1.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    assert_eq!(world.number("SELECT COUNT(*) FROM scim_users").await, 1);
    assert_eq!(world.number("SELECT COUNT(*) FROM users").await, 2);
}

async fn two_processes_provision_one_person(mut world: World) {
    begun(&mut world).await;
    let scim = Scim::without_idp(&world, "Example", json!({})).await;
    let beside = world.open_beside().await.unwrap();
    let authenticated =
        beside.authenticate_provisioner(&scim.id, &scim.token, Origin::default(), Intent::Change);
    let by = authenticated.await.unwrap();
    let body = |name: &str| json!({"userName": format!("{name}@example.com"), "externalId": "same"});
    let other = body("two");
    let (one, other) = tokio::join!(
        scim.post("/Users", body("one")),
        beside.create_scim_user(&by, other.as_object().unwrap())
    );
    let made = usize::from(one.status == 201) + usize::from(other.is_ok());
    assert_eq!(made, 1, "{} {:?}", one.json(), other.err());
    assert_eq!(world.number("SELECT COUNT(*) FROM scim_users").await, 1);
    beside.close().await;
}

async fn people_are_listed_filtered_and_paged(mut world: World) {
    begun(&mut world).await;
    let scim = Scim::without_idp(&world, "Example", json!({})).await;
    for name in ["ada", "bob", "carol", "dave", "eve"] {
        scim.person(name).await;
        world.advance(MICRO);
    }
    let names = |page: &Value| -> Vec<String> {
        page["Resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["externalId"].as_str().unwrap().to_owned())
            .collect()
    };
    let page = scim.get("/Users?startIndex=2&count=2").await.ok();
    assert_eq!(
        (&page["totalResults"], &page["startIndex"], &page["itemsPerPage"]),
        (&json!(5), &json!(2), &json!(2))
    );
    assert_eq!(names(&page), ["bob", "carol"]);
    assert_eq!(names(&scim.get("/Users?startIndex=5&count=9").await.ok()), ["eve"]);
    for query in ["count=0", "startIndex=6", "count=-1"] {
        let page = scim.get(&format!("/Users?{query}")).await.ok();
        assert_eq!(
            (&page["totalResults"], page["Resources"].as_array().unwrap().len()),
            (&json!(5), 0),
            "{query}"
        );
    }
    let page = scim
        .get("/Users?filter=userName%20co%20%22e%22%20and%20active%20eq%20true&startIndex=2&count=2")
        .await
        .ok();
    assert_eq!(
        (&page["totalResults"], names(&page)),
        (&json!(5), vec!["bob".to_owned(), "carol".to_owned()])
    );
    for (filter, expected) in [
        (r#"userName eq "BOB@example.com""#, vec!["bob"]),
        (r#"externalId eq "bob""#, vec!["bob"]),
        (r#"externalId eq "BOB""#, vec![]),
        (r#"displayName sw "d" or displayName sw "e""#, vec!["dave", "eve"]),
        (r#"id eq "nobody""#, vec![]),
        (r#"not (externalId eq "bob") and userName lt "c""#, vec!["ada"]),
    ] {
        let found = scim.find("Users", filter).await;
        let found: Vec<&str> = found.iter().map(|it| it["externalId"].as_str().unwrap()).collect();
        assert_eq!(found, expected, "{filter}");
    }
    let page = scim.get("/Users?attributes=userName&count=1").await.ok();
    let shown: Vec<&String> = page["Resources"][0].as_object().unwrap().keys().collect();
    assert_eq!(shown, ["id", "meta", "schemas", "userName"], "{page}");
    let search = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": "active eq true", "count": 2});
    assert_eq!(names(&scim.post("/Users/.search", search).await.ok()), ["ada", "bob"]);
    // Of both kinds: people first.
    scim.group("Staff", &[]).await;
    let all =
        scim.post("/.search", json!({"filter": "displayName pr", "startIndex": 5, "count": 9})).await.ok();
    let shown: Vec<&str> =
        all["Resources"].as_array().unwrap().iter().map(|it| it["displayName"].as_str().unwrap()).collect();
    assert_eq!(
        (&all["totalResults"], &all["startIndex"], shown),
        (&json!(6), &json!(5), vec!["eve", "Staff"])
    );
    let people = scim.post("/.search", json!({"filter": "userName sw \"a\""})).await.ok();
    assert_eq!(people["totalResults"], 1);
    refused(&scim.post("/.search", json!({"filter": "unknown pr"})).await, 400, Some("invalidFilter"));
}

async fn what_okta_and_entra_send_changes_a_person(mut world: World) {
    begun(&mut world).await;
    let scim = Scim::without_idp(&world, "Example", json!({})).await;
    let path = format!("/Users/{}", scim.person("ada").await);
    for (operations, attribute, expected) in [
        (
            json!([{"op": "Replace", "path": "displayName", "value": "Ada L."}]),
            "displayName",
            json!("Ada L."),
        ),
        (json!([{"op": "add", "value": {"name.familyName": "King"}}]), "name", json!({"familyName": "King"})),
        (
            json!([{"op": "Add", "path": "emails[type eq \"work\"].value", "value": "a@example.com"}]),
            "emails",
            json!([{"type": "work", "value": "a@example.com"}]),
        ),
        (json!([{"op": "Replace", "path": "active", "value": "False"}]), "active", json!(false)),
        (json!([{"op": "replace", "value": {"active": true}}]), "active", json!(true)),
        (json!([{"op": "replace", "value": {"active": false}}]), "active", json!(false)),
        (json!([{"op": "Replace", "value": {"active": "True"}}]), "active", json!(true)),
    ] {
        let changed = scim.patch(&path, operations.clone()).await.ok();
        assert_eq!(changed[attribute], expected, "{operations}");
    }
    refused(
        &scim.patch(&path, json!([{"op": "replace", "path": "activ", "value": false}])).await,
        400,
        Some("invalidPath"),
    );
    refused(&scim.patch(&path, json!([{"op": "remove"}])).await, 400, Some("noTarget"));
    refused(
        &scim.patch(&path, json!([{"op": "replace", "path": "id", "value": "x"}])).await,
        400,
        Some("mutability"),
    );
    refused(
        &scim.patch(&path, json!([{"op": "remove", "path": "externalId"}])).await,
        400,
        Some("invalidValue"),
    );
}

async fn another_address_changes_the_account_as_a_manager_does(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let scim = Scim::add(&world, &idp, "Example", json!({})).await;
    let path = format!("/Users/{}", scim.person("ada").await);
    let browser = signed_in(&world, &idp, &scim.id, json!({})).await;
    let client = world.client("Billing", &["staging"]).await;
    let owner = world.owner().await;
    owner.patch(&format!("/clients/{}", client.id), json!({"owners": ["ada@example.com"]})).await.ok();
    let own = account(&world, "ada@example.com").await;
    let id = own["id"].as_str().unwrap();
    owner.post(&format!("/users/{id}/link"), json!({})).await.created();
    // Someone in the account could have linked another provider.
    let other = super::super::add(&world, &Idp::start().await, "Other", json!({})).await;
    world.raw(&format!("INSERT INTO identities (provider_id, subject, user_id, created_account, created_at) VALUES ('{other}', 'x', '{id}', 1, 1)")).await;
    let rename = json!([{"op": "replace", "path": "userName", "value": "ada.king@example.com"}]);
    scim.patch(&path, rename).await.ok();
    let own = account(&world, "ada.king@example.com").await;
    assert_eq!(own["id"], id);
    assert_eq!(
        world.number("SELECT COUNT(*) FROM links").await,
        0,
        "a link that went to the earlier address"
    );
    let disowned =
        format!("SELECT COUNT(*) FROM identities WHERE created_account = 0 AND provider_id = '{other}'");
    assert_eq!(world.number(&disowned).await, 1);
    assert_eq!(
        world.number("SELECT COUNT(*) FROM identities WHERE created_account = 1").await,
        1,
        "the provider's own"
    );
    let client = owner.get(&format!("/clients/{}", client.id)).await.ok();
    assert_eq!(client["owners"], json!(["ada.king@example.com"]));
    assert!(browser.is_signed_in().await);
    refused(
        &scim.patch(&path, json!([{"op": "replace", "path": "userName", "value": "ada@evil.example"}])).await,
        400,
        Some("invalidValue"),
    );
}

async fn an_account_that_is_provisioned_is_linked_with_nobody_else(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let scim = Scim::add(&world, &idp, "Example", json!({})).await;
    let path = format!("/Users/{}", scim.person("ada").await);
    // Another person of the provider, who claims the address.
    let answer = sign_in(&world.browser(), &world, &idp, &scim.id, json!({"sub": "mallory"})).await;
    answer.page(403);
    signed_in(&world, &idp, &scim.id, json!({})).await;
    // The provider says that the person is another one: the earlier one is not let in any more.
    let other = json!([{"op": "replace", "path": "externalId", "value": "ada2"}]);
    scim.patch(&path, other).await.ok();
    assert_eq!(world.number("SELECT COUNT(*) FROM identities").await, 0);
    assert_eq!(world.number("SELECT COUNT(*) FROM sessions WHERE ended_at IS NULL").await, 0);
    sign_in(&world.browser(), &world, &idp, &scim.id, json!({})).await.page(403);
    // Nor is the other one, who would have the roles of the account.
    sign_in(&world.browser(), &world, &idp, &scim.id, json!({"sub": "ada2"})).await.page(403);
    assert_eq!(world.number("SELECT COUNT(*) FROM scim_users WHERE lets_in = 1").await, 0);
    // An account that gets another address by a manager is let in to by nobody who was there before.
    let again = json!({"userName": "eve@example.com", "externalId": "eve"});
    scim.post("/Users", again).await.created();
    let own = account(&world, "eve@example.com").await;
    let user = format!("/users/{}", own["id"].as_str().unwrap());
    world.owner().await.patch(&user, json!({"email": "eva@example.com"})).await.ok();
    sign_in(&world.browser(), &world, &idp, &scim.id, json!({"sub": "eve"})).await.page(403);
    assert_eq!(world.number("SELECT COUNT(*) FROM scim_users WHERE lets_in = 1").await, 0);
}

async fn a_change_of_an_outdated_version_is_refused(mut world: World) {
    begun(&mut world).await;
    let scim = Scim::without_idp(&world, "Example", json!({})).await;
    let path = format!("/Users/{}", scim.person("ada").await);
    let body = |name: &str| json!({"userName": "ada@example.com", "externalId": "ada", "displayName": name});
    let change = async |name: &str, tag: &str| {
        scim.call(Method::PUT, &path, Some(body(name)), &[("if-match", tag)]).await
    };
    assert_eq!(change("One", "W/\"1\"").await.status, 200);
    refused(&change("Two", "W/\"1\"").await, 412, None);
    assert_eq!(change("Two", "W/\"1\", W/\"2\"").await.status, 200);
    assert_eq!(change("Three", "*").await.status, 200);
    refused(&change("Four", "garbage").await, 412, None);
    let delete = scim.call(Method::DELETE, &path, None, &[("if-match", "W/\"1\"")]).await;
    refused(&delete, 412, None);
}

async fn a_person_of_another_claim_is_recognised_by_it(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let scim = Scim::add(&world, &idp, "Example", json!({"external_id_claim": "oid"})).await;
    scim.person("ada").await;
    // The subject is another one, and a person without the claim is nobody.
    sign_in(&world.browser(), &world, &idp, &scim.id, json!({"sub": "ada"})).await.page(403);
    signed_in(&world, &idp, &scim.id, json!({"sub": "pairwise", "oid": "ada"})).await;
    assert_eq!(account(&world, "ada@example.com").await["identities"][0]["subject"], "pairwise");
    // First signed in, and then provisioned.
    let bob = json!({"sub": "s-bob", "oid": "bob", "email": "bob@example.com"});
    signed_in(&world, &idp, &scim.id, bob).await;
    scim.person("bob").await;
    let told = events(&world, 4).await;
    let told: Vec<_> = told.into_iter().filter(|(action, _)| action == "scim_user.created").collect();
    assert_eq!(told[0].1["account_existed"], true, "{told:?}");
}

async fn the_server_says_what_it_can_do(mut world: World) {
    begun(&mut world).await;
    let scim = Scim::without_idp(&world, "Example", json!({})).await;
    let config = scim.get("/ServiceProviderConfig").await.ok();
    assert_eq!((&config["patch"]["supported"], &config["sort"]["supported"]), (&json!(true), &json!(false)));
    for (list, count) in [("ResourceTypes", 2), ("Schemas", 2)] {
        let all = scim.get(&format!("/{list}")).await.ok();
        assert_eq!(all["totalResults"], count);
        for one in all["Resources"].as_array().unwrap() {
            let path = format!("/{list}/{}", one["id"].as_str().unwrap());
            assert_eq!(&scim.get(&path).await.ok(), one);
            let location = one["meta"]["location"].as_str().unwrap();
            assert!(location.ends_with(&format!("{}{path}", scim.id)), "{location}");
        }
        refused(&scim.get(&format!("/{list}/Other")).await, 404, None);
        refused(&scim.get(&format!("/{list}?filter=id%20pr")).await, 403, None);
    }
}
