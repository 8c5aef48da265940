//! Frame of every use case: what a change and a read are, and who asks for them (`principal`).
//! An operation loads its target with a permission (`targets`), changes it in one transaction (`change`, `act`) or
//! reads it on one snapshot (`view`), answers repeated requests (`idempotency`), and records refusals (`refusals`).
//! `entry` names the author and the subject of what is recorded. `versioned` and `if_match` are about versions.
//! `incidents` opens and resolves incidents of PagerDuty with the messages of an act. `cursor`, `reads` and `pace` limit
//! lists and costly reads.

pub(crate) mod act;
pub(crate) mod change;
pub(crate) mod cursor;
pub(crate) mod entry;
pub(crate) mod idempotency;
pub(crate) mod if_match;
pub(crate) mod incidents;
pub(crate) mod pace;
pub(crate) mod principal;
pub(crate) mod reads;
pub(crate) mod refusals;
pub(crate) mod request;
pub(crate) mod room;
pub(crate) mod targets;
pub(crate) mod versioned;
pub(crate) mod view;
