#![doc = include_str!("../README.md")]

mod mail;
mod webhook;

pub use mail::{
    Mailer,
    failure::Failure,
    letter::{Group, Letter, Line, Mail},
    server::MailServer,
};
pub use webhook::{Answer, Destination, Post, PostFailure, Poster, Resolve, SigningSecret};
