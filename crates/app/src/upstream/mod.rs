//! Front mode: environments in front of the issuer that a shop already has.
//! `issuer` sets that issuer, `credential` the credential of a registration for it. `opening` opens the credential for one
//! request, `relay` forwards the request, `outcomes` records what the issuer says about the credential, and
//! `trial` asks it when a person wants to know. `learning` learns the secret that callers have. `release` is the way back.
//! `unregistered` lists the clients that still pass.

pub(crate) mod credential;
pub(crate) mod issuer;
pub(crate) mod learning;
pub(crate) mod opening;
pub(crate) mod outcomes;
pub(crate) mod relay;
pub(crate) mod release;
pub(crate) mod trial;
pub(crate) mod unregistered;
