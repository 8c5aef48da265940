//! The audit trail.
//! `events` lists, exports and trims it, and lists failed authentications. `names` names the objects that its entries
//! only identify, and `page` reads what the Console shows. Entries are written by `frame::act`.

pub(crate) mod events;
pub(crate) mod names;
pub(crate) mod page;
