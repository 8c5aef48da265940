//! A certificate with its private key, read from PEM files and checked.

use crossfade_core::Timestamp;
use rustls::{
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    sign::CertifiedKey,
};
use std::{
    fs,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    sync::Arc,
};
use x509_cert::{Certificate, der::Decode};
use zeroize::Zeroizing;

/// The files of a certificate and its private key.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The certificate, followed by the certificates that lead to its issuer.
    pub(crate) certificate: PathBuf,
    /// The private key.
    pub(crate) key: PathBuf,
}

/// Content of the files.
#[derive(PartialEq, Eq)]
pub(super) struct Content {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

/// A certificate whose private key fits.
pub(crate) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Files {
    /// Reads both files. An error is a sentence about one of them.
    pub(super) fn read(&self) -> Result<Content, String> {
        Ok(Content { certificate: read(&self.certificate)?, key: Zeroizing::new(read(&self.key)?) })
    }

    /// Reads the files and checks that they fit. An error is a sentence about one of them.
    pub(crate) fn pair(&self) -> Result<Pair, String> {
        self.parse(&self.read()?)
    }

    /// Checks that the content is a certificate with its private key. An error is a sentence about one of the files.
    pub(super) fn parse(&self, content: &Content) -> Result<Pair, String> {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&content.certificate)
            .collect::<Result<_, _>>()
            .map_err(|_| format!("The certificate file {certificate} is not valid PEM."))?;
        let Some(first) = chain.first() else {
            return Err(format!(
                "The certificate file {certificate} contains no certificate (BEGIN CERTIFICATE)."
            ));
        };
        let parsed = Certificate::from_der(first).map_err(|_| {
            format!("The first certificate in {certificate} is not a certificate (RFC 5280).")
        })?;
        let validity = parsed.tbs_certificate().validity();
        let (not_before, not_after) = (time(validity.not_before), time(validity.not_after));
        let private = PrivateKeyDer::from_pem_slice(&content.key).map_err(|_| {
            format!(
                "The key file {key} contains no private key that can be read. It must be PEM without a passphrase: \
                PKCS #8, PKCS #1 or SEC 1."
            )
        })?;
        let certified =
            CertifiedKey::from_der(chain, private, &default_provider()).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    format!("The key in {key} does not belong to the first certificate in {certificate}.")
                }
                error => {
                    format!("The certificate in {certificate} or the key in {key} cannot be used: {error}.")
                }
            })?;
        Ok(Pair { certified: Arc::new(certified), not_before, not_after })
    }
}

impl Pair {
    /// Why clients refuse the certificate at this time, as the end of a sentence.
    pub(crate) fn unusable(&self, now: Timestamp) -> Option<String> {
        if now >= self.not_after {
            return Some(format!("expired at {}", to_the_second(self.not_after)));
        }
        (now < self.not_before).then(|| format!("is not valid before {}", to_the_second(self.not_before)))
    }

    /// Whether the certificate names this host: a DNS name or an address (RFC 9525 §6.3).
    pub(crate) fn names(&self, host: &str) -> bool {
        let (Ok(host), Some(first)) =
            (ServerName::try_from(host.trim_matches(['[', ']'])), self.certified.cert.first())
        else {
            return false;
        };
        rustls::server::ParsedCertificate::try_from(first)
            .is_ok_and(|first| rustls::client::verify_server_name(&first, &host).is_ok())
    }
}

/// A time as it stands in a certificate.
pub(crate) fn to_the_second(time: Timestamp) -> String {
    time.to_string().replace(".000000Z", "Z")
}

/// Maximum number of bytes of a file. A chain of certificates has some kilobytes.
const LONGEST: u64 = 1024 * 1024;

/// Reads a regular file: another one, such as a pipe, could keep the reader waiting.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => format!("The file {shown} does not exist."),
        _ => format!("The file {shown} cannot be read: {error}."),
    };
    let found = fs::metadata(path).map_err(failed)?;
    if !found.is_file() || found.len() > LONGEST {
        return Err(format!("The file {shown} must be a regular file of at most 1 MiB."));
    }
    let mut content = Vec::new();
    fs::File::open(path).map_err(failed)?.take(LONGEST).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

fn time(time: x509_cert::time::Time) -> Timestamp {
    Timestamp::from_seconds(i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX))
}
