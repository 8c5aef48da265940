//! The token endpoint (RFC 6749 §3.2, §4.4), and what all endpoints share in reading a request.

use super::{
    FORM, GRANT, PROTECTED, ask, basic, encoded, is_error, is_not_stored, is_the_refusal, jws::Parts, needed,
    post, settings,
};
use crate::engines::{on_both_engines, on_sqlite};
use crate::few_statements::Log;
use crate::world::{Answer, Registration, World};
use http::Method;
use serde_json::{Value, json};
use std::io;

on_sqlite! {
    only_post_is_allowed_rfc6749_3_2,
    an_unknown_environment_is_not_found,
    the_body_is_one_form_rfc6749_3_2_appendix_b,
    a_repeated_parameter_is_refused_rfc6749_3_2,
    an_empty_parameter_is_absent_and_an_unknown_one_ignored_rfc6749_3_2,
    large_requests_are_refused_rfc9110_15_5_14,
    the_one_grant_is_client_credentials_rfc6749_5_2,
    errors_reflect_nothing_rfc6749_5_2,
    parameters_in_the_url_are_refused_and_logged_nowhere_rfc6749_2_3_1,
    a_foreign_client_library_understands_the_answers_rfc6749_4_4,
}

on_both_engines! {
    a_token_response_has_these_members_and_is_not_stored_rfc6749_5_1,
    a_scope_is_granted_whole_or_refused_rfc6749_3_3,
}

/// Creates a client in production.
async fn registration(world: &World) -> Registration {
    world.client("Billing API", &["production"]).await.registration("production").clone()
}

fn header_of(own: &Registration) -> String {
    basic(format!("{}:{}", own.client_id, own.secret))
}

/// A POST with the client's own credentials.
async fn authenticated(world: &World, own: &Registration, endpoint: &str, body: &str) -> Answer {
    post(world, endpoint, &[("authorization", header_of(own).as_bytes())], body).await
}

/// TOK-01, TOK-27. RFC 9110 §15.5.6: a 405 lists what is allowed.
async fn only_post_is_allowed_rfc6749_3_2(world: World) {
    let own = registration(&world).await;
    let header = header_of(&own);
    let headers: [(&str, &[u8]); 2] = [("authorization", header.as_bytes()), (FORM.0, FORM.1.as_bytes())];
    for endpoint in PROTECTED {
        for method in [
            Method::GET,
            Method::HEAD,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
            Method::TRACE,
            Method::from_bytes(b"PROPFIND").unwrap(),
        ] {
            for query in ["", "?grant_type=client_credentials"] {
                let uri = format!("/env/production/oauth2/{endpoint}{query}");
                let answer = ask(&world, method.clone(), &uri, &headers, needed(endpoint).as_bytes()).await;
                assert_eq!(answer.status.as_u16(), 405, "{method} {uri}");
                assert_eq!(answer.header("allow"), Some("POST"), "{method} {uri}");
                assert_eq!(answer.header("location"), None, "{method} {uri}");
                match method {
                    Method::HEAD => assert!(answer.bytes.is_empty(), "{uri}"),
                    _ => is_error(&answer, 405, "invalid_request", &format!("{method} {uri}")),
                }
            }
        }
    }
}

async fn an_unknown_environment_is_not_found(world: World) {
    let own = registration(&world).await;
    let header = header_of(&own);
    let headers: [(&str, &[u8]); 2] = [("authorization", header.as_bytes()), (FORM.0, FORM.1.as_bytes())];
    for environment in
        ["nowhere", "Production", "production%20", "production%00", "%2e%2e", "a".repeat(5000).as_str()]
    {
        for endpoint in PROTECTED {
            let uri = format!("/env/{environment}/oauth2/{endpoint}");
            let answer = ask(&world, Method::POST, &uri, &headers, needed(endpoint).as_bytes()).await;
            assert_eq!(answer.status.as_u16(), 404, "{uri}");
            assert_eq!(answer.header("www-authenticate"), None, "there is nothing to authenticate to");
        }
    }
    for path in ["token/", "token/x", "authorize", "", "register"] {
        let uri = format!("/env/production/oauth2/{path}");
        let answer = ask(&world, Method::POST, &uri, &headers, b"").await;
        assert_eq!(answer.status.as_u16(), 404, "{uri}");
    }
}

/// TOK-02.
async fn the_body_is_one_form_rfc6749_3_2_appendix_b(world: World) {
    let own = registration(&world).await;
    let header = header_of(&own);
    let authorization: (&str, &[u8]) = ("authorization", header.as_bytes());
    for endpoint in PROTECTED {
        let uri = format!("/env/production/oauth2/{endpoint}");
        let json = json!({"grant_type": "client_credentials", "token": "x"}).to_string();
        let form = needed(endpoint);
        let refused: [(&[&[u8]], &str); 10] = [
            (&[], form),
            (&[b""], form),
            (&[b"application/json"], &json),
            (&[b"text/plain"], form),
            (&[b"multipart/form-data; boundary=x"], "--x--"),
            (&[b"application/x-www-form-urlencoded-not"], form),
            (&[b"application/json; application/x-www-form-urlencoded"], form),
            (&[b"application/x-www-form-urlencoded, text/plain"], form),
            (&[b"\xff"], form),
            (&[b"application/x-www-form-urlencoded", b"application/x-www-form-urlencoded"], form),
        ];
        for (types, body) in refused {
            let mut headers = vec![authorization];
            headers.extend(types.iter().map(|kind| ("content-type", *kind)));
            let answer = ask(&world, Method::POST, &uri, &headers, body.as_bytes()).await;
            is_error(&answer, 400, "invalid_request", &format!("{endpoint} {types:?}"));
        }
        let accepted: [&[u8]; 4] = [
            b"application/x-www-form-urlencoded; charset=UTF-8",
            b"application/x-www-form-urlencoded;charset=utf-8",
            b"application/x-www-form-urlencoded ; foo=bar",
            b"Application/X-WWW-Form-URLencoded",
        ];
        for kind in accepted {
            let headers = [authorization, ("content-type", kind)];
            let answer = ask(&world, Method::POST, &uri, &headers, form.as_bytes()).await;
            assert_eq!(answer.status.as_u16(), 200, "{endpoint} {}", String::from_utf8_lossy(kind));
        }
    }
}

/// TOK-03: a URL is written into logs and histories everywhere, so what stands in it is refused, right or not,
/// and does not reach a log of ours.
async fn parameters_in_the_url_are_refused_and_logged_nowhere_rfc6749_2_3_1(world: World) {
    let log = Log::default();
    let _guard = log.listen();
    let own = registration(&world).await;
    tracing::info!("the log works");
    let canary = "canary4711";
    for endpoint in PROTECTED {
        for query in [
            format!("client_secret={canary}"),
            format!("client_id={}&client_secret={}", own.client_id, own.secret),
            format!("client_id={canary}"),
            format!("token={canary}"),
            format!("client_assertion={canary}"),
            format!("x=1&client%5Fsecret={canary}"),
            "grant_type=client_credentials".to_owned(),
            "scope=read".to_owned(),
        ] {
            let endpoint = format!("{endpoint}?{query}");
            let answer = authenticated(&world, &own, &endpoint, needed(&endpoint)).await;
            is_error(&answer, 400, "invalid_request", &endpoint);
            assert!(!String::from_utf8_lossy(&answer.bytes).contains(canary), "{endpoint}");
            let answer = post(&world, &endpoint, &[], needed(&endpoint)).await;
            is_error(&answer, 400, "invalid_request", &endpoint);
        }
    }
    // A token may not travel in the body's place either: nothing but the body is a source of parameters.
    let answer = post(
        &world,
        "token?foo=bar",
        &[("authorization", header_of(&own).as_bytes())],
        "grant_type=client_credentials",
    )
    .await;
    answer.is_token();
    world.run_jobs().await;
    let text = log.text();
    assert!(text.contains("the log works"));
    for secret in [canary, own.secret.as_str(), &header_of(&own)[6..]] {
        assert!(!text.contains(secret), "a credential was logged");
    }
}

/// TOK-04. RFC 8707 §2 and RFC 8693 §2.1 let `resource` and `audience` stand more than once.
async fn a_repeated_parameter_is_refused_rfc6749_3_2(world: World) {
    let own = registration(&world).await;
    let header = header_of(&own);
    let (id, secret) = (own.client_id.as_str(), own.secret.as_str());
    for endpoint in PROTECTED {
        for body in [
            "grant_type=client_credentials&grant_type=client_credentials".to_owned(),
            "grant_type=client_credentials&grant_type=password".to_owned(),
            "grant_type=client_credentials&grant%5Ftype=client_credentials".to_owned(),
            "grant_type=client_credentials&scope=a&scope=a".to_owned(),
            format!("grant_type=client_credentials&client_id={id}&client_id={id}"),
            "token=x&token=x&grant_type=client_credentials".to_owned(),
            "token=x&token_type_hint=a&token_type_hint=b&grant_type=client_credentials".to_owned(),
        ] {
            let answer = post(&world, endpoint, &[("authorization", header.as_bytes())], &body).await;
            is_error(&answer, 400, "invalid_request", &format!("{endpoint} {body}"));
        }
        let body =
            format!("{}&client_id={id}&client_secret={secret}&client_secret={secret}", needed(endpoint));
        is_error(&post(&world, endpoint, &[], &body).await, 400, "invalid_request", endpoint);
    }
    let body = "grant_type=client_credentials&resource=https://a.example&resource=https://b.example&audience=a&audience=b";
    authenticated(&world, &own, "token", body).await.is_token();
}

/// TOK-05.
async fn an_empty_parameter_is_absent_and_an_unknown_one_ignored_rfc6749_3_2(world: World) {
    let own = registration(&world).await;
    for body in [
        "grant_type=client_credentials&scope=",
        "grant_type=client_credentials&scope",
        "grant_type=client_credentials&client_id=&client_secret=",
        "grant_type=client_credentials&foo=bar&nonce=1",
        "&&grant_type=client_credentials&&",
        "grant_type=client_credentials&=x",
        "grant_type=client_credentials&%FF=%FF",
        "grant%5Ftype=client%5Fcredentials",
    ] {
        assert_eq!(authenticated(&world, &own, "token", body).await.status.as_u16(), 200, "{body}");
    }
    is_error(&authenticated(&world, &own, "token", "grant_type=").await, 400, "invalid_request", "empty");
    is_error(&authenticated(&world, &own, "introspect", "token=").await, 400, "invalid_request", "empty");
    is_error(&authenticated(&world, &own, "revoke", "token=").await, 400, "invalid_request", "empty");
}

/// SEC-17: the size of a request is bounded before anything is computed.
async fn large_requests_are_refused_rfc9110_15_5_14(world: World) {
    let own = registration(&world).await;
    for endpoint in PROTECTED {
        let of_length = |length: usize| {
            let start = format!("{}&x=", needed(endpoint));
            format!("{start}{}", "a".repeat(length - start.len()))
        };
        assert_eq!(authenticated(&world, &own, endpoint, &of_length(65_536)).await.status.as_u16(), 200);
        for length in [65_537, 1 << 20] {
            let answer = authenticated(&world, &own, endpoint, &of_length(length)).await;
            is_error(&answer, 413, "invalid_request", endpoint);
        }
        let secret =
            format!("{}&client_id={}&client_secret={}", needed(endpoint), own.client_id, "a".repeat(1 << 20));
        is_error(&post(&world, endpoint, &[], &secret).await, 413, "invalid_request", endpoint);

        let with = |more: usize| {
            let more: String = (0..more).map(|at| format!("&p{at}=1")).collect();
            format!("{}{more}", needed(endpoint))
        };
        assert_eq!(authenticated(&world, &own, endpoint, &with(31)).await.status.as_u16(), 200);
        let answer = authenticated(&world, &own, endpoint, &with(32)).await;
        is_error(&answer, 400, "invalid_request", "too many parameters");
    }
}

/// TOK-15. The client is authenticated first: to anybody else, the endpoint says nothing of what it can.
async fn the_one_grant_is_client_credentials_rfc6749_5_2(world: World) {
    let own = registration(&world).await;
    for grant in [
        "authorization_code",
        "refresh_token",
        "password",
        "implicit",
        "Client_Credentials",
        "client_credentials ",
        " client_credentials",
        "client_credentials\0",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:device_code",
        "x",
    ] {
        let body = encoded(&[("grant_type", grant)]);
        let answer = authenticated(&world, &own, "token", &body).await;
        is_error(&answer, 400, "unsupported_grant_type", grant);
        is_the_refusal(&post(&world, "token", &[], &body).await, grant);
    }
    for body in ["", "scope=read", "grant=client_credentials", "GRANT_TYPE=client_credentials"] {
        is_error(&authenticated(&world, &own, "token", body).await, 400, "invalid_request", body);
        is_the_refusal(&post(&world, "token", &[], body).await, body);
    }
}

/// TOK-14: nothing that was sent comes back.
async fn errors_reflect_nothing_rfc6749_5_2(world: World) {
    let own = registration(&world).await;
    let hostile = "\"\\\r\nSet-Cookie: x=1\u{1f980}<script>canary";
    for (code, form) in [
        ("unsupported_grant_type", vec![("grant_type", hostile)]),
        ("invalid_scope", vec![GRANT, ("scope", hostile)]),
        ("invalid_request", vec![GRANT, ("client_id", hostile)]),
        ("invalid_request", vec![GRANT, (hostile, "1"), (hostile, "2")]),
    ] {
        let answer = authenticated(&world, &own, "token", &encoded(&form)).await;
        is_error(&answer, 400, code, code);
        assert!(!String::from_utf8_lossy(&answer.bytes).contains("canary"), "{code}");
        assert!(answer.headers.iter().all(|(name, _)| name != "set-cookie"), "{code}");
    }
    let form = [GRANT, ("client_id", hostile), ("client_secret", hostile)];
    is_the_refusal(&post(&world, "token", &[], &encoded(&form)).await, "hostile credentials");
}

/// TOK-16, TOK-17, TOK-19, TOK-25.
async fn a_token_response_has_these_members_and_is_not_stored_rfc6749_5_1(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let oauth = world.oauth("production");
    let members = |answer: &Answer| -> Vec<String> {
        let Value::Object(members) = answer.json() else { panic!("not an object") };
        members.keys().cloned().collect()
    };
    let check = |answer: &Answer, ttl: i64| {
        assert_eq!(answer.status.as_u16(), 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        is_not_stored(answer, "a token");
        assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "no CORS");
        assert_eq!(answer.json()["token_type"], "Bearer");
        assert_eq!(answer.json()["expires_in"], json!(ttl), "a number, not a text");
    };
    // Both ways to authenticate give the same.
    for answer in [
        oauth.token(&own.client_id, &own.secret).await,
        oauth.token_by_post(&own.client_id, &own.secret).await,
    ] {
        check(&answer, 3600);
        assert_eq!(members(&answer), ["access_token", "expires_in", "token_type"]);
    }
    for ttl in [60, 86_400] {
        settings(&world, &client, "production", json!({"access_token_ttl_seconds": ttl, "scopes": ["read"]}))
            .await;
        let answer = oauth.token(&own.client_id, &own.secret).await;
        check(&answer, ttl);
        assert_eq!(members(&answer), ["access_token", "expires_in", "scope", "token_type"]);
    }
    let origin = oauth
        .form("token", &[GRANT], &[("origin", "https://evil.example"), ("authorization", &header_of(own))])
        .await;
    check(&origin, 86_400);
}

/// TOK-20: whole or not at all, case-sensitive, in any order.
async fn a_scope_is_granted_whole_or_refused_rfc6749_3_3(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let oauth = world.oauth("production");
    let asked = async |scope: &str| {
        oauth.basic("token", &own.client_id, &own.secret, &[GRANT, ("scope", scope)]).await
    };
    // Without scopes, none is granted and none is told.
    is_error(&asked("read").await, 400, "invalid_scope", "nothing registered");
    let token = oauth.token(&own.client_id, &own.secret).await;
    assert_eq!(token.json().get("scope"), None);
    assert_eq!(Parts::of(&token.is_token()).claims.get("scope"), None);

    settings(&world, &client, "production", json!({"scopes": ["read", "write", "a:b/c.d~!#"]})).await;
    for (scope, granted) in [
        ("", "read write a:b/c.d~!#"),
        ("read", "read"),
        ("write", "write"),
        ("read write", "read write"),
        ("write read", "read write"),
        ("write write", "write"),
        ("read  write", "read write"),
        (" read ", "read"),
        (" ", "read write a:b/c.d~!#"),
        ("a:b/c.d~!# write read", "read write a:b/c.d~!#"),
    ] {
        let answer = asked(scope).await;
        let claims = Parts::of(&answer.is_token()).claims;
        // RFC 9068 §2.2.3: the claim says what the response says. The order means nothing.
        assert_eq!(claims["scope"], answer.json()["scope"], "{scope}");
        let set = |text: &str| text.split(' ').map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(set(answer.json()["scope"].as_str().unwrap()), set(granted), "{scope}");
    }
    let answer = oauth.token(&own.client_id, &own.secret).await;
    assert_eq!(answer.json()["scope"], "read write a:b/c.d~!#", "without a request, all of it");
    for scope in ["admin", "read admin", "Read", "READ", "read,write", "re", "*"] {
        is_error(&asked(scope).await, 400, "invalid_scope", scope);
    }
    for scope in ["read\twrite", "read\nwrite", "read\0", "\u{e9}", "read\"", "a\\b"] {
        let refused = asked(scope).await;
        is_error(&refused, 400, "invalid_scope", scope);
        let said = refused.json()["error_description"].as_str().unwrap().to_owned();
        assert!(said.starts_with("The scope contains a character that is not allowed."), "{scope}: {said}");
    }
    settings(&world, &client, "production", json!({"scopes": ["read"]})).await;
    is_error(&asked("write").await, 400, "invalid_scope", "taken away, at once");
}

/// RFC 6749 §4.4, end to end with a client library of others.
async fn a_foreign_client_library_understands_the_answers_rfc6749_4_4(world: World) {
    use oauth2::{
        ClientId, ClientSecret, HttpRequest, HttpResponse, RequestTokenError, TokenResponse, TokenUrl,
        basic::BasicClient,
    };
    let own = registration(&world).await;
    let url = TokenUrl::new(format!("{}/oauth2/token", super::issuer("production"))).unwrap();
    let there = &world;
    let send = move |request: HttpRequest| async move {
        let (parts, body) = request.into_parts();
        let headers: Vec<(&str, &[u8])> =
            parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let answer = ask(there, parts.method, parts.uri.path(), &headers, &body).await;
        let mut response = HttpResponse::new(answer.bytes);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok::<_, io::Error>(response)
    };
    for method in [oauth2::AuthType::BasicAuth, oauth2::AuthType::RequestBody] {
        let client = |secret: &str| {
            BasicClient::new(ClientId::new(own.client_id.clone()))
                .set_client_secret(ClientSecret::new(secret.to_owned()))
                .set_auth_type(method.clone())
                .set_token_uri(url.clone())
        };
        let token = client(&own.secret).exchange_client_credentials().request_async(&send).await.unwrap();
        assert_eq!(token.expires_in(), Some(std::time::Duration::from_secs(3600)));
        let error = client("wrong").exchange_client_credentials().request_async(&send).await.unwrap_err();
        let RequestTokenError::ServerResponse(error) = error else { panic!("{error:?}") };
        assert_eq!(error.error().to_string(), "invalid_client");
        assert_eq!(error.error_description().map(String::as_str), Some("Client authentication failed."));
    }
}
