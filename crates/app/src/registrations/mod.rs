//! Registrations: a client in one environment, with its secrets and its access tokens.
//! `registration` has the operations. `revoke_token` ends an access token for the client it was issued to.

pub(crate) mod registration;
pub(crate) mod revoke_token;
