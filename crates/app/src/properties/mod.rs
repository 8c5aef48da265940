//! Properties, which group clients.
//! `property` has the operations. `counts` has the lists of properties and environments for the Console, with numbers. `limits` reads, sets and checks the audiences and scopes that the clients of a
//! property can have in an environment.

pub(crate) mod counts;
pub(crate) mod limits;
pub(crate) mod property;
