//! The key that signs statements about the audit trail, and nothing else.

use crate::{
    error::Error,
    keys::{place::SealPlace, seal::Vault},
};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crossfade_core::audit::statement::{SignedStatement, Statement, key_id};
use crossfade_store::{AuditKeyRow, InstanceRow};

/// A key that signs statements of an instance.
pub(crate) struct AuditKey {
    instance: String,
    id: String,
    pair: Ed25519KeyPair,
}

impl AuditKey {
    /// Generates a key, sealed.
    pub(crate) fn generate(vault: &Vault) -> Result<AuditKeyRow, Error> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| Error::internal("cannot generate an audit key"))?;
        let pair = parse(document.as_ref())?;
        let id = key_id(pair.public_key().as_ref());
        let sealed = vault.seal(&SealPlace::AuditKey { id: &id }, document.as_ref())?;
        Ok(AuditKeyRow { id, sealed })
    }

    /// Opens a stored key.
    pub(crate) fn open(vault: &Vault, instance: &InstanceRow, row: &AuditKeyRow) -> Result<Self, Error> {
        let document = vault.open(&SealPlace::AuditKey { id: &row.id }, &row.sealed)?;
        let pair = parse(&document)?;
        if key_id(pair.public_key().as_ref()) != row.id {
            return Err(Error::internal("an audit key does not have the ID of its row"));
        }
        Ok(Self { instance: instance.id.clone(), id: row.id.clone(), pair })
    }

    /// Returns the ID: the thumbprint of the public key.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Signs a statement.
    pub(crate) fn sign(&self, statement: Statement) -> Result<SignedStatement, Error> {
        let statement = Statement {
            instance: self.instance.clone(),
            key: self.id.clone(),
            public_key: URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref()),
            ..statement
        };
        let statement = serde_json::to_value(statement).map_err(Error::internal)?;
        let signature = self.pair.sign(&SignedStatement::signed_bytes(&statement));
        Ok(SignedStatement { statement, signature: URL_SAFE_NO_PAD.encode(signature.as_ref()) })
    }
}

fn parse(pkcs8: &[u8]) -> Result<Ed25519KeyPair, Error> {
    Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| Error::internal("an audit key is corrupt"))
}
