//! Groups, and the roles that they give.

use super::{Scim, id_of, refused};
use crate::{
    engines::on_both_engines,
    providers::{account, begun, events, idp::Idp, signed_in},
    world::{OWNER, World},
};
use serde_json::{Value, json};

on_both_engines! {
    a_group_is_provisioned_changed_and_found,
    roles_follow_the_groups_without_a_sign_in,
    the_groups_claim_is_not_read_where_groups_are_provisioned,
    the_last_owner_keeps_the_role_of_a_provisioned_group,
    a_new_mapping_is_settled_for_everyone_at_once,
    members_are_people_of_the_provider,
    thousands_of_members_are_changed_in_one_request,
}

const PROVISIONED: &str = "provisioning";

async fn roles(world: &World, name: &str) -> Vec<String> {
    let account = account(world, &format!("{name}@example.com")).await;
    account["grants"].as_array().unwrap().iter().map(|it| it["role"].as_str().unwrap().to_owned()).collect()
}

fn members(ids: &[&str]) -> Value {
    ids.iter().map(|id| json!({"value": id})).collect()
}

fn mapped(role: &str) -> Value {
    json!({"groups_from": PROVISIONED, "group_grants": [{"group": "Staff", "role": role}]})
}

async fn a_group_is_provisioned_changed_and_found(mut world: World) {
    begun(&mut world).await;
    let scim = Scim::without_idp(&world, "Example", json!({})).await;
    let (ada, bob) = (scim.person("ada").await, scim.person("bob").await);
    let body = json!({"displayName": "Staff", "externalId": "g1", "members": members(&[&ada])});
    let made = scim.post("/Groups", body).await.created();
    let path = format!("/Groups/{}", id_of(&made));
    assert_eq!(made["members"][0]["value"], ada);
    assert!(made["members"][0]["$ref"].as_str().unwrap().ends_with(&format!("/Users/{ada}")), "{made}");
    assert_eq!(scim.get(&path).await.ok(), made);
    let person = scim.get(&format!("/Users/{ada}")).await.ok();
    assert_eq!(
        (&person["groups"][0]["value"], &person["groups"][0]["display"]),
        (&made["id"], &json!("Staff"))
    );
    refused(&scim.post("/Groups", json!({"displayName": "STAFF"})).await, 409, Some("uniqueness"));
    let add = json!([{"op": "Add", "path": "members", "value": members(&[&bob, &ada])}]);
    let answer = scim.patch(&path, add.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.bytes.len()), (204, 0));
    let version = scim.get(&path).await.ok()["meta"]["version"].clone();
    assert_eq!(scim.patch(&path, add).await.status, 204);
    assert_eq!(scim.get(&path).await.ok()["meta"]["version"], version, "nothing was changed");
    let told = events(&world, 3).await;
    let changed = told.iter().find(|(action, _)| action == "scim_group.updated").unwrap();
    assert_eq!((&changed.1["added"], &changed.1["removed_count"]), (&json!([bob]), &json!(0)));
    for (filter, count) in [
        (r#"displayName eq "staff""#, 1),
        (r#"displayName eq "other""#, 0),
        (r#"externalId eq "g1""#, 1),
        (&*format!(r#"members[value eq "{bob}"]"#), 1),
        (&*format!(r#"members eq "{bob}""#), 1),
        (r#"members[value eq "nobody"]"#, 0),
    ] {
        assert_eq!(scim.find("Groups", filter).await.len(), count, "{filter}");
    }
    let listed = scim.get("/Groups?excludedAttributes=members").await.ok();
    assert!(listed["Resources"][0].get("members").is_none(), "{listed}");
    assert!(scim.get(&format!("{path}?excludedAttributes=members")).await.ok().get("members").is_none());
    assert_eq!(
        scim.patch(&path, json!([{"op": "remove", "path": format!("members[value eq \"{ada}\"]")}]))
            .await
            .status,
        204
    );
    assert_eq!(scim.get(&path).await.ok()["members"].as_array().unwrap().len(), 1);
    let replaced = scim.put(&path, json!({"displayName": "Crew", "members": members(&[&ada])})).await.ok();
    assert_eq!((&replaced["displayName"], &replaced["members"][0]["value"]), (&json!("Crew"), &json!(ada)));
    assert!(replaced.get("externalId").is_none());
    assert_eq!(scim.delete(&path).await.status, 204);
    refused(&scim.get(&path).await, 404, None);
    assert!(scim.get(&format!("/Users/{ada}")).await.ok().get("groups").is_none());
}

async fn roles_follow_the_groups_without_a_sign_in(mut world: World) {
    begun(&mut world).await;
    let scim = Scim::without_idp(&world, "Example", mapped("viewer")).await;
    let (ada, bob) = (scim.person("ada").await, scim.person("bob").await);
    let group = scim.group("Staff", &[&ada]).await;
    let path = format!("/Groups/{group}");
    assert_eq!(roles(&world, "ada").await, ["viewer"]);
    // Whoever never signs in, and works with an API token.
    let token = world.token_of("ada@example.com", &[]).await;
    token.get("/clients").await.ok();
    token.get("/properties").await.ok();
    let made = world.client("Billing", &["staging"]).await;
    token.get(&format!("/clients/{}", made.id)).await.ok();
    let change = json!([
        {"op": "remove", "path": "members", "value": members(&[&ada])}, {"op": "add", "path": "members", "value": members(&[&bob])},
    ]);
    assert_eq!(scim.patch(&path, change).await.status, 204);
    assert_eq!(
        (roles(&world, "ada").await.len(), roles(&world, "bob").await),
        (0, vec!["viewer".to_owned()])
    );
    token.get(&format!("/clients/{}", made.id)).await.refused(404, "not_found");
    let actor = world.owner().await.get("/audit-events?action=grant.deleted&limit=1").await.ok();
    assert_eq!(actor["items"][0]["actor"]["name"], "Provisioning by Example");
    // Renamed: nobody has the role. Named so again: they have.
    scim.patch(&path, json!([{"op": "replace", "path": "displayName", "value": "Crew"}])).await;
    assert!(roles(&world, "bob").await.is_empty());
    scim.patch(&path, json!([{"op": "replace", "value": {"displayName": "Staff"}}])).await;
    assert_eq!(roles(&world, "bob").await, ["viewer"]);
    // Deactivated and active again: a new account, with what its groups give.
    let person = format!("/Users/{bob}");
    scim.patch(&person, json!([{"op": "replace", "path": "active", "value": false}])).await.ok();
    scim.patch(&person, json!([{"op": "replace", "path": "active", "value": true}])).await.ok();
    assert_eq!(roles(&world, "bob").await, ["viewer"]);
    assert_eq!(scim.delete(&path).await.status, 204);
    assert!(roles(&world, "bob").await.is_empty());
}

async fn the_groups_claim_is_not_read_where_groups_are_provisioned(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let scim = Scim::add(&world, &idp, "Example", mapped("viewer")).await;
    let ada = scim.person("ada").await;
    signed_in(&world, &idp, &scim.id, json!({"groups": ["Staff"]})).await;
    assert!(roles(&world, "ada").await.is_empty());
    scim.group("Staff", &[&ada]).await;
    signed_in(&world, &idp, &scim.id, json!({"groups": {"malformed": true}})).await;
    assert_eq!(roles(&world, "ada").await, ["viewer"]);
    // By the claim again: what it says counts at the next sign-in.
    let provider = format!("/providers/{}", scim.id);
    world.owner().await.patch(&provider, json!({"groups_from": "claim"})).await.ok();
    signed_in(&world, &idp, &scim.id, json!({"groups": []})).await;
    assert!(roles(&world, "ada").await.is_empty());
    // And by provisioning, immediately.
    world.owner().await.patch(&provider, json!({"groups_from": PROVISIONED})).await.ok();
    assert_eq!(roles(&world, "ada").await, ["viewer"]);
}

async fn the_last_owner_keeps_the_role_of_a_provisioned_group(mut world: World) {
    begun(&mut world).await;
    let scim = Scim::without_idp(&world, "Example", mapped("owner")).await;
    let ada = scim.person("ada").await;
    let group = format!("/Groups/{}", scim.group("Staff", &[&ada]).await);
    assert_eq!(roles(&world, "ada").await, ["owner"]);
    let token = world.token_of("ada@example.com", &[]).await;
    let first = account(&world, OWNER).await;
    let path = format!("/users/{}", first["id"].as_str().unwrap());
    assert_eq!(token.delete(&path, json!({})).await.status, 204);
    assert_eq!(scim.patch(&group, json!([{"op": "remove", "path": "members"}])).await.status, 204);
    let kept = token.get("/audit-events?action=grant.kept").await.ok();
    assert_eq!(kept["items"].as_array().unwrap().len(), 1, "{kept}");
    token.get("/users").await.ok();
}

async fn a_new_mapping_is_settled_for_everyone_at_once(mut world: World) {
    begun(&mut world).await;
    let scim = Scim::without_idp(&world, "Example", json!({"groups_from": PROVISIONED})).await;
    let (ada, bob) = (scim.person("ada").await, scim.person("bob").await);
    scim.group("Staff", &[&ada, &bob]).await;
    assert!(roles(&world, "ada").await.is_empty());
    let provider = format!("/providers/{}", scim.id);
    let grants = |role: &str| json!({"group_grants": [{"group": "Staff", "role": role}]});
    let owner = world.owner().await;
    owner.patch(&provider, grants("viewer")).await.ok();
    assert_eq!(
        (roles(&world, "ada").await, roles(&world, "bob").await),
        (vec!["viewer".into()], vec!["viewer".into()])
    );
    owner.patch(&provider, grants("auditor")).await.ok();
    assert_eq!(roles(&world, "bob").await, ["auditor"]);
    owner.patch(&provider, json!({"enabled": false})).await.ok();
    assert!(roles(&world, "bob").await.is_empty());
    owner.patch(&provider, json!({"enabled": true})).await.ok();
    assert_eq!(roles(&world, "bob").await, ["auditor"]);
    // Another issuer has other people.
    let moved =
        json!({"issuer": "https://other.example.com", "client_secret": "other", "confirm_name": "Example"});
    owner.patch(&provider, moved).await.ok();
    assert!(roles(&world, "bob").await.is_empty());
    assert_eq!(world.number("SELECT COUNT(*) FROM scim_users").await, 0);
}

async fn members_are_people_of_the_provider(mut world: World) {
    begun(&mut world).await;
    let scim = Scim::without_idp(&world, "Example", json!({})).await;
    let other = Scim::without_idp(&world, "Other", json!({"domains": ["example.org"]})).await;
    let stranger =
        other.post("/Users", json!({"userName": "x@example.org", "externalId": "x"})).await.created();
    let stranger = id_of(&stranger);
    let group = format!("/Groups/{}", scim.group("Staff", &[]).await);
    for id in [&*stranger, "su_0000000000000000000001", "usr_1", ""] {
        let add = json!([{"op": "add", "path": "members", "value": [{"value": id}]}]);
        refused(&scim.patch(&group, add).await, 400, Some("invalidValue"));
    }
    let body = json!({"displayName": "More", "members": members(&[&stranger])});
    refused(&scim.post("/Groups", body).await, 400, Some("invalidValue"));
    refused(&other.patch(&group, json!([{"op": "remove", "path": "members"}])).await, 404, None);
    assert_eq!(world.number("SELECT COUNT(*) FROM scim_members").await, 0);
}

async fn thousands_of_members_are_changed_in_one_request(mut world: World) {
    begun(&mut world).await;
    let scim = Scim::without_idp(&world, "Example", json!({})).await;
    let ids: Vec<String> = (0..3000).map(|number| format!("su_{number:022}")).collect();
    for ids in ids.chunks(500) {
        let rows: Vec<String> = ids
            .iter()
            .map(|id| {
                format!("('{id}', '{}', '{id}', '{id}@example.com', '{{}}', NULL, 0, 1, 1, 1)", scim.id)
            })
            .collect();
        world.raw(&format!("INSERT INTO scim_users (id, provider_id, external_id, user_name, details, user_id, lets_in, created_at, updated_at, version) VALUES {}", rows.join(", "))).await;
    }
    let all: Vec<&str> = ids.iter().map(String::as_str).collect();
    let group = format!("/Groups/{}", scim.group("Staff", &[]).await);
    assert_eq!(
        scim.patch(&group, json!([{"op": "add", "path": "members", "value": members(&all)}])).await.status,
        204
    );
    assert_eq!(world.number("SELECT COUNT(*) FROM scim_members").await, 3000);
    let told = events(&world, 2).await;
    let told: Vec<_> = told.into_iter().filter(|(action, _)| action == "scim_group.updated").collect();
    assert_eq!(
        (&told[0].1["added_count"], told[0].1["added"].as_array().unwrap().len()),
        (&json!(3000), 100)
    );
    let page = scim.get("/Users?startIndex=2901&count=500").await.ok();
    assert_eq!((&page["totalResults"], &page["itemsPerPage"]), (&json!(3000), &json!(100)));
    assert_eq!(scim.patch(&group, json!([{"op": "remove", "path": "members"}])).await.status, 204);
    assert_eq!(world.number("SELECT COUNT(*) FROM scim_members").await, 0);
}
