//! Crossfade's use cases. Each authorises, loads, applies a rule, stores, audits and queues in one
//! transaction, and answers when this node's own tables enforce the change.
//!
//! [`App`] is the door: there is no way to a mutable transaction for a caller except [`App::change`], which
//! takes a permission and hands out the loaded, permitted object. An operation without a permission does not
//! compile.

mod act;
mod app;
mod caller;
mod clients;
mod cursor;
mod environments;
mod error;
mod extend_secret;
mod feed;
mod history;
mod master_key;
mod owners;
mod password;
mod properties;
mod registrations;
mod reveal_secret;
mod revoke_secret;
mod revoke_token;
mod rollback_secret;
mod rotate_secret;
mod seal;
mod targets;
mod tokens;
mod worker;

pub use act::{IdempotencyKey, Input, Request};
pub use app::{App, Options};
pub use caller::Caller;
pub use clients::ClientQuery;
pub use cursor::ListQuery;
pub use error::Error;
pub use history::AuditQuery;
pub use master_key::MasterKey;
pub use owners::{LinkKind, OneTimeLink};
pub use targets::{ClientPath, EnvironmentPath, PropertyPath, RegistrationPath};
pub use tokens::NewToken;
pub use worker::Worker;
