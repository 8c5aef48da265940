//! Environments: their order, their settings, their signing keys.

pub(super) mod list;
pub(super) mod one;
