//! The endpoints that are answered without the router answer as the router does. An encoded letter in the path is what
//! sends a request there.

use super::*;
use crate::engines::on_both_engines;

on_both_engines! {
    both_ways_of_an_endpoint_answer_alike,
    both_ways_of_an_endpoint_count_and_refuse_alike,
}

/// The environment, as it is written in the path of either way.
const WAYS: [&str; 2] = ["production", "pr%6fduction"];

/// A request: endpoint, headers and body.
type Case<'a> = (&'a str, Vec<(&'a str, &'a [u8])>, Vec<u8>);

/// What must be the same.
fn said(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = answer.headers.iter();
    let mut headers: Vec<_> =
        headers.map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect();
    headers.sort();
    let mut body = text(&answer.bytes);
    let json: Value = serde_json::from_slice(&answer.bytes).unwrap_or_default();
    if let Some(token) = json["access_token"].as_str() {
        body = body.replace(token, "TOKEN");
    }
    (answer.status.as_u16(), headers, body)
}

async fn both_ways_of_an_endpoint_answer_alike(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    let it = client.registration("production").clone();
    let token = world.oauth("production").token(&it.client_id, &it.secret).await.is_token();
    let right = basic(format!("{}:{}", it.client_id, it.secret));
    let wrong = basic(format!("{}:wrong", it.client_id));
    let unknown = basic(format!("0000000000000000000000:{}", it.secret));
    let (id, secret) = (it.client_id.as_str(), it.secret.as_str());
    let form: (&str, &[u8]) = (FORM.0, FORM.1.as_bytes());
    let by = |value| vec![form, ("authorization", <str>::as_bytes(value))];
    let grant = "grant_type=client_credentials";
    let mut cases: Vec<Case<'_>> = Vec::new();
    for (headers, body) in [
        (by(&right), grant.to_owned()),
        (by(&right), format!("{grant}&scope=nothing")),
        (by(&right), format!("{grant}&scope=%22")),
        (by(&right), "grant_type=password".to_owned()),
        (by(&right), String::new()),
        (by(&right), format!("{grant}&{grant}")),
        (by(&right), format!("{grant}&client_id={id}&client_secret={secret}")),
        (by(&right), format!("{grant}&padding={}", "x".repeat(65_536))),
        (by(&right), format!("token={token}")),
        (by(&right), "token=x".to_owned()),
        (by(&wrong), grant.to_owned()),
        (by(&unknown), grant.to_owned()),
        (by("Basic !!"), grant.to_owned()),
        (by("Bearer x"), grant.to_owned()),
        (vec![form], grant.to_owned()),
        (vec![form], format!("{grant}&client_id={id}&client_secret={secret}")),
        (vec![form], format!("token={token}&client_id={id}&client_secret={secret}")),
        (vec![], grant.to_owned()),
        (vec![("content-type", b"application/json")], "{}".to_owned()),
        ([by(&right), vec![("content-encoding", b"gzip")]].concat(), grant.to_owned()),
        ([by(&right), vec![("x-forwarded-for", b"198.51.100.1")]].concat(), grant.to_owned()),
    ] {
        for endpoint in ["token", "introspect", "token?client_id=x", "introspect?page=1"] {
            cases.push((endpoint, headers.clone(), body.clone().into_bytes()));
        }
    }
    for trusted in [&[][..], &["192.0.2.0/24"]] {
        world.trust(trusted);
        for (endpoint, headers, body) in &cases {
            let mut answers = Vec::new();
            for way in WAYS {
                // A second for each failure, so that none is one too many.
                world.advance(Duration::from_secs(1));
                let uri = format!("/env/{way}/oauth2/{endpoint}");
                answers.push(said(&ask(&world, Method::POST, &uri, headers, body).await));
            }
            assert_eq!(answers[0], answers[1], "{endpoint} {headers:?} {}", String::from_utf8_lossy(body));
        }
    }
}

async fn both_ways_of_an_endpoint_count_and_refuse_alike(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let it = client.registration("production").clone();
    let request = |way: &str, method: Method| {
        let request = Request::builder().method(method).uri(format!("/env/{way}/oauth2/token"));
        let request = request.header(FORM.0, FORM.1);
        let request = request.header("authorization", basic(format!("{}:{}", it.client_id, it.secret)));
        request.body(Body::from("grant_type=client_credentials")).unwrap()
    };
    let (here, afar) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([192, 0, 2, 1]));
    for (way, answered) in WAYS.into_iter().zip([1, 2]) {
        // Over plain HTTP only from this machine.
        let refused = world.send_plain(request(way, Method::POST), afar).await;
        assert_eq!(refused.status, 400);
        assert!(String::from_utf8_lossy(&refused.bytes).starts_with("Use https."), "{way}");
        world.send_plain(request(way, Method::POST), here).await.is_token();
        for method in [Method::GET, Method::PUT, Method::OPTIONS] {
            assert_eq!(world.send(request(way, method), afar).await.status, 405, "{way}");
        }
        let metrics = world.send(Request::get("/metrics").body(Body::empty()).unwrap(), here).await;
        let metrics = String::from_utf8(metrics.bytes).unwrap();
        for (status, count) in [("200", answered), ("405", 3 * answered)] {
            let line =
                format!("crossfade_http_requests_total{{operation=\"token\",status=\"{status}\"}} {count}\n");
            assert!(metrics.contains(&line), "{way}: no {line} in\n{metrics}");
        }
    }
    for way in ["nowhere", "Production", "production%20", "%", "", "production/x"] {
        assert_eq!(world.send(request(way, Method::POST), afar).await.status, 404, "{way}");
    }
}
