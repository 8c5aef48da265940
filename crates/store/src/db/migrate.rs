//! Migrating the schema, with no more permissions than needed.

use super::{
    Db, Engine, StoreError,
    connect::{MIGRATIONS, cannot_open, migrator, private_file},
    fault::describe,
    pool::Purpose,
};
use sqlx::migrate::{Migrate, MigrateError, Migrator};

impl Db {
    /// Migrates the schema of the database to the version of this program.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        // A role that may not create tables is enough where no migration is due.
        let schema = self.stored_schema().await?;
        if schema.is_some() && self.is_migrated().await? {
            return Ok(());
        }
        if let Some(schema) = schema
            && shuts_out_programs_of(schema)
            && self.is_served().await?
            // A server of this version may have migrated it and taken the lock meanwhile.
            && !self.is_migrated().await?
        {
            return Err(StoreError::Open(SERVED_BY_EARLIER.to_owned()));
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
        match migrated {
            Err(MigrateError::VersionMissing(newer)) => Err(self.newer_schema(newer).await?),
            other => other.map_err(cannot_migrate),
        }
    }

    /// Whether every migration of this program has been applied. Refuses a database that this program must not migrate.
    async fn is_migrated(&self) -> Result<bool, StoreError> {
        let applied = match &self.engine {
            Engine::Sqlite(pools) => {
                applied(&migrator("BLOB"), pools.lend(Purpose::Read).await?.link()?).await
            }
            Engine::Postgres(pools) => {
                applied(&migrator("BYTEA"), &mut pools.lend(Purpose::Read).await?.link()?.session).await
            }
        };
        let Applied { has_all, newer } = applied.map_err(cannot_migrate)?;
        match newer {
            Some(newer) if !has_all || !self.may_run_on_newer().await? => {
                Err(self.newer_schema(newer).await?)
            }
            _ => Ok(has_all),
        }
    }

    /// Whether a database with a newer schema permits this program to run on it.
    pub async fn may_run_on_newer(&self) -> Result<bool, StoreError> {
        Ok(self.oldest_program().await?.is_some_and(|(schema, _)| schema <= Self::program_schema()))
    }

    /// Returns the refusal to run on a database with the migration `newer`, which this program does not know.
    pub async fn newer_schema(&self, newer: i64) -> Result<StoreError, StoreError> {
        let requires = match self.oldest_program().await? {
            Some((schema, version)) if schema > Self::program_schema() => {
                format!("Crossfade {version} (schema {schema})")
            }
            _ => format!("schema {newer}"),
        };
        Ok(StoreError::NewerSchema { requires })
    }
}

/// Migrations of a database, compared with those of this program.
struct Applied {
    /// Whether all migrations of this program have been applied.
    has_all: bool,
    /// The newest migration that this program does not know; `None` if it knows all of them.
    newer: Option<i64>,
}

async fn applied<C: Migrate>(ours: &Migrator, session: &mut C) -> Result<Applied, MigrateError> {
    if let Some(version) = session.dirty_version(TABLE).await? {
        return Err(MigrateError::Dirty(version));
    }
    let applied = session.list_applied_migrations(TABLE).await?;
    let (mut known, mut newer) = (0, None);
    for there in &applied {
        match ours.iter().find(|migration| migration.version == there.version) {
            None => newer = newer.max(Some(there.version)),
            Some(migration) if migration.checksum != there.checksum => {
                return Err(MigrateError::VersionMismatch(there.version));
            }
            Some(_) => known += 1,
        }
    }
    Ok(Applied { has_all: known == ours.iter().count(), newer })
}

const SERVED_BY_EARLIER: &str = "a server of an earlier version is using this database, and could not use it any more after \
    this version has migrated it; nothing was changed; stop all servers, then start this version";

/// Whether a program of this schema cannot run on a database after the later migrations.
fn shuts_out_programs_of(schema: i64) -> bool {
    MIGRATIONS.iter().any(|(version, _, sql)| *version > schema && sql.contains("UPDATE oldest_program SET"))
}

/// Table in which sqlx records the applied migrations.
const TABLE: &str = "_sqlx_migrations";

fn cannot_migrate(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            StoreError::Open(format!("cannot migrate the database: {}", describe(&error)))
        }
        other => StoreError::Open(format!("cannot migrate the database: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_that_earlier_programs_cannot_run_on_shuts_them_out() {
        assert!(shuts_out_programs_of(46));
        assert!(!shuts_out_programs_of(Db::program_schema()));
    }

    #[test]
    fn every_later_migration_says_which_programs_can_run_on_it() {
        for (version, name, sql) in MIGRATIONS.iter().filter(|(version, ..)| *version > 28) {
            let is_said = sql.contains("UPDATE oldest_program SET")
                || sql.contains("-- Earlier programs can run on it:");
            assert!(is_said, "{version} {name}");
        }
    }
}
