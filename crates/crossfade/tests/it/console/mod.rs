//! The Console as a browser sees it: pages, forms, cookies.

pub mod authenticator;
pub mod browser;
mod clients;
mod command_line;
pub mod factors;
mod forms;
mod gate;
mod messages;
pub mod passkeys;
mod people;
mod roles;
mod sections;
mod sign_in;
mod sign_in_policy;
mod step_up;
mod throttle;
mod trail;
