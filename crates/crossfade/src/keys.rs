//! `crossfade keys`: the master keys and data keys of an instance.

use crate::{
    cli::KeysArgs,
    failure::Failure,
    output::{self, fixed, table, text, time},
    serve::{note_unnoted, open_existing},
};
use crossfade_app::{
    DataKeyLine, DataKeyPurpose, DataKeyState, MasterKeyLine, MasterKeyState, SecretOfOldKey, list_keys,
    list_secrets_of_old_keys,
};
use crossfade_authority::Clock;
use serde::Serialize;

#[derive(Serialize)]
struct DataKeys<'a> {
    data_keys: &'a [DataKeyLine],
}

#[derive(Serialize)]
struct Secrets {
    secrets: Vec<SecretOfOldKey>,
}

/// Runs `crossfade keys list`.
pub(crate) async fn list(args: KeysArgs) -> Result<(), Failure> {
    let settings = args.settings.resolve()?;
    let (source, journal) = (&settings.master_key, settings.journal.as_deref());
    let keys = list_keys(&settings.location, source, journal, Clock::system().now()).await?;
    if args.json {
        return output::json(&keys);
    }
    let master = |key: &MasterKeyLine| {
        let (holds, ended) = (key.seals.to_string(), "-".to_owned());
        let in_journal = key.in_journal.map_or_else(|| "-".to_owned(), |number| number.to_string());
        vec![key.id.clone(), "master".to_owned(), state(key.state).to_owned(), holds, ended, in_journal]
    };
    let data = |key: &DataKeyLine| {
        let (kind, ended) = match key.purpose {
            DataKeyPurpose::Seal => ("seal", "-".to_owned()),
            DataKeyPurpose::Verify => ("verify", key.ended.to_string()),
        };
        let (state, holds) = (state_of(key.state).to_owned(), key.holds.to_string());
        vec![key.id.clone(), kind.to_owned(), state, holds, ended, "-".to_owned()]
    };
    let rows = keys.master_keys.iter().map(master).chain(keys.data_keys.iter().map(data));
    let columns =
        [fixed("id"), fixed("kind"), fixed("state"), fixed("holds"), fixed("ended"), fixed("journal")];
    table(&columns, rows.collect())
}

/// Runs `crossfade keys secrets`.
pub(crate) async fn secrets(args: KeysArgs) -> Result<(), Failure> {
    let settings = args.settings.resolve()?;
    let secrets = list_secrets_of_old_keys(&settings.location, Clock::system().now()).await?;
    if args.json {
        return output::json(&Secrets { secrets });
    }
    let secret = |row: &SecretOfOldKey| {
        vec![
            row.client.clone(),
            row.environment.clone(),
            row.registration_id.clone(),
            row.secret_id.clone(),
            row.key_id.clone(),
            time(row.last_used_at),
        ]
    };
    let columns = [
        text("client"),
        fixed("env"),
        fixed("registration"),
        fixed("secret"),
        fixed("key"),
        fixed("last_used_at"),
    ];
    table(&columns, secrets.iter().map(secret).collect())
}

/// Runs `crossfade keys rotate`.
pub(crate) async fn rotate(args: KeysArgs) -> Result<(), Failure> {
    let settings = args.settings.resolve()?;
    let source = &settings.master_key;
    let app = open_existing(&settings).await?;
    let rotated = app.rotate_master_key(&settings.master_key).await;
    note_unnoted(&app);
    app.close().await;
    let rotated = rotated?;
    let (current, old) = match rotated.master_keys.split_first() {
        Some((current, old)) => (current, old),
        None => return Err(Failure::failed("There is no master key.")),
    };
    let made = if rotated.is_new { "Created" } else { "Used" };
    output::note(&format!(
        "{made} master key {} on the first line of the {source}. It seals all {} values. Sealed again: {}.",
        current.id, current.seals, rotated.resealed
    ));
    for key in old {
        output::note(&format!(
            "Master key {} seals {} values. Remove its line from the {source}, and keep a copy for the backups made \
            until now.",
            key.id, key.seals
        ));
    }
    output::note("Keep a copy of the new key, and give it to every other server of this instance.");
    if args.json { output::json(&rotated) } else { Ok(()) }
}

/// Runs `crossfade keys create`.
pub(crate) async fn create(args: KeysArgs) -> Result<(), Failure> {
    let settings = args.settings.resolve()?;
    let app = open_existing(&settings).await?;
    let created = app.create_data_keys(&settings.master_key).await;
    note_unnoted(&app);
    app.close().await;
    let keys = created?;
    for key in keys.iter().filter(|key| key.state == DataKeyState::Current) {
        let what = match key.purpose {
            DataKeyPurpose::Seal => "for values sealed from now on",
            DataKeyPurpose::Verify => "for digests from now on, and for each secret when it is used",
        };
        output::note(&format!("Created data key {} {what}.", key.id));
    }
    output::note(
        "A running server uses the new keys within seconds. Take a backup, which then contains them.",
    );
    if args.json { output::json(&DataKeys { data_keys: &keys }) } else { Ok(()) }
}

/// Runs `crossfade keys delete`.
pub(crate) async fn delete(id: &str, args: KeysArgs) -> Result<(), Failure> {
    let settings = args.settings.resolve()?;
    let app = open_existing(&settings).await?;
    let deleted = app.delete_data_key(id).await;
    note_unnoted(&app);
    app.close().await;
    let key = deleted?;
    output::note(&format!("Deleted data key {}.", key.id));
    if key.ended > 0 {
        output::note(&format!(
            "Ended secrets that are no longer recognised when they are presented: {}.",
            key.ended
        ));
    }
    if args.json { output::json(&DataKeys { data_keys: &[key] }) } else { Ok(()) }
}

fn state(state: MasterKeyState) -> &'static str {
    match state {
        MasterKeyState::Current => "current",
        MasterKeyState::Old => "old",
        MasterKeyState::Missing => "missing",
        MasterKeyState::Removed => "removed",
    }
}

fn state_of(state: DataKeyState) -> &'static str {
    match state {
        DataKeyState::Current => "current",
        DataKeyState::Old => "old",
    }
}
