//! Signing in with OpenID Connect providers, honest and hostile ones.

mod groups;
mod identities;
pub mod idp;
mod logout;
mod passwords;
mod provisioning;
mod settings;

use self::idp::{CLIENT_ID, Idp, SECRET};
use crate::{
    console::browser::Browser,
    engines::on_both_engines,
    world::{Answer, OWNER, World},
};
use crossfade_app::Poster;
use crossfade_core::provider::TokenFault;
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};

on_both_engines! {
    an_account_is_created_at_the_first_sign_in_and_found_at_the_next,
    a_person_is_sent_with_a_state_a_nonce_and_a_challenge_of_their_own,
    every_wrong_id_token_is_refused_with_its_reason,
    an_answer_that_belongs_to_another_sign_in_is_refused,
    an_answer_of_another_issuer_is_refused,
    nobody_gets_an_account_by_an_address_that_is_not_proven,
    what_the_id_token_leaves_out_is_read_from_the_endpoint_for_it,
    clocks_can_differ_by_five_minutes,
    a_new_key_of_the_provider_is_found_and_an_unknown_one_is_looked_for_once_a_minute,
    a_provider_that_is_down_locks_nobody_else_out,
    two_sign_ins_at_once_create_one_account,
    strangers_have_nothing_to_fill,
    no_code_token_or_secret_is_stored_or_shown,
    a_required_acr_is_required,
}

const MICRO: Duration = Duration::from_micros(1);

/// What connects to providers inside a test.
pub fn here() -> Poster {
    Poster::new(vec!["127.0.0.1/32".parse().unwrap()], None).unwrap()
}

/// A world that connects to providers inside a test, with an Owner.
async fn begun(world: &mut World) {
    world.restart_with_poster(here()).await;
    world.owner().await;
}

/// Adds a provider, with further settings. Returns its ID.
pub async fn add(world: &World, idp: &Idp, name: &str, settings: Value) -> String {
    let mut body = json!({
        "name": name, "issuer": idp.url(""), "client_id": CLIENT_ID, "client_secret": SECRET, "domains": ["example.com"],
    });
    body.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let created = world.owner().await.post("/providers", body).await.created();
    created["id"].as_str().unwrap().to_owned()
}

/// Goes to a provider. Returns what the person is sent with.
async fn depart(browser: &Browser<'_>, id: &str, query: &str) -> HashMap<String, String> {
    let answer = browser.get(&format!("/console/sign-in/{id}{query}")).await;
    asked(answer.leads_to())
}

fn asked(url: &str) -> HashMap<String, String> {
    let (to, query) = url.split_once('?').unwrap();
    assert!(to.ends_with("/authorize"), "{url}");
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// The claims of a person, with changes; `null`: left out.
fn claims(world: &World, idp: &Idp, asked: &HashMap<String, String>, changes: &Value) -> Value {
    let now = world.now().as_seconds();
    let mut claims = json!({
        "iss": idp.url(""), "aud": CLIENT_ID, "sub": "ada", "nonce": asked["nonce"], "iat": now, "exp": now + 300,
        "auth_time": now, "email": "ada@example.com", "email_verified": true, "name": "Ada Lovelace", "groups": [],
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

/// Comes back from a provider with a code.
async fn come_back(
    browser: &Browser<'_>,
    idp: &Idp,
    asked: &HashMap<String, String>,
    token: String,
) -> Answer {
    let code = idp.give(asked, token);
    browser.get(&way_back(idp, asked, &code)).await
}

/// The path with which a person comes back.
fn way_back(idp: &Idp, asked: &HashMap<String, String>, code: &str) -> String {
    let path = asked["redirect_uri"].strip_prefix("https://auth.example.com").unwrap();
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("code", code)
        .append_pair("state", &asked["state"])
        .append_pair("iss", &idp.url(""))
        .finish();
    format!("{path}?{query}")
}

/// Signs a person in, with these changes of their claims.
async fn sign_in(browser: &Browser<'_>, world: &World, idp: &Idp, id: &str, changes: Value) -> Answer {
    let asked = depart(browser, id, "").await;
    let token = idp.sign(&json!({}), &claims(world, idp, &asked, &changes));
    come_back(browser, idp, &asked, token).await
}

/// Signs a person in who is let in.
pub async fn signed_in<'w>(world: &'w World, idp: &Idp, id: &str, changes: Value) -> Browser<'w> {
    let browser = world.browser();
    let answer = sign_in(&browser, world, idp, id, changes).await;
    assert_eq!(answer.leads_to(), "/console");
    browser
}

/// Returns the account with this address.
async fn account(world: &World, email: &str) -> Value {
    let found = world.owner().await.get(&format!("/users?q={email}")).await.ok();
    assert_eq!(found["items"].as_array().unwrap().len(), 1, "{found}");
    found["items"][0].clone()
}

/// Returns the actions and details of the last events, newest first.
async fn events(world: &World, limit: usize) -> Vec<(String, Value)> {
    let all = world.owner().await.get(&format!("/audit-events?limit={limit}")).await.ok();
    let event = |it: &Value| (it["action"].as_str().unwrap().to_owned(), it["details"].clone());
    all["items"].as_array().unwrap().iter().map(event).collect()
}

async fn actions(world: &World, limit: usize) -> Vec<String> {
    let all = events(world, limit).await.into_iter().map(|(action, _)| action);
    // The token that reads the trail was created for that.
    all.filter(|action| action != "token.created").collect()
}

async fn count(world: &World, table: &str) -> i64 {
    world.number(&format!("SELECT COUNT(*) FROM {table}")).await
}

async fn an_account_is_created_at_the_first_sign_in_and_found_at_the_next(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let page = world.browser().get("/console/sign-in?to=/console/audit").await.page(200);
    let way = format!(
        "<a class=\"button wide\" href=\"/console/sign-in/{id}?to=%2Fconsole%2Faudit\">Sign in with Example</a>"
    );
    assert!(page.contains(&way), "{page}");
    let browser = world.browser();
    let asked = depart(&browser, &id, "?to=/console/leaks").await;
    let token = idp.sign(&json!({}), &claims(&world, &idp, &asked, &json!({})));
    assert_eq!(come_back(&browser, &idp, &asked, token).await.leads_to(), "/console/leaks");
    assert!(browser.is_signed_in().await);
    let ada = account(&world, "ada@example.com").await;
    assert_eq!((ada["name"].as_str(), ada["activated"].as_bool()), (Some("Ada Lovelace"), Some(false)));
    assert_eq!(ada["grants"], json!([]));
    let identity = &ada["identities"][0];
    assert_eq!((&identity["subject"], &identity["provider_id"]), (&json!("ada"), &json!(id)));
    let of_sign_in = actions(&world, 6).await;
    assert_eq!(of_sign_in[..3], ["session.created", "identity.linked", "user.created"]);
    // Another address and another name do not change the account.
    let changes = json!({"email": "other@example.com", "name": "Other"});
    let again = signed_in(&world, &idp, &id, changes).await;
    assert!(again.is_signed_in().await);
    assert_eq!(account(&world, "ada@example.com").await["name"], "Ada Lovelace");
    assert_eq!(count(&world, "identities").await, 1);
    let page = again.get("/console/account").await.page(200);
    assert!(page.contains("id=\"ways-title\"") && !page.contains("id=\"password-title\""), "{page}");
}

async fn a_person_is_sent_with_a_state_a_nonce_and_a_challenge_of_their_own(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({"scopes": ["email"], "acr_values": ["mfa", "phr"]})).await;
    let browser = world.browser();
    let answer = browser.get(&format!("/console/sign-in/{id}")).await;
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    for attribute in ["__Host-", "; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let one = asked(answer.leads_to());
    let two = depart(&browser, &id, "").await;
    for name in ["state", "nonce", "code_challenge"] {
        assert!(one[name].len() == 43 && one[name] != two[name], "{name}");
        assert!(!cookie.contains(&one[name]), "the cookie is sealed");
    }
    assert_eq!((&*one["response_type"], &*one["client_id"]), ("code", CLIENT_ID));
    assert_eq!((&*one["scope"], &*one["code_challenge_method"]), ("openid email", "S256"));
    assert_eq!(one["redirect_uri"], format!("https://auth.example.com/console/sign-in/callback/{id}"));
    assert_eq!(one["acr_values"], "mfa phr");
    assert!(!one.contains_key("prompt") && !one.contains_key("max_age"));
    // Two tabs keep theirs apart.
    let with = json!({"acr": "phr"});
    let token = idp.sign(&json!({}), &claims(&world, &idp, &one, &with));
    assert_eq!(come_back(&browser, &idp, &one, token).await.leads_to(), "/console");
}

async fn every_wrong_id_token_is_refused_with_its_reason(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let now = world.now().as_seconds();
    let (before, header) = (count(&world, "users").await, json!({}));
    let mut refused = Vec::new();
    for (header, changes, fault) in [
        (json!({"alg": "none"}), json!({}), TokenFault::Algorithm),
        (json!({"alg": "HS256"}), json!({}), TokenFault::Algorithm),
        (json!({"kid": "other"}), json!({}), TokenFault::UnknownKey),
        (json!({"typ": "logout+jwt"}), json!({}), TokenFault::Malformed),
        (json!({"crit": ["exp"]}), json!({}), TokenFault::Malformed),
        (header.clone(), json!({"iss": "https://evil.example"}), TokenFault::Issuer),
        (header.clone(), json!({"aud": "other"}), TokenFault::Audience),
        (header.clone(), json!({"aud": [CLIENT_ID, "other"]}), TokenFault::Audience),
        (header.clone(), json!({"azp": "other"}), TokenFault::Audience),
        (header.clone(), json!({"nonce": "other"}), TokenFault::Nonce),
        (header.clone(), json!({"nonce": null}), TokenFault::Nonce),
        (header.clone(), json!({"exp": now - 300}), TokenFault::Expired),
        (header.clone(), json!({"exp": null}), TokenFault::Expired),
        (header.clone(), json!({"iat": now + 301}), TokenFault::IssuedAt),
        (header.clone(), json!({"sub": null}), TokenFault::Subject),
        (header.clone(), json!({"sub": "x".repeat(256)}), TokenFault::Subject),
        (header.clone(), json!({"at_hash": "x"}), TokenFault::AccessToken),
        (header.clone(), json!({"groups": {"a": 1}}), TokenFault::Malformed),
        (header.clone(), json!({"_claim_names": {"groups": "src"}}), TokenFault::Groups),
    ] {
        let browser = world.browser();
        let asked = depart(&browser, &id, "").await;
        let token = idp.sign(&header, &claims(&world, &idp, &asked, &changes));
        let page = come_back(&browser, &idp, &asked, token).await.page(403);
        let sentence = crossfade_core_sentence(fault);
        assert!(page.contains(&sentence), "{header} {changes} {fault:?}: {page}");
        assert!(browser.cookie().is_none() && !browser.is_signed_in().await, "{changes}");
        refused.push(fault.as_str());
    }
    // Swapped keys: a key of the same name that the provider does not publish.
    let hostile = Idp::start().await;
    let browser = world.browser();
    let asked = depart(&browser, &id, "").await;
    let token = hostile.sign(&json!({}), &claims(&world, &idp, &asked, &json!({})));
    let page = come_back(&browser, &idp, &asked, token).await.page(403);
    assert!(page.contains("The signature of the token is wrong."), "{page}");
    assert_eq!((count(&world, "users").await, count(&world, "identities").await), (before, 0));
    let told = events(&world, 50).await;
    let reasons: Vec<_> = told.iter().filter_map(|(_, details)| details["reason"].as_str()).collect();
    assert!(reasons.iter().any(|reason| refused.contains(reason)), "{reasons:?}");
    let trail = world.owner().await.get("/audit-events?action=session.refused").await.ok();
    let last = &trail["items"][0];
    assert_eq!((&last["target"], &last["actor"]["name"]), (&json!(id), &json!("somebody from Example")));
}

/// A sentence as a page escapes it.
fn crossfade_core_sentence(fault: TokenFault) -> String {
    fault.sentence().replace('\'', "&#39;")
}

async fn an_answer_that_belongs_to_another_sign_in_is_refused(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let other = add(&world, &idp, "Other", json!({})).await;
    let not_begun = "This sign-in was not begun in this browser";
    let (ada, mallory) = (world.browser(), world.browser());
    let asked = depart(&ada, &id, "").await;
    let sign =
        |asked: &HashMap<String, String>| idp.sign(&json!({}), &claims(&world, &idp, asked, &json!({})));
    idp.take();
    // In another browser, and with another state.
    let code = idp.give(&asked, sign(&asked));
    let path = way_back(&idp, &asked, &code);
    assert!(mallory.get(&path).await.page(403).contains(not_begun));
    let others = depart(&mallory, &id, "").await;
    assert!(mallory.get(&path).await.page(403).contains(not_begun));
    let wrong_state = path.replace(&asked["state"], &others["state"]);
    assert!(ada.get(&wrong_state).await.page(403).contains(not_begun));
    assert!(
        ada.get(&format!("/console/sign-in/callback/{id}?code={code}")).await.page(403).contains(not_begun)
    );
    assert!(idp.take().is_empty(), "the provider is not asked");
    // Right once, and not again.
    assert_eq!(ada.get(&path).await.leads_to(), "/console");
    assert!(ada.get(&path).await.page(403).contains(not_begun));
    // At the address of another provider: a mix-up, which ends the sign-in.
    let mixed = world.browser();
    let asked = depart(&mixed, &id, "").await;
    let path = way_back(&idp, &asked, &idp.give(&asked, sign(&asked)));
    assert!(mixed.get(&path.replace(&id, &other)).await.page(403).contains(not_begun));
    assert!(mixed.get(&path).await.page(403).contains(not_begun));
    // Ten minutes.
    let late = world.browser();
    let asked = depart(&late, &id, "").await;
    world.advance(Duration::from_secs(600) - MICRO);
    let still = world.browser();
    *still.jar() = late.jar().clone();
    let path = way_back(&idp, &asked, &idp.give(&asked, sign(&asked)));
    assert_eq!(still.get(&path).await.leads_to(), "/console");
    world.advance(MICRO);
    assert!(late.get(&path).await.page(403).contains(not_begun));
    // A nonce of another sign-in, injected with its code.
    let (one, two) = (world.browser(), world.browser());
    let (asked_one, asked_two) = (depart(&one, &id, "").await, depart(&two, &id, "").await);
    let code = idp.give(&asked_one, sign(&asked_two));
    assert!(one.get(&way_back(&idp, &asked_one, &code)).await.page(403).contains("another sign-in"));
    // A code of another sign-in, without its verifier.
    let code = idp.give(&asked_two, sign(&asked_one));
    let stolen = world.browser();
    let asked = depart(&stolen, &id, "").await;
    assert!(
        stolen
            .get(&way_back(&idp, &asked, &code))
            .await
            .page(502)
            .contains("refused the sign-in of Crossfade")
    );
}

async fn an_answer_of_another_issuer_is_refused(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let browser = world.browser();
    for issuer in ["&iss=https%3A%2F%2Fevil.example", "&iss=", ""] {
        let asked = depart(&browser, &id, "").await;
        let code = idp.give(&asked, idp.sign(&json!({}), &claims(&world, &idp, &asked, &json!({}))));
        let path = way_back(&idp, &asked, &code);
        let path = format!("{}{issuer}", path.split("&iss=").next().unwrap());
        let page = browser.get(&path).await.page(403);
        assert!(page.contains("came from another issuer"), "{page}");
    }
    let asked = depart(&browser, &id, "").await;
    let path = way_back(&idp, &asked, "x").replace("code=x", "error=access_denied&error_description=canary");
    let page = browser.get(&path).await.page(403);
    assert!(page.contains("did not sign you in: access_denied.") && !page.contains("canary"), "{page}");
    // The metadata of another issuer.
    let liar = Idp::start().await;
    liar.set_metadata(json!({"issuer": "https://evil.example"}));
    let id = add(&world, &liar, "Liar", json!({})).await;
    let page = browser.get(&format!("/console/sign-in/{id}")).await.page(502);
    assert!(page.contains("Liar gave an answer that is not valid."), "{page}");
    // One that promises no issuer in its answers may leave it out.
    let quiet = Idp::start().await;
    quiet.set_metadata(json!({"authorization_response_iss_parameter_supported": null}));
    let id = add(&world, &quiet, "Quiet", json!({})).await;
    let asked = depart(&browser, &id, "").await;
    let code = quiet.give(&asked, quiet.sign(&json!({}), &claims(&world, &quiet, &asked, &json!({}))));
    let path = way_back(&quiet, &asked, &code);
    assert_eq!(browser.get(path.split("&iss=").next().unwrap()).await.leads_to(), "/console");
}

async fn nobody_gets_an_account_by_an_address_that_is_not_proven(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let before = count(&world, "users").await;
    idp.set_user_info(json!({"sub": "ada"}));
    for (changes, sentence) in [
        (json!({"email": null}), "does not say what your email address is"),
        (json!({"email": "no address"}), "does not say what your email address is"),
        (json!({"email_verified": false}), "has not verified your email address"),
        (json!({"email_verified": "true"}), "has not verified your email address"),
        (json!({"email_verified": null}), "has not verified your email address"),
        (json!({"email": "ada@sub.example.com"}), "none is created for your email domain"),
        (json!({"email": "ada@example.com.evil.example"}), "none is created for your email domain"),
        (json!({"email": OWNER}), "An account here already has your email address."),
        // Nobody finds out here who has an account.
        (json!({"email": OWNER, "email_verified": false}), "none is created for your email domain"),
    ] {
        let browser = world.browser();
        let page = sign_in(&browser, &world, &idp, &id, changes.clone()).await.page(403);
        assert!(page.contains(sentence), "{changes}: {page}");
        assert!(!browser.is_signed_in().await);
    }
    assert_eq!((count(&world, "users").await, count(&world, "identities").await), (before, 0));
}

async fn what_the_id_token_leaves_out_is_read_from_the_endpoint_for_it(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let groups = json!([{"group": "engineers", "role": "viewer"}]);
    let id = add(&world, &idp, "Example", json!({"group_grants": groups})).await;
    let left_out = json!({"email": null, "email_verified": null, "name": null, "groups": null});
    let more =
        json!({"email": "ada@example.com", "email_verified": true, "name": "Ada", "groups": ["engineers"]});
    // Of another person.
    let mut of_other = more.clone();
    of_other["sub"] = "mallory".into();
    idp.set_user_info(of_other);
    let browser = world.browser();
    let page = sign_in(&browser, &world, &idp, &id, left_out.clone()).await.page(403);
    assert!(page.contains("The token names no subject."), "{page}");
    let mut own = more;
    own["sub"] = "ada".into();
    own["nonce"] = "other".into();
    idp.set_user_info(own);
    idp.take();
    signed_in(&world, &idp, &id, left_out).await;
    let seen = idp.take();
    assert!(
        seen.iter().any(|it| it.starts_with("GET /userinfo") && it.contains("Bearer canary-access")),
        "{seen:?}"
    );
    let ada = account(&world, "ada@example.com").await;
    assert_eq!((&ada["name"], &ada["grants"][0]["role"]), (&json!("Ada"), &json!("viewer")));
    // Not asked where the ID token has everything.
    signed_in(&world, &idp, &id, json!({"groups": ["engineers"]})).await;
    assert!(!idp.take().iter().any(|it| it.starts_with("GET /userinfo")));
}

async fn clocks_can_differ_by_five_minutes(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    // Tokens that live a minute, by a clock that is ahead or behind.
    for difference in [300, -300] {
        let now = world.now().as_seconds();
        let (iat, exp) = (now + difference, now + difference + 60);
        let browser = signed_in(&world, &idp, &id, json!({"iat": iat, "exp": exp, "auth_time": iat})).await;
        // Nobody is fresh for longer because of that.
        assert_eq!(browser.get("/console/session").await.ok(), json!({"fresh": true}));
        world.advance(Duration::from_secs(600));
        assert_eq!(browser.get("/console/session").await.ok(), json!({"fresh": false}), "{difference}");
        assert!(browser.is_signed_in().await);
    }
    let now = world.now().as_seconds();
    let browser = world.browser();
    let page =
        sign_in(&browser, &world, &idp, &id, json!({"iat": now + 301, "exp": now + 361})).await.page(403);
    assert!(page.contains("Check the clocks"), "{page}");
    let page =
        sign_in(&browser, &world, &idp, &id, json!({"iat": now - 361, "exp": now - 301})).await.page(403);
    assert!(page.contains("Check the clocks"), "{page}");
    // A provider that has known the person for an hour, or does not say for how long.
    for auth_time in [json!(now - 3600), Value::Null] {
        let browser = signed_in(&world, &idp, &id, json!({ "auth_time": auth_time })).await;
        assert_eq!(browser.get("/console/session").await.ok(), json!({"fresh": false}), "{auth_time}");
    }
}

async fn a_new_key_of_the_provider_is_found_and_an_unknown_one_is_looked_for_once_a_minute(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    signed_in(&world, &idp, &id, json!({})).await;
    idp.roll("second");
    idp.take();
    signed_in(&world, &idp, &id, json!({})).await;
    let fetches = |seen: Vec<String>| seen.iter().filter(|it| it.starts_with("GET /jwks")).count();
    assert_eq!(fetches(idp.take()), 1);
    signed_in(&world, &idp, &id, json!({})).await;
    assert_eq!(fetches(idp.take()), 0, "it is known now");
    for _ in 0..3 {
        let browser = world.browser();
        let asked = depart(&browser, &id, "").await;
        let token = idp.sign(&json!({"kid": "made-up"}), &claims(&world, &idp, &asked, &json!({})));
        come_back(&browser, &idp, &asked, token).await.page(403);
    }
    assert_eq!(fetches(idp.take()), 0, "looked for a moment ago");
    signed_in(&world, &idp, &id, json!({})).await;
}

async fn a_provider_that_is_down_locks_nobody_else_out(mut world: World) {
    begun(&mut world).await;
    let (idp, other) = (Idp::start().await, Idp::start().await);
    let id = add(&world, &idp, "Example", json!({})).await;
    let second = add(&world, &other, "Other", json!({})).await;
    let ada = signed_in(&world, &idp, &id, json!({})).await.jar().clone();
    let owner = world.signed_in().await.jar().clone();
    // With the metadata that is kept: on the way back.
    let browser = world.browser();
    let asked = depart(&browser, &id, "").await;
    idp.set_down(true);
    let page = come_back(&browser, &idp, &asked, "x".into()).await.page(502);
    assert!(page.contains("Example cannot be reached.") && page.contains("name=\"password\""), "{page}");
    // Without: on the way there.
    world.restart_with_poster(here()).await;
    let world = &world;
    let answer = world.browser().get(&format!("/console/sign-in/{id}")).await;
    assert!(answer.page(502).contains("Example cannot be reached."));
    let again = world.browser().get(&format!("/console/sign-in/{id}")).await;
    assert!(again.page(502).contains("sign in with a password if you have one"));
    assert!(world.signed_in().await.is_signed_in().await, "the password works");
    signed_in(world, &other, &second, json!({"email": "bob@example.com", "sub": "bob"})).await;
    for (jar, kind) in [(ada, "of the provider"), (owner, "of a password")] {
        let again = world.browser();
        *again.jar() = jar;
        assert!(again.is_signed_in().await, "a session {kind} goes on");
    }
    // A secret that the provider no longer accepts.
    other.refuse(true);
    let refused = world.browser();
    let page = sign_in(&refused, world, &other, &second, json!({"sub": "bob"})).await.page(502);
    assert!(page.contains("check the client secret") && !page.contains("canary"), "{page}");
}

async fn two_sign_ins_at_once_create_one_account(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let before = count(&world, "users").await;
    let sign_in = async || signed_in(&world, &idp, &id, json!({})).await.is_signed_in().await;
    let (one, two) = tokio::join!(sign_in(), sign_in());
    assert!(one && two);
    assert_eq!((count(&world, "users").await, count(&world, "identities").await), (before + 1, 1));
}

async fn strangers_have_nothing_to_fill(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let known = world.person("bob@example.com", "viewer").await;
    known.post("/console/sign-out", &[]).await.leads_to();
    let tables = ["users", "identities", "sessions", "audit_events", "logout_tokens", "told", "devices"];
    let mut before = Vec::new();
    for table in tables {
        before.push(count(&world, table).await);
    }
    let stranger = world.browser();
    let mut refused = 0;
    for _ in 0..80 {
        let answer = stranger.get(&format!("/console/sign-in/{id}")).await;
        match answer.status.as_u16() {
            303 => {}
            429 => refused += 1,
            status => panic!("{status}"),
        }
        let back = stranger.get(&format!("/console/sign-in/callback/{id}?state=x&code=y")).await;
        assert!([403, 429].contains(&back.status.as_u16()));
    }
    assert!(refused > 10, "{refused}");
    // A browser that an account knows signs in beside the strangers of its network, at a pace of its own.
    let mut refused = 0;
    for _ in 0..80 {
        match known.get(&format!("/console/sign-in/{id}")).await.status.as_u16() {
            303 => {}
            429 => refused += 1,
            status => panic!("{status}"),
        }
    }
    assert!((10..40).contains(&refused), "{refused}");
    for (table, before) in tables.into_iter().zip(before) {
        assert_eq!(count(&world, table).await, before, "{table}");
    }
    let asked = idp.take().len();
    assert!(asked <= 2, "the provider was asked {asked} times");
    // Nobody else waits for that.
    let ada = world.browser().from([198, 51, 100, 7]);
    assert_eq!(sign_in(&ada, &world, &idp, &id, json!({})).await.leads_to(), "/console");
}

async fn no_code_token_or_secret_is_stored_or_shown(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let owner = world.owner().await;
    let shown = owner.get(&format!("/providers/{id}")).await.ok().to_string();
    let listed = owner.get("/providers").await.ok().to_string();
    let browser = world.browser();
    let asked = depart(&browser, &id, "").await;
    let token = idp.sign(&json!({}), &claims(&world, &idp, &asked, &json!({})));
    let answer = come_back(&browser, &idp, &asked, token.clone()).await;
    let mut pages = vec![shown, listed, format!("{:?}", answer.headers)];
    for path in ["/console", "/console/account"] {
        pages.push(browser.get(path).await.text());
    }
    let signed = world.signed_in().await;
    for path in
        ["/console/providers", &format!("/console/providers/{id}"), "/console/people", "/console/audit"]
    {
        pages.push(signed.get(path).await.page(200));
    }
    pages.push(owner.get("/audit-events?limit=100").await.ok().to_string());
    let signature = token.rsplit('.').next().unwrap();
    for page in pages {
        for canary in ["canary", SECRET, signature, &asked["state"], &asked["nonce"]] {
            assert!(!page.contains(canary), "{canary} in {page}");
        }
    }
    for (table, column) in [
        ("audit_events", "details"),
        ("notifications", "details"),
        ("idempotency", "reply"),
        ("sessions", "user_agent"),
        ("providers", "CAST(client_secret AS TEXT)"),
    ] {
        let sql = format!("SELECT COUNT(*) FROM {table} WHERE {column} LIKE '%canary%'");
        assert_eq!(world.number(&sql).await, 0, "{table}.{column}");
    }
}

async fn a_required_acr_is_required(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({"acr_values": ["mfa", "phr"]})).await;
    for acr in [Value::Null, json!("pwd"), json!("mfa phr"), json!(["mfa"])] {
        let browser = world.browser();
        let page = sign_in(&browser, &world, &idp, &id, json!({ "acr": acr })).await.page(403);
        assert!(page.contains("in another way than the provider was asked for"), "{acr}: {page}");
    }
    signed_in(&world, &idp, &id, json!({"acr": "phr"})).await;
}
