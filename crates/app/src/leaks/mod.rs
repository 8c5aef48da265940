//! Secrets that were found outside, such as in a repository.
//! `digest_values` is the job that makes secrets of earlier versions recognisable.

pub(crate) mod digest_values;
