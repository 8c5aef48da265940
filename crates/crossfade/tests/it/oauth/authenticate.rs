//! Client authentication (RFC 6749 §2.3), the same at every endpoint that asks for it.

use super::{
    GRANT, PROTECTED, Seen, basic, disable, encoded, is_error, is_the_refusal, needed, pause, post, settings,
};
use crate::engines::{Subject, on_both_engines, on_sqlite};
use crate::{database::Place, world::World};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    sample::select,
    test_runner::{Config, TestRunner},
};
use serde_json::json;

on_both_engines! {
    every_failed_authentication_looks_the_same_rfc6749_5_2,
    a_registration_uses_only_its_methods_rfc7591_2,
    a_disabled_registration_gets_no_token_until_it_is_enabled_rfc6749_5_2,
}

on_sqlite! {
    what_is_no_credentials_gets_the_one_refusal_rfc7617_2_rfc6749_5_2,
    two_authorization_headers_are_refused_alike_whatever_they_hold_rfc6749_5_2,
    basic_credentials_are_form_decoded_rfc6749_2_3_1_appendix_b,
    two_authentication_methods_are_refused_rfc6749_2_3,
    a_client_id_in_the_body_is_the_one_in_the_header_oauth2_1_3_2,
    credentials_are_opaque_visible_ascii_and_not_chosen_rfc6749_appendix_a_rfc9068_5,
    user_agent_and_forwarded_headers_do_not_change_the_answer_rfc9700_4_13,
    an_encoded_body_is_refused_before_authentication,
}

/// TOK-09, TOK-12, TOK-18, SEC-17: what cannot be credentials is refused like credentials that are wrong.
async fn what_is_no_credentials_gets_the_one_refusal_rfc7617_2_rfc6749_5_2(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let (id, secret) = (own.client_id.as_str(), own.secret.as_str());
    let headers: Vec<(&str, Vec<u8>)> = vec![
        ("no colon", basic(id).into_bytes()),
        ("nothing but a colon", basic(":").into_bytes()),
        ("no id", basic(format!(":{secret}")).into_bytes()),
        ("no secret", basic(format!("{id}:")).into_bytes()),
        ("nothing in base64", b"Basic ".to_vec()),
        ("no base64", b"Basic".to_vec()),
        ("empty header", b"".to_vec()),
        ("a blank", b" ".to_vec()),
        ("not base64", b"Basic !!!!".to_vec()),
        ("too much padding", b"Basic YWJj=====".to_vec()),
        ("the URL's alphabet", b"Basic Pz8_OT4-".to_vec()),
        ("text behind base64", format!("{} x", basic(format!("{id}:{secret}"))).into_bytes()),
        ("without base64", format!("Basic {id}:{secret}").into_bytes()),
        ("a tab behind the scheme", b"Basic\tYTpi".to_vec()),
        ("another scheme", b"Digest username=\"x\"".to_vec()),
        ("a bearer token", b"Bearer YTpi".to_vec()),
        ("a scheme that starts alike", format!("Basics {}", &basic("a:b")[6..]).into_bytes()),
        ("not UTF-8 inside", basic([b'a', b':', 0xff, 0xfe]).into_bytes()),
        ("not UTF-8 outside", b"Basic \xff\xfe".to_vec()),
        ("not UTF-8 after decoding", basic("%FF:%FE").into_bytes()),
        ("an escape cut off", basic(format!("{id}:{secret}%")).into_bytes()),
        ("an escape of one digit", basic(format!("{id}:{secret}%4")).into_bytes()),
        ("an escape without digits", basic(format!("{id}:%ZZ")).into_bytes()),
        ("a signed escape", basic(format!("{id}:%+1")).into_bytes()),
        ("NUL", basic(format!("{id}:{secret}\0")).into_bytes()),
        ("NUL, escaped", basic(format!("{id}:%00")).into_bytes()),
        ("a control", basic(format!("{id}\u{7f}:\u{1}")).into_bytes()),
        ("a newline", basic(format!("{id}:{secret}\n")).into_bytes()),
        ("a newline, escaped", basic(format!("{id}:{secret}%0A")).into_bytes()),
        ("a long id", basic(format!("{}:{secret}", "a".repeat(257))).into_bytes()),
        ("a long secret", basic(format!("{id}:{}", "a".repeat(257))).into_bytes()),
        ("a longer secret", basic(format!("{id}:{}", "a".repeat(8000))).into_bytes()),
        ("a secret of 60 KB", basic(format!("{id}:{}", "a".repeat(60_000))).into_bytes()),
    ];
    let long = "a".repeat(60_000);
    let bodies = [
        ("nothing at all", String::new()),
        ("a public client", encoded(&[("client_id", id)])),
        ("a secret without an id", encoded(&[("client_secret", secret)])),
        ("an empty secret", encoded(&[("client_id", id), ("client_secret", "")])),
        ("an empty id", encoded(&[("client_id", ""), ("client_secret", secret)])),
        ("NUL in the body", encoded(&[("client_id", id), ("client_secret", "\0")])),
        ("not UTF-8 in the body", format!("client_id={id}&client_secret=%FF%FE")),
        ("a secret of 60 KB in the body", encoded(&[("client_id", id), ("client_secret", &long)])),
        ("a long id in the body", encoded(&[("client_id", &long), ("client_secret", "x")])),
        ("an assertion alone", encoded(&[("client_id", id), ("client_assertion", "e30.e30.")])),
    ];
    for endpoint in PROTECTED {
        for (cause, value) in &headers {
            pause(&world);
            let answer = post(&world, endpoint, &[("authorization", value)], needed(endpoint)).await;
            is_the_refusal(&answer, &format!("{endpoint}: {cause}"));
        }
        for (cause, body) in &bodies {
            pause(&world);
            let answer = post(&world, endpoint, &[], &format!("{}&{body}", needed(endpoint))).await;
            is_the_refusal(&answer, &format!("{endpoint}: {cause}"));
        }
    }
}

/// RFC 9110 §11.6.2 gives a request one `Authorization`; RFC 6749 §5.2 names "multiple credentials" among the
/// causes of `invalid_request`. Both have to hold without telling whether either header is right.
async fn two_authorization_headers_are_refused_alike_whatever_they_hold_rfc6749_5_2(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let right = basic(format!("{}:{}", own.client_id, own.secret));
    let wrong = basic("nobody:x");
    for endpoint in PROTECTED {
        let mut seen: Option<Seen> = None;
        for [first, second] in [[&right, &right], [&right, &wrong], [&wrong, &right], [&wrong, &wrong]] {
            let headers = [("authorization", first.as_bytes()), ("authorization", second.as_bytes())];
            let answer = post(&world, endpoint, &headers, needed(endpoint)).await;
            is_error(&answer, 400, "invalid_request", endpoint);
            let now = Seen::of(&answer);
            assert_eq!(seen.as_ref().unwrap_or(&now), &now, "{endpoint}");
            seen = Some(now);
        }
    }
}

/// TOK-08, TOK-10 and the vectors of §1.1 of the checklist.
async fn basic_credentials_are_form_decoded_rfc6749_2_3_1_appendix_b(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let (id, secret) = (own.client_id.as_str(), own.secret.as_str());
    let all_escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let plain = basic(format!("{id}:{secret}"));
    let good = [
        ("raw", plain.clone()),
        ("as oauth4webapi escapes", basic(format!("{id}:{}", secret.replace('_', "%5F")))),
        ("lower-case digits", basic(format!("{id}:{}", secret.replace('_', "%5f")))),
        ("everything escaped", basic(format!("{}:{}", all_escaped(id), all_escaped(secret)))),
        ("scheme in other case", plain.replacen("Basic", "bAsIc", 1)),
        ("scheme in capitals", plain.replacen("Basic", "BASIC", 1)),
        ("two blanks", plain.replacen(' ', "  ", 1)),
        ("without padding", plain.trim_end_matches('=').to_owned()),
    ];
    for (kind, header) in &good {
        let answer = post(&world, "token", &[("authorization", header.as_bytes())], &encoded(&[GRANT])).await;
        assert_eq!(answer.status.as_u16(), 200, "{kind}");
    }
    let bad = [
        ("escaped twice", format!("{id}:{}", secret.replace('_', "%255F"))),
        ("a plus is a blank", format!("{id}:{}", secret.replace('_', "+"))),
        ("a blank behind", format!("{id}:{secret}+")),
        ("a blank before", format!("{id}: {secret}")),
        ("a colon in the id", format!("{id}:x:{secret}")),
        ("a colon escaped in the id", format!("{id}%3Ax:{secret}")),
        ("the colon escaped", format!("{id}%3A{secret}")),
        ("exchanged", format!("{secret}:{id}")),
        ("other case", format!("{id}:{}", secret.to_ascii_uppercase())),
        ("cut off", format!("{id}:{}", &secret[..63])),
        ("one more", format!("{id}:{secret}0")),
    ];
    for (kind, credentials) in bad {
        let header = basic(credentials);
        let answer = post(&world, "token", &[("authorization", header.as_bytes())], &encoded(&[GRANT])).await;
        is_the_refusal(&answer, kind);
    }
}

/// TOK-06. OAuth 2.1 §2.4 says the same.
async fn two_authentication_methods_are_refused_rfc6749_2_3(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let (id, secret) = (own.client_id.as_str(), own.secret.as_str());
    let right = basic(format!("{id}:{secret}"));
    let wrong = basic(format!("{id}:x"));
    let urn = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let cases = [
        ("both right", Some(right.as_str()), encoded(&[("client_id", id), ("client_secret", secret)])),
        ("the secret alone in the body", Some(&right), encoded(&[("client_secret", secret)])),
        ("header wrong", Some(&wrong), encoded(&[("client_id", id), ("client_secret", secret)])),
        ("body wrong", Some(&right), encoded(&[("client_id", id), ("client_secret", "x")])),
        ("both wrong", Some(&wrong), encoded(&[("client_id", id), ("client_secret", "x")])),
        ("header and assertion", Some(&right), encoded(&[("client_assertion", "e30.e30.")])),
        ("header and the type of an assertion", Some(&right), encoded(&[("client_assertion_type", urn)])),
        (
            "body and assertion",
            None,
            encoded(&[("client_id", id), ("client_secret", secret), ("client_assertion", "e30.e30.")]),
        ),
        ("bearer and body", Some("Bearer x"), encoded(&[("client_id", id), ("client_secret", secret)])),
    ];
    for endpoint in PROTECTED {
        for (cause, header, body) in &cases {
            let body = format!("{}&{body}", needed(endpoint));
            let headers: Vec<(&str, &[u8])> =
                header.iter().map(|value| ("authorization", value.as_bytes())).collect();
            let answer = post(&world, endpoint, &headers, &body).await;
            is_error(&answer, 400, "invalid_request", &format!("{endpoint}: {cause}"));
        }
        // RFC 6749 §3.2: a parameter without a value is as good as absent, so this is one method.
        let body = format!("{}&client_secret=&client_assertion=", needed(endpoint));
        let answer = post(&world, endpoint, &[("authorization", right.as_bytes())], &body).await;
        assert_eq!(answer.status.as_u16(), 200, "{endpoint}");
    }
}

/// TOK-07.
async fn a_client_id_in_the_body_is_the_one_in_the_header_oauth2_1_3_2(world: World) {
    let (one, other) =
        (world.client("One", &["production"]).await, world.client("Other", &["production"]).await);
    let (one, other) = (one.registration("production"), other.registration("production"));
    let right = basic(format!("{}:{}", one.client_id, one.secret));
    let escaped =
        basic(format!("%{:02x}{}:{}", one.client_id.as_bytes()[0], &one.client_id[1..], one.secret));
    let wrong = basic(format!("{}:x", one.client_id));
    for endpoint in PROTECTED {
        let with = |id: &str| format!("{}&client_id={id}", needed(endpoint));
        for header in [&right, &escaped] {
            let answer =
                post(&world, endpoint, &[("authorization", header.as_bytes())], &with(&one.client_id)).await;
            assert_eq!(answer.status.as_u16(), 200, "{endpoint}");
        }
        let mut seen = Vec::new();
        for header in [&right, &wrong] {
            for id in [other.client_id.as_str(), "nobody", &one.client_id.to_lowercase()] {
                let answer = post(&world, endpoint, &[("authorization", header.as_bytes())], &with(id)).await;
                is_error(&answer, 400, "invalid_request", endpoint);
                seen.push(Seen::of(&answer));
            }
        }
        // Not even whether the secret in the header was right, or the id in the body is known, can be told.
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{endpoint}");
    }
}

/// TOK-22, TOK-23, SEC-01: ids and secrets come from the server alone.
async fn credentials_are_opaque_visible_ascii_and_not_chosen_rfc6749_appendix_a_rfc9068_5(world: World) {
    let client = world.client("Billing API", &["development", "staging", "production"]).await;
    let mut seen = std::collections::HashSet::new();
    for registration in &client.registrations {
        let (id, secret) = (&registration.client_id, &registration.secret);
        assert_eq!((id.len(), secret.len()), (22, 64));
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
        assert!(secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        let prefix =
            if registration.environment == "production" { "crossfade_live_" } else { "crossfade_test_" };
        assert!(secret.starts_with(prefix));
        assert!(seen.insert(id.clone()) && seen.insert(secret.clone()));
    }
    let owner = world.owner().await;
    let property = owner.post("/properties", json!({"name": "P"})).await.created();
    let chosen = json!({"name": "Chooser", "property_id": property["id"], "environments": ["production"], "client_id": "usr_me"});
    owner.post("/clients", chosen).await.refused(422, "invalid_body");
    for change in [json!({"client_id": "usr_me"}), json!({"secret": "mine"}), json!({"sub": "usr_me"})] {
        owner.patch(&client.path("production", ""), change).await.refused(422, "invalid_body");
    }
}

/// TOK-12, TOK-13, SEC-15: one answer for every cause, by either method, at every endpoint.
async fn every_failed_authentication_looks_the_same_rfc6749_5_2(world: World) {
    let (rotated, disabled, deleted, basic_only, post_only) = (
        world.client("Rotated", &["production", "staging"]).await,
        world.client("Disabled", &["production"]).await,
        world.client("Deleted", &["production"]).await,
        world.client("Basic only", &["production"]).await,
        world.client("Post only", &["production"]).await,
    );
    let owner = world.owner().await;
    let rotate = rotated.path("production", "/secrets/rotate");
    let expired = rotated.registration("production").secret.clone();
    let second = owner.post(&rotate, rotated.rotation(0)).await.created()["secret"].clone();
    owner.post(&rotate, rotated.rotation(24)).await.created();
    let revoke = format!("/secrets/{}/revoke", second["id"].as_str().unwrap());
    owner.post(&rotated.path("production", &revoke), json!({"reason": "test"})).await.ok();
    disable(&world, &disabled, "production").await;
    let body = json!({"confirm_client_name": "Deleted", "reason": "test"});
    owner.delete(&format!("/clients/{}", deleted.id), body).await;
    let only = |method: &str| json!({"token_endpoint_auth_methods": [method]});
    settings(&world, &basic_only, "production", only("client_secret_basic")).await;
    settings(&world, &post_only, "production", only("client_secret_post")).await;

    let of = |client: &crate::world::Client, environment: &str| {
        let own = client.registration(environment);
        (own.client_id.clone(), own.secret.clone())
    };
    let id = rotated.registration("production").client_id.clone();
    let (staging_id, staging_secret) = of(&rotated, "staging");
    // Cause, id, secret, and the one method that is tried; `None` tries both.
    let causes = [
        ("unknown client", "0".repeat(22), "x".to_owned(), None),
        ("wrong secret", id.clone(), "x".to_owned(), None),
        ("expired secret", id.clone(), expired, None),
        ("revoked secret", id.clone(), second["value"].as_str().unwrap().to_owned(), None),
        ("disabled client", of(&disabled, "production").0, of(&disabled, "production").1, None),
        ("deleted client", of(&deleted, "production").0, of(&deleted, "production").1, None),
        ("another environment's client", staging_id.clone(), staging_secret.clone(), None),
        ("another environment's secret", id, staging_secret, None),
        (
            "method not allowed",
            of(&basic_only, "production").0,
            of(&basic_only, "production").1,
            Some("post"),
        ),
        ("method not allowed", of(&post_only, "production").0, of(&post_only, "production").1, Some("basic")),
    ];
    let oauth = world.oauth("production");
    for endpoint in PROTECTED {
        let needed = if endpoint == "token" { GRANT } else { ("token", "x") };
        for (cause, id, secret, method) in &causes {
            if *method != Some("post") {
                pause(&world);
                let answer = oauth.basic(endpoint, id, secret, &[needed]).await;
                is_the_refusal(&answer, &format!("{endpoint}, basic: {cause}"));
            }
            if *method != Some("basic") {
                let form = [needed, ("client_id", id.as_str()), ("client_secret", secret.as_str())];
                pause(&world);
                let answer = oauth.form(endpoint, &form, &[]).await;
                is_the_refusal(&answer, &format!("{endpoint}, post: {cause}"));
            }
        }
    }
}

/// TOK-11: what is not in the list of the registration does not authenticate it.
async fn a_registration_uses_only_its_methods_rfc7591_2(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let oauth = world.oauth("production");
    for (methods, by_basic, by_post) in [
        (json!(["client_secret_basic"]), true, false),
        (json!(["client_secret_post"]), false, true),
        (json!(["client_secret_post", "client_secret_basic"]), true, true),
    ] {
        settings(&world, &client, "production", json!({"token_endpoint_auth_methods": methods})).await;
        for endpoint in PROTECTED {
            let needed = if endpoint == "token" { GRANT } else { ("token", "x") };
            let form =
                [needed, ("client_id", own.client_id.as_str()), ("client_secret", own.secret.as_str())];
            for (answer, allowed) in [
                (oauth.basic(endpoint, &own.client_id, &own.secret, &[needed]).await, by_basic),
                (oauth.form(endpoint, &form, &[]).await, by_post),
            ] {
                if allowed {
                    assert_eq!(answer.status.as_u16(), 200, "{endpoint} {methods}");
                } else {
                    is_the_refusal(&answer, endpoint);
                }
            }
        }
    }
    // TOK-18: there is no way to make a public client.
    for methods in [json!([]), json!(["none"]), json!(["private_key_jwt"]), json!("none")] {
        let change = json!({"token_endpoint_auth_methods": methods});
        world.owner().await.patch(&client.path("production", ""), change).await.refused(422, "invalid_body");
    }
    oauth.token(&own.client_id, &own.secret).await.is_token();
}

async fn a_disabled_registration_gets_no_token_until_it_is_enabled_rfc6749_5_2(mut world: World) {
    let client = world.client("Billing API", &["production", "staging"]).await;
    let own = client.registration("production").clone();
    let other = client.registration("staging").clone();
    world.oauth("production").token(&own.client_id, &own.secret).await.is_token();
    disable(&world, &client, "production").await;
    is_the_refusal(&world.oauth("production").token(&own.client_id, &own.secret).await, "at once");
    world.restart().await;
    is_the_refusal(&world.oauth("production").token(&own.client_id, &own.secret).await, "after a restart");
    world.oauth("staging").token(&other.client_id, &other.secret).await.is_token();
    settings(&world, &client, "production", json!({"enabled": true})).await;
    world.oauth("production").token(&own.client_id, &own.secret).await.is_token();
}

/// TOK-28: nothing that a caller says about itself changes the answer, and what it says about its address is
/// believed from a declared proxy only.
async fn user_agent_and_forwarded_headers_do_not_change_the_answer_rfc9700_4_13(mut world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production").clone();
    let right = basic(format!("{}:{}", own.client_id, own.secret));
    let wrong = basic("nobody:x");
    let long = "x".repeat(4000);
    let said: Vec<(&str, &[u8])> = vec![
        ("user-agent", b""),
        ("user-agent", b"curl/8"),
        ("user-agent", b"\xff\xfe<script>"),
        ("user-agent", long.as_bytes()),
        ("x-forwarded-for", b"203.0.113.9"),
        ("x-forwarded-for", b"not an address"),
        ("forwarded", b"for=203.0.113.9;proto=http;host=evil.example"),
        ("x-forwarded-host", b"evil.example"),
        ("x-forwarded-proto", b"http"),
        ("x-client-cert", b"MIIB"),
        ("host", b"evil.example"),
        ("origin", b"https://evil.example"),
        ("accept", b"text/html"),
        ("expect", b"nothing"),
        ("cookie", b"session=1"),
    ];
    for header in &said {
        let cause = String::from_utf8_lossy(header.1);
        let form = encoded(&[GRANT]);
        let refused = post(&world, "token", &[("authorization", wrong.as_bytes()), *header], &form).await;
        is_the_refusal(&refused, &cause);
        let issued = post(&world, "token", &[("authorization", right.as_bytes()), *header], &form).await;
        let token = issued.is_token();
        let claims = super::jws::Parts::of(&token).claims;
        assert_eq!(claims["iss"], super::issuer("production"), "{cause}");
    }
    let sources = async |world: &World| -> Vec<String> {
        world.run_jobs().await;
        let usage = world.owner().await.get(&client.path("production", "/usage")).await.ok();
        let items = usage["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["source_ip"].as_str().unwrap().to_owned()).collect()
    };
    assert!(sources(&world).await.iter().all(|ip| ip == "192.0.2.1"), "nobody is believed by default");
    world.trust(&["192.0.2.0/24"]);
    let headers: [(&str, &[u8]); 2] =
        [("authorization", right.as_bytes()), ("x-forwarded-for", b"203.0.113.9")];
    post(&world, "token", &headers, &encoded(&[GRANT])).await.is_token();
    assert!(sources(&world).await.iter().any(|ip| ip == "203.0.113.9"), "a declared proxy is");
}

/// A body that would have to be decoded is refused before anybody is authenticated by it.
async fn an_encoded_body_is_refused_before_authentication(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production").clone();
    let (right, wrong) =
        (basic(format!("{}:{}", own.client_id, own.secret)), basic(format!("{}:wrong", own.client_id)));
    for endpoint in ["token", "introspect", "revoke"] {
        for credentials in [&right, &wrong] {
            let headers: [(&str, &[u8]); 2] =
                [("authorization", credentials.as_bytes()), ("content-encoding", b"gzip")];
            let answer = post(&world, endpoint, &headers, "\u{1f}\u{8b}").await;
            super::is_error(&answer, 400, "invalid_request", endpoint);
        }
    }
    let headers: [(&str, &[u8]); 2] =
        [("authorization", right.as_bytes()), ("content-encoding", b"identity")];
    post(&world, "token", &headers, &encoded(&[GRANT])).await.is_token();
    world.run_jobs().await;
    let failures = world.owner().await.get("/authentication-failures").await.ok();
    assert_eq!(failures["items"], json!([]), "nobody tried anything");
}

/// Robustness (TOK-09): without the secret, no bytes get more than a refusal.
#[test]
fn random_requests_get_neither_a_token_nor_a_5xx() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(<World as Subject>::open(Place::file()));
    let client = runtime.block_on(world.client("Billing API", &["production"]));
    let id = client.registration("production").client_id.clone();

    let legal = |byte: &u8| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f);
    let raw = vec(any::<u8>().prop_filter("legal in a header", legal), 0..60);
    let credentials = {
        let id = id.clone();
        (any::<bool>(), vec(any::<u8>(), 0..80)).prop_map(move |(known, bytes)| {
            basic(if known { [id.as_bytes(), b":", &bytes].concat() } else { bytes }).into_bytes()
        })
    };
    let header = prop_oneof![
        1 => Just(None),
        2 => raw.prop_map(Some),
        3 => credentials.prop_map(Some),
    ];
    let name =
        select(vec!["grant_type", "client_id", "client_secret", "scope", "token", "client_assertion", "x"]);
    let value = prop_oneof![
        Just("client_credentials".to_owned()),
        Just(id),
        "[ -~]{0,30}",
        "(%[0-9A-Fa-f]{0,2}){0,8}",
        "\\PC{0,12}",
    ];
    let form = vec((name, value), 0..8).prop_map(|pairs| {
        let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("&").into_bytes()
    });
    let body = prop_oneof![vec(any::<u8>(), 0..200), form];
    let kind = prop_oneof![3 => Just(super::FORM.1.as_bytes().to_vec()), 1 => vec(0x20u8..0x7f, 0..30)];

    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&(select(PROTECTED.to_vec()), header, kind, body), |(endpoint, header, kind, body)| {
            let mut headers: Vec<(&str, &[u8])> = vec![("content-type", &kind)];
            if let Some(header) = &header {
                headers.push(("authorization", header));
            }
            let uri = format!("/env/production/oauth2/{endpoint}");
            super::pause(&world);
            let answer = runtime.block_on(super::ask(&world, http::Method::POST, &uri, &headers, &body));
            match answer.status.as_u16() {
                401 => is_the_refusal(&answer, endpoint),
                400 => is_error(&answer, 400, "invalid_request", endpoint),
                other => panic!("{endpoint} answered {other}"),
            }
            Ok(())
        })
        .unwrap();
    drop(world);
    runtime.block_on(World::end());
}
