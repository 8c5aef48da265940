//! Signing out at the provider, and being signed out by it.

use super::{
    add, begun, claims, come_back, depart, events,
    idp::{CLIENT_ID, Idp},
    signed_in,
};
use crate::{
    engines::on_both_engines,
    world::{Answer, World},
};
use http::{Method, Request};
use serde_json::{Value, json};

on_both_engines! {
    signing_out_offers_to_sign_out_at_the_provider,
    a_logout_token_ends_the_sessions_that_it_names_at_their_next_request,
    a_wrong_or_repeated_logout_token_ends_nothing,
    a_stranger_costs_no_more_than_a_look,
}

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn logout_token(world: &World, idp: &Idp, changes: &Value) -> String {
    let now = world.now().as_seconds();
    let mut claims = json!({
        "iss": idp.url(""), "aud": CLIENT_ID, "iat": now, "exp": now + 120, "jti": "one", "events": {EVENT: {}},
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    idp.sign(&json!({"typ": "logout+jwt"}), &claims)
}

/// Posts as the server of a provider does: without cookies, and without what only browsers send.
async fn post(world: &World, id: &str, token: &str) -> Answer {
    let body = form_urlencoded::Serializer::new(String::new()).append_pair("logout_token", token).finish();
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/console/sign-in/back-channel/{id}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.into())
        .unwrap();
    let answer = world.send(request, [198, 51, 100, 9].into()).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer
}

async fn signing_out_offers_to_sign_out_at_the_provider(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let ada = signed_in(&world, &idp, &id, json!({})).await;
    let to = ada.post("/console/sign-out", &[]).await.leads_to().to_owned();
    assert_eq!(to, format!("/console/sign-in?from={id}"));
    let page = ada.get(&to).await.page(200);
    let way = format!("/console/sign-in/out/{id}");
    assert!(
        page.contains("You are signed out.") && page.contains(&format!("href=\"{way}\">Sign out of Example")),
        "{page}"
    );
    let out = ada.get(&way).await.leads_to().to_owned();
    let back = "post_logout_redirect_uri=https%3A%2F%2Fauth.example.com%2Fconsole%2Fsign-in";
    assert!(
        out.starts_with(&idp.url("/end?")) && out.contains("client_id=cross+fade") && out.contains(back),
        "{out}"
    );
    // A provider that has no such endpoint.
    let plain = Idp::start().await;
    plain.set_metadata(json!({"end_session_endpoint": null}));
    let id = add(&world, &plain, "Plain", json!({})).await;
    assert_eq!(
        world.browser().get(&format!("/console/sign-in/out/{id}")).await.leads_to(),
        "/console/sign-in"
    );
    let owner = world.signed_in().await;
    assert_eq!(owner.post("/console/sign-out", &[]).await.leads_to(), "/console/sign-in", "of a password");
}

async fn a_logout_token_ends_the_sessions_that_it_names_at_their_next_request(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let one = signed_in(&world, &idp, &id, json!({"sid": "s1"})).await;
    let two = signed_in(&world, &idp, &id, json!({"sid": "s2"})).await;
    let bob =
        signed_in(&world, &idp, &id, json!({"sid": "s3", "sub": "bob", "email": "bob@example.com"})).await;
    let owner = world.signed_in().await;
    let by_sid = logout_token(&world, &idp, &json!({"sid": "s1"}));
    assert_eq!(post(&world, &id, &by_sid).await.status, 200);
    assert!(!one.is_signed_in().await && two.is_signed_in().await && bob.is_signed_in().await);
    let told =
        events(&world, 10).await.into_iter().find(|(action, _)| action == "session.logged_out").unwrap().1;
    assert_eq!(told, json!({"provider_id": id, "sessions": 1}));
    // Of somebody else's session, and of nobody here.
    for (jti, changes) in [
        ("a", json!({"sub": "bob", "sid": "s2"})),
        ("b", json!({"sub": "nobody"})),
        ("c", json!({"sid": "unknown"})),
    ] {
        let mut changes = changes;
        changes["jti"] = jti.into();
        assert_eq!(post(&world, &id, &logout_token(&world, &idp, &changes)).await.status, 200);
        assert!(two.is_signed_in().await && bob.is_signed_in().await, "{changes}");
    }
    let both = logout_token(&world, &idp, &json!({"sub": "bob", "sid": "s3", "jti": "e"}));
    assert_eq!(post(&world, &id, &both).await.status, 200);
    assert!(!bob.is_signed_in().await && two.is_signed_in().await);
    let bob =
        signed_in(&world, &idp, &id, json!({"sid": "s4", "sub": "bob", "email": "bob@example.com"})).await;
    let by_sub = logout_token(&world, &idp, &json!({"sub": "ada", "jti": "d"}));
    assert_eq!(post(&world, &id, &by_sub).await.status, 200);
    assert!(!two.is_signed_in().await && bob.is_signed_in().await && owner.is_signed_in().await);
}

async fn a_wrong_or_repeated_logout_token_ends_nothing(mut world: World) {
    begun(&mut world).await;
    let (idp, hostile) = (Idp::start().await, Idp::start().await);
    let id = add(&world, &idp, "Example", json!({})).await;
    let now = world.now().as_seconds();
    let browser = world.browser();
    let asked = depart(&browser, &id, "").await;
    let id_token = idp.sign(&json!({}), &claims(&world, &idp, &asked, &json!({"sid": "s"})));
    assert_eq!(come_back(&browser, &idp, &asked, id_token.clone()).await.leads_to(), "/console");
    let right = json!({"sub": "ada"});
    let mut wrong = vec![String::new(), "a.b.c".to_owned(), id_token, logout_token(&world, &hostile, &right)];
    for changes in [
        json!({"iss": hostile.url("")}),
        json!({"aud": "other"}),
        json!({"events": null}),
        json!({"events": {"other": {}}}),
        json!({"nonce": "n"}),
        json!({"jti": null}),
        json!({"sub": null}),
        json!({"exp": now - 301}),
        json!({"iat": now - 700}),
        json!({"iat": now + 301}),
    ] {
        let mut all = right.clone();
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        wrong.push(logout_token(&world, &idp, &all));
    }
    for token in wrong {
        let answer = post(&world, &id, &token).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["error"].as_str()),
            (400, Some("invalid_request")),
            "{token}"
        );
    }
    assert!(browser.is_signed_in().await);
    let unknown = format!("idp_{:022}", 9);
    assert_eq!(post(&world, &unknown, &logout_token(&world, &idp, &right)).await.status, 400);
    let token = logout_token(&world, &idp, &right);
    assert_eq!(post(&world, &id, &token).await.status, 200);
    assert!(!browser.is_signed_in().await);
    let again = signed_in(&world, &idp, &id, json!({})).await;
    assert_eq!(post(&world, &id, &token).await.json()["error_description"], "token_replayed");
    assert!(again.is_signed_in().await);
    // Forgotten when it could not be accepted any more.
    assert_eq!(world.number("SELECT COUNT(*) FROM logout_tokens").await, 1);
    world.advance(std::time::Duration::from_secs(700));
    assert_eq!(post(&world, &id, &token).await.status, 400);
    let later = logout_token(&world, &idp, &json!({"sub": "ada", "jti": "two"}));
    assert_eq!(post(&world, &id, &later).await.status, 200);
    assert_eq!(world.number("SELECT COUNT(*) FROM logout_tokens").await, 1);
}

async fn a_stranger_costs_no_more_than_a_look(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    signed_in(&world, &idp, &id, json!({})).await;
    idp.take();
    let before = world.number("SELECT COUNT(*) FROM audit_events").await;
    let mut refused = 0;
    for number in 0..160 {
        let token = idp.sign(&json!({"kid": format!("made-up-{number}")}), &json!({"sub": "ada"}));
        match post(&world, &id, &token).await.status.as_u16() {
            400 => {}
            429 => refused += 1,
            status => panic!("{status}"),
        }
    }
    assert!(refused > 10, "{refused}");
    assert!(idp.take().len() <= 1, "keys are looked for once a minute");
    assert_eq!(world.number("SELECT COUNT(*) FROM audit_events").await, before);
    assert_eq!(world.number("SELECT COUNT(*) FROM logout_tokens").await, 0);
    // A provider that ends the sessions of many people at a time is not kept from it, even from the same network.
    for number in 0..160 {
        let token = logout_token(&world, &idp, &json!({"sub": "nobody", "jti": number.to_string()}));
        assert_eq!(post(&world, &id, &token).await.status, 200);
    }
    // A key that is new is found for a sign-in all the same.
    idp.roll("second");
    signed_in(&world, &idp, &id, json!({})).await;
}
