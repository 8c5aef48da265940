//! Environments, each with an issuer, signing keys and a policy for its secrets.
//! `environment` has the operations.

pub(crate) mod environment;
