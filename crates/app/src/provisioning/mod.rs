//! Provisioning by SCIM 2.0: a provider creates, changes and deactivates people and groups.
//!
//! `tokens` lists, makes and ends the tokens of providers, `caller` authenticates a request with one and runs its change.
//! `users` and `groups` have the operations on people and groups, `accounts` what these do to accounts, and `list` the lists.
//! `shown` writes resources, and `follow` says what a change of the provider itself does to them.

mod accounts;
pub(crate) mod caller;
mod follow;
mod groups;
pub(crate) mod list;
pub(crate) mod shown;
mod tokens;
mod users;
