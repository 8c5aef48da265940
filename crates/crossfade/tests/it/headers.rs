//! The headers of every answer, whichever door gives it and however it came out.

use crate::engines::{on_both_engines, on_sqlite};
use crate::world::{Answer, World};
use axum::body::Body;
use http::{Method, Request};
use std::net::IpAddr;

on_both_engines! {
    every_answer_of_every_door_is_hardened,
    a_method_that_is_not_there_is_refused_in_words_and_not_stored,
}

on_sqlite! {
    a_page_is_found_with_a_slash_at_its_end,
}

/// Types of all answers that have a body.
const TYPES: [&str; 6] = [
    "application/json",
    "application/problem+json",
    "text/css; charset=utf-8",
    "text/html; charset=utf-8",
    "text/plain; charset=utf-8",
    "text/plain; version=0.0.4",
];

async fn ask(world: &World, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request =
        headers.iter().fold(Request::builder().method(method).uri(path), |request, (name, value)| {
            request.header(*name, *value)
        });
    world.send(request.body(Body::empty()).unwrap(), IpAddr::from([192, 0, 2, 1])).await
}

/// Asks every door for what succeeds, what is refused, and what is not there.
async fn answers(world: &World) -> Vec<(String, Answer)> {
    let token = format!("Bearer {}", world.owner().await.token.unwrap());
    let issuer = "/env/production";
    let get = [
        "/",
        "/console",
        "/console/",
        "/console/sign-in",
        "/console/nowhere",
        "/console/assets/console.css",
        "/docs",
        "/docs/api",
        "/docs/nowhere",
        "/healthz",
        "/readyz",
        "/metrics",
        "/nowhere",
        "/api/openapi.json",
        "/api/v1/me",
        "/api/v1/nowhere",
        "/.well-known/oauth-authorization-server/env/production",
        "/.well-known/oauth-authorization-server/env/nowhere",
    ];
    let mut all: Vec<(Method, String)> = get.iter().map(|path| (Method::GET, (*path).to_owned())).collect();
    for path in ["/oauth2/jwks", "/.well-known/openid-configuration", "/oauth2/token"] {
        all.push((Method::GET, format!("{issuer}{path}")));
    }
    for path in ["token", "introspect", "revoke"] {
        all.push((Method::POST, format!("{issuer}/oauth2/{path}")));
    }
    let others = ["/console/account", "/docs/api", "/healthz", "/metrics", "/api/v1/me", "/api/openapi.json"];
    all.extend(others.iter().map(|path| (Method::DELETE, (*path).to_owned())));
    all.push((Method::PUT, format!("{issuer}/oauth2/token")));
    all.push((Method::PUT, format!("{issuer}/oauth2/jwks")));
    let mut answers = Vec::new();
    for (method, path) in all {
        let answer = ask(world, method.clone(), &path, &[("authorization", &token)]).await;
        answers.push((format!("{} {method} {path}", answer.status.as_u16()), answer));
    }
    let known = ask(world, Method::GET, "/env/production/oauth2/jwks", &[("if-none-match", "*")]).await;
    answers.push(("304".to_owned(), known));
    answers
}

async fn every_answer_of_every_door_is_hardened(mut world: World) {
    for (what, answer) in answers(&world).await {
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{what}"
        );
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("strict-transport-security", "max-age=31536000"),
        ] {
            let all: Vec<_> = answer.headers.get_all(name).iter().collect();
            assert_eq!(all, [value], "{name} of {what}");
        }
        assert_eq!(answer.headers.get_all("cache-control").iter().count(), 1, "{what}");
        let kind = answer.header("content-type").unwrap_or_default();
        assert!(answer.bytes.is_empty() || TYPES.contains(&kind), "{what}: {kind}");
    }
    world.restart_under("http://127.0.0.1:8080").await;
    for (what, answer) in answers(&world).await {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what}");
        assert_eq!(answer.header("strict-transport-security"), None, "{what}");
    }
}

async fn a_method_that_is_not_there_is_refused_in_words_and_not_stored(world: World) {
    for (what, answer) in answers(&world).await {
        if answer.status.as_u16() != 405 {
            continue;
        }
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
        assert!(!answer.header("allow").unwrap().is_empty(), "{what}");
        assert!(answer.bytes.len() > 40, "{what}");
        if what.contains("/oauth2/") {
            assert_eq!(answer.json()["error"], "invalid_request", "{what}");
        }
    }
}

async fn a_page_is_found_with_a_slash_at_its_end(world: World) {
    for (from, to) in [
        ("/console/", "/console"),
        ("/console//", "/console"),
        ("/console/clients/?q=a%20b", "/console/clients?q=a%20b"),
        ("/docs", "/docs/api"),
        ("/docs/", "/docs"),
        ("/docs/errors/", "/docs/errors"),
    ] {
        let answer = ask(&world, Method::GET, from, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, Some(to)), "{from}");
    }
    for path in ["//evil.example/", "/consoles/", "/api/", "/healthz/"] {
        assert_eq!(ask(&world, Method::GET, path, &[]).await.status.as_u16(), 404, "{path}");
    }
    assert_eq!(ask(&world, Method::POST, "/console/clients/", &[]).await.status.as_u16(), 404);
}
