//! The Console as a browser sees it: pages, forms, cookies.

pub mod browser;
mod clients;
mod command_line;
mod forms;
mod gate;
mod messages;
mod people;
mod roles;
mod sections;
mod sign_in;
mod step_up;
mod throttle;
mod trail;
