#![doc = include_str!("../README.md")]

mod mail;

pub use mail::{
    Mailer,
    failure::Failure,
    letter::{Group, Letter, Line, Mail},
    server::MailServer,
};
