//! Clients: what they are, in every environment together.
//! `client` has the operations. `lines` reads the lists of the Console, and `overview` its first page. `meanwhile` says
//! who changed a client that a principal wanted to change, and `rotators` which accounts can rotate its secrets.

pub(crate) mod client;
pub(crate) mod lines;
pub(crate) mod meanwhile;
pub(crate) mod overview;
pub(crate) mod rotators;
