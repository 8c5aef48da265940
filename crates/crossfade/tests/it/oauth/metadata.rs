//! What an issuer publishes (RFC 8414, RFC 7517), and that its tokens are what it publishes (RFC 9068).

use super::{
    FORM, GRANT, PROTECTED, ask, encoded, issuer,
    jws::{Parts, b64, thumbprint, unb64},
    needed,
    secrets::files_of,
    settings,
};
use crate::engines::{on_both_engines, on_sqlite};
use crate::world::{Answer, PUBLIC_URL, Registration, World};
use crossfade_core::Timestamp;
use http::Method;
use serde_json::{Value, json};
use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

on_both_engines! {
    a_change_of_the_algorithm_says_from_when_it_signs,
    every_algorithm_publishes_public_keys_named_by_thumbprint_rfc7517_4_rfc7638_3,
    a_key_is_published_before_it_signs_and_until_its_tokens_have_ended_rfc7517_5,
    a_key_that_was_replaced_before_it_signed_does_not_sign_later_rfc7517_5,
    an_immediate_roll_over_signs_at_once,
    an_access_token_is_what_rfc9068_2_says,
}

on_sqlite! {
    the_metadata_is_the_same_at_both_addresses_and_true_rfc8414_2_3,
    public_documents_are_read_only_and_only_of_environments_rfc9110_15_5_6,
    public_documents_are_cached_and_revalidated_rfc9110_13_1_2,
    if_none_match_takes_a_star_and_several_lines_rfc9110_13_1_2_5_3,
    no_two_tokens_have_one_jti_rfc7519_4_1_7,
    signing_keys_are_sealed_at_rest_rfc8725bis_3_1,
    no_credential_passes_for_another_kind_rfc8725_3_12,
}

/// How long a key set may be kept: its `max-age`.
const MAX_AGE: Duration = Duration::from_secs(300);
/// The longest that a token can be set to live.
const LONGEST: Duration = Duration::from_secs(86_400);
const MICRO: Duration = Duration::from_micros(1);

fn addresses(environment: &str) -> [String; 3] {
    [
        format!("/.well-known/oauth-authorization-server/env/{environment}"),
        format!("/env/{environment}/.well-known/openid-configuration"),
        format!("/env/{environment}/oauth2/jwks"),
    ]
}

async fn get(world: &World, uri: &str, headers: &[(&str, &[u8])]) -> Answer {
    ask(world, Method::GET, uri, headers, b"").await
}

async fn keys(world: &World, environment: &str) -> Vec<Value> {
    let answer = get(world, &format!("/env/{environment}/oauth2/jwks"), &[]).await.ok();
    answer["keys"].as_array().unwrap().clone()
}

async fn kids(world: &World) -> Vec<String> {
    keys(world, "production").await.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn token(world: &World, own: &Registration) -> String {
    world.oauth(&own.environment).token(&own.client_id, &own.secret).await.is_token()
}

fn kid_of(token: &str) -> String {
    Parts::of(token).header["kid"].as_str().unwrap().to_owned()
}

async fn active(world: &World, own: &Registration, token: &str) -> bool {
    let answer = world.oauth(&own.environment).introspect(&own.client_id, &own.secret, token).await;
    answer["active"].as_bool().unwrap()
}

async fn roll_over(world: &World, body: Value) -> Value {
    world.owner().await.post("/environments/production/signing-keys/rotate", body).await.created()
}

/// DIS-01 to DIS-06.
async fn the_metadata_is_the_same_at_both_addresses_and_true_rfc8414_2_3(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    for environment in ["production", "staging"] {
        let [by_rfc, by_oidc, _] = addresses(environment);
        let (answer, other) = (get(&world, &by_rfc, &[]).await, get(&world, &by_oidc, &[]).await);
        assert_eq!(super::Seen::of(&answer), super::Seen::of(&other), "two addresses, one document");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let base = issuer(environment);
        let methods = json!(["client_secret_basic", "client_secret_post"]);
        let expected = json!({
            // §3.3: the same text as the one from which the address was made, and as `iss`.
            "issuer": base,
            "token_endpoint": format!("{base}/oauth2/token"),
            "token_endpoint_auth_methods_supported": methods,
            "introspection_endpoint": format!("{base}/oauth2/introspect"),
            "introspection_endpoint_auth_methods_supported": methods,
            "revocation_endpoint": format!("{base}/oauth2/revoke"),
            "revocation_endpoint_auth_methods_supported": methods,
            "crossfade_rotate_secret_endpoint": format!("{base}/oauth2/rotate-secret"),
            "jwks_uri": format!("{base}/oauth2/jwks"),
            // §2: without it, authorization_code and implicit would be meant.
            "grant_types_supported": ["client_credentials"],
            // §2: REQUIRED, although no grant here has a response type.
            "response_types_supported": [],
            "subject_types_supported": ["public"],
        });
        assert_eq!(answer.ok(), expected);
    }
    let document = get(&world, &addresses("production")[0], &[]).await.ok();
    assert_eq!(Parts::of(&token(&world, own).await).claims["iss"], document["issuer"]);
    // Every address that is told answers.
    for name in ["token_endpoint", "introspection_endpoint", "revocation_endpoint"] {
        let uri = document[name].as_str().unwrap().strip_prefix(PUBLIC_URL).unwrap();
        let form =
            [("client_id", own.client_id.as_str()), ("client_secret", &own.secret), GRANT, ("token", "x")];
        let body = encoded(&form);
        let answer = ask(&world, Method::POST, uri, &[(FORM.0, FORM.1.as_bytes())], body.as_bytes()).await;
        assert_eq!(answer.status.as_u16(), 200, "{name}");
    }
    let uri = document["jwks_uri"].as_str().unwrap().strip_prefix(PUBLIC_URL).unwrap();
    assert!(get(&world, uri, &[]).await.ok()["keys"].is_array());
    // What a caller says about the host does not become part of the issuer.
    let headers: [(&str, &[u8]); 3] =
        [("host", b"evil.example"), ("x-forwarded-host", b"evil.example"), ("x-forwarded-proto", b"http")];
    assert_eq!(get(&world, &addresses("production")[0], &headers).await.ok(), document);
}

async fn public_documents_are_read_only_and_only_of_environments_rfc9110_15_5_6(world: World) {
    for uri in addresses("production") {
        let body = get(&world, &uri, &[]).await;
        let head = ask(&world, Method::HEAD, &uri, &[], b"").await;
        assert_eq!((head.status.as_u16(), head.bytes.len()), (200, 0), "{uri}");
        assert_eq!(head.header("etag"), body.header("etag"), "{uri}");
        for method in
            [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS, Method::TRACE]
        {
            let answer = ask(&world, method.clone(), &uri, &[], b"").await;
            assert_eq!(answer.status.as_u16(), 405, "{method} {uri}");
            let mut allowed: Vec<&str> = answer.header("allow").unwrap().split(',').map(str::trim).collect();
            allowed.sort_unstable();
            assert_eq!(allowed, ["GET", "HEAD"], "{method} {uri}");
        }
        // A query changes nothing, and is not refused: there is nothing here that it could carry.
        assert_eq!(get(&world, &format!("{uri}?x=1"), &[]).await.bytes, body.bytes, "{uri}");
    }
    for environment in ["nowhere", "Production", "production/", "production%2f"] {
        for uri in addresses(environment) {
            assert_eq!(get(&world, &uri, &[]).await.status.as_u16(), 404, "{uri}");
        }
    }
    for uri in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        assert_eq!(get(&world, uri, &[]).await.status.as_u16(), 404, "{uri}: there is no issuer at the root");
    }
}

/// JWK-03.
async fn public_documents_are_cached_and_revalidated_rfc9110_13_1_2(world: World) {
    for uri in addresses("production") {
        let answer = get(&world, &uri, &[]).await;
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"), "{uri}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{uri}");
        let tag = answer.header("etag").unwrap().to_owned();
        let elsewhere = get(&world, &uri.replace("production", "staging"), &[]).await;
        assert_ne!(elsewhere.header("etag"), Some(tag.as_str()), "another document, another tag");
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), format!("{tag},\"y\"")] {
            let answer = get(&world, &uri, &[("if-none-match", known.as_bytes())]).await;
            assert_eq!((answer.status.as_u16(), answer.bytes.len()), (304, 0), "{uri} {known}");
            assert_eq!(answer.header("etag"), Some(tag.as_str()), "{uri}");
            assert_eq!(answer.header("cache-control"), Some("public, max-age=300"), "{uri}");
        }
        for known in ["\"x\"", "", tag.trim_matches('"')] {
            let answer = get(&world, &uri, &[("if-none-match", known.as_bytes())]).await;
            assert_eq!(answer.status.as_u16(), 200, "{uri} {known}");
        }
    }
    let uri = &addresses("production")[2];
    let tag = get(&world, uri, &[]).await.header("etag").unwrap().to_owned();
    roll_over(&world, json!({})).await;
    let answer = get(&world, uri, &[("if-none-match", tag.as_bytes())]).await;
    assert_eq!(answer.status.as_u16(), 200, "another key set, another tag");
}

/// RFC 9110 §13.1.2: `*` asks for any document that there is, and a field may stand on several lines (§5.3).
async fn if_none_match_takes_a_star_and_several_lines_rfc9110_13_1_2_5_3(world: World) {
    let mut wrong = Vec::new();
    for uri in addresses("production") {
        let tag = get(&world, &uri, &[]).await.header("etag").unwrap().to_owned();
        let star: [(&str, &[u8]); 1] = [("if-none-match", b"*")];
        let lines: [(&str, &[u8]); 2] = [("if-none-match", b"\"x\""), ("if-none-match", tag.as_bytes())];
        for (kind, headers) in [("star", &star[..]), ("lines", &lines[..])] {
            if get(&world, &uri, headers).await.status.as_u16() != 304 {
                wrong.push((kind, uri.clone()));
            }
        }
    }
    assert_eq!(wrong, []);
}

async fn a_change_of_the_algorithm_says_from_when_it_signs(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let at = "/environments/production";
    let signs = async |world: &World| Parts::of(&token(world, own).await).header["alg"].clone();
    assert_eq!(world.owner().await.get(at).await.ok()["signing_alg_from"], json!(null));
    let changed = world.owner().await.patch(at, json!({"signing_alg": "EdDSA"})).await.ok();
    let from: Timestamp = serde_json::from_value(changed["signing_alg_from"].clone()).unwrap();
    assert_eq!((&changed["signing_alg"], signs(&world).await), (&json!("EdDSA"), json!("ES256")));
    let browser = world.signed_in().await;
    let settings = [
        ("name", "Production"),
        ("kind", "live"),
        ("signing_alg", "EdDSA"),
        ("position", "2"),
        ("wipe_after_days", "30"),
    ];
    let page = browser.post("/console/environments/production", &settings).await.leads_to().to_owned();
    let page = browser.get(&page).await.page(200);
    assert!(
        page.contains("New tokens are signed with EdDSA from ")
            && page.contains(&format!("datetime=\"{from}\"")),
        "{page}"
    );
    // To the microsecond, as every reading and the trail tell it.
    world.advance(Duration::from_micros(from.since(world.now()).as_micros() as u64 - 1));
    assert_eq!(signs(&world).await, "ES256");
    let listed = world.owner().await.get("/environments").await.ok();
    let listed = listed.as_array().unwrap().iter().find(|it| it["slug"] == "production").unwrap().clone();
    assert_eq!(listed["signing_alg_from"], changed["signing_alg_from"]);
    let trail = world.owner().await.get("/audit-events?action=environment.updated").await.ok();
    assert_eq!(trail["items"][0]["details"]["after"]["signing_alg_from"], changed["signing_alg_from"]);
    world.advance(Duration::from_micros(1));
    assert_eq!(signs(&world).await, "EdDSA");
    assert_eq!(world.owner().await.get(at).await.ok()["signing_alg_from"], json!(null));
    let page = browser.get("/console/environments/production").await.page(200);
    assert!(!page.contains("New tokens are signed with"));
}

/// JWK-01, JWT-01, JWT-08, for each algorithm, through one change after the other.
async fn every_algorithm_publishes_public_keys_named_by_thumbprint_rfc7517_4_rfc7638_3(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let mut tokens = Vec::new();
    for (alg, length) in [("ES256", 64), ("EdDSA", 64), ("RS256", 256)] {
        let change = json!({"signing_alg": alg});
        world.owner().await.patch("/environments/production", change).await.ok();
        world.advance(Duration::from_secs(360));
        let token = token(&world, own).await;
        let parts = Parts::of(&token);
        assert_eq!(parts.header["alg"], alg);
        assert_eq!(parts.header["typ"], "at+jwt");
        // RFC 7518 §3.4: r and s one after the other, not in DER.
        assert_eq!(parts.signature.len(), length, "{alg}");
        let published = keys(&world, "production").await;
        let key = published.iter().find(|key| key["kid"] == parts.header["kid"]).unwrap();
        assert_eq!(key["alg"], alg, "one key, one algorithm (RFC 8725 §3.1)");
        tokens.push(token);
    }
    let published = keys(&world, "production").await;
    assert_eq!(published.len(), 3);
    let mut seen = HashSet::new();
    for key in &published {
        let members: Vec<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        let (expected, alg): (&[&str], _) = match key["kty"].as_str().unwrap() {
            "EC" => (&["alg", "crv", "kid", "kty", "use", "x", "y"], "ES256"),
            "OKP" => (&["alg", "crv", "kid", "kty", "use", "x"], "EdDSA"),
            _ => (&["alg", "e", "kid", "kty", "n", "use"], "RS256"),
        };
        assert_eq!(members, expected, "public members alone");
        assert_eq!((key["alg"].as_str(), key["use"].as_str()), (Some(alg), Some("sig")));
        assert_eq!(key["kid"], thumbprint(key), "{alg}");
        assert!(seen.insert(key["kid"].clone()));
        let bytes = |name: &str| unb64(key[name].as_str().unwrap());
        match alg {
            "ES256" => {
                assert_eq!((key["crv"].as_str(), bytes("x").len(), bytes("y").len()), (Some("P-256"), 32, 32))
            }
            "EdDSA" => assert_eq!((key["crv"].as_str(), bytes("x").len()), (Some("Ed25519"), 32)),
            // RFC 7518 §6.3.1.1: without leading zeros; at least 2048 bits (§3.3).
            _ => assert!(bytes("n").len() >= 256 && bytes("n")[0] >= 0x80 && bytes("e") == [1, 0, 1]),
        }
    }
    // Tokens of before verify on, although the algorithm has changed twice.
    for token in &tokens {
        assert!(active(&world, own, token).await);
    }
    assert!(keys(&world, "staging").await.iter().all(|key| !seen.contains(&key["kid"])), "no key is shared");
}

/// JWK-02: whoever keeps a key set as long as it may never meets a token of a key that is not in it, and a
/// key stays until the last token that it signed has ended.
async fn a_key_is_published_before_it_signs_and_until_its_tokens_have_ended_rfc7517_5(mut world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production").clone();
    settings(&world, &client, "production", json!({"access_token_ttl_seconds": 86_400})).await;
    let first = kid_of(&token(&world, &own).await);
    assert_eq!(kids(&world).await.join(" "), first);
    let reply = roll_over(&world, json!({"reason": "quarterly"})).await;
    let listed: Vec<String> =
        reply.as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
    let published: HashSet<String> = kids(&world).await.into_iter().collect();
    assert_eq!(listed.into_iter().collect::<HashSet<_>>(), published, "both are published at once");
    assert_eq!(published.len(), 2);

    let step = Duration::from_secs(30);
    let mut caches: VecDeque<Vec<String>> = VecDeque::new();
    let mut last_of_first = None;
    for at in 0..30 {
        caches.push_back(kids(&world).await);
        // A set that was fetched MAX_AGE ago may still be in use; an older one may not.
        if caches.len() > (MAX_AGE.as_secs() / step.as_secs()) as usize + 1 {
            caches.pop_front();
        }
        if at == 15 {
            world.restart().await;
        }
        let token = token(&world, &own).await;
        let kid = kid_of(&token);
        assert!(caches.iter().all(|known| known.contains(&kid)), "after {at} steps");
        assert!(active(&world, &own, &token).await);
        if kid == first {
            last_of_first = Some((world.now(), token));
        }
        world.advance(step);
    }
    let (issued, last) = last_of_first.unwrap();
    let second = kid_of(&token(&world, &own).await);
    assert_ne!(second, first, "by now the new key signs");
    // To the end of the last token of the first key, with everything in the background done meanwhile.
    let end = issued.after(LONGEST);
    world.advance(end.since(world.now()) - MICRO);
    world.run_jobs().await;
    world.restart().await;
    assert!(kids(&world).await.contains(&first), "published as long as a token of it lives");
    assert!(active(&world, &own, &last).await);
    world.advance(Duration::from_secs(3600));
    assert_eq!(kids(&world).await.join(" "), second, "and not for ever");
    assert!(!active(&world, &own, &last).await);
    world.run_jobs().await;
    world.restart().await;
    assert_eq!(kids(&world).await, [second]);
    token(&world, &own).await;
}

/// JWK-02 when it is done twice: a key that was replaced while it waited does not sign after its successor,
/// for it is taken away first, and may be the one that leaked.
async fn a_key_that_was_replaced_before_it_signed_does_not_sign_later_rfc7517_5(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    roll_over(&world, json!({})).await;
    world.advance(Duration::from_secs(10));
    roll_over(&world, json!({"immediate": true})).await;
    let newest = kid_of(&token(&world, own).await);
    for _ in 0..20 {
        world.advance(Duration::from_secs(60));
        assert_eq!(kid_of(&token(&world, own).await), newest, "the key that was made last signs");
    }
}

/// For a key that leaked: the new one signs with the next token.
async fn an_immediate_roll_over_signs_at_once(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let before = token(&world, own).await;
    // The manual clock stands still: without this, both keys would be active from the same moment on.
    world.advance(MICRO);
    roll_over(&world, json!({"immediate": true, "reason": "leaked"})).await;
    let after = token(&world, own).await;
    assert_ne!(kid_of(&before), kid_of(&after));
    assert!(kids(&world).await.contains(&kid_of(&after)));
    assert!(active(&world, own, &after).await);
}

/// JWT-01, JWT-02.
async fn an_access_token_is_what_rfc9068_2_says(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    world.advance(Duration::from_millis(999));
    let now = world.now().as_seconds();
    let claims = |token: &str| Parts::of(token).claims;
    let plain = token(&world, own).await;
    let Parts { header, claims: body, .. } = Parts::of(&plain);
    let kid = kids(&world).await.remove(0);
    assert_eq!(header, json!({"typ": "at+jwt", "alg": "ES256", "kid": kid}));
    let jti = body["jti"].clone();
    assert!(jti.as_str().unwrap().len() >= 22, "at least 128 bits");
    let expected = json!({
        "iss": issuer("production"), "sub": own.client_id, "client_id": own.client_id, "aud": issuer("production"),
        "iat": now, "exp": now + 3600, "jti": jti, "crossfade_secret": own.secret_id,
    });
    assert_eq!(body, expected);
    assert!(!plain.contains('='), "RFC 7515 §2: base64url without padding");

    let audience = "https://api.example.com/v1";
    let property =
        world.owner().await.get(&format!("/clients/{}", client.id)).await.ok()["property_id"].clone();
    let limits = format!("/properties/{}/environments/production/limits", property.as_str().unwrap());
    let body = json!({"audiences": [audience]}).to_string();
    world.owner().await.call(http::Method::PUT, &limits, Some(body), &[]).await.ok();
    let change = json!({"audience": audience, "scopes": ["read", "write"], "access_token_ttl_seconds": 60});
    settings(&world, &client, "production", change).await;
    let body = claims(&token(&world, own).await);
    assert_eq!((body["aud"].as_str(), body["scope"].as_str()), (Some(audience), Some("read write")));
    assert_eq!(body["exp"].as_i64().unwrap() - body["iat"].as_i64().unwrap(), 60);
    settings(&world, &client, "production", json!({"audience": null})).await;
    assert_eq!(claims(&token(&world, own).await)["aud"], issuer("production").as_str());
    // What would break out of the claims is refused where it enters.
    for audience in ["", "a b", "a\"b", "a\\b", "a\nb", "\u{e9}"] {
        world
            .owner()
            .await
            .patch(&client.path("production", ""), json!({"audience": audience}))
            .await
            .refused(422, "invalid_body");
    }
}

/// RFC 9068 §2.2, RFC 7519 §4.1.7.
async fn no_two_tokens_have_one_jti_rfc7519_4_1_7(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let mut seen = HashSet::new();
    for _ in 0..1000 {
        let claims = Parts::of(&token(&world, own).await).claims;
        assert!(seen.insert(claims["jti"].as_str().unwrap().to_owned()));
    }
}

/// JWK-04: a copy of the database holds no private key. The PKCS #8 of a P-256 key holds its public point
/// (RFC 5915 §3), which is nowhere else stored: where the point is not, the key is not in the clear.
async fn signing_keys_are_sealed_at_rest_rfc8725bis_3_1(world: World) {
    let stored = files_of(&world);
    let key = keys(&world, "production").await.remove(0);
    let x = unb64(key["x"].as_str().unwrap());
    let kid = key["kid"].as_str().unwrap().as_bytes().to_vec();
    let holds = |what: &[u8]| stored.windows(what.len()).any(|window| window == what);
    assert!(holds(&kid), "this is the database");
    assert!(!holds(&x) && !holds(b64(&x).as_bytes()));
    // The object identifier of the curve (RFC 5480 §2.1.1.1), which every PKCS #8 of the kind starts with.
    assert!(!holds(&[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]));
}

/// JWT-06: each kind of credential works in its own place alone.
async fn no_credential_passes_for_another_kind_rfc8725_3_12(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let access = token(&world, own).await;
    let owner = world.owner().await;
    let api = owner.token.clone().unwrap();
    for endpoint in PROTECTED {
        for secret in [&access, &api] {
            let header = super::basic(format!("{}:{secret}", own.client_id));
            let answer =
                super::post(&world, endpoint, &[("authorization", header.as_bytes())], needed(endpoint))
                    .await;
            super::is_the_refusal(&answer, endpoint);
        }
    }
    for token in [&access, &own.secret] {
        let principal = crate::world::Principal { world: &world, token: Some(token.clone()) };
        principal.get("/clients").await.refused(401, "unauthenticated");
    }
    assert!(!active(&world, own, &api).await);
}
