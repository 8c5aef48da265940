#![doc = include_str!("../README.md")]

mod mail;

pub use mail::{
    Mailer,
    failure::Failure,
    letter::{Letter, Mail},
    server::MailServer,
};
