//! Giving (rule 24): nobody, and no limited token, gives what they do not hold, and nothing goes back to whoever stands
//! behind an account.

use crate::engines::{on_both_engines, on_sqlite};
use crate::world::{OWNER, Principal, World};
use http::Method;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

on_sqlite! {
    colluding_accounts_never_hold_more_than_before_with_other_seeds,
}

on_both_engines! {
    a_manager_gives_nothing_that_a_manager_does_not_hold_rule_24,
    an_account_gives_nothing_back_to_whoever_made_it_rule_24,
    a_deleted_account_in_between_does_not_cut_the_chain,
    an_account_gives_nothing_to_whoever_made_its_last_link,
    an_account_does_not_hide_its_makers_behind_later_links_rule_24,
    nobody_makes_a_link_to_their_own_account,
    links_of_before_get_their_makers_from_the_trail,
    a_limited_token_gives_no_role_beyond_its_limit_rule_24,
    a_limited_token_makes_no_link_into_an_account_that_holds_more,
    a_limited_token_s_way_in_ends_with_the_first_role_beyond_the_token,
    a_manager_s_way_in_ends_when_the_account_becomes_an_auditor,
    accounts_of_before_get_their_makers_from_the_trail,
    colluding_accounts_never_hold_more_than_before,
}

const PASSWORD: &str = "a sentence that nobody guesses";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}

/// An account that `by` creates: its id and its link.
async fn account(by: &Principal<'_>, email: &str) -> (String, String) {
    let created = by.post("/users", json!({"email": email})).await.created();
    (text(&created["id"]), text(&created["activation_link"]["url"]))
}

async fn give(by: &Principal<'_>, user: &str, role: &str) -> crate::world::Answer {
    by.post(&format!("/users/{user}/grants"), json!({"role": role})).await
}

/// An account of an Operations Manager that the Owner created: its id, and as whom it calls.
async fn manager<'w>(world: &'w World, email: &str) -> (String, Principal<'w>) {
    let owner = world.owner().await;
    let (user, _) = account(&owner, email).await;
    give(&owner, &user, "operations_manager").await.created();
    (user, world.token_of(email, &[]).await)
}

async fn id_of(principal: &Principal<'_>) -> String {
    text(&principal.get("/me").await.ok()["user"]["id"])
}

/// Opens a link and sets the password: the status.
async fn open(world: &World, link: &str) -> u16 {
    let code = link.rsplit('#').next().unwrap();
    let form = [("link", code), ("email", ""), ("password", PASSWORD), ("repeated", PASSWORD)];
    world.browser().post("/console/link", &form).await.status.as_u16()
}

#[track_caller]
fn forbidden(answer: crate::world::Answer, permission: &str) -> String {
    let problem = answer.refused(403, "forbidden");
    assert_eq!(problem["permission"], permission, "{problem}");
    text(&problem["detail"])
}

async fn a_manager_gives_nothing_that_a_manager_does_not_hold_rule_24(world: World) {
    let (_, ops) = manager(&world, "ops@example.com").await;
    let (own, _) = account(&ops, "own@example.com").await;
    let told = forbidden(give(&ops, &own, "auditor").await, "owner:manage");
    assert_eq!(
        told,
        "Only Owners grant the role Auditor. This action requires the permission owner:manage. Nothing was changed."
    );
    for role in ["secret_viewer", "secret_rotator", "owner"] {
        forbidden(give(&ops, &own, role).await, "owner:manage");
    }
    give(&ops, &own, "operations_manager").await.created();
}

async fn an_account_gives_nothing_back_to_whoever_made_it_rule_24(world: World) {
    let client = world.client("Billing", &["staging"]).await;
    let (ops_id, ops) = manager(&world, "ops@example.com").await;
    let (made, _) = account(&ops, "made@example.com").await;
    give(&ops, &made, "operations_manager").await.created();
    let second = world.token_of("made@example.com", &[]).await;
    let told = forbidden(give(&second, &ops_id, "viewer").await, "owner:manage");
    assert!(told.contains("created your account") && told.ends_with("Nothing was changed."), "{told}");
    let limited = json!({"role": "application_manager", "client_id": client.id, "environments": ["staging"]});
    forbidden(second.post(&format!("/users/{ops_id}/grants"), limited).await, "owner:manage");
    // Nor over a third account, nor to the Owner who made the first.
    let (third_id, _) = account(&second, "third@example.com").await;
    give(&second, &third_id, "operations_manager").await.created();
    let third = world.token_of("third@example.com", &[]).await;
    for above in [&made, &ops_id, &id_of(&world.owner().await).await] {
        forbidden(give(&third, above, "viewer").await, "owner:manage");
    }
    // Changing is taking, too: a manager's own roles stay as they are.
    let grant = text(&third.get(&format!("/users/{ops_id}/grants")).await.ok()["items"][0]["id"]);
    forbidden(third.delete(&format!("/users/{ops_id}/grants/{grant}"), json!({})).await, "owner:manage");
    // Downwards, sideways and by an Owner everything goes on.
    let (friend, _) = manager(&world, "friend@example.com").await;
    give(&third, &friend, "viewer").await.created();
    give(&ops, &third_id, "viewer").await.created();
    give(&world.owner().await, &ops_id, "viewer").await.created();
}

async fn a_deleted_account_in_between_does_not_cut_the_chain(world: World) {
    let (ops_id, ops) = manager(&world, "ops@example.com").await;
    let (made, _) = account(&ops, "made@example.com").await;
    give(&ops, &made, "operations_manager").await.created();
    let (third_id, _) = account(&world.token_of("made@example.com", &[]).await, "third@example.com").await;
    give(&ops, &third_id, "operations_manager").await.created();
    ops.delete(&format!("/users/{made}"), json!({})).await.expect(204);
    forbidden(give(&world.token_of("third@example.com", &[]).await, &ops_id, "viewer").await, "owner:manage");
}

async fn an_account_gives_nothing_to_whoever_made_its_last_link(world: World) {
    let (ops_id, ops) = manager(&world, "ops@example.com").await;
    let (other_id, other) = manager(&world, "other@example.com").await;
    give(&other, &ops_id, "viewer").await.created();
    let link = text(&ops.post(&format!("/users/{other_id}/link"), json!({})).await.created()["url"]);
    let body = json!({"role": "viewer", "environments": ["staging"]});
    let grants = format!("/users/{ops_id}/grants");
    forbidden(other.post(&grants, body.clone()).await, "owner:manage");
    // A later link that nobody has opened does not end what was entered by this one.
    assert_eq!(open(&world, &link).await, 303);
    world.owner().await.post(&format!("/users/{other_id}/link"), json!({})).await.created();
    let other = world.token_of("other@example.com", &[]).await;
    forbidden(other.post(&grants, body.clone()).await, "owner:manage");
    // One that was opened does.
    let link =
        text(&world.owner().await.post(&format!("/users/{other_id}/link"), json!({})).await.created()["url"]);
    assert_eq!(open(&world, &link).await, 303);
    world.token_of("other@example.com", &[]).await.post(&grants, body).await.created();
}

async fn an_account_does_not_hide_its_makers_behind_later_links_rule_24(world: World) {
    let (ops_id, ops) = manager(&world, "ops@example.com").await;
    let (peer_id, _) = manager(&world, "peer@example.com").await;
    let (third_id, third) = manager(&world, "third@example.com").await;
    let made = async |by: &Principal<'_>, user: &str| {
        text(&by.post(&format!("/users/{user}/link"), json!({})).await.created()["url"])
    };
    assert_eq!(open(&world, &made(&ops, &peer_id).await).await, 303);
    let peer = world.token_of("peer@example.com", &[]).await;
    // Neither by itself, nor by another account, also where the accounts make links for each other.
    let refused = peer.post(&format!("/users/{peer_id}/link"), json!({})).await.refused(403, "forbidden");
    assert!(
        text(&refused["detail"])
            .starts_with("You cannot create a link to your own account. Nothing was changed.")
    );
    let link = made(&third, &peer_id).await;
    assert_eq!(open(&world, &link).await, 303);
    let peer = world.token_of("peer@example.com", &[]).await;
    assert_eq!(open(&world, &made(&peer, &third_id).await).await, 303);
    let third = world.token_of("third@example.com", &[]).await;
    forbidden(give(&peer, &ops_id, "viewer").await, "owner:manage");
    forbidden(give(&third, &ops_id, "viewer").await, "owner:manage");
    let grant = text(&peer.get(&format!("/users/{ops_id}/grants")).await.ok()["items"][0]["id"]);
    forbidden(peer.delete(&format!("/users/{ops_id}/grants/{grant}"), json!({})).await, "owner:manage");
    // An Owner lets the person in anew.
    assert_eq!(open(&world, &made(&world.owner().await, &peer_id).await).await, 303);
    give(&world.token_of("peer@example.com", &[]).await, &ops_id, "viewer").await.created();
}

async fn nobody_makes_a_link_to_their_own_account(world: World) {
    let owner = world.owner().await;
    let own = id_of(&owner).await;
    owner.post(&format!("/users/{own}/link"), json!({})).await.refused(403, "forbidden");
    let browser = world.signed_in().await;
    let path = format!("/console/people/{own}");
    assert!(!browser.get(&path).await.page(200).contains("commandfor=\"link\""));
    assert!(
        browser
            .post(&format!("{path}/link"), &[])
            .await
            .page(403)
            .contains("You cannot create a link to your own account.")
    );
    let (other, _) = manager(&world, "ops@example.com").await;
    assert!(browser.get(&format!("/console/people/{other}")).await.page(200).contains("commandfor=\"link\""));
}

async fn links_of_before_get_their_makers_from_the_trail(world: World) {
    let (ops_id, ops) = manager(&world, "ops@example.com").await;
    let (peer_id, _) = manager(&world, "peer@example.com").await;
    ops.post(&format!("/users/{peer_id}/link"), json!({})).await.created();
    let sql = include_str!("../../../store/migrations/0024_link_makers.sql");
    let (_, insert) = sql.split_once("-- The trail names the makers of earlier links.").unwrap();
    let own = id_of(&world.owner().await).await;
    world.raw(&format!("UPDATE users SET linked_by = '{own}', entered_by = NULL WHERE id = '{peer_id}'; DELETE FROM link_makers")).await;
    let peer = world.token_of("peer@example.com", &[]).await;
    let grants = format!("/users/{ops_id}/grants");
    let body = json!({"role": "viewer", "environments": ["staging"]});
    peer.post(&grants, body.clone()).await.created();
    world.raw(insert).await;
    let body = json!({"role": "viewer", "environments": ["production"]});
    forbidden(peer.post(&grants, body).await, "owner:manage");
}

async fn a_limited_token_gives_no_role_beyond_its_limit_rule_24(world: World) {
    world.owner().await;
    for holder in [OWNER, "ops@example.com"] {
        if holder != OWNER {
            manager(&world, holder).await;
        }
        let limited = world.token_of(holder, &["user:manage", "grant:manage", "user:read"]).await;
        let (own, _) = account(&limited, &format!("of-{holder}")).await;
        for role in ["viewer", "operations_manager"] {
            let told = forbidden(give(&limited, &own, role).await, "client:read");
            assert!(told.contains("which you or your token do not have there"), "{told}");
        }
        for role in ["auditor", "owner", "secret_viewer"] {
            forbidden(give(&limited, &own, role).await, "owner:manage");
        }
        // With what a role holds, a token gives that role.
        let viewing = world.token_of(holder, &["grant:manage", "client:read"]).await;
        give(&viewing, &own, "viewer").await.created();
        forbidden(give(&viewing, &own, "operations_manager").await, "client:manage");
    }
}

async fn a_limited_token_makes_no_link_into_an_account_that_holds_more(world: World) {
    let (ops_id, ops) = manager(&world, "ops@example.com").await;
    let limited = world.token_of(OWNER, &["user:manage", "grant:manage", "user:read"]).await;
    let link = |user: &str| format!("/users/{user}/link");
    forbidden(limited.post(&link(&ops_id), json!({})).await, "client:read");
    forbidden(limited.post(&link(&id_of(&world.owner().await).await), json!({})).await, "owner:manage");
    forbidden(
        limited.patch(&format!("/users/{ops_id}"), json!({"email": "eve@example.com"})).await,
        "client:read",
    );
    // An Auditor is beyond an Operations Manager, too.
    let (auditor, first) = account(&world.owner().await, "aud@example.com").await;
    give(&world.owner().await, &auditor, "auditor").await.created();
    forbidden(ops.post(&link(&auditor), json!({})).await, "owner:manage");
    assert_eq!(open(&world, &first).await, 303, "the Owner's own link goes on");
    // A link of a limited token ends when the account comes to hold more than the token.
    let (later, url) = account(&limited, "later@example.com").await;
    give(&ops, &later, "viewer").await.created();
    assert_eq!(open(&world, &url).await, 410);
}

async fn a_limited_token_s_way_in_ends_with_the_first_role_beyond_the_token(world: World) {
    let limited = {
        world.owner().await;
        world.token_of(OWNER, &["user:manage"]).await
    };
    let (user, link) = account(&limited, "sleeper@example.com").await;
    let eve = world.browser();
    let code = link.rsplit('#').next().unwrap().to_owned();
    let form = [("link", &*code), ("email", ""), ("password", PASSWORD), ("repeated", PASSWORD)];
    assert_eq!(eve.post("/console/link", &form).await.status.as_u16(), 303);
    assert!(eve.is_signed_in().await);
    let given = give(&world.owner().await, &user, "viewer").await.created();
    assert!(given["activation_link"]["url"].is_string(), "{given}");
    assert!(!eve.is_signed_in().await);
    assert_eq!(eve.sign_in("sleeper@example.com", PASSWORD).await.status.as_u16(), 422);
}

async fn a_manager_s_way_in_ends_when_the_account_becomes_an_auditor(world: World) {
    let (_, ops) = manager(&world, "ops@example.com").await;
    let (user, link) = account(&ops, "aud@example.com").await;
    assert_eq!(open(&world, &link).await, 303);
    let given = give(&world.owner().await, &user, "auditor").await.created();
    let fresh = text(&given["activation_link"]["url"]);
    assert_eq!(world.browser().sign_in("aud@example.com", PASSWORD).await.status.as_u16(), 422);
    assert_eq!(open(&world, &fresh).await, 303);
    // The account is its person's own now.
    let given = give(&world.owner().await, &user, "viewer").await.created();
    assert!(given.get("activation_link").is_none(), "{given}");
}

async fn accounts_of_before_get_their_makers_from_the_trail(world: World) {
    let (ops_id, ops) = manager(&world, "ops@example.com").await;
    let (made, link) = account(&ops, "made@example.com").await;
    assert_eq!(open(&world, &link).await, 303);
    give(&ops, &made, "operations_manager").await.created();
    let sql = include_str!("../../../store/migrations/0014_makers.sql");
    let (_, updates) = sql.split_once("-- The trail names").unwrap();
    let (_, updates) = updates.split_once('\n').unwrap();
    world.raw("UPDATE users SET created_by = NULL, linked_by = NULL, entered_by = NULL").await;
    world.raw(updates).await;
    let filled = format!(
        "SELECT COUNT(*) FROM users WHERE created_by = '{ops_id}' AND linked_by = '{ops_id}' AND entered_by = '{ops_id}' AND id = '{made}'"
    );
    assert_eq!(world.number(&filled).await, 1);
    forbidden(give(&world.token_of("made@example.com", &[]).await, &ops_id, "viewer").await, "owner:manage");
}

/// A small source of choices, the same in every run.
struct Choices(u64);

impl Choices {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// What an account may do: permissions with their scope, as its grants say.
fn reach(grants: &Value) -> HashSet<String> {
    let roles = grants.as_array().unwrap().iter();
    roles
        .flat_map(|grant| {
            let role = crossfade_core::roles::Role::parse(grant["role"].as_str().unwrap()).unwrap();
            role.permissions().iter().map(|it| it.as_str().to_owned()).collect::<Vec<_>>()
        })
        .collect()
}

/// Random accounts, links, grants and removals among accounts that are no Owners, all of one attacker: together they
/// never come to hold a permission that they did not hold together before, and none of those that were made gives
/// anything to its makers.
async fn colluding_accounts_never_hold_more(world: World, seed: u64) {
    let owner = world.owner().await;
    let mut choices = Choices(seed);
    let mut tokens: HashMap<String, Vec<Principal<'_>>> = HashMap::new();
    let mut makers: HashMap<String, HashSet<String>> = HashMap::new();
    let mut ids = Vec::new();
    for (name, role) in [("a", "operations_manager"), ("b", "operations_manager"), ("c", "viewer")] {
        let (user, _) = account(&owner, &format!("{name}@example.com")).await;
        give(&owner, &user, role).await.created();
        tokens.insert(user.clone(), vec![world.token_of(&user, &[]).await]);
        makers.insert(user.clone(), HashSet::new());
        ids.push(user);
    }
    // Others, with more: what is to be reached.
    for (name, role) in [("aud", "auditor"), ("rot", "secret_rotator")] {
        let (user, _) = account(&owner, &format!("{name}@example.com")).await;
        give(&owner, &user, role).await.created();
        ids.push(user);
    }
    let mut held_before = HashSet::new();
    for user in ids.iter().take(3) {
        held_before.extend(reach(&owner.get(&format!("/users/{user}")).await.ok()["grants"]));
    }
    for step in 0..60 {
        let mine: Vec<String> = ids.iter().filter(|id| tokens.contains_key(*id)).cloned().collect();
        let who = mine[choices.below(mine.len())].clone();
        let callers = &tokens[&who];
        let principal = callers[choices.below(callers.len())].clone();
        let target = ids[choices.below(ids.len())].clone();
        let path = format!("/users/{target}/grants");
        match choices.below(6) {
            0 => {
                let answer = principal.post("/users", json!({"email": format!("x{step}@example.com")})).await;
                if answer.status.as_u16() == 201 {
                    let user = text(&answer.json()["id"]);
                    let scopes = [
                        &[][..],
                        &["user:manage", "grant:manage", "user:read"],
                        &["client:read", "grant:manage", "user:read"],
                    ];
                    let mut own = Vec::new();
                    for scope in scopes {
                        own.push(world.token_of(&user, scope).await);
                    }
                    let above: HashSet<String> =
                        makers.get(&who).into_iter().flatten().cloned().chain([who.clone()]).collect();
                    makers.insert(user.clone(), above);
                    tokens.insert(user.clone(), own);
                    ids.push(user);
                }
            }
            1 => {
                let answer = principal.post(&format!("/users/{target}/link"), json!({})).await;
                if answer.status.as_u16() == 201 {
                    assert_ne!(who, target, "seed {seed} step {step}: a link to the own account");
                    let above: HashSet<String> =
                        makers.get(&who).into_iter().flatten().cloned().chain([who.clone()]).collect();
                    makers.entry(target.clone()).or_default().extend(above);
                    let url = text(&answer.json()["url"]);
                    if choices.below(2) == 0 && open(&world, &url).await == 303 {
                        tokens.insert(target.clone(), vec![world.token_of(&target, &[]).await]);
                    }
                }
            }
            2 => {
                let grants = owner.get(&path).await.ok()["items"].clone();
                if let Some(grant) = grants.as_array().unwrap().first() {
                    principal.delete(&format!("{path}/{}", text(&grant["id"])), json!({})).await;
                }
            }
            _ => {
                let role =
                    ["viewer", "auditor", "operations_manager", "secret_viewer", "secret_rotator", "owner"]
                        [choices.below(6)];
                let body = json!({"role": role}).to_string();
                let key = format!("\"{}\"", choices.below(20));
                let answer =
                    principal.call(Method::POST, &path, Some(body), &[("idempotency-key", &key)]).await;
                let upwards = who == target || makers.get(&who).is_some_and(|above| above.contains(&target));
                if upwards {
                    assert_ne!(
                        answer.status.as_u16(),
                        201,
                        "seed {seed} step {step}: {who} gave to {target}"
                    );
                }
            }
        }
        let mut held = HashSet::new();
        for user in ids.iter().filter(|id| tokens.contains_key(*id)) {
            held.extend(reach(&owner.get(&format!("/users/{user}")).await.ok()["grants"]));
        }
        assert!(held.is_subset(&held_before), "seed {seed} step {step}: {:?}", held.difference(&held_before));
    }
}

async fn colluding_accounts_never_hold_more_than_before(world: World) {
    colluding_accounts_never_hold_more(world, 4_000).await;
}

async fn colluding_accounts_never_hold_more_than_before_with_other_seeds(world: World) {
    colluding_accounts_never_hold_more(world, 1).await;
    for seed in [20, 300] {
        colluding_accounts_never_hold_more(World::another().await, seed).await;
    }
}
