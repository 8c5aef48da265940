//! `crossfade keys`: the master keys of an instance.

use crate::{
    cli::KeysArgs,
    failure::Failure,
    output::{self, fixed, table},
    serve::open_existing,
};
use crossfade_app::{MasterKeyLine, MasterKeyState, list_master_keys};
use serde::Serialize;

#[derive(Serialize)]
struct Listed<'a> {
    master_keys: &'a [MasterKeyLine],
}

/// Runs `crossfade keys list`.
pub(crate) async fn list(args: KeysArgs) -> Result<(), Failure> {
    let settings = args.settings.resolve()?;
    let keys = list_master_keys(&settings.location, &settings.master_key).await?;
    if args.json {
        return output::json(&Listed { master_keys: &keys });
    }
    let row = |key: &MasterKeyLine| vec![key.id.clone(), state(key.state).to_owned(), key.seals.to_string()];
    table(&[fixed("id"), fixed("state"), fixed("seals")], keys.iter().map(row).collect())
}

/// Runs `crossfade keys rotate`.
pub(crate) async fn rotate(args: KeysArgs) -> Result<(), Failure> {
    let settings = args.settings.resolve()?;
    let source = &settings.master_key;
    let app = open_existing(&settings).await?;
    let rotated = app.rotate_master_key(&settings.master_key).await;
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

fn state(state: MasterKeyState) -> &'static str {
    match state {
        MasterKeyState::Current => "current",
        MasterKeyState::Old => "old",
        MasterKeyState::Missing => "missing",
    }
}
