//! Wrong usage: the error, the usage of the command, and one example.

use crate::cli::{examples, program};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::{ffi::OsString, io::Write, process::ExitCode};

/// Writes the error of a command line to stderr, or the requested help to stdout. Returns the exit status.
pub(crate) fn report(error: &clap::Error, line: &[OsString]) -> ExitCode {
    let asked_for = [
        ErrorKind::DisplayHelp,
        ErrorKind::DisplayVersion,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
    ];
    let code = ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
    if asked_for.contains(&error.kind()) {
        // A reader that has had enough is no error.
        let _ = error.print();
        return code;
    }
    let line: Vec<_> = line.iter().map(|word| word.to_string_lossy()).collect();
    let line: Vec<&str> = line.iter().map(|word| word.as_ref()).collect();
    let _ = std::io::stderr().write_all(explain(error, &line).as_bytes());
    code
}

fn explain(error: &clap::Error, line: &[&str]) -> String {
    let mut program = program();
    program.build();
    let (mut command, mut words) = (&program, Vec::new());
    while let Some(child) = line.get(words.len() + 1).and_then(|word| command.find_subcommand(word)) {
        words.push(child.get_name());
        command = child;
    }
    let (words, mut command) = (words.join(" "), command.clone());
    let mut text = format!("crossfade: {}\n", what_is_wrong(error));
    if let Some(variable) = variable_at_fault(error, &command, line) {
        text.push_str(&format!("The value comes from the variable {variable}.\n"));
    }
    // Not the usage of the error itself: there every flag that a variable sets looks required.
    text.push_str(&format!("\n{}\n", command.render_usage()));
    if let Some(example) = examples(&words).first() {
        text.push_str(&format!("Example: {example}\n"));
    }
    let all = format!("crossfade {words}");
    text.push_str(&format!("For all options: {} --help\n", all.trim_end()));
    text
}

/// Returns the words of the error, without its usage.
fn what_is_wrong(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let is_usage = |line: &&str| !line.starts_with("Usage:") && !line.starts_with("For more information");
    let lines: Vec<&str> = text.lines().take_while(is_usage).collect();
    lines.join("\n").trim().trim_start_matches("error: ").to_owned()
}

/// Returns the variable that set the value at fault, if no flag did.
fn variable_at_fault(error: &clap::Error, command: &clap::Command, line: &[&str]) -> Option<String> {
    let Some(ContextValue::String(named)) = error.get(ContextKind::InvalidArg) else { return None };
    let argument = command.get_arguments().find(|argument| argument.to_string() == *named)?;
    let flag = format!("--{}", argument.get_long()?);
    let is_typed = line.iter().any(|word| *word == flag || word.starts_with(&format!("{flag}=")));
    let variable = argument.get_env().filter(|_| !is_typed)?;
    Some(variable.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        explain(&program().try_get_matches_from(&words).unwrap_err(), &words)
    }

    #[test]
    fn wrong_usage_says_what_is_wrong_the_usage_and_one_example() {
        let text = said("crossfade secret rotate Billing --env production --show");
        assert!(
            text.starts_with("crossfade: the following required arguments were not provided:\n"),
            "{text}"
        );
        assert!(text.contains("\nUsage: crossfade secret rotate [OPTIONS] --env <ENV>"), "{text}");
        assert_eq!(text.matches("\nExample: crossfade secret rotate ").count(), 1, "{text}");
        assert!(text.ends_with("\nFor all options: crossfade secret rotate --help\n"), "{text}");
    }

    #[test]
    fn a_value_that_cannot_be_read_is_answered_with_the_notation() {
        let text = said("crossfade drill schedule X --env staging --length 60 --reason r");
        assert!(
            text.contains("'60' for '--length <DURATION>'") && text.contains("90s, 10m, 24h or 7d"),
            "{text}"
        );
        assert!(text.contains("Example: crossfade drill schedule"), "{text}");
    }

    #[test]
    fn a_wrong_command_is_answered_with_the_commands() {
        let text = said("crossfade secret rotat X");
        assert!(text.contains("unrecognized subcommand 'rotat'") && text.contains("'rotate'"), "{text}");
        assert!(text.contains("Usage: crossfade secret <COMMAND>"), "{text}");
    }
}
