#![doc = include_str!("../README.md")]

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
