use super::*;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::{fs, path::Path};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::TcpListener};
use tokio_rustls::TlsConnector;

/// A directory with the files of a certificate.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.put(&made(2027));
        place
    }

    fn files(&self) -> Files {
        Files { certificate: self.at("cert.pem"), key: self.at("key.pem") }
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, (certificate, key): &(String, String)) {
        fs::write(self.at("cert.pem"), certificate).unwrap();
        fs::write(self.at("key.pem"), key).unwrap();
    }
}

/// A certificate of this machine that is valid from 2026 to the start of a year, with its key, as PEM.
fn made(until: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn today() -> Timestamp {
    at("2026-06-01T00:00:00Z")
}

fn open(place: &Place) -> Tls {
    Tls::open(place.files(), Clock::manual(today()), Certificate::default()).unwrap()
}

/// The certificate for new connections.
fn in_use(tls: &Tls) -> Vec<u8> {
    tls.in_use.0.read().unwrap().cert[0].to_vec()
}

fn der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

#[test]
fn new_files_are_used_once_they_fit_and_are_valid() {
    let place = Place::new();
    let tls = open(&place);
    let (first, next, later) = (in_use(&tls), made(2028), made(2029));
    let look = |when: &str| tls.look_at(tls.files.read(), at(when), Instant::now());
    let problem = || tls.looked.lock().unwrap().problem.clone().unwrap_or_default();

    fs::write(place.at("cert.pem"), &next.0).unwrap();
    look("2026-06-01T00:00:00Z");
    assert_eq!(in_use(&tls), first, "the key is still the old one");
    assert!(problem().contains("does not belong to the first certificate"), "{}", problem());

    fs::write(place.at("key.pem"), &next.1).unwrap();
    look("2026-06-01T00:00:10Z");
    assert_eq!((in_use(&tls), problem()), (der(&next.0), String::new()));

    place.put(&made(2026));
    look("2026-06-01T00:00:20Z");
    assert!(problem().contains("expired at 2026-01-01T00:00:00Z"), "{}", problem());
    place.put(&later);
    look("2025-06-01T00:00:00Z");
    assert!(problem().contains("is not valid before 2026-01-01T00:00:00Z"), "{}", problem());
    assert_eq!(in_use(&tls), der(&next.0));
    look("2026-06-01T00:00:30Z");
    assert_eq!((in_use(&tls), problem()), (der(&later.0), String::new()), "it is valid now, and unchanged");

    fs::remove_file(place.at("key.pem")).unwrap();
    look("2026-06-01T00:00:40Z");
    assert!(problem().ends_with("key.pem does not exist."), "{}", problem());
    fs::write(place.at("key.pem"), &later.1).unwrap();
    look("2026-06-01T00:00:50Z");
    assert_eq!((in_use(&tls), problem()), (der(&later.0), String::new()));
}

#[test]
fn what_is_no_pair_is_refused_at_the_start_with_the_file_s_name() {
    let place = Place::new();
    let (certificate, key) = made(2027);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (certificate, key, named) in [
        ("", &*key, "cert.pem contains no certificate"),
        (&*key, &*key, "cert.pem contains no certificate"),
        ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", &*key, "cert.pem is not valid PEM"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &*key,
            "cert.pem is not a certificate",
        ),
        (&*certificate, "", "key.pem contains no private key"),
        (&*certificate, encrypted, "key.pem contains no private key"),
        (&*certificate, &*certificate, "key.pem contains no private key"),
        (&*certificate, &*made(2027).1, "key.pem does not belong to"),
    ] {
        place.put(&(certificate.to_owned(), key.to_owned()));
        let refused = Tls::open(place.files(), Clock::manual(today()), Certificate::default());
        let sentence = refused.err().map(|failure| failure.sentence().to_owned()).unwrap_or_default();
        let expected = Path::new(named.split(' ').next().unwrap());
        let shown = place.at(expected.to_str().unwrap()).display().to_string();
        let expected = named.replace(expected.to_str().unwrap(), &shown);
        assert!(sentence.contains(&expected), "{named}: {sentence}");
    }
}

#[test]
fn a_lasting_problem_is_told_every_hour_and_the_end_two_weeks_ahead() {
    let place = Place::new();
    let tls = open(&place);
    let start = Instant::now();
    let told = |when: &str, hours: u64| {
        let instant = start + TELL_EVERY * hours as u32;
        tls.look_at(tls.files.read(), at(when), instant);
        tls.looked.lock().unwrap().told_at == Some(instant)
    };
    assert!(!told("2026-12-17T23:59:59Z", 0));
    assert!(told("2026-12-18T00:00:00Z", 1));
    assert!(
        !told("2026-12-18T00:00:10Z", 1) || tls.looked.lock().unwrap().told_at == Some(start + TELL_EVERY)
    );
    assert!(told("2026-12-18T01:00:00Z", 2));
    fs::write(place.at("key.pem"), "").unwrap();
    assert!(told("2026-12-18T01:00:10Z", 2), "a new problem at once");
}

#[test]
fn a_certificate_names_its_hosts() {
    let place = Place::new();
    let pair = place.files().pair().unwrap();
    for (host, named) in
        [("localhost", true), ("127.0.0.1", true), ("auth.example.com", false), ("[::1]", false), ("", false)]
    {
        assert_eq!(pair.names(host), named, "{host}");
    }
}

/// A client that accepts every certificate.
fn client(alpn: &[&[u8]]) -> rustls::ClientConfig {
    let roots = rustls::RootCertStore { roots: vec![] };
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.dangerous().set_certificate_verifier(Arc::new(Any));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

/// Connects, and returns the protocol agreed on and the certificate shown.
async fn connect(tls: &Arc<Tls>, alpn: &[&[u8]]) -> (Option<Vec<u8>>, Vec<u8>) {
    let connection = connect_as(tls, &Arc::new(client(alpn))).await;
    (connection.alpn_protocol().map(<[u8]>::to_vec), connection.peer_certificates().unwrap()[0].to_vec())
}

/// Connects, and reads what the server sends after its handshake.
async fn connect_as(tls: &Arc<Tls>, client: &Arc<rustls::ClientConfig>) -> rustls::ClientConnection {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(client.clone());
        let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 7);
        stream.into_inner().1
    };
    let server = async {
        let mut stream = tls.accept(listener.accept().await.unwrap().0).await.unwrap();
        stream.write_u8(7).await.unwrap();
        stream.flush().await.unwrap();
        stream
    };
    tokio::join!(client, server).0
}

#[tokio::test]
async fn no_session_is_resumed_after_the_certificate_was_replaced() {
    for version in [&TLS12, &TLS13] {
        let place = Place::new();
        let tls = Arc::new(open(&place));
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore { roots: vec![] })
            .with_no_client_auth();
        config.dangerous().set_certificate_verifier(Arc::new(Any));
        let config = Arc::new(config);
        let resumes = async || {
            let kind = connect_as(&tls, &config).await.handshake_kind();
            kind == Some(rustls::HandshakeKind::Resumed)
        };
        assert_eq!((resumes().await, resumes().await), (false, true), "{version:?}");
        let next = made(2028);
        place.put(&next);
        tls.look_at(tls.files.read(), today(), Instant::now());
        assert!(!resumes().await, "{version:?}: the client must see the new certificate");
        assert!(resumes().await, "{version:?}");
    }
}

#[test]
fn a_file_that_is_read_for_ever_delays_no_stop() {
    let begun = Clock::system();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::select! {
            _ = aside(|| std::thread::sleep(Duration::from_secs(60))) => panic!("it does not end"),
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    });
    drop(runtime);
    assert!(begun.elapsed() < Duration::from_secs(30));
}

/// Accepts every certificate: the tests look at what is shown.
#[derive(Debug)]
struct Any;

impl rustls::client::danger::ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn new_connections_show_the_new_certificate_and_agree_on_a_protocol() {
    let place = Place::new();
    let tls = Arc::new(open(&place));
    let first = in_use(&tls);
    assert_eq!(connect(&tls, &[b"h2", b"http/1.1"]).await, (Some(b"h2".to_vec()), first.clone()));
    assert_eq!(connect(&tls, &[b"http/1.1"]).await, (Some(b"http/1.1".to_vec()), first.clone()));
    assert_eq!(connect(&tls, &[]).await, (None, first));
    let next = made(2028);
    place.put(&next);
    tls.look_at(tls.files.read(), today(), Instant::now());
    assert_eq!(connect(&tls, &[]).await.1, der(&next.0));
}

#[tokio::test]
async fn http_without_tls_is_told_so() {
    let place = Place::new();
    let tls = Arc::new(open(&place));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.write_all(b"POST /oauth2/token HTTP/1.1\r\n").await.unwrap();
    let refused = tls.accept(listener.accept().await.unwrap().0).await;
    assert!(refused.is_err());
    let mut answer = vec![0; PLAIN_HTTP.len()];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, PLAIN_HTTP);
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 400 ") && head.contains(&format!("content-length: {}", body.len())),
        "{text}"
    );
}
