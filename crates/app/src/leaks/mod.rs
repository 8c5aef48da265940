//! Secrets that were found outside, such as in a repository.
//! `identify` names the registration of a found secret to a principal who can read it; `digest_values` is the job that
//! makes secrets of earlier versions recognisable.

pub(crate) mod digest_values;
pub(crate) mod identify;
