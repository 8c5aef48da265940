//! How a command fails: a sentence on stderr, and an exit status that scripts can rely on.

use crossfade_core::{Code, Problem, problem::ProblemDocument, roles::Permission};
use std::{io::Write, process::ExitCode};

/// Why a command failed.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    status: u8,
    sentence: String,
    /// Stable code of the API, to search for.
    code: Option<Box<str>>,
    /// Member of the request at fault.
    member: Option<Box<str>>,
    /// Flag that sets the member.
    flag: Option<Box<str>>,
    /// Missing permission.
    permission: Option<Box<str>>,
    /// Whether it may go away on its own.
    passing: bool,
}

impl Failure {
    fn new(status: u8, sentence: impl Into<String>) -> Self {
        Self { status, sentence: sentence.into(), ..Self::default() }
    }

    /// Returns the failure of a refused or failed command.
    pub(crate) fn failed(sentence: impl Into<String>) -> Self {
        Self::new(1, sentence)
    }

    /// Returns the failure of wrong usage.
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self::new(2, sentence)
    }

    /// Returns the failure of usage that the server would refuse.
    pub(crate) fn misused(problem: Problem) -> Self {
        Self { member: problem.field.map(Into::into), ..Self::usage(in_flags(&problem.detail)) }
    }

    /// Returns the same failure as wrong usage.
    pub(crate) fn into_usage(self) -> Self {
        Self { status: 2, ..self }
    }

    /// Returns the failure for a missing object.
    pub(crate) fn not_found(sentence: impl Into<String>) -> Self {
        Self::new(3, sentence)
    }

    /// Returns the failure for a missing permission.
    pub(crate) fn not_permitted(sentence: impl Into<String>, permission: Permission) -> Self {
        let (code, permission) = (Code::Forbidden.as_str().into(), permission.as_str().into());
        Self { code: Some(code), permission: Some(permission), ..Self::new(4, sentence) }
    }

    /// Returns the failure for a conflict with the present state.
    pub(crate) fn conflict(sentence: impl Into<String>) -> Self {
        Self::new(5, sentence)
    }

    /// Returns the failure for a watch that did not reach its goal in time.
    pub(crate) fn timed_out(sentence: impl Into<String>) -> Self {
        Self::new(6, sentence)
    }

    /// Returns the failure for a consistent audit trail that nothing from outside proves.
    pub(crate) fn not_proven(sentence: impl Into<String>) -> Self {
        Self::new(7, sentence)
    }

    /// Returns the result of a rotation that was not due, for a command with `--exit-code`.
    pub(crate) fn not_due(sentence: impl Into<String>) -> Self {
        Self::new(8, sentence)
    }

    /// Returns the result of a rotation that was not due although no caller has used the current secret, for a command
    /// with `--exit-code`.
    pub(crate) fn unused(sentence: impl Into<String>) -> Self {
        Self::new(9, sentence)
    }

    /// Returns the result of an identification that found a valid secret, for a command with `--exit-code`.
    pub(crate) fn found(sentence: impl Into<String>) -> Self {
        Self::new(10, sentence)
    }

    /// Returns the same failure with a stable code.
    pub(crate) fn with_code(self, code: Code) -> Self {
        Self { code: Some(code.as_str().into()), ..self }
    }

    /// Returns the failure for a confirmation with the wrong name.
    pub(crate) fn mismatch(sentence: impl Into<String>) -> Self {
        let code = Code::ConfirmationMismatch.as_str().into();
        let member = Some("confirm_client_name".into());
        Self { code: Some(code), member, ..Self::failed(sentence) }
    }

    /// Returns a problem from the server: its sentence, with flags instead of members, and its code.
    pub(crate) fn answered(document: &ProblemDocument) -> Self {
        let status = match document.status {
            404 => 3,
            401 | 403 => 4,
            409 | 412 => 5,
            _ => 1,
        };
        let sentence = match document.code == Code::Unauthenticated.as_str() {
            true => {
                "The server does not accept the API token in CROSSFADE_TOKEN. Nothing was changed. Set it to a valid token of this server; crossfade token create makes one."
            }
            false => &document.detail,
        };
        Self {
            code: Some(document.code.as_str().into()),
            member: document.field.as_deref().map(Into::into),
            permission: document.members.get("permission").and_then(|it| it.as_str()).map(Into::into),
            passing: matches!(document.status, 429 | 503),
            ..Self::new(status, in_flags(sentence))
        }
    }

    /// Names the profile whose token the server does not accept. Other failures stay as they are.
    pub(crate) fn of_profile(self, name: &str) -> Self {
        if self.code.as_deref() != Some(Code::Unauthenticated.as_str()) {
            return self;
        }
        let sentence = format!(
            "The server does not accept the API token of the profile {name}, because it expired or was deleted. Nothing was changed. Run crossfade login --profile {name}."
        );
        Self { sentence, ..self }
    }

    /// Returns a refusal of the Console, which answers the command line without a problem document.
    pub(crate) fn refused_by_console(status: u16, code: String, detail: String) -> Self {
        let code = Some(code.into());
        let passing = matches!(status, 429 | 503);
        Self { code, passing, ..Self::new(if status == 404 { 3 } else { 1 }, detail) }
    }

    /// Returns the failure for a server that does not answer, or not at the moment.
    pub(crate) fn unanswered(sentence: impl Into<String>) -> Self {
        Self { passing: true, ..Self::failed(sentence) }
    }

    /// Whether the failure is that this member of the request is missing.
    pub(crate) fn asks_for(&self, member: &str) -> bool {
        self.member.as_deref() == Some(member)
    }

    /// Whether the caller lacks a permission.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.status == 4
    }

    /// Whether it may go away on its own, so that a watch continues.
    pub(crate) fn is_passing(&self) -> bool {
        self.passing
    }

    /// Whether an object is missing or unreadable for the caller.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status == 3
    }

    /// Whether the server gave this code.
    pub(crate) fn has_code(&self, code: Code) -> bool {
        self.code.as_deref() == Some(code.as_str())
    }

    /// Whether it conflicts with the present state.
    pub(crate) fn is_conflict(&self) -> bool {
        self.status == 5
    }

    /// Returns the sentence for people.
    pub(crate) fn sentence(&self) -> &str {
        &self.sentence
    }

    /// Names the flag for the member at fault, or the flag that makes a permission unnecessary, if the command has one.
    pub(crate) fn with_flag(mut self, flags: &[String]) -> Self {
        let reveals = self.permission.as_deref() == Some(Permission::SecretReveal.as_str());
        if reveals && flags.iter().any(|flag| flag == "no-value") {
            self.sentence.push_str(" To continue without receiving the value, set --no-value.");
        }
        let Some(member) = self.member.as_deref() else { return self };
        if self.code.as_deref() == Some(Code::NotSafeToEnd.as_str()) {
            // The condition does what it is for: no flag is at fault.
            return self;
        }
        let Some(flag) = flag_of(member, flags) else { return self };
        let flag = format!("--{flag}");
        if let Some(rest) = self.sentence.strip_prefix(&format!("{} ", listed(member))) {
            self.sentence = format!("{flag} {rest}");
        }
        if !self.sentence.split([' ', ',', '.', ':', ';']).any(|word| word == flag) {
            self.flag = Some(flag.into());
        }
        self
    }

    /// Writes the failure to stderr, and returns the exit status.
    pub(crate) fn exit(self) -> ExitCode {
        // Without a reader of stderr, the exit status still reports the failure. Cleaned, because the text may come
        // from a server.
        let _ = writeln!(std::io::stderr(), "crossfade: {}", crate::output::line(&self.line()));
        ExitCode::from(self.status)
    }

    fn line(&self) -> String {
        let code = self.code.as_ref().map(|code| format!(" [{code}]")).unwrap_or_default();
        let flag = self.flag.as_ref().map(|flag| format!("{flag}: ")).unwrap_or_default();
        format!("{flag}{}{code}", self.sentence)
    }
}

/// Returns a sentence of the API with flags in place of members.
fn in_flags(sentence: &str) -> String {
    let (mut text, mut word) = (String::new(), String::new());
    for letter in sentence.chars().chain([' ']) {
        if letter.is_ascii_alphanumeric() || letter == '_' {
            word.push(letter);
            continue;
        }
        match FLAGS.iter().find(|(member, _)| *member == word && is_api_word(member)) {
            Some((_, flag)) => text.push_str(&format!("--{flag}")),
            None => text.push_str(&word),
        }
        word.clear();
        text.push(letter);
    }
    text.pop();
    text
}

/// Whether a member's name is only an API word. `client_id` is not: it is a term of OAuth.
fn is_api_word(member: &str) -> bool {
    member.contains('_') && member != "client_id"
}

/// Returns the name of the list for the name of an item.
fn listed(member: &str) -> &str {
    member.split(['.', '[']).next().unwrap_or(member)
}

/// Members whose flags have different names.
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
    ("end_running_transition", "end-running-transition"),
    ("acknowledge_in_use", "acknowledge-in-use"),
    ("revoke_tokens", "revoke-tokens"),
    ("if_older_than_seconds", "if-older-than"),
    ("signing_alg", "signing-alg"),
    ("show_once", "show-once"),
    ("wipe_after_days", "wipe-after-days"),
    ("max_age_days", "max-age-days"),
    ("guard_extension_hours", "guard-extension-hours"),
    ("signing_key_rotation_days", "signing-key-rotation-days"),
    ("may_introspect", "may-introspect"),
    ("allowed_networks", "allow-network"),
    ("self_rotation", "self-rotation"),
    ("Idempotency-Key", "idempotency-key"),
    ("acknowledge_locked_out", "acknowledge-locked-out"),
    // A flag that every command has is the address of the server.
    ("url", "to"),
    ("routing_key", "routing-key-file"),
    ("overlap_hours", "overlap"),
    ("end_running_overlap", "end-running-overlap"),
    ("confirm_name", "confirm"),
    ("client_secret", "client-secret-file"),
    ("domains", "domain"),
    ("acr_values", "acr"),
    ("group_grants", "group-role"),
    ("confirm_user_name", "confirm"),
    ("events", "event"),
];

fn flag_of(member: &str, flags: &[String]) -> Option<String> {
    let member = listed(member);
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
    use crossfade_core::{SecretId, Timestamp, rotation::Refusal};

    fn said(sentence: &str, member: Option<&str>, flags: &[&str]) -> String {
        let failure = Failure { member: member.map(Into::into), ..Failure::failed(in_flags(sentence)) };
        failure.with_flag(&flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>()).line()
    }

    #[test]
    fn the_flag_is_named_where_the_command_has_it() {
        let flags = ["transition", "reason", "wipe-after-days", "owner"];
        let wrong = |member| said("It is wrong.", member, &flags);
        assert_eq!(wrong(Some("transition_hours")), "--transition: It is wrong.");
        assert_eq!(wrong(Some("wipe_after_days")), "--wipe-after-days: It is wrong.");
        assert_eq!(wrong(Some("owners[1]")), "--owner: It is wrong.");
        let of_webhooks = ["url", "to", "routing-key-file", "overlap"];
        let said_of = |sentence, member| said(sentence, Some(member), &of_webhooks);
        assert_eq!(said_of("url must start with https://.", "url"), "--to must start with https://.");
        assert_eq!(said_of("routing_key is required.", "routing_key"), "--routing-key-file is required.");
        assert_eq!(said_of("overlap_hours must be 0.", "overlap_hours"), "--overlap must be 0.");
        assert_eq!(wrong(Some("name")), "It is wrong.", "here it is no flag");
        assert_eq!(wrong(None), "It is wrong.");
    }

    #[test]
    fn a_refused_token_names_the_variable_that_holds_it() {
        let document = ProblemDocument::from(&Problem::new(
            Code::Unauthenticated,
            "Send a valid API token as Authorization: Bearer.",
        ));
        let line = Failure::answered(&document).line();
        assert!(line.contains("CROSSFADE_TOKEN") && line.ends_with("[unauthenticated]"), "{line}");
        assert!(!line.contains("Bearer"), "{line}");
    }

    #[test]
    fn a_condition_that_is_not_met_blames_no_flag() {
        let problem = Problem::new(Code::NotSafeToEnd, "Not safe to end.").with_field("only_if_safe");
        let failure = Failure::answered(&ProblemDocument::from(&problem));
        assert_eq!(failure.with_flag(&["only-if".to_owned()]).line(), "Not safe to end. [not_safe_to_end]");
    }

    #[test]
    fn a_sentence_speaks_of_flags_and_not_of_members() {
        let text = "Wait, or set end_running_transition to end it.";
        assert_eq!(said(text, None, &[]), "Wait, or set --end-running-transition to end it.");
        let text = "confirm_client_name must be the client's name. Nothing was changed.";
        assert_eq!(
            said(text, Some("confirm_client_name"), &["confirm"]),
            "--confirm must be the client's name. Nothing was changed."
        );
        assert_eq!(
            said("reason must not be empty.", Some("reason"), &["reason"]),
            "--reason must not be empty."
        );
        assert_eq!(
            said("owners must be addresses.", Some("owners[0]"), &["owner"]),
            "--owner must be addresses."
        );
        let text = "No client_id of this environment; my_expires_at is no member.";
        assert_eq!(said(text, None, &[]), text);
    }

    #[test]
    fn no_refusal_of_a_rule_names_a_member_that_is_a_flag() {
        let (id, now) = (SecretId::parse("sec_0123456789abcdefghijkl").unwrap(), Timestamp::from_seconds(1));
        for refusal in [
            Refusal::TransitionInProgress { retiring: id.clone(), expires_at: now },
            Refusal::CompromisedNeedsZero,
            Refusal::NotRetiring,
            Refusal::ExtensionOutOfRange { later_than: now, at_most: now },
            Refusal::NewerSecretInUse { newer: id, last_used_at: now },
        ] {
            let text = Failure::answered(&ProblemDocument::from(&refusal.problem(None))).sentence;
            let api_words = FLAGS.iter().filter(|(member, _)| is_api_word(member) && text.contains(member));
            assert_eq!(api_words.count(), 0, "{text}");
        }
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
