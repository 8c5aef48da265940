//! Commands that speak to a server through its API.

mod commands;
mod http;
mod secrets;

pub(crate) use commands::{audit, client, environment, property, token};
pub(crate) use http::{Api, form_encode};
pub(crate) use secrets::secret;
