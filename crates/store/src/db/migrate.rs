//! Migrating the schema, with no more permissions than needed.

use super::{
    Db, Engine, StoreError,
    connect::{cannot_open, migrator, private_file},
    fault::describe,
    pool::Purpose,
};
use sqlx::migrate::{Migrate, MigrateError, Migrator};

impl Db {
    /// Migrates the schema of the database to the version of this program.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        // A role that may not create tables is enough where no migration is due.
        if self.stored_schema().await?.is_some() && self.is_migrated().await? {
            return Ok(());
        }
        // The SQLite migrator takes no lock of its own; two commands may start at the same moment.
        let _lock = match self.location.lock_path("migrate-lock") {
            Some(path) => {
                let lock = move || {
                    let file = private_file(&path)?;
                    file.lock().map_err(|error| cannot_open(&path, &error))?;
                    Ok::<_, StoreError>(file)
                };
                let locked = tokio::task::spawn_blocking(lock).await;
                Some(locked.map_err(|_| StoreError::Open("the migration was interrupted".to_owned()))??)
            }
            None => None,
        };
        let migrated = match &self.engine {
            Engine::Sqlite(pools) => {
                let mut lent = pools.lend(Purpose::Change).await?;
                let migrated = migrator("BLOB").run_direct(None, lent.link()?, false).await;
                // A migration that failed may have left anything behind.
                migrated.is_err().then(|| lent.give_up());
                migrated
            }
            Engine::Postgres(pools) => {
                let mut lent = pools.lend(Purpose::Change).await?;
                let migrated = migrator("BYTEA").run_direct(None, &mut lent.link()?.session, false).await;
                migrated.is_err().then(|| lent.give_up());
                migrated
            }
        };
        migrated.map_err(cannot_migrate)
    }

    /// Whether every migration has been applied. Refuses a database that this program must not migrate.
    async fn is_migrated(&self) -> Result<bool, StoreError> {
        match &self.engine {
            Engine::Sqlite(pools) => {
                is_migrated(&migrator("BLOB"), pools.lend(Purpose::Read).await?.link()?).await
            }
            Engine::Postgres(pools) => {
                is_migrated(&migrator("BYTEA"), &mut pools.lend(Purpose::Read).await?.link()?.session).await
            }
        }
        .map_err(cannot_migrate)
    }
}

async fn is_migrated<C: Migrate>(ours: &Migrator, session: &mut C) -> Result<bool, MigrateError> {
    if let Some(version) = session.dirty_version(TABLE).await? {
        return Err(MigrateError::Dirty(version));
    }
    let applied = session.list_applied_migrations(TABLE).await?;
    for there in &applied {
        match ours.iter().find(|migration| migration.version == there.version) {
            None => return Err(MigrateError::VersionMissing(there.version)),
            Some(migration) if migration.checksum != there.checksum => {
                return Err(MigrateError::VersionMismatch(there.version));
            }
            Some(_) => {}
        }
    }
    Ok(applied.len() == ours.iter().count())
}

/// Table in which sqlx records the applied migrations.
const TABLE: &str = "_sqlx_migrations";

fn cannot_migrate(error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
            StoreError::NewerSchema(version)
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            StoreError::Open(format!("cannot migrate the database: {}", describe(&error)))
        }
        other => StoreError::Open(format!("cannot migrate the database: {other}")),
    }
}
