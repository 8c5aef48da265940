#![doc = include_str!("../README.md")]

mod connect;
mod mail;
mod webhook;

pub use connect::Resolve;
pub use mail::{
    Alone, Mailer,
    failure::Failure,
    letter::{Group, Letter, Line, Mail},
    link::LONGEST_ATTEMPT,
    server::MailServer,
};
pub use webhook::{Answer, Destination, Post, PostFailure, Poster, SigningSecret};
