//! Statements as values. A statement is created by [`statements!`], which also lists it, or from the list of a backup's
//! tables. The test that prepares all statements on both engines therefore covers every statement.

use crate::{
    access, adoptions, audit, backup, carry_over, chain, change_log, checks, clients, counts, db, deliveries,
    devices, drills, ends, environments, evidence, factors, failures, guard, history, holders, idempotency,
    incidents, keys, leaks, limits, lines, logins, makers, message_links, messages, nodes, properties,
    providers, provisioning_tokens, proxies, recorders, refused, rotations, scim, secrets, seen,
    sending_place, sessions, sign_in_failures, sign_in_policy, switches, token_revocations, told,
    unregistered, upstream, verifiers, webhooks, weekly,
};

use std::borrow::Cow;

/// One SQL text that both engines run.
#[derive(Clone, Copy, Debug)]
pub struct Statement {
    /// Its name in the source.
    pub name: &'static str,
    /// The text, with `$1`, `$2`, … for its arguments, or with `{rows:N}` for any number of rows of N arguments.
    pub sql: &'static str,
}

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)+) => {
        $($(#[$doc])* const $name: $crate::catalogue::Statement = $crate::catalogue::Statement {
            name: stringify!($name), sql: $sql,
        };)+
        pub(crate) const STATEMENTS: &[$crate::catalogue::Statement] = &[$($name,)+];
    };
}
pub(crate) use statements;

impl Statement {
    /// Returns all statements of the program.
    pub fn all() -> impl Iterator<Item = &'static Statement> {
        [
            access::STATEMENTS,
            adoptions::STATEMENTS,
            audit::STATEMENTS,
            carry_over::STATEMENTS,
            chain::STATEMENTS,
            change_log::STATEMENTS,
            checks::STATEMENTS,
            clients::STATEMENTS,
            counts::STATEMENTS,
            db::STATEMENTS,
            deliveries::STATEMENTS,
            drills::STATEMENTS,
            ends::STATEMENTS,
            environments::STATEMENTS,
            factors::STATEMENTS,
            failures::STATEMENTS,
            guard::STATEMENTS,
            history::STATEMENTS,
            holders::STATEMENTS,
            idempotency::STATEMENTS,
            incidents::STATEMENTS,
            keys::STATEMENTS,
            leaks::STATEMENTS,
            limits::STATEMENTS,
            lines::STATEMENTS,
            logins::STATEMENTS,
            makers::STATEMENTS,
            message_links::STATEMENTS,
            messages::STATEMENTS,
            nodes::STATEMENTS,
            properties::STATEMENTS,
            providers::STATEMENTS,
            provisioning_tokens::STATEMENTS,
            recorders::STATEMENTS,
            proxies::STATEMENTS,
            refused::STATEMENTS,
            rotations::STATEMENTS,
            scim::STATEMENTS,
            secrets::STATEMENTS,
            unregistered::STATEMENTS,
            upstream::STATEMENTS,
            verifiers::STATEMENTS,
            webhooks::STATEMENTS,
            seen::STATEMENTS,
            sessions::STATEMENTS,
            sign_in_failures::STATEMENTS,
            sign_in_policy::STATEMENTS,
            switches::STATEMENTS,
            sending_place::STATEMENTS,
            told::STATEMENTS,
            weekly::STATEMENTS,
            devices::STATEMENTS,
            token_revocations::STATEMENTS,
            evidence::STATEMENTS,
        ]
        .into_iter()
        .flatten()
        .chain(backup::statements())
    }

    /// Returns the table that it reads or changes first, which is reported when a row is corrupt.
    pub fn table(&self) -> &'static str {
        let mut words = self.sql.split_ascii_whitespace();
        let named = words.find(|word| ["FROM", "INTO", "UPDATE"].contains(word)).and_then(|_| words.next());
        named.unwrap_or(self.name)
    }

    /// Returns the text for `rows` rows, and how many arguments each has. The rows come after the other arguments.
    /// Returns a text without `{rows:N}` unchanged.
    /// PostgreSQL needs numbered arguments. In SQLite, each numbered argument costs a lookup at binding, which took
    /// half the time of writing evidence, so there they are not numbered.
    pub fn for_rows(&self, rows: usize, numbered: bool) -> (Cow<'static, str>, usize) {
        let Some((before, (width, after))) = self.sql.split_once("{rows:").and_then(|(before, rest)| {
            let (width, after) = rest.split_once('}')?;
            Some((before, (width.parse::<usize>().ok()?, after)))
        }) else {
            return (self.sql.into(), self.arguments());
        };
        let others = self.arguments();
        let row = |row: usize| {
            let number = |at| others + row * width + at;
            let place = |at| if numbered || others > 0 { format!("${}", number(at)) } else { "?".to_owned() };
            let places: Vec<_> = (1..=width).map(place).collect();
            format!("({})", places.join(", "))
        };
        let list: Vec<_> = (0..rows).map(row).collect();
        (format!("{before}{}{after}", list.join(", ")).into(), width)
    }

    /// Returns the highest `$N` of the text: the number of arguments that it needs.
    pub fn arguments(&self) -> usize {
        self.sql
            .split('$')
            .skip(1)
            .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
            .max()
            .unwrap_or(0)
    }
}
