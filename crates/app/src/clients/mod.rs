//! Clients: what they are, in every environment together.
//! `client` has the operations, `query` the filter of their list, and `owners` what is known of their owners. `lines` reads the list of the Console, `overview` its first page, and `frame` what every
//! page of a client shows. `find` finds one by what a person typed. `meanwhile` says
//! who changed a client that a principal wanted to change, and `rotators` which accounts can rotate its secrets.

pub(crate) mod client;
pub(crate) mod find;
pub(crate) mod frame;
pub(crate) mod lines;
pub(crate) mod meanwhile;
pub(crate) mod overview;
pub(crate) mod owners;
pub(crate) mod query;
pub(crate) mod rotators;
