#![doc = include_str!("../README.md")]

mod mail;
mod webhook;

pub use mail::{
    Alone, Mailer,
    failure::Failure,
    letter::{Group, Letter, Line, Mail},
    link::LONGEST_ATTEMPT,
    server::MailServer,
};
pub use webhook::{Answer, Destination, Post, PostFailure, Poster, Resolve, SigningSecret};
