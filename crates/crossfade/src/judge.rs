//! Judges the values of a command by the rules of the server before anything is read or sent: what the rules can never
//! accept is wrong usage.

use crate::cli::{
    Audit, Client, ClientMessages, Command, CreateGrant, Drill, Env, EnvChange, Grant, Limits, Moment,
    Property, Registration, RegistrationChange, Secret, Token, User, Webhook,
};
use crossfade_authority::Failure;
use crossfade_core::{
    Problem, TransitionHours,
    audit::Action,
    drill::Pattern,
    environment::{Slug, age_days, retention_days, signing_key_days},
    guard::{extension_hours, out_of_range},
    limits::MAX_AUDIENCES,
    owners,
    registration::{Scopes, audience},
    rotation::{Refusal, RotationRequest},
    text::{Name, REASON_CHARACTERS, Reason, email, line},
    webhook::{KINDS, parse_kind},
};

/// Hours of the longest transition.
const LONGEST: u8 = TransitionHours::MAX.hours();

/// Judges a command. `Err` names the member of the request whose flag is at fault.
pub(crate) fn judge(command: &Command) -> Result<(), Problem> {
    match command {
        Command::Init(args) => email("owner_email", &args.owner_email).map(drop),
        Command::Token(Token::Create(args)) => Name::parse("name", &args.name).map(drop),
        Command::Client(command) => client(command),
        Command::Registration(Registration::Update(args)) => {
            optional_reason(args.reason.as_deref())?;
            registration(&args.change)
        }
        Command::Env(command) => environment(command),
        Command::Property(Property::Create { name, .. } | Property::Update { name, .. }) => {
            Name::parse("name", name).map(drop)
        }
        Command::Property(Property::Limits(Limits::Set { audiences, scopes, .. })) => {
            Scopes::parse(&scopes.scope)?;
            each(&audiences.audience, |text| audience(text).map(drop))?;
            match audiences.audience.len() > MAX_AUDIENCES {
                true => {
                    let must = format!("must contain at most {MAX_AUDIENCES} entries");
                    Err(Problem::invalid("audiences", &must))
                }
                false => Ok(()),
            }
        }
        Command::Webhook(Webhook::Create(args)) => {
            Name::parse("name", &args.name)?;
            kinds(&args.event)
        }
        Command::Webhook(Webhook::Update(args)) => {
            optional_name(args.change.name.as_deref())?;
            kinds(&args.change.event)
        }
        Command::User(User::Create(args)) => {
            args.email.as_deref().map(|text| email("email", text)).transpose()?;
            optional_name(args.name.as_deref())
        }
        Command::User(User::Update { change, .. }) => {
            change.email.as_deref().map(|text| email("email", text)).transpose()?;
            optional_name(change.name.as_deref())
        }
        Command::Grant(Grant::Create(args)) => grant(args),
        Command::Secret(command) => secret(command),
        Command::Drill(Drill::Schedule(args)) => {
            Pattern::new(args.length, args.repeat, args.every)?;
            Reason::required(Some(&args.reason))?;
            match args.start {
                Some(Moment::Ahead(span)) if span > TransitionHours::MAX.span() => {
                    let must = format!("must be at most +{LONGEST}h, because no deadline is later");
                    Err(Problem::invalid("starts_at", &must))
                }
                _ => Ok(()),
            }
        }
        Command::Drill(Drill::Stop(args)) => optional_reason(args.reason.as_deref()),
        Command::Audit(Audit::List { filters, .. } | Audit::Export { filters, .. }) => {
            match filters.action.as_deref().is_none_or(|text| Action::parse(text).is_some()) {
                true => Ok(()),
                false => Err(Problem::invalid("action", "must be an audit action, such as secret.rotated")),
            }
        }
        Command::Audit(Audit::Failures(args)) => {
            let words = Failure::ALL.map(Failure::as_str);
            match args.reason.as_deref().is_none_or(|text| words.contains(&text)) {
                true => Ok(()),
                false => Err(Problem::invalid("reason", &format!("must be one of {}", words.join(", ")))),
            }
        }
        _ => Ok(()),
    }
}

fn client(command: &Client) -> Result<(), Problem> {
    match command {
        Client::Create(args) => {
            Name::parse("name", &args.name)?;
            each(&args.owner, |text| owners::parse("owners", text).map(drop))?;
            optional_description(args.description.as_deref())
        }
        Client::Update(args) => {
            optional_name(args.change.name.as_deref())?;
            each(&args.change.owner, |text| owners::parse("owners", text).map(drop))?;
            optional_description(args.change.description.as_deref())
        }
        Client::Delete { reason, .. } => Reason::required(Some(reason)).map(drop),
        Client::Messages(ClientMessages::Set { reason, .. }) => optional_reason(reason.as_deref()),
        Client::List { .. } | Client::Show { .. } | Client::Register { .. } | Client::Messages(_) => Ok(()),
    }
}

fn registration(change: &RegistrationChange) -> Result<(), Problem> {
    Scopes::parse(&change.scope)?;
    match change.audience.as_ref().and_then(|audience| audience.0.as_deref()) {
        Some(text) => audience(text).map(drop),
        None => Ok(()),
    }
}

fn environment(command: &Env) -> Result<(), Problem> {
    match command {
        Env::Create(args) => {
            Slug::parse("slug", &args.slug)?;
            optional_name(args.name.as_deref())
        }
        Env::Update(args) => environment_change(&args.change),
        Env::RotateKey(args) => optional_reason(args.reason.as_deref()),
        Env::List(_) | Env::Show { .. } | Env::Delete { .. } | Env::Keys { .. } => Ok(()),
    }
}

fn environment_change(change: &EnvChange) -> Result<(), Problem> {
    optional_name(change.name.as_deref())?;
    change.wipe_after_days.map(retention_days).transpose()?;
    change.max_age_days.as_ref().and_then(|days| days.0).map(age_days).transpose()?;
    let hours = change.guard_extension_hours.as_ref().and_then(|hours| hours.0);
    hours.map(extension_hours).transpose().map_err(|_| out_of_range("none"))?;
    let days = change.signing_key_rotation_days.as_ref().and_then(|days| days.0);
    days.map(signing_key_days).transpose()?;
    match change.position {
        Some(..0) => Err(Problem::invalid("position", "must be a position in the list, starting at 0")),
        _ => Ok(()),
    }
}

fn grant(args: &CreateGrant) -> Result<(), Problem> {
    let is_platform = args.property.is_none() && args.client.is_none();
    args.role
        .fits_on(is_platform, !args.env.is_empty())
        .map_err(|what| Problem::invalid("role", &format!("{} {what}", args.role.as_str())))
}

fn secret(command: &Secret) -> Result<(), Problem> {
    match command {
        Secret::Rotate(args) => {
            optional_reason(args.reason.as_deref())?;
            if args.compromised && args.transition != TransitionHours::ZERO {
                return Err(Refusal::CompromisedNeedsZero.problem(None));
            }
            let asked = RotationRequest {
                transition: args.transition,
                expected_current: None,
                end_running_transition: args.end_running_transition,
                compromised: args.compromised,
            };
            if args.revoke_tokens && !asked.may_end_secret() {
                return Err(Refusal::EndsNoSecret.problem(None));
            }
            Ok(())
        }
        Secret::Reveal { reason, .. } => optional_reason(reason.as_deref()),
        Secret::Revoke(args) => Reason::required(Some(&args.end.reason)).map(drop),
        Secret::Rollback { end, .. } => Reason::required(Some(&end.reason)).map(drop),
        Secret::Extend { until, reason, .. } => {
            Reason::required(Some(reason))?;
            match until {
                Moment::Ahead(span) if span.is_zero() => {
                    Err(Problem::invalid("expires_at", "must be later than now, such as +24h"))
                }
                Moment::Ahead(span) if *span > TransitionHours::MAX.span() => {
                    let must = format!(
                        "must be at most {LONGEST} hours after the rotation, so +{LONGEST}h is the maximum"
                    );
                    Err(Problem::invalid("expires_at", &must))
                }
                _ => Ok(()),
            }
        }
        Secret::List { .. }
        | Secret::History { .. }
        | Secret::Usage { .. }
        | Secret::Series(_)
        | Secret::ChangeOver { .. }
        | Secret::Watch(_)
        | Secret::Seen { .. }
        | Secret::Identify { .. } => Ok(()),
    }
}

fn kinds(events: &[String]) -> Result<(), Problem> {
    let is_kind = |event: &String| parse_kind(event).is_some();
    if events.iter().all(is_kind) {
        return Ok(());
    }
    let words: Vec<&str> = KINDS.iter().map(|kind| kind.as_str()).collect();
    Err(Problem::invalid("events", &format!("must contain only {}", words.join(", "))))
}

fn optional_name(text: Option<&str>) -> Result<(), Problem> {
    text.map_or(Ok(()), |text| Name::parse("name", text).map(drop))
}

fn optional_description(text: Option<&str>) -> Result<(), Problem> {
    text.map_or(Ok(()), |text| line("description", text, REASON_CHARACTERS).map(drop))
}

fn optional_reason(text: Option<&str>) -> Result<(), Problem> {
    Reason::parse(text).map(drop)
}

fn each(list: &[String], rule: impl Fn(&str) -> Result<(), Problem>) -> Result<(), Problem> {
    list.iter().try_for_each(|text| rule(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    #[track_caller]
    fn judged(line: &str, last: &[&str]) -> Option<String> {
        let words = std::iter::once("crossfade").chain(line.split(' ')).chain(last.iter().copied());
        let command = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).command;
        judge(&command).err().map(|problem| problem.field.unwrap_or_default())
    }

    #[test]
    fn a_value_that_no_server_accepts_is_refused_before_anything_is_sent() {
        let long = "x".repeat(1001);
        let place = "X --env staging";
        for (line, value, field) in [
            ("registration update X --env staging --scope".to_owned(), "read  write", "scopes"),
            ("registration update X --env staging --audience".to_owned(), "a b", "audience"),
            ("registration update X --env staging --disable --reason".to_owned(), &long, "reason"),
            ("property limits set P --env staging --any-scope --audience".to_owned(), "a b", "audience"),
            ("property limits set P --env staging --issuer-only --scope".to_owned(), "a b", "scopes"),
            ("property create".to_owned(), "a\u{200b}b", "name"),
            ("property update P --name".to_owned(), " ", "name"),
            ("client create --property P --env staging --show".to_owned(), "", "name"),
            ("client create X --property P --env staging --show --owner".to_owned(), "ada", "owners"),
            ("client update X --owner".to_owned(), "ada example.com", "owners"),
            ("client update X --description".to_owned(), &long, "description"),
            ("client delete X --reason".to_owned(), " ", "reason"),
            ("env create --kind test".to_owned(), "QA", "slug"),
            ("env update staging --name".to_owned(), "", "name"),
            ("env update staging --wipe-after-days".to_owned(), "3651", "wipe_after_days"),
            ("env update staging --max-age-days".to_owned(), "0", "max_age_days"),
            ("env update staging --guard-extension-hours".to_owned(), "169", "guard_extension_hours"),
            ("env update staging --signing-key-rotation-days".to_owned(), "0", "signing_key_rotation_days"),
            ("user create --show --email".to_owned(), "ada", "email"),
            ("user create --program --name".to_owned(), "", "name"),
            ("user update X --email".to_owned(), "a@b@c", "email"),
            ("init --password-stdin --owner-email".to_owned(), "ada", "owner_email"),
            ("token create --user a@example.com --name".to_owned(), "", "name"),
            ("grant create a@example.com --role".to_owned(), "application_manager", "role"),
            ("grant create a@example.com --property P --role".to_owned(), "owner", "role"),
            ("grant create a@example.com --env staging --role".to_owned(), "operations_manager", "role"),
            (format!("secret extend {place} --reason r --until"), "+400h", "expires_at"),
            (format!("secret extend {place} --reason r --until"), "+0", "expires_at"),
            (format!("secret revoke {place} --reason"), "", "reason"),
            (format!("secret rollback {place} --reason"), "", "reason"),
            (format!("secret reveal {place} --show --reason"), &long, "reason"),
            (format!("secret rotate {place} --show --compromised --transition"), "1h", "transition_hours"),
            (format!("secret rotate {place} --show --revoke-tokens --transition"), "1h", "revoke_tokens"),
            (format!("drill schedule {place} --reason r --length"), "1d", "length_seconds"),
            (format!("drill schedule {place} --reason r --length 1m --start"), "+169h", "starts_at"),
            (format!("drill schedule {place} --length 1m --reason"), "", "reason"),
            ("audit list --action".to_owned(), "secret.eaten", "action"),
            ("audit export --action".to_owned(), "secret.eaten", "action"),
            ("audit failures --reason".to_owned(), "expird", "reason"),
        ] {
            assert_eq!(judged(&line, &[value]).as_deref(), Some(field), "{line} {value:?}");
        }
    }

    #[test]
    fn the_bounds_themselves_are_accepted() {
        for line in [
            "secret extend X --env staging --reason r --until +168h",
            "secret extend X --env staging --reason r --until 2020-01-01T00:00:00Z",
            "env update staging --wipe-after-days 0 --max-age-days 3650 --guard-extension-hours 168",
            "env update staging --max-age-days none --guard-extension-hours none --position 0",
            "env update staging --signing-key-rotation-days 3650",
            "env update staging --signing-key-rotation-days none",
            "registration update X --env staging --scope read,write --audience none --token-ttl 24h",
            "drill schedule X --env staging --reason r --length 15m --start +168h",
            "secret rotate X --env staging --show --transition 0 --compromised --revoke-tokens",
            "grant create a@example.com --role viewer --client C --env staging",
            "audit list --action secret.rotated",
            "client update X --owner wh_0123456789abcdefghijkl",
            "client create X --property P --env staging --show --owner a@b.example,wh_0123456789abcdefghijkl",
        ] {
            assert_eq!(judged(line, &[]), None, "{line}");
        }
    }
}
