//! Commands on the server machine. They open the database, even while a server is running on it.

use crate::{
    cli::{CreateToken, Init, RecoverOwner, lacking},
    database::wait_for,
    failure::Failure,
    output::{self, RECOVERY, Sink, TOKEN, time},
    serve::{open, open_existing},
};
use crossfade_app::{Creation, NamedRegistration, NewToken, OwnerFactors};
use crossfade_core::roles::Permission;
use std::io::{BufRead, IsTerminal};
use zeroize::Zeroizing;

/// Runs `crossfade init`.
pub(crate) async fn init(args: Init) -> Result<(), Failure> {
    let settings = args.settings.resolve()?;
    let password = read_password()?;
    let creation = if args.new_instance { Creation::WithAnyKey } else { Creation::WithNewKey };
    wait_for(&settings.location).await?;
    let app = open(&settings, false, creation).await?;
    app.create_owner(&args.owner_email, &password).await?;
    app.close().await;
    output::note(&format!(
        "{email} is now the Owner. Create a token with: crossfade token create --user {email} --name NAME",
        email = args.owner_email
    ));
    Ok(())
}

/// Runs `crossfade owner recover`.
pub(crate) async fn recover_owner(args: RecoverOwner) -> Result<(), Failure> {
    let settings = args.settings.resolve()?;
    let app = open_existing(&settings).await?;
    let factors = if args.remove_factors { OwnerFactors::Remove } else { OwnerFactors::Keep };
    let recovered = async { app.recover_owner(&args.email, factors).await.map_err(Failure::from) };
    let (sink, link) = Sink::around(args.output.as_deref(), recovered).await?;
    let passwords_are_off = app.are_passwords_off().await.unwrap_or_default();
    app.close().await;
    if passwords_are_off {
        output::note(
            "Passwords are switched off: the password signs in only with this link, unless the Owner is kept for emergencies. In that session, name the Owner under People, Sign-in policy, or link a provider.",
        );
    }
    output::note(&format!("The link works once and expires at {}.", time(Some(link.expires_at))));
    if args.json && sink.shows() {
        let content = serde_json::json!({"url": link.url, "expires_at": link.expires_at});
        return output::json_value(&content, &RECOVERY);
    }
    sink.put(&link.url, &RECOVERY)?;
    if args.json { output::json(&serde_json::json!({"expires_at": link.expires_at})) } else { Ok(()) }
}

/// Runs `crossfade token create`.
pub(crate) async fn create_token(args: CreateToken) -> Result<(), Failure> {
    let settings = args.settings.resolve()?;
    let app = open_existing(&settings).await?;
    let only = args.client.zip(args.env);
    let only = only.map(|(client, environment)| NamedRegistration { client, environment });
    let mut warnings: Vec<String> = match only {
        // Such a token receives the value of a secret that it generates.
        Some(_) => Vec::new(),
        None => lacking(&args.scope).iter().map(ToString::to_string).collect(),
    };
    warnings.extend(unheld(&app.permissions_held_by(&args.user).await?, &args.user, &args.scope));
    let new = NewToken {
        user: args.user,
        name: args.name,
        expires_days: args.expires_days,
        scope: args.scope,
        only,
    };
    let created = async { app.create_token(&new).await.map_err(Failure::from) };
    let (sink, value) = Sink::around(args.output.as_deref(), created).await?;
    app.close().await;
    warnings.iter().for_each(|warning| output::note(warning));
    sink.put(value.reveal(), &TOKEN)
}

/// Returns a warning about permissions that the token lacks because its owner does.
fn unheld(held: &[Permission], user: &str, scope: &[String]) -> Option<String> {
    if held.is_empty() {
        return Some(format!("{user} has no role yet, so this token cannot read or change anything."));
    }
    let is_unheld = |word: &&String| held.iter().all(|permission| permission.as_str() != word.as_str());
    let unheld: Vec<&str> = scope.iter().filter(is_unheld).map(String::as_str).collect();
    let text = || format!("{user} has no role with {}, so this token cannot use it.", unheld.join(" and "));
    (!unheld.is_empty()).then(text)
}

fn read_password() -> Result<Zeroizing<String>, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::failed(format!("Cannot read the password from stdin: {error}."));
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password("Password: ").map(Zeroizing::new).map_err(unreadable);
    }
    let mut line = Zeroizing::new(String::new());
    std::io::stdin().lock().read_line(&mut line).map_err(unreadable)?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
