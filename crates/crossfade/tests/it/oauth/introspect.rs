//! Token introspection (RFC 7662), and which tokens are tokens (RFC 8725, RFC 9068 §4).

use super::{
    GRANT, disable, encoded, is_error, is_not_stored, is_the_refusal, issuer,
    jws::{Parts, b64, forged, hmac_sha256, unb64},
    settings,
};
use crate::engines::{on_both_engines, on_sqlite};
use crate::world::{Answer, Registration, World};
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    a_client_learns_of_its_own_tokens_and_with_the_right_of_others_rfc7662_2_2,
    a_token_ends_with_its_time_its_client_and_its_secret_rfc7662_4,
    tokens_of_an_ended_secret_live_on_unless_they_are_ended_too_rfc7662_2_2,
}

on_sqlite! {
    the_caller_is_authenticated_and_names_a_token_rfc7662_2_1_2_3,
    what_is_no_token_is_inactive_rfc7662_2_2,
    forged_tokens_are_inactive_rfc8725_2_1_3_1_3_10,
    a_token_is_not_taken_from_the_url_rfc7662_2_1,
}

/// RFC 7662 §2.2: this, to the byte, is all that is said of a token that is not active.
#[track_caller]
pub(super) fn is_inactive(answer: &Answer, cause: &str) {
    assert_eq!(answer.status.as_u16(), 200, "{cause}");
    assert_eq!(String::from_utf8_lossy(&answer.bytes), r#"{"active":false}"#, "{cause}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{cause}");
    is_not_stored(answer, cause);
}

pub(super) async fn introspect(world: &World, own: &Registration, token: &str) -> Answer {
    world.oauth(&own.environment).basic("introspect", &own.client_id, &own.secret, &[("token", token)]).await
}

pub(super) async fn token(world: &World, own: &Registration) -> String {
    world.oauth(&own.environment).token(&own.client_id, &own.secret).await.is_token()
}

/// INT-01, INT-02, INT-04: its own tokens; others' with `may_introspect`, of its environment.
async fn a_client_learns_of_its_own_tokens_and_with_the_right_of_others_rfc7662_2_2(world: World) {
    let (one, other) =
        (world.client("One", &["production", "staging"]).await, world.client("Other", &["production"]).await);
    let (own, foreign) = (one.registration("production"), other.registration("production"));
    let elsewhere = one.registration("staging");
    let (mine, theirs, staging) =
        (token(&world, own).await, token(&world, foreign).await, token(&world, elsewhere).await);

    let answer = introspect(&world, own, &mine).await;
    is_not_stored(&answer, "active");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body = answer.ok();
    let claims = Parts::of(&mine).claims;
    let expected = json!({
        "active": true, "token_type": "Bearer", "client_id": own.client_id, "sub": own.client_id,
        "iss": issuer("production"), "aud": issuer("production"), "iat": world.now().as_seconds(),
        "exp": world.now().as_seconds() + 3600, "jti": claims["jti"], "crossfade_secret": own.secret_id,
    });
    assert_eq!(body, expected);

    is_inactive(&introspect(&world, own, &theirs).await, "another's");
    settings(&world, &one, "production", json!({"may_introspect": true, "scopes": ["read"]})).await;
    assert_eq!(introspect(&world, own, &theirs).await.ok()["client_id"], foreign.client_id);
    assert_eq!(introspect(&world, own, &token(&world, own).await).await.ok()["scope"], "read");
    is_inactive(&introspect(&world, own, &staging).await, "of another environment");
    is_inactive(&introspect(&world, foreign, &mine).await, "the right is not mutual");
    settings(&world, &one, "production", json!({"may_introspect": false})).await;
    is_inactive(&introspect(&world, own, &theirs).await, "the right was taken away");
    // The same client, another registration: environments know nothing of each other.
    is_inactive(&introspect(&world, elsewhere, &mine).await, "the same client elsewhere");
}

/// INT-04: each thing that can end a token ends it for introspection, at once and after a restart.
async fn a_token_ends_with_its_time_its_client_and_its_secret_rfc7662_4(mut world: World) {
    let (watcher, client, gone, leaked) = (
        world.client("Watcher", &["production"]).await,
        world.client("Client", &["production"]).await,
        world.client("Gone", &["production"]).await,
        world.client("Leaked", &["production"]).await,
    );
    settings(&world, &watcher, "production", json!({"may_introspect": true})).await;
    settings(&world, &client, "production", json!({"access_token_ttl_seconds": 60})).await;
    let watcher = watcher.registration("production").clone();
    let timed = token(&world, client.registration("production")).await;
    world.advance(Duration::from_secs(60) - Duration::from_micros(1));
    assert_eq!(introspect(&world, &watcher, &timed).await.ok()["active"], true);
    world.advance(Duration::from_micros(1));
    is_inactive(&introspect(&world, &watcher, &timed).await, "at its exp (RFC 7519 §4.1.4: on or after)");

    let of_disabled = token(&world, client.registration("production")).await;
    let of_deleted = token(&world, gone.registration("production")).await;
    let of_leaked = token(&world, leaked.registration("production")).await;
    for token in [&of_disabled, &of_deleted, &of_leaked] {
        assert_eq!(introspect(&world, &watcher, token).await.ok()["active"], true);
    }
    disable(&world, &client, "production").await;
    let owner = world.owner().await;
    owner
        .delete(&format!("/clients/{}", gone.id), json!({"confirm_client_name": "Gone", "reason": "test"}))
        .await;
    let body = json!({"transition_hours": 0, "confirm_client_name": "Leaked", "revoke_tokens": true});
    owner.post(&leaked.path("production", "/secrets/rotate"), body).await.created();
    for _ in 0..2 {
        is_inactive(&introspect(&world, &watcher, &of_disabled).await, "client disabled");
        is_inactive(&introspect(&world, &watcher, &of_deleted).await, "client deleted");
        is_inactive(&introspect(&world, &watcher, &of_leaked).await, "tokens of the secret ended");
        world.restart().await;
    }
}

/// A rotation without `revoke_tokens` leaves tokens alone: they end by themselves.
async fn tokens_of_an_ended_secret_live_on_unless_they_are_ended_too_rfc7662_2_2(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let old = client.registration("production");
    let before = token(&world, old).await;
    let reply = world
        .owner()
        .await
        .post(&client.path("production", "/secrets/rotate"), client.rotation(0))
        .await
        .created();
    let new = Registration { secret: reply["secret"]["value"].as_str().unwrap().to_owned(), ..old.clone() };
    assert_eq!(introspect(&world, &new, &before).await.ok()["crossfade_secret"], old.secret_id);
}

/// INT-01, INT-03. Who asks is decided before what is asked.
async fn the_caller_is_authenticated_and_names_a_token_rfc7662_2_1_2_3(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let good = token(&world, own).await;
    let oauth = world.oauth("production");
    is_the_refusal(&oauth.form("introspect", &[("token", &good)], &[]).await, "anonymous");
    is_the_refusal(
        &oauth.basic("introspect", &own.client_id, "x", &[("token", &good)]).await,
        "wrong secret",
    );
    is_the_refusal(&oauth.basic("introspect", &own.client_id, "x", &[]).await, "wrong secret, no token");
    // RFC 7662 §2.1 would allow a bearer token as the caller's authorization; we take secrets alone.
    let bearer = format!("Bearer {good}");
    is_the_refusal(
        &oauth.form("introspect", &[("token", &good)], &[("authorization", &bearer)]).await,
        "bearer",
    );
    // JWT-06: an access token is no client assertion.
    let form = [
        ("token", good.as_str()),
        ("client_id", &own.client_id),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &good),
    ];
    is_the_refusal(&oauth.form("introspect", &form, &[]).await, "an access token as an assertion");
    for form in [vec![], vec![("token", "")], vec![("access_token", good.as_str())]] {
        let answer = oauth.basic("introspect", &own.client_id, &own.secret, &form).await;
        is_error(&answer, 400, "invalid_request", "no token");
    }
    // RFC 7662 §2.1: a hint may be wrong or unknown.
    for hint in ["access_token", "refresh_token", "nonsense", ""] {
        let form = [("token", good.as_str()), ("token_type_hint", hint)];
        let answer = oauth.basic("introspect", &own.client_id, &own.secret, &form).await;
        assert_eq!(answer.ok()["active"], true, "{hint}");
    }
}

/// INT-02: garbage is answered like a token that has ended.
async fn what_is_no_token_is_inactive_rfc7662_2_2(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    settings(&world, &client, "production", json!({"may_introspect": true})).await;
    let good = token(&world, own).await;
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{good}") };
    let huge = "a".repeat(60_000);
    let json_form = json!({"protected": header, "payload": claims, "signature": signature}).to_string();
    let garbage = [
        "x",
        ".",
        "..",
        "...",
        "....",
        "a.b.c",
        "null",
        "{}",
        "\0",
        "\u{1f980}",
        "e30.e30.",
        &huge,
        &".".repeat(60_000),
        &own.secret,
        &own.secret_id,
        &own.client_id,
        &json_form,
        // Cut off, and put together wrongly.
        header,
        &format!("{header}."),
        &format!("{header}.{claims}"),
        &format!("{header}.{claims}."),
        &format!("{header}..{signature}"),
        &format!(".{claims}.{signature}"),
        &format!("{claims}.{header}.{signature}"),
        &good[..good.len() - 1],
        &good[1..],
        &format!("{good}."),
        &format!(".{good}"),
        &format!("{good}.{signature}"),
        &format!("{good}{good}"),
        // JWT-05: characters that are in no compact serialization, and a JWE's five parts.
        &format!("{good}="),
        &format!("{good}=="),
        &format!("{good}\0"),
        &good.replacen('.', ". ", 1),
        &format!("{header}.{claims}=.{signature}"),
        &format!("Bearer {good}"),
        &format!("{header}.{claims}.{signature}.e30.e30"),
        &good.to_uppercase(),
    ]
    .map(str::to_owned);
    for token in &garbage {
        let cause: String = token.chars().take(40).collect();
        is_inactive(&introspect(&world, own, token).await, &cause);
    }
    assert_eq!(introspect(&world, own, &good).await.ok()["active"], true);
}

/// JWT-03, JWT-04 (RFC 8725 §2.1, §3.1, §3.10; RFC 7515 §4.1): what a token says of its own verification is not
/// believed.
async fn forged_tokens_are_inactive_rfc8725_2_1_3_1_3_10(world: World) {
    let client = world.client("Billing API", &["production", "staging"]).await;
    let own = client.registration("production");
    settings(&world, &client, "production", json!({"may_introspect": true})).await;
    let good = token(&world, own).await;
    let Parts { header, claims, signature } = Parts::of(&good);
    let jwks = world.oauth("production").raw(http::Method::GET, "jwks", vec![], &[]).await;
    let jwk = jwks.json()["keys"][0].clone();
    let member = |name: &str| jwk[name].as_str().unwrap().to_owned();
    let point = [&[4][..], &unb64(&member("x")), &unb64(&member("y"))].concat();
    // SubjectPublicKeyInfo of P-256 (RFC 5480 §2): what a file of the public key holds.
    let mut spki = unb64("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE");
    spki.truncate(26);
    spki.extend_from_slice(&point);
    let with = |change: Value| {
        let mut header = header.clone();
        for (name, value) in change.as_object().unwrap() {
            header[name] = value.clone();
        }
        header
    };
    let none = |_: &[u8]| Vec::new();
    let old = |_: &[u8]| signature.clone();
    let zero = |_: &[u8]| vec![0; 64];

    let mut forgeries: Vec<(String, String)> = Vec::new();
    for alg in ["none", "None", "NONE", "noNe", ""] {
        forgeries.push((format!("alg {alg:?}, unsigned"), forged(&with(json!({"alg": alg})), &claims, none)));
        forgeries.push((format!("alg {alg:?}, signed"), forged(&with(json!({"alg": alg})), &claims, old)));
    }
    // The classic: the public key as the key of an HMAC, in each form in which somebody would have it.
    let keys: [(&str, Vec<u8>); 7] = [
        ("the point", point.clone()),
        ("its DER", spki),
        ("x", unb64(&member("x"))),
        ("the JWK", jwk.to_string().into_bytes()),
        ("the key set", jwks.bytes.clone()),
        ("the kid", member("kid").into_bytes()),
        ("nothing", Vec::new()),
    ];
    for alg in ["HS256", "HS384", "hs256", "ES256"] {
        for (kind, key) in &keys {
            let token = forged(&with(json!({"alg": alg})), &claims, |input| hmac_sha256(key, input).to_vec());
            forgeries.push((format!("{alg} with {kind}"), token));
        }
    }
    // A key that the token brings along, with a signature that it would verify.
    let mine = b"an attacker's key";
    let signed = |header: &Value| forged(header, &claims, |input| hmac_sha256(mine, input).to_vec());
    let oct = json!({"kty": "oct", "k": b64(mine), "kid": "mine"});
    for change in [
        json!({"alg": "HS256", "jwk": oct}),
        json!({"alg": "HS256", "jwk": oct, "kid": "mine"}),
        json!({"alg": "HS256", "jku": "https://evil.example/jwks"}),
        json!({"alg": "HS256", "x5u": "https://evil.example/cert"}),
        json!({"alg": "HS256", "x5c": [b64(mine)]}),
    ] {
        forgeries.push((format!("{change}, signed"), signed(&with(change.clone()))));
        forgeries.push((format!("{change}, old signature"), forged(&with(change), &claims, old)));
    }
    for change in [
        json!({"jwk": jwk}),
        json!({"jku": issuer("production")}),
        json!({"crit": ["exp"], "exp": 1}),
        json!({"crit": []}),
        json!({"crit": ["b64"], "b64": false}),
        json!({"typ": "JWT"}),
        json!({"typ": "application/at+jwt"}),
        json!({"typ": "AT+JWT"}),
        json!({"cty": "JWT"}),
        json!({"zip": "DEF"}),
        json!({"alg": "es256"}),
        json!({"alg": "ES384"}),
        json!({"alg": "RS256"}),
        json!({"alg": null}),
        json!({"kid": ""}),
        json!({"kid": null}),
        json!({"kid": ["x"]}),
        json!({"kid": "../../../../dev/null"}),
        json!({"kid": "' OR '1'='1"}),
        json!({"kid": "x\0"}),
        json!({"kid": "a".repeat(20_000)}),
    ] {
        forgeries.push((format!("header {change:.80}"), forged(&with(change), &claims, old)));
    }
    forgeries.push(("zero signature".to_owned(), forged(&header, &claims, zero)));
    forgeries.push(("no signature".to_owned(), forged(&header, &claims, none)));
    let long = [&signature[..], &[0]].concat();
    forgeries.push(("longer signature".to_owned(), forged(&header, &claims, |_| long)));
    let mut swapped = signature.clone();
    swapped.rotate_left(32);
    forgeries.push(("s before r".to_owned(), forged(&header, &claims, |_| swapped)));
    // Claims that somebody would like to have.
    for change in [
        json!({"exp": 9_999_999_999_i64}),
        json!({"scope": "admin"}),
        json!({"sub": "usr_0"}),
        json!({"client_id": client.registration("staging").client_id}),
        json!({"aud": "https://other.example"}),
        json!({"jti": "x"}),
    ] {
        let mut claims = claims.clone();
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        forgeries.push((format!("claims {change}"), forged(&header, &claims, old)));
    }
    for (cause, token) in &forgeries {
        is_inactive(&introspect(&world, own, token).await, cause);
    }

    // Every single character of the signature counts, the unused bits of the last one included.
    let (input, encoded) = good.rsplit_once('.').unwrap();
    for at in 0..encoded.len() {
        let other = if &encoded[at..=at] == "A" { "B" } else { "A" };
        let token = format!("{input}.{}{other}{}", &encoded[..at], &encoded[at + 1..]);
        is_inactive(&introspect(&world, own, &token).await, &format!("character {at} of the signature"));
    }
    // A token that another environment signed, under this one's header and the other way round.
    let elsewhere = token(&world, client.registration("staging")).await;
    let (ours, theirs): (Vec<&str>, Vec<&str>) = (good.split('.').collect(), elsewhere.split('.').collect());
    for token in [
        elsewhere.clone(),
        [ours[0], theirs[1], theirs[2]].join("."),
        [theirs[0], ours[1], ours[2]].join("."),
        [ours[0], ours[1], theirs[2]].join("."),
    ] {
        is_inactive(&introspect(&world, own, &token).await, "of another environment");
    }
    assert_eq!(introspect(&world, own, &good).await.ok()["active"], true);
}

/// INT-03: the endpoint takes forms, like the token endpoint, and none of its parameters from a URL.
async fn a_token_is_not_taken_from_the_url_rfc7662_2_1(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let good = token(&world, own).await;
    let endpoint = format!("introspect?{}", encoded(&[("token", &good)]));
    let answer = world.oauth("production").basic(&endpoint, &own.client_id, &own.secret, &[GRANT]).await;
    is_error(&answer, 400, "invalid_request", "token in the URL");
}
