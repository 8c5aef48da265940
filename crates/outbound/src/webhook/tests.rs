//! Receivers of our own, and what the poster makes of their answers.

use super::*;
use futures_util::future::BoxFuture;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::{
    io,
    net::IpAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// A receiver that answers every connection with the same bytes and keeps what it was sent.
struct Receiver {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    async fn start(answer: &'static [u8]) -> Self {
        Self::start_at("127.0.0.1:0", Vec::new(), answer).await
    }

    /// `behind`: bytes that are repeated after the answer until the connection ends.
    #[expect(clippy::disallowed_methods, reason = "a server of this test")]
    async fn start_at(at: &str, behind: Vec<u8>, answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = seen.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (kept, behind) = (kept.clone(), behind.clone());
                tokio::spawn(async move {
                    let request = read_request(&mut stream).await;
                    kept.lock().unwrap().push(request);
                    let _ = stream.write_all(answer).await;
                    while !behind.is_empty() && stream.write_all(&behind).await.is_ok() {}
                    // An answer of nothing stays open until the other side gives up.
                    if answer.is_empty() {
                        let _ = stream.read(&mut [0; 1]).await;
                    }
                });
            }
        });
        Self { port, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook?key=1", self.port)
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(length) => read.extend_from_slice(&chunk[..length]),
        }
        if read.ends_with(b"{\"type\":\"x\"}") {
            break;
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// Answers in turn; the last one again and again.
struct Turns(Vec<&'static str>, AtomicUsize);

impl Resolve for Turns {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let turn = self.1.fetch_add(1, Ordering::SeqCst).min(self.0.len() - 1);
        let addresses = self.0[turn].split(' ').map(|text| text.parse().unwrap()).collect();
        Box::pin(async move { Ok(addresses) })
    }
}

fn turns(list: &[&'static str]) -> Arc<Turns> {
    Arc::new(Turns(list.to_vec(), AtomicUsize::new(0)))
}

fn poster(networks: &[&str]) -> Poster {
    let networks = networks.iter().map(|text| text.parse().unwrap()).collect();
    let times = Times {
        connect: Duration::from_secs(5),
        address: Duration::from_secs(1),
        rest: Duration::from_millis(200),
        whole: Duration::from_millis(1500),
    };
    Poster { times, ..Poster::new(networks, None).unwrap() }
}

async fn post(poster: &Poster, url: &str) -> Result<Answer, PostFailure> {
    let to = poster.destination(url).unwrap();
    let secrets = [SigningSecret::from_bytes(&[7; 32])];
    let body = br#"{"type":"x"}"#.to_vec();
    poster.post(Post { id: "del_1", to: &to, at: Timestamp::from_seconds(9), body, secrets: &secrets }).await
}

fn answered(status: u16) -> Result<Answer, PostFailure> {
    Ok(Answer { status, retry_after: None })
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_delivery_has_the_headers_of_the_standard_and_nothing_of_the_process() {
    let receiver = Receiver::start(OK).await;
    assert_eq!(post(&poster(&["127.0.0.1/32"]), &receiver.url()).await, answered(200));
    let seen = receiver.seen();
    let (head, body) = seen[0].split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("POST /hook?key=1 HTTP/1.1"));
    let mut names: Vec<_> = lines.clone().filter_map(|line| Some(line.split_once(':')?.0)).collect();
    names.sort_unstable();
    let expected = [
        "connection",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
    ];
    assert_eq!(names, expected);
    assert!(head.contains("webhook-id: del_1") && head.contains("webhook-timestamp: 9"), "{head}");
    let signature = signatures(&[SigningSecret::from_bytes(&[7; 32])], "del_1", 9, body.as_bytes());
    assert!(head.contains(&format!("webhook-signature: {signature}")), "{head}");
    assert_eq!(body, r#"{"type":"x"}"#);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Receiver::start(OK).await;
    let location = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{}/\r\ncontent-length: 0\r\n\r\n",
        other.port
    );
    let receiver = Receiver::start(location.leak().as_bytes()).await;
    assert_eq!(post(&poster(&["127.0.0.1/32"]), &receiver.url()).await, answered(302));
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn an_address_is_looked_up_once_and_checked_at_each_attempt() {
    let receiver = Receiver::start_at("0.0.0.0:0", Vec::new(), OK).await;
    let resolver = turns(&["127.0.0.2", "127.0.0.1"]);
    let poster = poster(&["127.0.0.2/32"]).with_resolver(resolver.clone());
    let url = format!("http://hooks.example.com:{}/", receiver.port);
    assert_eq!(post(&poster, &url).await, answered(200));
    assert_eq!((resolver.1.load(Ordering::SeqCst), receiver.seen().len()), (1, 1));
    for attempt in 2..5 {
        assert_eq!(post(&poster, &url).await, Err(PostFailure::RefusedAddress));
        assert_eq!((resolver.1.load(Ordering::SeqCst), receiver.seen().len()), (attempt, 1));
    }
}

#[tokio::test]
async fn of_several_addresses_only_allowed_ones_are_connected_to() {
    let receiver = Receiver::start_at("0.0.0.0:0", Vec::new(), OK).await;
    let poster = poster(&["127.0.0.2/32"]);
    let url = format!("http://hooks.example.com:{}/", receiver.port);
    let mixed = poster.with_resolver(turns(&["127.0.0.1 ::1 ::ffff:127.0.0.3 127.0.0.2"]));
    assert_eq!(post(&mixed, &url).await, answered(200));
    let none = mixed.with_resolver(turns(&["127.0.0.1 10.0.0.1 169.254.169.254 ::1 64:ff9b::7f00:1"]));
    assert_eq!(post(&none, &url).await, Err(PostFailure::RefusedAddress));
    assert_eq!(receiver.seen().len(), 1);
}

#[tokio::test]
async fn names_of_this_machine_lead_nowhere() {
    let receiver = Receiver::start_at("0.0.0.0:0", Vec::new(), OK).await;
    // An address of a private network is allowed, so that the scheme is; this machine is not.
    let poster = poster(&["10.255.255.1/32"]);
    for host in ["localhost", "localhost.", "LOCALHOST"] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{}/", receiver.port);
            let refused = post(&poster, &url).await;
            // Not every resolver knows each spelling.
            assert!(
                matches!(refused, Err(PostFailure::RefusedAddress | PostFailure::Unknown)),
                "{url} {refused:?}"
            );
        }
    }
    assert!(receiver.seen().is_empty());
}

#[tokio::test]
async fn a_request_without_encryption_reaches_no_public_address() {
    let poster = poster(&["127.0.0.1/32"]).with_resolver(turns(&["8.8.8.8 1.1.1.1"]));
    assert_eq!(post(&poster, "http://hooks.example.com/").await, Err(PostFailure::RefusedAddress));
}

#[tokio::test]
async fn every_status_is_an_answer() {
    for (answer, status) in [
        (&b"HTTP/1.1 204 No Content\r\n\r\n"[..], 204),
        (b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", 410),
        (b"HTTP/1.1 500 Oh\r\nconnection: close\r\n\r\nthe body ends with the connection", 500),
        (b"HTTP/1.0 200 OK\r\n\r\n", 200),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\nnot all of it", 200),
    ] {
        let receiver = Receiver::start(answer).await;
        assert_eq!(post(&poster(&["127.0.0.1/32"]), &receiver.url()).await, answered(status), "{status}");
    }
    let busy = Receiver::start(b"HTTP/1.1 429 Later\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n").await;
    let asked = post(&poster(&["127.0.0.1/32"]), &busy.url()).await.unwrap();
    assert_eq!(asked, Answer { status: 429, retry_after: Some(Duration::from_secs(120)) });
}

#[tokio::test]
async fn an_endless_answer_is_cut_off_and_one_without_end_of_its_head_is_none() {
    let zeros = vec![b'0'; 1 << 16];
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n";
    let body = Receiver::start_at("127.0.0.1:0", zeros.clone(), head).await;
    assert_eq!(post(&poster(&["127.0.0.1/32"]), &body.url()).await, answered(200));
    let endless = Receiver::start_at("127.0.0.1:0", zeros, b"HTTP/1.1 200 OK\r\nx: ").await;
    assert_eq!(post(&poster(&["127.0.0.1/32"]), &endless.url()).await, Err(PostFailure::Broken));
    let other = Receiver::start(b"SSH-2.0-OpenSSH_9.9\r\n").await;
    assert_eq!(post(&poster(&["127.0.0.1/32"]), &other.url()).await, Err(PostFailure::Broken));
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_given_up() {
    let silent = Receiver::start(b"").await;
    assert_eq!(post(&poster(&["127.0.0.1/32"]), &silent.url()).await, Err(PostFailure::Late));
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = post(&poster(&["127.0.0.1/32"]), &format!("http://{closed}/")).await;
    assert_eq!(refused, Err(PostFailure::NotConnected));
}

/// Serves TLS with a certificate for `hooks.example.com`, issued by the returned authority.
#[expect(clippy::disallowed_methods, reason = "a server of this test")]
async fn serve_tls() -> (u16, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["hooks.example.com".to_owned()]).unwrap();
    let certificate = params.signed_by(&own, &issuer).unwrap();
    let private = rustls::pki_types::PrivateKeyDer::try_from(own.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            read_request(&mut stream).await;
            let _ = stream.write_all(OK).await;
            let _ = stream.shutdown().await;
        }
    });
    (port, authority)
}

#[tokio::test]
async fn a_certificate_must_be_of_a_known_authority_and_for_the_host() {
    let (port, authority) = serve_tls().await;
    let network = || vec!["127.0.0.1/32".parse().unwrap()];
    let resolver = turns(&["127.0.0.1"]);
    let knowing = Poster::new(network(), Some(authority.as_bytes())).unwrap().with_resolver(resolver.clone());
    let url = |host: &str| format!("https://{host}:{port}/");
    assert_eq!(post(&knowing, &url("hooks.example.com")).await, answered(200));
    assert_eq!(post(&knowing, &url("hooks.example.com.")).await, answered(200));
    for host in ["other.example.com", "127.0.0.1"] {
        let refused = post(&knowing, &url(host)).await;
        assert_eq!(
            refused,
            Err(PostFailure::Tls("the certificate is for another host".to_owned())),
            "{host}"
        );
    }
    let strange = Poster::new(network(), None).unwrap().with_resolver(resolver);
    let refused = post(&strange, &url("hooks.example.com")).await;
    assert!(matches!(refused, Err(PostFailure::Tls(_))), "{refused:?}");
    let plain = Receiver::start(OK).await;
    let refused = post(&knowing, &format!("https://hooks.example.com:{}/", plain.port)).await;
    assert!(matches!(refused, Err(PostFailure::Tls(_) | PostFailure::Late)), "{refused:?}");
}

#[test]
fn a_file_of_authorities_holds_certificates() {
    for text in ["", "canary", "-----BEGIN CERTIFICATE-----\ncanary\n-----END CERTIFICATE-----\n"] {
        assert!(Poster::new(Vec::new(), Some(text.as_bytes())).is_err(), "{text}");
    }
}

#[test]
fn the_log_does_not_tell_whether_an_inner_name_exists() {
    let said = [PostFailure::RefusedAddress, PostFailure::Unknown].map(|failure| failure.to_string());
    assert_eq!(said, ["refused address", "refused address"]);
}
