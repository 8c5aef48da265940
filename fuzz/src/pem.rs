//! The PEM files of TLS: as they come, a real pair in which one is replaced, and any bytes as the DER of either.

#[path = "../../crates/crossfade/src/tls/pair.rs"]
#[allow(dead_code, reason = "the reader of the program, of which this uses a part")]
mod pair;

use crate::instance::parts;
use base64::{Engine, engine::general_purpose::STANDARD};
use crossfade_core::Timestamp;
use pair::Files;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::{fs, sync::LazyLock};

struct Stage {
    certificate: String,
    key: String,
    files: Files,
    // Kept, because it is removed when it is dropped.
    _directory: tempfile::TempDir,
}

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["auth.example.com".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let files =
        Files { certificate: directory.path().join("cert.pem"), key: directory.path().join("key.pem") };
    Stage { certificate: cert.pem(), key: signing_key.serialize_pem(), files, _directory: directory }
});

/// Returns bytes as the content of a PEM file.
fn framed(label: &str, der: &[u8]) -> Vec<u8> {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der)).into_bytes()
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let stage = &*STAGE;
    let Some((kind, rest)) = data.split_first() else { return };
    let (certificate, key) = (stage.certificate.as_bytes().to_vec(), stage.key.as_bytes().to_vec());
    let (certificate, key) = match kind {
        b'c' => (rest.to_vec(), key),
        b'k' => (certificate, rest.to_vec()),
        b'C' => (framed("CERTIFICATE", rest), key),
        b'K' => (certificate, framed("PRIVATE KEY", rest)),
        b'E' => (certificate, framed("EC PRIVATE KEY", rest)),
        b'R' => (certificate, framed("RSA PRIVATE KEY", rest)),
        // More certificates, which lead to the issuer.
        b'+' => ([&certificate[..], rest].concat(), key),
        _ => {
            let [certificate, key] = parts::<2>(rest);
            (certificate.to_vec(), key.to_vec())
        }
    };
    fs::write(&stage.files.certificate, certificate).unwrap();
    fs::write(&stage.files.key, key).unwrap();
    if let Ok(pair) = stage.files.pair() {
        let _ = pair.unusable(Timestamp::from_seconds(1_795_525_500));
        let _ = (pair.names("auth.example.com"), pair.names("[::1]"), pair.names(""));
    }
}
