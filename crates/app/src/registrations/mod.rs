//! Registrations: a client in one environment, with its secrets and its access tokens.
//! `registration` has the operations, `networks` the callers that allowed networks would lock out. `revoke_token` ends an access token for the client it was issued to.

pub(crate) mod networks;
pub(crate) mod registration;
pub(crate) mod revoke_token;
