//! The audit trail.
//! `events` lists, exports and trims it, and lists failed authentications. `names` names the objects that its entries
//! only identify, and `page` reads what the Console shows. `statements` signs how far it has reached, and `verify` finds
//! the first event that was altered. `shipping` sends it to `sinks`. Entries are written by `frame::act`.

pub(crate) mod events;
pub(crate) mod names;
pub(crate) mod page;
pub(crate) mod shipping;
pub(crate) mod sinks;
pub(crate) mod statements;
pub(crate) mod verify;
