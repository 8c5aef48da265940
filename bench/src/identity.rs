//! The certificate of the servers of a run, and clients that trust it.

use crate::Failure;
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::{TLS12, TLS13},
};
use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Name in the certificate.
pub(crate) const NAME: &str = "localhost";

/// A certificate and its key, as files.
pub(crate) struct Identity {
    _directory: TempDir,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    trusted: RootCertStore,
}

impl Identity {
    /// Creates a certificate with an ECDSA key.
    pub(crate) fn create() -> Result<Self, Failure> {
        let directory = tempfile::tempdir()?;
        let pair = KeyPair::generate()?;
        let made = CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&pair)?;
        let (certificate, key) = (directory.path().join("tls.pem"), directory.path().join("tls.key"));
        std::fs::write(&certificate, made.pem())?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&key)?;
        file.write_all(pair.serialize_pem().as_bytes())?;
        let mut trusted = RootCertStore::empty();
        trusted.add(made.der().clone())?;
        Ok(Self { _directory: directory, certificate, key, trusted })
    }

    /// Returns a client that speaks this protocol (ALPN). Each connection has a complete handshake.
    pub(crate) fn connector(&self, protocol: &str) -> Result<TlsConnector, Failure> {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])?;
        let mut config = config.with_root_certificates(self.trusted.clone()).with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        config.resumption = Resumption::disabled();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// Returns the TLS of a server, with the settings that `crossfade serve` has.
pub(crate) fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, Failure> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?;
    let mut config = config.with_no_client_auth().with_single_cert(chain, key)?;
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
