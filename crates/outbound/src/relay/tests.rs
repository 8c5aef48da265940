//! Issuers of our own, good and hostile ones, and what the relay makes of their answers.

use super::*;
use crossfade_core::{
    RegistrationId, Timestamp,
    upstream::{BasicEncoding, CredentialMethod, Slot},
};
use std::sync::atomic::AtomicUsize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// What a stub does with a request.
enum Reply {
    /// Answers and keeps the connection.
    Keep(String),
    /// Answers and closes the connection.
    Close(String),
    /// Answers, and repeats these bytes until the connection ends.
    Endless(String),
    /// Answers nothing.
    Hang,
}

type Answering = dyn Fn(&str, usize) -> Reply + Send + Sync;

/// An issuer that decides by the text of a request and the number of requests before it.
struct Stub {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Stub {
    #[expect(clippy::disallowed_methods, reason = "a server of this test")]
    async fn start(answer: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, connections) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default());
        let (kept, counted) = (seen.clone(), connections.clone());
        let answer: Arc<Answering> = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, kept.clone(), answer.clone()));
            }
        });
        Self { port, seen, connections }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn opened(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<String>>>, answer: Arc<Answering>) {
    while let Some(request) = read_request(&mut stream).await {
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        match answer(&request, number) {
            Reply::Keep(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
            }
            Reply::Close(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                return;
            }
            Reply::Endless(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                while stream.write_all(&[b'0'; 1 << 16]).await.is_ok() {}
                return;
            }
            Reply::Hang => {
                let _ = stream.read(&mut [0; 1]).await;
                return;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    let mut chunk = [0; 65_536];
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0) {
                return Some(text);
            }
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => read.extend_from_slice(&chunk[..length]),
        }
    }
}

fn http(status: u16, kind: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn json(status: u16, body: &str) -> Reply {
    Reply::Keep(http(status, "application/json", body))
}

const TOKEN: &str = r#"{"access_token":"t"}"#;

const TEST_TIMES: Times = Times {
    connect: Duration::from_millis(500),
    address: Duration::from_millis(500),
    idle: Duration::from_secs(4),
    whole: Duration::from_secs(2),
};

fn relay() -> Relay {
    let poster = Poster::new(vec!["127.0.0.0/8".parse().unwrap()], None).unwrap();
    Relay { times: TEST_TIMES, ..Relay::new(&poster, RelayLimits::default()) }
}

fn to(port: u16, path: &str) -> Destination {
    let poster = Poster::new(vec!["127.0.0.0/8".parse().unwrap()], None).unwrap();
    poster.destination(&format!("http://127.0.0.1:{port}{path}")).unwrap()
}

/// The credential of a test.
struct Own {
    registration: RegistrationId,
    method: CredentialMethod,
    secrets: [Option<&'static str>; 2],
    leading: Mutex<Slot>,
}

impl Own {
    fn opened(&self) -> SentCredential<'_> {
        let filled =
            Slot::ALL.into_iter().zip(self.secrets).filter_map(|(slot, secret)| Some((slot, secret?)));
        let mut secrets: Vec<_> = filled
            .map(|(slot, value)| SentSecret {
                slot,
                value: Zeroizing::new(value.to_owned()),
                set_at: Timestamp::from_seconds(1),
            })
            .collect();
        secrets.sort_by_key(|secret| secret.slot != self.leading());
        SentCredential {
            registration: &self.registration,
            client_id: "billing",
            method: self.method,
            encoding: BasicEncoding::Percent,
            secrets,
        }
    }

    fn leading(&self) -> Slot {
        *self.leading.lock().unwrap()
    }
}

fn credential(next: Option<&'static str>) -> Own {
    Own {
        registration: RegistrationId::parse("reg_0000000000000000000001").unwrap(),
        method: CredentialMethod::ClientSecretBasic,
        secrets: [Some("one"), next],
        leading: Mutex::new(Slot::Current),
    }
}

/// Forwards a form to a stub, as a caller with these headers.
async fn send(
    relay: &Relay,
    stub: &Stub,
    credential: &Own,
    headers: &[(&'static str, &str)],
) -> Result<Relayed, RelayFailure> {
    send_to_kind(relay, stub.port, credential, headers, IssuerKind::Generic).await
}

async fn send_to_kind(
    relay: &Relay,
    port: u16,
    credential: &Own,
    headers: &[(&'static str, &str)],
    kind: IssuerKind,
) -> Result<Relayed, RelayFailure> {
    let Forwarded { answer, tried } = forwarded(relay, port, credential, headers, kind).await;
    if let Some(last) = tried.last().filter(|last| last.state == SlotState::Ok) {
        *credential.leading.lock().unwrap() = last.slot;
    }
    answer
}

/// Forwards a form. The host that the caller asked for is in its headers.
async fn forwarded(
    relay: &Relay,
    port: u16,
    credential: &Own,
    headers: &[(&'static str, &str)],
    kind: IssuerKind,
) -> Forwarded {
    let token = to(port, "/token");
    let mut sent = HeaderMap::new();
    for (name, value) in headers {
        sent.append(*name, HeaderValue::from_str(value).unwrap());
    }
    let parameters = Kept::of(b"grant_type=x&client_id=a&client_secret=canary&b=%7e").unwrap();
    let request = Forward {
        endpoint: Endpoint::Token,
        to: &token,
        test_at: Some((Endpoint::Token, &token)),
        kind,
        parameters: &parameters,
        headers: &sent,
        further_headers: &[],
        host: Some(headers.iter().find(|it| it.0 == "host").map_or("crossfade.example", |it| it.1)),
        pseudonym: "crossfade-1",
    };
    relay.forward(request, &credential.opened()).await
}

/// Returns what is noted of each secret.
fn states(forwarded: &Forwarded) -> Vec<(Slot, SlotState)> {
    forwarded.tried.iter().map(|tried| (tried.slot, tried.state)).collect()
}

const STRANGER: &str = r#"{"error":"unauthorized_client"}"#;

fn is_test(request: &str) -> bool {
    request.ends_with("grant_type=refresh_token&refresh_token=crossfade-test")
}

fn basic(secret: &str) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    format!("authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("billing:{secret}")))
}

#[tokio::test]
async fn a_request_has_the_upstream_credential_and_nothing_of_the_caller() {
    let stub = Stub::start(|_, _| json(200, TOKEN)).await;
    let headers = [("authorization", "Basic canary"), ("cookie", "canary"), ("user-agent", "app/1")];
    let answer = send(&relay(), &stub, &credential(None), &headers).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, TOKEN.as_bytes()));
    let seen = stub.seen();
    let (head, body) = seen[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /token HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: 127.0.0.1:{}\r\n", stub.port)), "{head}");
    assert!(format!("{head}\r\n").contains(&basic("one")), "{head}");
    assert!(head.contains("user-agent: app/1") && head.contains("via: 1.1 crossfade-1"), "{head}");
    assert_eq!(body, "grant_type=x&b=%7e");
    assert!(!seen[0].contains("canary"), "{}", seen[0]);
}

#[tokio::test]
async fn a_connection_is_used_again_until_it_is_idle_for_too_long() {
    let stub = Stub::start(|_, _| json(200, TOKEN)).await;
    let relay = Relay { times: Times { idle: Duration::from_millis(200), ..TEST_TIMES }, ..relay() };
    for _ in 0..20 {
        send(&relay, &stub, &credential(None), &[]).await.unwrap();
    }
    assert_eq!(stub.opened(), 1);
    sleep(Duration::from_millis(450)).await;
    send(&relay, &stub, &credential(None), &[]).await.unwrap();
    assert_eq!(stub.opened(), 2);
}

#[tokio::test]
async fn a_closed_connection_is_replaced_before_the_first_byte() {
    let stub = Stub::start(|_, _| Reply::Close(http(200, "application/json", TOKEN))).await;
    let relay = relay();
    for _ in 0..20 {
        send(&relay, &stub, &credential(None), &[]).await.unwrap();
        // What the stub closes is seen before the next request.
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((stub.opened(), stub.seen().len()), (20, 20));
}

#[tokio::test]
async fn what_may_have_been_executed_is_not_sent_again() {
    let stub = Stub::start(|_, number| match number {
        0 => json(200, TOKEN),
        _ => Reply::Close(String::new()),
    })
    .await;
    let relay = relay();
    send(&relay, &stub, &credential(None), &[]).await.unwrap();
    // Over a kept connection, and over a new one.
    for requests in [2, 3] {
        assert_eq!(
            send(&relay, &stub, &credential(Some("two")), &[]).await.unwrap_err(),
            RelayFailure::Broken
        );
        assert_eq!(stub.seen().len(), requests);
    }
}

#[tokio::test]
async fn an_answer_that_is_none_of_an_oauth_endpoint_is_not_passed_on() {
    let half = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"access";
    let chunked = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"acc\r\n";
    let undelimited = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\n\r\n{\"access_tok";
    let redirect = "HTTP/1.1 302 X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let kept = "HTTP/1.1 307 X\r\nlocation: /token\r\ncontent-length: 0\r\n\r\n";
    let encoded = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}";
    let page = http(200, "text/html", "<script>canary</script>");
    let svg = http(400, "image/svg+xml", "canary");
    let two = "HTTP/1.1 200 X\r\ncontent-type: text/html\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    let no_type = "HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\n{}";
    let switched = "HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
    for (answer, failure) in [
        (half, RelayFailure::Broken),
        (chunked, RelayFailure::Broken),
        (undelimited, RelayFailure::Broken),
        ("", RelayFailure::Broken),
        ("SSH-2.0-OpenSSH\r\n", RelayFailure::Broken),
        (redirect, RelayFailure::NotOauth),
        (kept, RelayFailure::NotOauth),
        (encoded, RelayFailure::NotOauth),
        (&page, RelayFailure::NotOauth),
        (&svg, RelayFailure::NotOauth),
        (two, RelayFailure::NotOauth),
        (no_type, RelayFailure::NotOauth),
    ] {
        let text = answer.to_owned();
        let stub = Stub::start(move |_, _| Reply::Close(text.clone())).await;
        let refused = send(&relay(), &stub, &credential(Some("two")), &[]).await;
        assert_eq!(refused.unwrap_err(), failure, "{answer}");
        assert_eq!(stub.seen().len(), 1, "{answer}");
    }
    let stub = Stub::start(move |_, _| Reply::Close(switched.to_owned())).await;
    let refused = send(&relay(), &stub, &credential(None), &[]).await.unwrap_err();
    assert!(matches!(refused, RelayFailure::Broken | RelayFailure::NotOauth), "{refused:?}");
}

#[tokio::test]
async fn an_endless_or_huge_answer_takes_bounded_memory() {
    for head in [
        "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 10485760\r\n\r\n",
        "HTTP/1.1 200 X\r\ncontent-type: application/json\r\n\r\n",
    ] {
        let stub = Stub::start(move |_, _| Reply::Endless(head.to_owned())).await;
        let refused = send(&relay(), &stub, &credential(None), &[]).await;
        assert_eq!(refused.unwrap_err(), RelayFailure::NotOauth, "{head}");
    }
    let stub = Stub::start(|_, _| Reply::Endless("HTTP/1.1 200 X\r\nx: ".to_owned())).await;
    assert_eq!(send(&relay(), &stub, &credential(None), &[]).await.unwrap_err(), RelayFailure::Broken);
    // At the limit it passes.
    let largest = "x".repeat(1024 * 1024);
    let stub = Stub::start(move |_, _| Reply::Keep(http(200, "text/plain", &largest))).await;
    assert_eq!(send(&relay(), &stub, &credential(None), &[]).await.unwrap().body.len(), 1024 * 1024);
}

#[tokio::test]
async fn a_silent_issuer_is_given_up_in_time_and_delays_no_other() {
    let silent = Stub::start(|_, _| Reply::Hang).await;
    let good = Stub::start(|_, _| json(200, TOKEN)).await;
    let relay = Relay {
        times: Times { whole: Duration::from_millis(300), ..TEST_TIMES },
        max_in_flight: 6,
        ..relay()
    };
    let own = credential(None);
    let waiting = || send(&relay, &silent, &own, &[]);
    let (one, two, three, four, other) =
        tokio::join!(waiting(), waiting(), waiting(), waiting(), send(&relay, &good, &own, &[]));
    for late in [one, two, three] {
        assert_eq!(late.unwrap_err(), RelayFailure::Late);
    }
    assert_eq!(four.unwrap_err(), RelayFailure::Busy);
    assert_eq!(other.unwrap().status, 200);
    // What waited has given its place back.
    assert_eq!(waiting().await.unwrap_err(), RelayFailure::Late);
}

#[tokio::test]
async fn a_client_whose_requests_hang_leaves_half_of_the_places_to_others() {
    let silent = Stub::start(|_, _| Reply::Hang).await;
    let relay = Relay {
        times: Times { whole: Duration::from_millis(300), ..TEST_TIMES },
        max_in_flight: 4,
        ..relay()
    };
    let own = credential(None);
    let other = Own {
        registration: RegistrationId::parse("reg_0000000000000000000002").unwrap(),
        ..credential(None)
    };
    let of = |client| send(&relay, &silent, client, &[]);
    let (one, two, three, theirs) = tokio::join!(of(&own), of(&own), of(&own), of(&other));
    assert_eq!([one, two, theirs].map(Result::unwrap_err), [RelayFailure::Late; 3]);
    assert_eq!(three.unwrap_err(), RelayFailure::Busy);
    // What waited has given its place back.
    assert_eq!(of(&own).await.unwrap_err(), RelayFailure::Late);
}

#[tokio::test]
async fn an_issuer_that_is_down_gets_nothing() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let refused = send_to_kind(&relay(), closed, &credential(None), &[], IssuerKind::Generic).await;
    assert_eq!(refused.unwrap_err(), RelayFailure::NotReached);
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_not_connected_to() {
    let stub = Stub::start(|_, _| json(200, TOKEN)).await;
    // The URL was allowed when it was set. The server was restarted with other networks since.
    let poster = Poster::new(vec!["10.255.0.0/16".parse().unwrap()], None).unwrap();
    let relay = Relay { times: TEST_TIMES, ..Relay::new(&poster, RelayLimits::default()) };
    let refused = send(&relay, &stub, &credential(None), &[]).await;
    assert_eq!((refused.unwrap_err(), stub.opened()), (RelayFailure::NotReached, 0));
}

#[tokio::test]
async fn the_other_slot_is_tried_once_and_whichever_worked_leads() {
    let accepted = Arc::new(Mutex::new("one"));
    let known = accepted.clone();
    let stub =
        Stub::start(move |request, _| match request.contains(&basic(known.lock().unwrap().as_ref())) {
            true => json(200, TOKEN),
            false => json(401, r#"{"error":"invalid_client"}"#),
        })
        .await;
    let (relay, credential) = (relay(), credential(Some("two")));
    for (secret, requests, leading) in
        [("one", 1, Slot::Current), ("two", 3, Slot::Next), ("two", 4, Slot::Next), ("one", 6, Slot::Current)]
    {
        *accepted.lock().unwrap() = secret;
        assert_eq!(send(&relay, &stub, &credential, &[]).await.unwrap().status, 200);
        assert_eq!((stub.seen().len(), credential.leading()), (requests, leading), "{secret}");
    }
    *accepted.lock().unwrap() = "neither";
    let refused = send(&relay, &stub, &credential, &[]).await;
    assert_eq!((refused.unwrap_err(), stub.seen().len()), (RelayFailure::CredentialRefused, 8));
}

#[tokio::test]
async fn a_refusal_of_the_request_is_the_callers() {
    for (kind, status, error) in [
        (IssuerKind::Generic, 400, "invalid_grant"),
        (IssuerKind::Generic, 400, "invalid_scope"),
        (IssuerKind::Auth0, 403, "access_denied"),
        (IssuerKind::Generic, 403, "whatever"),
        (IssuerKind::Generic, 500, "server_error"),
        (IssuerKind::Generic, 429, "slow_down"),
    ] {
        let body = format!(r#"{{"error":"{error}"}}"#);
        let text = body.clone();
        let stub = Stub::start(move |_, _| json(status, &text)).await;
        let answer = send_to_kind(&relay(), stub.port, &credential(Some("two")), &[], kind).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (status, body.as_bytes()));
        assert_eq!(stub.seen().len(), 1, "{error}");
    }
}

#[tokio::test]
async fn an_undecided_refusal_is_tested_once_a_minute() {
    // A wrong secret and a forbidden grant look alike, as Keycloak has it; a made-up refresh token tells them apart.
    for (accepted, forwarded) in [(true, Ok(401)), (false, Err(RelayFailure::CredentialRefused))] {
        let stub = Stub::start(move |request, _| match is_test(request) && accepted {
            true => json(400, r#"{"error":"invalid_grant"}"#),
            false => json(401, r#"{"error":"unauthorized_client"}"#),
        })
        .await;
        let (relay, credential) = (relay(), credential(None));
        for requests in [2, 3, 4] {
            let answer = send_to_kind(&relay, stub.port, &credential, &[], IssuerKind::Keycloak).await;
            assert_eq!(answer.map(|answer| answer.status.as_u16()), forwarded);
            assert_eq!(stub.seen().len(), requests);
        }
    }
}

#[tokio::test]
async fn an_answer_that_says_nothing_about_the_secret_passes_and_is_noted_nowhere() {
    for (status, body, noted) in [
        (200, TOKEN, true),
        (400, r#"{"error":"invalid_grant"}"#, true),
        (400, r#"{"error":"invalid_scope"}"#, true),
        (200, r#"{"error":"incorrect_client_credentials"}"#, false),
        (200, r#"{"ok":false,"error":{"code":1}}"#, false),
        (200, "error=incorrect_client_credentials", false),
        (400, r#"{"error":"invalid_request"}"#, false),
        (400, r#"{"error":"invalid_dpop_proof"}"#, false),
        (400, "{}", false),
        (404, "{}", false),
        (429, "{}", false),
        (500, r#"{"error":"invalid_client"}"#, false),
        (503, "{}", false),
    ] {
        let stub = Stub::start(move |_, _| json(status, body)).await;
        let own = credential(Some("two"));
        let forwarded = forwarded(&relay(), stub.port, &own, &[], IssuerKind::Generic).await;
        let expected = if noted { vec![(Slot::Current, SlotState::Ok)] } else { vec![] };
        assert_eq!(states(&forwarded), expected, "{status} {body}");
        assert_eq!(forwarded.answer.unwrap().body, body.as_bytes());
        assert_eq!(stub.seen().len(), 1, "{status} {body}");
    }
}

#[tokio::test]
async fn after_an_undecided_refusal_the_other_slot_is_tried_before_a_test_is_believed() {
    let has_ended = Arc::new(Mutex::new(false));
    let known = has_ended.clone();
    let stub =
        Stub::start(move |request, _| match (*known.lock().unwrap(), request.contains(&basic("two"))) {
            (true, true) => json(200, TOKEN),
            (false, false) if is_test(request) => json(400, r#"{"error":"invalid_grant"}"#),
            _ => json(401, STRANGER),
        })
        .await;
    let (relay, own) = (relay(), credential(Some("two")));
    // The caller may not have what it asks for. Both secrets are sent, and the first one is tested.
    for requests in [3, 5] {
        let refused = forwarded(&relay, stub.port, &own, &[], IssuerKind::Keycloak).await;
        assert_eq!(states(&refused), [(Slot::Current, SlotState::Ok), (Slot::Next, SlotState::Unknown)]);
        assert_eq!((refused.answer.unwrap().status.as_u16(), stub.seen().len()), (401, requests));
    }
    // The first one ends within the minute in which its test counts.
    *has_ended.lock().unwrap() = true;
    let given = forwarded(&relay, stub.port, &own, &[], IssuerKind::Keycloak).await;
    assert_eq!(states(&given), [(Slot::Current, SlotState::Unknown), (Slot::Next, SlotState::Ok)]);
    assert_eq!((given.answer.unwrap().status.as_u16(), stub.seen().len()), (200, 7));
}

#[tokio::test]
async fn a_client_that_a_request_names_is_not_the_credential() {
    let stub = Stub::start(|request, _| match is_test(request) {
        true => json(400, r#"{"error":"invalid_grant"}"#),
        false => json(400, r#"{"error":"invalid_client","error_description":"Audience not found"}"#),
    })
    .await;
    let refused = forwarded(&relay(), stub.port, &credential(None), &[], IssuerKind::Keycloak).await;
    assert_eq!(states(&refused), [(Slot::Current, SlotState::Ok)]);
    assert_eq!(refused.answer.unwrap().status, 400);
    // A wrong secret is refused in the same way, and in the test, too.
    let stub = Stub::start(|_, _| json(400, r#"{"error":"invalid_client"}"#)).await;
    let refused = forwarded(&relay(), stub.port, &credential(None), &[], IssuerKind::Keycloak).await;
    assert_eq!(states(&refused), [(Slot::Current, SlotState::Refused)]);
    assert_eq!(refused.answer.unwrap_err(), RelayFailure::CredentialRefused);
}

#[tokio::test]
async fn requests_share_the_test_that_runs() {
    let stub = Stub::start(|request, _| match is_test(request) {
        true => json(400, r#"{"error":"invalid_grant"}"#),
        false => json(401, STRANGER),
    })
    .await;
    let (relay, own) = (relay(), credential(None));
    let ask = || send_to_kind(&relay, stub.port, &own, &[], IssuerKind::Keycloak);
    let (one, two, three) = tokio::join!(ask(), ask(), ask());
    for answer in [one, two, three] {
        assert_eq!(answer.unwrap().status, 401);
    }
    assert_eq!(stub.seen().iter().filter(|request| is_test(request)).count(), 1);
}

#[tokio::test]
async fn a_test_that_fails_is_forgotten_at_once() {
    for (broken, failure) in [
        ("close", RelayFailure::CredentialUnknown),
        ("busy", RelayFailure::CredentialUnknown),
        ("hang", RelayFailure::Late),
    ] {
        let stub = Stub::start(move |request, number| match (is_test(request), number, broken) {
            (false, ..) => json(401, STRANGER),
            (true, 1, "close") => Reply::Close(String::new()),
            (true, 1, "busy") => json(503, "{}"),
            (true, 1, _) => Reply::Hang,
            (true, ..) => json(400, r#"{"error":"invalid_grant"}"#),
        })
        .await;
        let relay = Relay { times: Times { whole: Duration::from_millis(500), ..TEST_TIMES }, ..relay() };
        let own = credential(None);
        let refused = forwarded(&relay, stub.port, &own, &[], IssuerKind::Keycloak).await;
        assert_eq!(states(&refused), [(Slot::Current, SlotState::Unknown)], "{broken}");
        assert_eq!(refused.answer.unwrap_err(), failure, "{broken}");
        let answer = send_to_kind(&relay, stub.port, &own, &[], IssuerKind::Keycloak).await;
        assert_eq!((answer.unwrap().status.as_u16(), stub.seen().len()), (401, 4), "{broken}");
    }
}

#[tokio::test]
async fn a_401_is_judged_whatever_its_body_is() {
    let page = http(401, "text/html", "<script>canary</script>");
    let text = page.clone();
    let stub = Stub::start(move |request, _| match request.contains(&basic("two")) {
        true => json(200, TOKEN),
        false => Reply::Keep(text.clone()),
    })
    .await;
    let own = credential(Some("two"));
    assert_eq!(send(&relay(), &stub, &own, &[]).await.unwrap().status, 200);
    assert_eq!((stub.seen().len(), own.leading()), (2, Slot::Next));
    let refused = send(&relay(), &stub, &credential(None), &[]).await;
    assert_eq!(refused.unwrap_err(), RelayFailure::CredentialRefused);
    // If the secret is accepted, the caller gets the status without the page.
    let stub = Stub::start(move |request, _| match is_test(request) {
        true => json(400, r#"{"error":"invalid_grant"}"#),
        false => Reply::Keep(page.clone()),
    })
    .await;
    let answer = send(&relay(), &stub, &credential(None), &[]).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (401, &b""[..]));
    assert!(!answer.headers.contains_key("content-type"));
}

#[tokio::test]
async fn a_test_has_no_proof_of_the_caller() {
    let stub = Stub::start(|_, _| json(401, STRANGER)).await;
    let host = format!("127.0.0.1:{}", stub.port);
    let headers = [("dpop", "proof"), ("host", host.as_str()), ("user-agent", "app/1")];
    let refused = send_to_kind(&relay(), stub.port, &credential(None), &headers, IssuerKind::Keycloak).await;
    assert_eq!(refused.unwrap_err(), RelayFailure::CredentialRefused);
    let seen = stub.seen();
    let has = |text: &str| seen.iter().map(|request| request.contains(text)).collect::<Vec<_>>();
    assert_eq!((has("dpop: proof"), has("user-agent: app/1")), (vec![true, false], vec![true, true]));
}

#[tokio::test]
async fn a_test_that_does_not_tell_is_a_503_for_the_caller() {
    let stub = Stub::start(|_, number| match number {
        0 => json(401, "{}"),
        _ => json(500, "{}"),
    })
    .await;
    let refused = send(&relay(), &stub, &credential(None), &[]).await.unwrap_err();
    assert_eq!((refused, refused.status()), (RelayFailure::CredentialUnknown, 503));
}

#[tokio::test]
async fn a_page_that_asks_to_wait_keeps_its_status_and_loses_its_body() {
    for status in [429, 503] {
        let text = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: text/html\r\nretry-after: 7\r\ncontent-length: 6\r\n\r\ncanary"
        );
        let stub = Stub::start(move |_, _| Reply::Keep(text.clone())).await;
        let answer = send(&relay(), &stub, &credential(None), &[]).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.headers["retry-after"]), (status, &"7".parse().unwrap()));
        assert!(
            answer.body.starts_with(b"{\"error\":\"temporarily_unavailable\"")
                && answer.headers["content-type"] == "application/json"
        );
    }
}

#[tokio::test]
async fn a_request_that_comes_back_is_not_forwarded_again() {
    let stub = Stub::start(|_, _| json(200, TOKEN)).await;
    let refused = send(&relay(), &stub, &credential(None), &[("via", "1.1 nginx, 1.1 crossfade-1")]).await;
    assert_eq!((refused.unwrap_err(), stub.opened()), (RelayFailure::Loop, 0));
    assert!(send(&relay(), &stub, &credential(None), &[("via", "1.1 crossfade-2")]).await.is_ok());
}

#[tokio::test]
async fn a_proof_of_possession_passes_at_the_same_address_only_rfc9449_4_3() {
    let stub = Stub::start(|_, _| json(200, TOKEN)).await;
    let refused = send(&relay(), &stub, &credential(None), &[("dpop", "proof")]).await;
    assert_eq!((refused.unwrap_err(), stub.opened()), (RelayFailure::ProofForOtherUrl, 0));
    let own = to(stub.port, "/token");
    assert!(is_same_address(Some(&format!("127.0.0.1:{}", stub.port)), &own));
    assert!(!is_same_address(Some("127.0.0.1"), &own) && !is_same_address(None, &own));
    let poster = Poster::default();
    let named = poster.destination("https://id.example.com/token").unwrap();
    for (host, is_same) in
        [("id.example.com", true), ("ID.example.com:443", true), ("id.example.com:80", false)]
    {
        assert_eq!(is_same_address(Some(host), &named), is_same, "{host}");
    }
}

#[tokio::test]
async fn a_credential_is_in_no_text_that_can_be_logged() {
    let own = Own { secrets: [Some("canary"); 2], ..credential(None) };
    let credential = own.opened();
    let parameters = Kept::of(b"password=canary").unwrap();
    let token = to(8443, "/token");
    let headers = HeaderMap::new();
    let request = Forward {
        endpoint: Endpoint::Token,
        to: &token,
        test_at: Some((Endpoint::Token, &token)),
        kind: IssuerKind::Generic,
        parameters: &parameters,
        headers: &headers,
        further_headers: &[],
        host: None,
        pseudonym: "crossfade-1",
    };
    let sent = (Endpoint::Token, &token, &parameters);
    let message = compose(&request, sent, &credential, &credential.secrets[0]).unwrap();
    let shown = format!("{credential:?} {request:?} {:?} {:?}", relay(), message.headers());
    assert!(!shown.contains("canary") && !shown.contains("Basic"), "{shown}");
}
