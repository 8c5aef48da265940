//! Signed statements about the audit trail: how far it reached, where its chain begins, was cut off or forked.

use super::chain::{ChainHash, canonical};
use crate::Timestamp;
use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ED25519, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a statement says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatementKind {
    /// The chain begins after this event. The hash covers the events that were recorded before the trail had a chain.
    Start,
    /// The trail reached this event.
    Checkpoint,
    /// This event and all earlier ones were deleted because they were older than the retention.
    Trim,
    /// A backup that ends with this event was restored. The history after it begins again.
    Restore,
    /// An export of the trail up to this event.
    Export,
}

impl StatementKind {
    /// Returns the stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Checkpoint => "checkpoint",
            Self::Trim => "trim",
            Self::Restore => "restore",
            Self::Export => "export",
        }
    }
}

/// A statement about the trail, before or after it was signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Statement {
    /// What it says.
    pub kind: StatementKind,
    /// Instance that signed it.
    pub instance: String,
    /// ID of the key that signed it: its RFC 7638 thumbprint.
    pub key: String,
    /// The Ed25519 public key, 32 bytes as base64url.
    pub public_key: String,
    /// When it was signed.
    pub at: Timestamp,
    /// The event it is about; 0 before the first event.
    pub seq: i64,
    /// Hash of that event.
    pub hash: ChainHash,
    /// First event that the hash of a start covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<i64>,
    /// When the restored backup was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_created_at: Option<Timestamp>,
    /// Filter of an export; empty for a complete one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Number of exported events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    /// SHA-256 of the lines of the exported events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl Statement {
    /// Returns a statement without the members that only some kinds have.
    pub fn new(kind: StatementKind, (seq, hash): (i64, ChainHash), at: Timestamp) -> Self {
        Self {
            kind,
            instance: String::new(),
            key: String::new(),
            public_key: String::new(),
            at,
            seq,
            hash,
            first_seq: None,
            backup_created_at: None,
            filter: None,
            events: None,
            sha256: None,
        }
    }
}

/// A signed statement, as it is stored and exported.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SignedStatement {
    /// The statement.
    #[schemars(with = "Statement")]
    pub statement: Value,
    /// Ed25519 signature of the canonical form (RFC 8785) of the statement, as base64url.
    pub signature: String,
}

impl SignedStatement {
    /// Returns the bytes that are signed.
    pub fn signed_bytes(statement: &Value) -> Vec<u8> {
        canonical(statement)
    }

    /// Returns the statement if its own public key verifies the signature. Whether that key can be trusted is another
    /// question.
    pub fn open(&self) -> Option<Statement> {
        let read: Statement = serde_json::from_value(self.statement.clone()).ok()?;
        let public_key = URL_SAFE_NO_PAD.decode(&read.public_key).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(&self.signature).ok()?;
        if read.key != key_id(&public_key) {
            return None;
        }
        let key = UnparsedPublicKey::new(&ED25519, &public_key);
        key.verify(&Self::signed_bytes(&self.statement), &signature).ok()?;
        Some(read)
    }
}

/// Returns the ID of an Ed25519 public key: its RFC 7638 thumbprint, with the members of RFC 8037 §2.
pub fn key_id(public_key: &[u8]) -> String {
    let jwk = json!({"crv": "Ed25519", "kty": "OKP", "x": URL_SAFE_NO_PAD.encode(public_key)});
    URL_SAFE_NO_PAD.encode(digest(&SHA256, &canonical(&jwk)))
}
