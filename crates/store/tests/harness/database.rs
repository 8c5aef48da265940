//! A fresh database for each test, and a way past the store.

use crossfade_store::{Db, Location, StoreError, Tx};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Decode, PgConnection, Postgres, Sqlite, SqliteConnection,
    Type,
    migrate::{Migration, MigrationType, Migrator},
    postgres::PgConnectOptions,
    sqlite::SqliteConnectOptions,
};
use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Once,
    time::Duration,
};
use tempfile::TempDir;
use tokio::sync::{Mutex, OnceCell};

/// A place for one database, taken away when it is dropped.
pub struct Place {
    pub location: Location,
    keeper: Keeper,
    /// A session of PostgreSQL past the store, kept for the next statement: to open one takes longer than most of them.
    /// On SQLite each statement has its own, because a file that is open cannot be replaced.
    kept: Mutex<Option<PgConnection>>,
}

/// A session past the store.
enum Session {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

enum Keeper {
    Directory { _directory: TempDir },
    Server { maintenance: Box<PgConnectOptions>, name: String },
}

impl Place {
    /// A directory of its own for a SQLite file.
    pub fn file() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let location = Location::File(directory.path().join("crossfade.db"));
        Self { location, keeper: Keeper::Directory { _directory: directory }, kept: Mutex::default() }
    }

    /// A SQLite file of its own with the schema of this program: a copy, because to migrate each takes longer than
    /// most tests.
    pub async fn migrated_file() -> Self {
        static MIGRATED: OnceCell<Vec<u8>> = OnceCell::const_new();
        let migrated = MIGRATED.get_or_init(async || {
            let first = Self::file();
            first.migrate_to(i64::MAX).await;
            std::fs::read(first.path()).unwrap()
        });
        let migrated = migrated.await;
        let place = Self::file();
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(place.path()).unwrap();
        file.write_all(migrated).unwrap();
        place
    }

    fn path(&self) -> &Path {
        match &self.location {
            Location::File(path) => path,
            Location::Postgres(_) => panic!("a database of PostgreSQL is no file"),
        }
    }

    /// A database of its own on the PostgreSQL server, if there is one.
    pub async fn database() -> Option<Self> {
        Some(Self::copied(postgres_server()?.parse().unwrap(), "template0").await)
    }

    /// The same with the schema of this program, copied from a database that the server keeps.
    pub async fn migrated_database() -> Option<Self> {
        static MIGRATED: OnceCell<String> = OnceCell::const_new();
        let maintenance: PgConnectOptions = postgres_server()?.parse().unwrap();
        let migrated = MIGRATED.get_or_init(async || migrated_template(&maintenance).await).await;
        Some(Self::copied(maintenance, migrated).await)
    }

    async fn copied(maintenance: PgConnectOptions, template: &str) -> Self {
        let name = format!("crossfade_test_{:016x}", RandomState::new().hash_one(0));
        run(&maintenance, &format!("CREATE DATABASE {name} TEMPLATE {template}")).await.unwrap();
        let url = maintenance.clone().database(&name).to_url_lossy().to_string();
        let keeper = Keeper::Server { maintenance: Box::new(maintenance), name };
        Self { location: Location::Postgres(url.into()), keeper, kept: Mutex::default() }
    }

    /// Another place on this engine with the schema of this program.
    pub async fn another(&self) -> Self {
        match &self.location {
            Location::File(_) => Self::migrated_file().await,
            Location::Postgres(_) => Self::migrated_database().await.unwrap(),
        }
    }

    /// Another empty place on this engine.
    pub async fn another_empty(&self) -> Self {
        match &self.location {
            Location::File(_) => Self::file(),
            Location::Postgres(_) => Self::database().await.unwrap(),
        }
    }

    /// Runs SQL past the store: what a broken disk, another version or a hand at the console leaves behind.
    pub async fn raw(&self, sql: &str) {
        self.try_raw(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Migrates an empty place to an earlier schema, as a program of that schema did.
    pub async fn migrate_to(&self, version: i64) {
        let mut earlier = migrations(&self.location);
        earlier.retain(|migration| migration.version <= version);
        let migrator = Migrator::with_migrations(earlier);
        match &self.location {
            Location::File(path) => {
                let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
                let mut session = options.foreign_keys(true).connect().await.unwrap();
                migrator.run_direct(None, &mut session, false).await.unwrap();
                session.close().await.unwrap();
            }
            Location::Postgres(url) => {
                let mut session = url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
                migrator.run_direct(None, &mut session, false).await.unwrap();
                session.close().await.unwrap();
            }
        }
    }

    /// Runs SQL past the store and returns the database's error.
    pub async fn try_raw(&self, sql: &str) -> Result<(), sqlx::Error> {
        let mut session = self.session().await?;
        session.run(sql).await?;
        self.release(session).await
    }

    /// Opens a session, or takes the one that is kept. Only a session whose statement succeeded
    /// is [released](Self::release).
    async fn session(&self) -> Result<Session, sqlx::Error> {
        match &self.location {
            Location::File(path) => {
                Ok(Session::Sqlite(SqliteConnectOptions::new().filename(path).connect().await?))
            }
            Location::Postgres(url) => {
                if let Some(mut kept) = self.kept.lock().await.take()
                    && kept.ping().await.is_ok()
                {
                    return Ok(Session::Postgres(kept));
                }
                Ok(Session::Postgres(url.parse::<PgConnectOptions>()?.connect().await?))
            }
        }
    }

    /// Closes a session of SQLite, and keeps one of PostgreSQL.
    async fn release(&self, session: Session) -> Result<(), sqlx::Error> {
        match session {
            Session::Sqlite(session) => session.close().await,
            Session::Postgres(session) => {
                *self.kept.lock().await = Some(session);
                Ok(())
            }
        }
    }

    /// Drops the foreign keys of PostgreSQL, which would refuse what a broken disk does not.
    pub async fn unlink(&self) {
        if let Location::Postgres(_) = self.location {
            self.raw(
                "DO $$ DECLARE key record; BEGIN
                   FOR key IN SELECT conname, conrelid::regclass AS owner FROM pg_constraint
                       WHERE contype = 'f' AND connamespace = 'public'::regnamespace
                   LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', key.owner, key.conname); END LOOP;
                 END $$",
            )
            .await;
        }
    }

    /// Reads one number past the store.
    pub async fn number(&self, sql: &str) -> i64 {
        self.value(sql).await
    }

    /// Reads one value past the store.
    async fn value<T: Value>(&self, sql: &str) -> T {
        let mut session = self.session().await.unwrap();
        let value = session.value(sql).await;
        self.release(session).await.unwrap();
        value
    }

    /// Asks again and again until the number is this one, for a minute at most.
    pub async fn wait_for(&self, sql: &str, expected: i64) {
        let reached = async { while self.number(sql).await != expected {} };
        tokio::time::timeout(Duration::from_secs(60), reached).await.expect(sql);
    }

    /// How the engine would find the rows of a statement, one step a line. Its arguments are written into it.
    pub async fn plan(&self, sql: &str) -> Vec<String> {
        match &self.location {
            Location::File(path) => {
                let mut session = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
                let query = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
                let steps: Vec<(i64, i64, i64, String)> =
                    sqlx::query_as(query).fetch_all(&mut session).await.unwrap();
                steps.into_iter().map(|(_, _, _, step)| step).collect()
            }
            Location::Postgres(url) => {
                let mut session = url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
                let query = AssertSqlSafe(format!("EXPLAIN {sql}"));
                sqlx::query_scalar(query).fetch_all(&mut session).await.unwrap()
            }
        }
    }

    /// Holds the lock that every write needs, until what comes back is dropped.
    pub async fn hold_writes(&self) -> Box<dyn Send> {
        match &self.location {
            Location::File(path) => {
                let mut session = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
                sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut session).await.unwrap();
                Box::new(session)
            }
            Location::Postgres(url) => {
                let mut session = url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
                sqlx::raw_sql("BEGIN; SELECT * FROM head FOR UPDATE").execute(&mut session).await.unwrap();
                Box::new(session)
            }
        }
    }

    /// Lets every commit fail that follows: on SQLite in a way that leaves the transaction open, on PostgreSQL as a full
    /// disk does.
    pub async fn fail_commits(&self) {
        self.raw(match self.location {
            Location::File(_) => {
                "CREATE TABLE unpaid (secret TEXT REFERENCES secrets (id) DEFERRABLE INITIALLY DEFERRED);
                 CREATE TRIGGER fail_commits AFTER UPDATE ON head BEGIN INSERT INTO unpaid VALUES ('sec_nothing'); END"
            }
            Location::Postgres(_) => {
                "CREATE FUNCTION fail_commits() RETURNS trigger LANGUAGE plpgsql AS
                   $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;
                 CREATE CONSTRAINT TRIGGER fail_commits AFTER UPDATE ON head DEFERRABLE INITIALLY DEFERRED
                   FOR EACH ROW EXECUTE FUNCTION fail_commits()"
            }
        })
        .await;
    }

    /// Ends what [`Self::fail_commits`] began.
    pub async fn mend_commits(&self) {
        self.raw(match self.location {
            Location::File(_) => "DROP TRIGGER fail_commits; DROP TABLE unpaid",
            Location::Postgres(_) => "DROP TRIGGER fail_commits ON head; DROP FUNCTION fail_commits()",
        })
        .await;
    }

    /// Every column of the schema: its table, its name, and whether it holds numbers, text or bytes.
    pub async fn columns(&self) -> Vec<(String, String, String)> {
        let kind = "CASE UPPER(c.type) WHEN 'BIGINT' THEN 'Int' WHEN 'TEXT' THEN 'Text' ELSE 'Blob' END";
        let mut columns: Vec<(String, String, String)> = match &self.location {
            Location::File(path) => {
                let sql = format!(
                    "SELECT t.name, c.name, {kind} FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'"
                );
                let mut session = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
                sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut session).await
            }
            Location::Postgres(url) => {
                let sql = format!(
                    "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT), {kind} FROM
                       (SELECT table_name, column_name, data_type AS type FROM information_schema.columns WHERE table_schema = 'public') c"
                );
                let mut session = url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
                sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut session).await
            }
        }
        .unwrap();
        columns.retain(|(table, _, _)| table != "_sqlx_migrations");
        columns.sort();
        columns
    }

    /// Every table with all its rows: equal only when nothing was written.
    pub async fn fingerprint(&self) -> Vec<(String, String)> {
        let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (table, column, _) in self.columns().await {
            tables.entry(table).or_default().push(column);
        }
        let mut session = self.session().await.unwrap();
        let mut contents = Vec::new();
        for (table, columns) in tables {
            let rows = match &self.location {
                Location::File(_) => {
                    let row: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
                    let row = row.join(" || ',' || ");
                    format!(
                        "SELECT COALESCE(group_concat(r, ';'), '') FROM (SELECT {row} AS r FROM {table} ORDER BY 1)"
                    )
                }
                Location::Postgres(_) => {
                    format!(
                        "SELECT COALESCE(string_agg(CAST(t.* AS TEXT), ';' ORDER BY CAST(t.* AS TEXT)), '') FROM {table} t"
                    )
                }
            };
            let rows: String = session.value(&rows).await;
            contents.push((table, rows));
        }
        self.release(session).await.unwrap();
        contents
    }
}

/// What both engines can read from a column.
trait Value:
    Send + Unpin + for<'r> Decode<'r, Sqlite> + for<'r> Decode<'r, Postgres> + Type<Sqlite> + Type<Postgres>
{
}

impl Value for i64 {}
impl Value for String {}

impl Session {
    /// Runs statements of which some may violate foreign keys: what a broken disk leaves behind does.
    async fn run(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(session) => {
                sqlx::raw_sql("PRAGMA foreign_keys = OFF").execute(&mut *session).await?;
                sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(session).await.map(drop)
            }
            Self::Postgres(session) => {
                sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(session).await.map(drop)
            }
        }
    }

    async fn value<T: Value>(&mut self, sql: &str) -> T {
        let query = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(session) => sqlx::query_scalar(query).fetch_one(session).await,
            Self::Postgres(session) => sqlx::query_scalar(query).fetch_one(session).await,
        }
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

/// Returns the name of a database with the schema of this program. The first run makes it, and all later ones find it. No
/// session is ever opened in it, because PostgreSQL copies none that is in use.
async fn migrated_template(maintenance: &PgConnectOptions) -> String {
    let ours = migrations(&Location::Postgres(String::new().into()));
    let schema = ours.iter().fold(DefaultHasher::new(), |mut hasher, migration| {
        migration.checksum.hash(&mut hasher);
        hasher
    });
    let name = format!("crossfade_template_{:016x}", schema.finish());
    let exists = format!("SELECT COUNT(*) FROM pg_database WHERE datname = '{name}'");
    let mut session = maintenance.connect().await.unwrap();
    let existing: i64 = sqlx::query_scalar(AssertSqlSafe(exists)).fetch_one(&mut session).await.unwrap();
    session.close().await.unwrap();
    if existing == 0 {
        let draft = Place::copied(maintenance.clone(), "template0").await;
        draft.migrate_to(i64::MAX).await;
        let Keeper::Server { name: made, .. } = &draft.keeper else { panic!("it is on a server") };
        // The session that migrated it may take a moment to end. Another process may be the first.
        let mut tries = 0;
        while let Err(error) = run(maintenance, &format!("ALTER DATABASE {made} RENAME TO {name}")).await {
            let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
            match &*code {
                "42P04" => break,
                "55006" if tries < 100 => tries += 1,
                _ => panic!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    name
}

/// The migrations of an engine, oldest first, read from their files.
pub fn migrations(location: &Location) -> Vec<Migration> {
    let is_sqlite = matches!(location, Location::File(_));
    let (blob, engine) = if is_sqlite { ("BLOB", "sqlite") } else { ("BYTEA", "postgres") };
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../store/migrations");
    let client_ids = std::fs::read_to_string(format!("{directory}/0050_client_ids.{engine}.sql")).unwrap();
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    let mut migrations: Vec<Migration> = files
        .filter(|path| !path.file_stem().unwrap().to_str().unwrap().contains('.'))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap();
            let (version, description) = name.split_once('_').unwrap();
            let sql = std::fs::read_to_string(&path).unwrap();
            let sql = sql.replace("{BLOB}", blob).replace("{CLIENT_IDS}", &client_ids);
            let sql = sqlx::SqlSafeStr::into_sql_str(AssertSqlSafe(sql));
            let (version, description) = (version.parse().unwrap(), description.to_owned().into());
            Migration::new(version, description, MigrationType::Simple, sql, false)
        })
        .collect();
    migrations.sort_by_key(|migration| migration.version);
    migrations
}

/// A database that was opened for one test.
pub struct TestDb {
    pub db: Db,
    pub place: Place,
}

impl TestDb {
    pub async fn open(place: Place) -> Self {
        Self { db: Db::open(&place.location).await.unwrap(), place }
    }

    /// A write that is expected to succeed.
    pub async fn write<T>(&self, work: impl AsyncFnOnce(&mut Tx) -> Result<T, StoreError>) -> T {
        self.db.write(work).await.unwrap().0
    }

    /// A write of which the outcome matters.
    pub async fn try_write<T>(
        &self,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.db.write(work).await.map(|(done, _)| done)
    }

    /// A read that is expected to succeed.
    pub async fn read<T>(&self, work: impl AsyncFnOnce(&mut Tx) -> Result<T, StoreError>) -> T {
        self.db.read(work).await.unwrap()
    }

    /// A read of which the outcome matters.
    pub async fn try_read<T>(
        &self,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.db.read(work).await
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        match self {
            Self::Directory { .. } => {}
            Self::Server { maintenance, name } => {
                // On a thread of its own, because a test that has failed cannot await any more. Best effort.
                let (options, sql) = (maintenance.clone(), format!("DROP DATABASE {name} WITH (FORCE)"));
                let dropped = std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.is_ok_and(|runtime| runtime.block_on(run(&*options, &sql)).is_ok())
                });
                drop(dropped.join());
            }
        }
    }
}

async fn run<O: ConnectOptions>(options: &O, sql: &str) -> Result<(), sqlx::Error>
where
    O::Connection: Sized,
    for<'c> &'c mut O::Connection: sqlx::Executor<'c, Database = <O::Connection as Connection>::Database>,
{
    let mut session = options.connect().await?;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut session).await?;
    session.close().await
}

/// The maintenance URL of the PostgreSQL server to test on. Without one the tests are not run, which is said
/// once and is a failure in CI.
fn postgres_server() -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the one setting of this suite")]
    let setting = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let url = setting("CROSSFADE_TEST_POSTGRES");
    if url.is_none() {
        assert!(setting("CI").is_none(), "CI runs the PostgreSQL tests: CROSSFADE_TEST_POSTGRES is missing");
        static SAID: Once = Once::new();
        // Not with eprintln!, which the test runner hides when a test passes.
        SAID.call_once(|| {
            let line = "The PostgreSQL tests were not run: CROSSFADE_TEST_POSTGRES is not set.";
            drop(writeln!(std::io::stderr(), "{line}"));
        });
    }
    url
}
