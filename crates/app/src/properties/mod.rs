//! Properties, which group clients.
//! `property` has the operations. `limits` reads, sets and checks the audiences and scopes that the clients of a
//! property can have in an environment.

pub(crate) mod limits;
pub(crate) mod property;
