//! The history of the database: whether it lacks anything that had ended. `journal` is the file outside the database in
//! which each end is noted, `lines` its format. At each start, and whenever another history may have come underneath,
//! `judge` compares the database with the journal, and `settle` applies what is missing or begins a quarantine, in which
//! nothing is decided. `noting` brings what ends into the journal, and `seals` keeps only the present seal of each data key there. `quarantine` shows what such a database holds as valid, and releases it.

#[cfg(test)]
pub(crate) mod earlier;
pub(crate) mod journal;
pub(crate) mod judge;
pub(crate) mod lines;
pub(crate) mod noting;
pub(crate) mod quarantine;
pub(crate) mod seals;
mod settle;
