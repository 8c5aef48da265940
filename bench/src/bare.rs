//! The bare server: the same HTTP stack with the same settings, doing only what a token requires. It parses the
//! request, verifies an HMAC, and signs.

use crate::{Alg, Failure, fill, identity::acceptor};
use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use axum_server::accept::{Accept, NoDelayAcceptor};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hyper_util::rt::TokioTimer;
use std::{
    collections::HashMap,
    io::{self, Read},
    net::TcpListener,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

struct Bare {
    key: hmac::Key,
    digests: HashMap<String, Vec<u8>>,
    pair: Pair,
    header: String,
}

/// Serves until stdin ends, so that it never outlives the benchmark.
pub(crate) async fn serve(alg: Alg, registrations: usize, files: &[PathBuf]) -> Result<(), Failure> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let digests = (0..registrations).map(|number| {
        let (client_id, secret) = fill::credentials(alg, number);
        (client_id.to_string(), hmac::sign(&key, secret.reveal().as_bytes()).as_ref().to_vec())
    });
    let digests = digests.collect();
    let rng = SystemRandom::new();
    let pair = match alg {
        Alg::Es256 => {
            let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng)?;
            Pair::Es256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref())?)
        }
        Alg::EdDsa => {
            Pair::EdDsa(Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&rng)?.as_ref())?)
        }
    };
    let header = format!(r#"{{"alg":"{}","kid":"{}","typ":"at+jwt"}}"#, alg.name(), "k".repeat(43));
    let header = format!("{}.", URL_SAFE_NO_PAD.encode(header));
    let bare = Arc::new(Bare { key, digests, pair, header });
    let path = format!("/env/{}/oauth2/token", alg.environment());
    serve_router(Router::new().route(&path, post(token)).with_state(bare), files).await
}

/// Serves until stdin ends, and prints the address.
pub(crate) async fn serve_router(router: Router, files: &[PathBuf]) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let mut server = axum_server::from_tcp(listener)?;
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
    let router = router.into_make_service();
    match files {
        [certificate, key] => server.acceptor(Encrypted(acceptor(certificate, key)?)).serve(router).await?,
        _ => server.acceptor(NoDelayAcceptor::new()).serve(router).await?,
    }
    Ok(())
}

/// Shakes hands with the TLS settings of the product.
#[derive(Clone)]
struct Encrypted(TlsAcceptor);

impl<S: Send + 'static> Accept<TcpStream, S> for Encrypted {
    type Stream = TlsStream<TcpStream>;
    type Service = S;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, S)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let acceptor = self.0.clone();
        Box::pin(async move {
            stream.set_nodelay(true)?;
            Ok((acceptor.accept(stream).await?, service))
        })
    }
}

async fn token(State(bare): State<Arc<Bare>>, headers: HeaderMap, body: Bytes) -> Response {
    match bare.token(&headers, &body) {
        Some(body) => {
            let mut response = body.into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

impl Bare {
    fn token(&self, headers: &HeaderMap, body: &[u8]) -> Option<String> {
        form_urlencoded::parse(body)
            .find(|(name, value)| name == "grant_type" && value == "client_credentials")?;
        let basic = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
        let basic = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
        let (client_id, secret) = basic.split_once(':')?;
        hmac::verify(&self.key, secret.as_bytes(), self.digests.get(client_id)?).ok()?;
        let iat = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let claims = format!(
            r#"{{"iss":"http://127.0.0.1/env/bench","sub":"{client_id}","client_id":"{client_id}","aud":"http://127.0.0.1/env/bench","iat":{iat},"exp":{},"jti":"{}","crossfade_secret":"{}","scope":"read write"}}"#,
            iat + 3600,
            "j".repeat(22),
            "s".repeat(26),
        );
        let mut token = self.header.clone();
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = match &self.pair {
            Pair::Es256(pair) => pair.sign(&SystemRandom::new(), token.as_bytes()).ok()?,
            Pair::EdDsa(pair) => pair.sign(token.as_bytes()),
        };
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Some(format!(
            r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600,"scope":"read write"}}"#
        ))
    }
}
