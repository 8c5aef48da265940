//! Environments: their order, their settings, their signing keys, and the clients that pass without being registered.

pub(super) mod list;
pub(super) mod one;
pub(super) mod unregistered;
