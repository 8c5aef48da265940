//! Keys and what they protect.
//! The master keys come from a `source`: a file, or a `command`.
//! The master key (`master_key`) opens the keys of an instance (`opening`). `seal` encrypts stored values and binds
//! each to its `place`. `digests` finds credentials again without storing them. `carry_over` converts what older
//! versions stored. `rotation` changes the master key,
//! `data_keys` adds and deletes the keys under it, and `roll_over` moves digests to the newest one.

pub(crate) mod audit_key;
pub(crate) mod carry_over;
pub(crate) mod command;
pub(crate) mod data_keys;
pub(crate) mod digests;
pub(crate) mod master_key;
pub(crate) mod opening;
pub(crate) mod place;
pub(crate) mod roll_over;
pub(crate) mod rotation;
pub(crate) mod seal;
pub(crate) mod source;
