//! How a command fails: a sentence on stderr, and an exit status that scripts can rely on.

use crossfade_core::{Code, Problem, problem::ProblemDocument};
use std::{io::Write, process::ExitCode};

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    sentence: String,
    /// The member of the request at fault.
    member: Option<String>,
    /// Whether it may be over in a moment.
    passing: bool,
}

impl Failure {
    /// Refused or failed.
    pub(crate) fn failed(sentence: impl Into<String>) -> Self {
        Self { status: 1, sentence: sentence.into(), member: None, passing: false }
    }

    /// Used in a wrong way.
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self { status: 2, sentence: sentence.into(), member: None, passing: false }
    }

    /// Used in a way that the server would refuse.
    pub(crate) fn misused(problem: Problem) -> Self {
        Self { member: problem.field, ..Self::usage(problem.detail) }
    }

    /// Not found.
    pub(crate) fn not_found(sentence: impl Into<String>) -> Self {
        Self { status: 3, sentence: sentence.into(), member: None, passing: false }
    }

    /// Not possible as things stand.
    pub(crate) fn conflict(sentence: impl Into<String>) -> Self {
        Self { status: 5, sentence: sentence.into(), member: None, passing: false }
    }

    /// What a server answered. Its own sentence, and its code for whoever searches for it.
    pub(crate) fn answered(document: &ProblemDocument) -> Self {
        let status = match document.status {
            404 => 3,
            401 | 403 => 4,
            409 | 412 => 5,
            _ => 1,
        };
        Self {
            status,
            sentence: format!("{} [{}]", document.detail, document.code),
            member: document.field.clone(),
            passing: matches!(document.status, 429 | 503),
        }
    }

    /// The server does not answer, or not now.
    pub(crate) fn unanswered(sentence: impl Into<String>) -> Self {
        Self { passing: true, ..Self::failed(sentence) }
    }

    /// Whether it is for want of this member of the request.
    pub(crate) fn asks_for(&self, member: &str) -> bool {
        self.member.as_deref() == Some(member)
    }

    /// Whether the caller lacks a permission.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.status == 4
    }

    /// Whether it may be over in a moment, so that whoever only watches looks again.
    pub(crate) fn is_passing(&self) -> bool {
        self.passing
    }

    /// What happened, for people.
    pub(crate) fn sentence(&self) -> &str {
        &self.sentence
    }

    /// Names the flag that holds the member at fault, where the command has one.
    pub(crate) fn with_flag(mut self, flags: &[String]) -> Self {
        let flag = self.member.as_deref().and_then(|member| flag_of(member, flags));
        if let Some(flag) = flag {
            self.sentence = format!("{} (flag --{flag})", self.sentence);
        }
        self
    }

    /// Says it, and tells the status to exit with.
    pub(crate) fn exit(self) -> ExitCode {
        // Where nobody listens on stderr the status still tells.
        // Cleaned: a server may have written it.
        let _ = writeln!(std::io::stderr(), "crossfade: {}", crate::output::line(&self.sentence));
        ExitCode::from(self.status)
    }
}

/// The members whose flags have other names.
const FLAGS: &[(&str, &str)] = &[
    ("transition_hours", "transition"),
    ("confirm_client_name", "confirm"),
    ("confirm_environment_slug", "confirm"),
    ("expires_at", "until"),
    ("starts_at", "start"),
    ("length_seconds", "length"),
    ("every_seconds", "every"),
    ("environment", "env"),
    ("environments", "env"),
    ("property_id", "property"),
    ("client_id", "client"),
    ("owners", "owner"),
    ("owners", "no-owners"),
    ("scopes", "scope"),
    ("scopes", "no-scopes"),
    ("audiences", "audience"),
    ("token_endpoint_auth_methods", "auth-method"),
    ("access_token_ttl_seconds", "token-ttl"),
    ("enabled", "disable"),
    ("only_if_safe", "only-if"),
    ("quiet_seconds", "only-if"),
    ("kind", "program"),
];

fn flag_of(member: &str, flags: &[String]) -> Option<String> {
    // An item of a list is named by its list.
    let member = member.split(['.', '[']).next().unwrap_or(member);
    let renamed = FLAGS.iter().filter(|(name, _)| *name == member).map(|(_, flag)| (*flag).to_owned());
    renamed.chain([member.replace('_', "-")]).find(|flag| flags.contains(flag))
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let sentence = problem.detail.clone();
        match problem.code {
            Code::NotFound => Self::not_found(sentence),
            code if code.status() == 409 => Self::conflict(sentence),
            _ => Self::failed(sentence),
        }
    }
}

impl From<crossfade_app::Error> for Failure {
    fn from(error: crossfade_app::Error) -> Self {
        match error.source {
            Some(source) => Self::failed(format!("{} ({source})", error.problem.detail)),
            None => error.problem.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    fn said(member: Option<&str>, flags: &[&str]) -> String {
        let member = member.map(str::to_owned);
        let failure =
            Failure { status: 1, sentence: "It is wrong. [invalid_body]".into(), member, passing: false };
        failure.with_flag(&flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>()).sentence
    }

    #[test]
    fn the_flag_is_named_where_the_command_has_it() {
        let flags = ["transition", "reason", "wipe-after-days", "owner"];
        assert_eq!(said(Some("transition_hours"), &flags), "It is wrong. [invalid_body] (flag --transition)");
        assert_eq!(
            said(Some("wipe_after_days"), &flags),
            "It is wrong. [invalid_body] (flag --wipe-after-days)"
        );
        assert_eq!(said(Some("owners[1]"), &flags), "It is wrong. [invalid_body] (flag --owner)");
        assert_eq!(said(Some("name"), &flags), "It is wrong. [invalid_body]", "here it is no flag");
        assert_eq!(said(None, &flags), "It is wrong. [invalid_body]");
    }

    #[test]
    fn every_flag_that_can_be_named_is_one() {
        fn flags(command: &clap::Command, all: &mut Vec<String>) {
            all.extend(command.get_arguments().filter_map(clap::Arg::get_long).map(str::to_owned));
            command.get_subcommands().for_each(|child| flags(child, all));
        }
        let mut all = Vec::new();
        flags(&Cli::command(), &mut all);
        for (member, flag) in FLAGS {
            assert!(all.iter().any(|it| it == flag), "{member}: there is no --{flag}");
        }
    }
}
