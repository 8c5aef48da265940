//! The one integration binary: the real router in process, a clock that is set by hand, both engines.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../store/tests/harness/database.rs"]
#[allow(dead_code, reason = "shared with the store's suite, which uses more of it")]
mod database;
#[path = "../../../store/tests/harness/engines.rs"]
mod engines;
#[allow(dead_code, reason = "a vocabulary of which each suite uses a part")]
mod world;

/// Returns the number of random cases to try: the usual number, times `CROSSFADE_TEST_CASES` if that is set.
fn random_cases(usual: u32) -> u32 {
    #[expect(clippy::disallowed_methods, reason = "a setting of this suite")]
    let times = std::env::var("CROSSFADE_TEST_CASES").ok();
    usual * times.map_or(1, |times| times.parse().expect("CROSSFADE_TEST_CASES is a number"))
}

mod a_year_of_messages;
mod access_review;
mod allowed_networks;
mod backup;
mod bad_input;
mod bugs_of_others;
mod carry_over;
mod chain;
mod change_over;
mod clock;
mod closed_bodies;
mod commands;
mod confirmations;
mod console;
mod costly_reads;
mod data_keys;
mod doctor;
mod documents;
mod drills;
mod encoded_secrets;
mod environment;
mod failing_changes;
mod failover;
mod few_statements;
mod front_mode;
mod giving;
mod guard;
mod headers;
mod interrupted;
mod key_command;
mod keys;
mod leaks;
mod limits;
mod links;
mod listener;
mod load;
mod login;
mod mail_server;
mod mail_tests;
mod messages;
mod model;
mod nodes;
mod oauth;
mod observe;
mod one_registration;
mod owners;
mod personal_messages;
mod pipeline;
mod providers;
mod quarantine;
mod receiver;
mod recording;
mod relay;
mod roles;
mod rotation;
mod rules;
mod scheduled;
mod shipping;
mod signing_key_schedule;
mod start;
mod stop;
mod terminal;
mod tokens_and_owners;
mod trail;
mod unreadable;
mod users;
mod values;
mod via;
mod wakes_and_digests;
mod webhooks;
mod worlds;
