//! A transaction, and how statements run in it.

use super::{
    CLOCK, CLOCK_AND_LEASES, READ_HEAD, STORE_HEAD, STORE_HEAD_AND_WAKE, StoreError,
    connect::{ANSWERS_WITHIN, PgLink},
    fault::{Fault, describe, is_rolled_back},
    lent::Lent,
    pool::{Link, timed_out},
    refusal::is_storable,
    row::{AnyRow, IntoSql, Row, Value, bind_sqlite},
};
use crate::{catalogue::Statement, ends::Noted};
use crossfade_core::{Timestamp, audit::chain::ChainHash, ended::EndHash};
use futures_util::{Stream, TryStreamExt};
use sqlx::sqlite::SqliteConnection;
use std::{collections::BTreeSet, time::Duration};

/// Numbers of rows for which a statement is run in one execution. Only a few, so that each text stays prepared.
const ROWS_AT_ONCE: [usize; 4] = [64, 16, 4, 1];
/// Numbers of keys that one execution looks up.
const KEYS_AT_ONCE: [usize; 5] = [16, 64, 256, 1024, 4096];
const MAX_KEYS: usize = 4096;
/// Target of the trace events that name each statement as it is executed.
pub const TRACE_STATEMENTS: &str = "crossfade_store::statements";

pub(super) enum Conn {
    Sqlite(Lent<SqliteConnection>),
    Postgres(Lent<PgLink>),
}

/// The row that orders changes, as read under its lock and as it will be written at the commit.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) change_seq: i64,
    pub(super) audit_seq: i64,
    /// Hash of the last event of the trail; `None` before its chain has begun.
    pub(super) audit_hash: Option<ChainHash>,
    pub(super) highest_time: Timestamp,
    /// Number of the last noted end.
    pub(super) end_seq: i64,
    /// Running hash over the ends; `None` before the first one that was noted with a hash.
    pub(super) end_hash: Option<EndHash>,
}

impl Default for Head {
    fn default() -> Self {
        let highest_time = Timestamp::from_micros(0);
        Self { change_seq: 0, audit_seq: 0, audit_hash: None, highest_time, end_seq: 0, end_hash: None }
    }
}

/// What the database says of the time, under the lock of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told<A> {
    /// The time of its clock.
    pub at: Timestamp,
    /// When it was asked.
    pub asked: A,
    /// Until when at least one other node may decide; `None` if none may.
    pub others_until: Option<Timestamp>,
}

/// A transaction. The first failed statement poisons it, because PostgreSQL would roll everything back at the commit
/// and still report success.
pub struct Tx {
    conn: Conn,
    /// The first failure, which poisons the transaction.
    failed: Option<(Fault, String)>,
    /// Whether statements have no timeout.
    is_unlimited: bool,
    pub(super) head: Head,
    /// The last change before this transaction.
    pub(super) began_at: i64,
    /// The node of this process; empty if it is none.
    pub(crate) node: String,
    /// Whether this transaction notes what it ends, for the journal.
    pub(super) is_noting: bool,
    /// Whether what it ends is what the journal says, so that it is neither noted nor refused.
    is_quiet: bool,
    /// Whether it has ended something.
    narrows: bool,
    /// Whether its answer says that something ended before.
    confirms: bool,
    pub(crate) noted: BTreeSet<Noted>,
}

impl Tx {
    pub(super) fn new(conn: Conn, node: String) -> Self {
        let (head, noted) = (Head::default(), BTreeSet::new());
        let (is_noting, is_quiet, narrows, confirms) = (false, false, false, false);
        Self {
            conn,
            failed: None,
            is_unlimited: false,
            head,
            began_at: 0,
            node,
            is_noting,
            is_quiet,
            narrows,
            confirms,
            noted,
        }
    }

    /// Returns the highest time at which anything was written before this transaction.
    pub fn highest_time(&self) -> Timestamp {
        self.head.highest_time
    }

    /// Reads the clock of a database that has one, after this transaction has taken its lock, and until when other nodes
    /// may decide. Calls `ask` just before the question is sent.
    pub async fn told<A>(&mut self, ask: impl FnOnce() -> A) -> Result<Option<Told<A>>, StoreError> {
        let limit = self.limit();
        let Conn::Postgres(lent) = &mut self.conn else { return Ok(None) };
        let link = lent.link()?;
        let asked = ask();
        let told = sqlx::query_as::<_, (i64, Option<i64>)>(CLOCK_AND_LEASES).bind(&self.node);
        let told = told.persistent(!link.is_pooled).fetch_one(&mut link.session);
        let told = within(limit, told).await;
        let (at, others_until) = self.settle(told)?;
        let others_until = others_until.map(Timestamp::from_micros);
        Ok(Some(Told { at: Timestamp::from_micros(at), asked, others_until }))
    }

    /// Reads the clock of a database that has one.
    pub async fn clock(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let limit = self.limit();
        let Conn::Postgres(lent) = &mut self.conn else { return Ok(None) };
        let link = lent.link()?;
        let told = sqlx::query_scalar(CLOCK).persistent(!link.is_pooled).fetch_one(&mut link.session);
        let told = within(limit, told).await;
        self.settle(told).map(Timestamp::from_micros).map(Some)
    }

    /// Records that this transaction writes at `now`, so that no later transaction uses an earlier time.
    pub fn stamp(&mut self, now: Timestamp) {
        self.head.highest_time = self.head.highest_time.max(now);
    }

    /// Returns the last change before those of this transaction; 0 in a read transaction.
    pub fn last_change(&self) -> i64 {
        self.head.change_seq
    }

    pub(crate) fn next_change(&mut self) -> i64 {
        self.head.change_seq += 1;
        self.head.change_seq
    }

    pub(crate) fn next_audit(&mut self) -> i64 {
        self.head.audit_seq += 1;
        self.head.audit_seq
    }

    pub(crate) fn last_audit(&self) -> i64 {
        self.head.audit_seq
    }

    pub(crate) fn audit_hash(&self) -> Option<ChainHash> {
        self.head.audit_hash
    }

    pub(crate) fn set_audit_hash(&mut self, hash: ChainHash) {
        self.head.audit_hash = Some(hash);
    }

    /// Notes the subject of an end for the journal, if there is one.
    pub(crate) fn note(&mut self, noted: Noted) {
        self.narrows |= !self.is_quiet;
        self.note_for_later(noted);
    }

    /// Notes a subject of which nothing has ended, so that no change waits for the journal because of it.
    pub(crate) fn note_for_later(&mut self, noted: Noted) {
        if self.is_noting {
            self.noted.insert(noted);
        }
    }

    /// Whether this transaction notes what it ends.
    pub fn is_noting(&self) -> bool {
        self.is_noting
    }

    /// Whether this transaction has ended something that must go to the journal before the reply.
    pub fn narrows(&self) -> bool {
        self.narrows
    }

    /// Records that the reply says that something ended before, so that this must be in the journal, too.
    pub fn confirm_ends(&mut self) {
        self.confirms = true;
    }

    /// Whether the reply says that something ended before.
    pub fn confirms_ends(&self) -> bool {
        self.confirms
    }

    /// Notes no ends in this transaction.
    pub(crate) fn note_nothing(&mut self) {
        (self.is_quiet, self.is_noting, self.narrows) = (true, false, false);
        self.noted.clear();
    }

    /// Returns the number and the running hash of an end that is appended now.
    pub(crate) fn next_end(&mut self, entry: &str) -> (i64, EndHash) {
        self.head.end_seq += 1;
        let hash = EndHash::after(self.head.end_hash, self.head.end_seq, entry);
        self.head.end_hash = Some(hash);
        (self.head.end_seq, hash)
    }

    /// Returns the number of the last noted end.
    pub fn last_end(&self) -> i64 {
        self.head.end_seq
    }

    /// Continues the numbering and the running hash of ends from the journal.
    pub fn continue_ends_from(&mut self, end_seq: i64, end_hash: Option<EndHash>) {
        (self.head.end_seq, self.head.end_hash) = (end_seq, end_hash);
    }

    /// Continues the numbering and the chain of another database.
    pub(crate) fn continue_from(
        &mut self,
        change_seq: i64,
        (end_seq, end_hash): (i64, Option<EndHash>),
        (audit_seq, audit_hash): (i64, Option<ChainHash>),
        highest_time: Timestamp,
    ) {
        self.head = Head { change_seq, audit_seq, audit_hash, highest_time, end_seq, end_hash };
    }

    /// Reads the stored head: the last change and the highest time.
    pub async fn read_head(&mut self) -> Result<(i64, Timestamp), StoreError> {
        let row = self.one(READ_HEAD, vec![]).await?;
        Ok((row.int("change_seq")?, row.time("highest_time")?))
    }

    /// Removes the timeout of statements.
    pub(super) async fn lift_limits(&mut self) -> Result<(), StoreError> {
        self.is_unlimited = true;
        let Conn::Postgres(lent) = &mut self.conn else { return Ok(()) };
        // The server's limit counts the time that the reader takes, too.
        let lifted = lent.link()?.run("SET LOCAL statement_timeout = 0").await;
        self.settle(lifted)
    }

    /// Writes the head as the transaction leaves it: its last statement.
    pub(super) async fn store_head(&mut self) -> Result<(), StoreError> {
        let Head { change_seq, audit_seq, audit_hash, highest_time, end_seq, end_hash } = self.head;
        let audit_hash = audit_hash.map(|hash| hash.as_bytes().to_vec());
        let end_hash = end_hash.map(|hash| hash.as_bytes().to_vec());
        let args = vec![
            change_seq.into(),
            audit_seq.into(),
            highest_time.into(),
            audit_hash.into(),
            end_seq.into(),
            end_hash.into(),
        ];
        if change_seq == self.began_at {
            return self.execute(STORE_HEAD, args).await.map(drop);
        }
        self.check_plain(&STORE_HEAD, &args)?;
        let (limit, node) = (self.limit(), Value::from(self.node.clone()));
        let Conn::Postgres(lent) = &mut self.conn else {
            return self.execute(STORE_HEAD, args).await.map(drop);
        };
        let args = args.into_iter().chain([node]).collect();
        let (query, session) = lent.link()?.query(STORE_HEAD_AND_WAKE, args);
        let done = query.execute(session);
        let done = within(limit, done).await;
        self.settle(done).map(drop)
    }

    pub(super) async fn commit(mut self) -> Result<i64, StoreError> {
        let result = match &mut self.conn {
            Conn::Sqlite(lent) => lent.commit().await,
            Conn::Postgres(lent) => lent.commit().await,
        };
        match result {
            Ok(()) => Ok(self.head.change_seq),
            Err(error) if is_rolled_back(&error) => self.settle(Err(error)),
            Err(error) => Err(StoreError::OutcomeUnknown(error)),
        }
    }

    /// Rolls back before it returns. A dropped transaction is rolled back shortly afterwards.
    pub(super) async fn roll_back(self) {
        match self.conn {
            Conn::Sqlite(lent) => lent.roll_back().await,
            Conn::Postgres(lent) => lent.roll_back().await,
        }
    }

    /// Runs a statement and returns the number of changed rows.
    pub(crate) async fn execute(
        &mut self,
        statement: Statement,
        args: Vec<Value>,
    ) -> Result<u64, StoreError> {
        self.check_plain(&statement, &args)?;
        let (sql, limit) = (statement.sql, self.limit());
        let result = match &mut self.conn {
            Conn::Sqlite(lent) => {
                bind_sqlite(sql, args).execute(lent.link()?).await.map(|done| done.rows_affected())
            }
            Conn::Postgres(lent) => {
                let (query, session) = lent.link()?.query(sql, args);
                within(limit, query.execute(session)).await.map(|done| done.rows_affected())
            }
        };
        self.settle(result)
    }

    /// Runs a statement and reads its rows.
    pub(crate) async fn rows(
        &mut self,
        statement: Statement,
        args: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        self.check_plain(&statement, &args)?;
        self.fetch(statement.table(), statement.sql, args).await
    }

    /// Runs a statement for many rows of arguments, several per execution, and reads the rows that it returns.
    pub(crate) async fn many(
        &mut self,
        statement: Statement,
        mut args: &[Vec<Value>],
    ) -> Result<Vec<Row>, StoreError> {
        let mut returned = Vec::new();
        for size in ROWS_AT_ONCE {
            let (sql, width) = statement.for_rows(size, matches!(self.conn, Conn::Postgres(_)));
            while let Some((rows, rest)) = args.split_at_checked(size) {
                let values: Vec<Value> = rows.iter().flatten().cloned().collect();
                self.check(&statement, &values, size * width)?;
                returned.extend(self.fetch(statement.table(), sql.clone(), values).await?);
                args = rest;
            }
        }
        Ok(returned)
    }

    /// Reads the rows of many keys, in one execution for any page: keys are filled up with NULL, which equals nothing.
    pub(crate) async fn look_up(
        &mut self,
        statement: Statement,
        keys: &[Vec<Value>],
    ) -> Result<Vec<Row>, StoreError> {
        let mut found = Vec::new();
        for keys in keys.chunks(MAX_KEYS) {
            let size = KEYS_AT_ONCE.into_iter().find(|size| *size >= keys.len()).unwrap_or(MAX_KEYS);
            let (sql, width) = statement.for_rows(size, matches!(self.conn, Conn::Postgres(_)));
            let nothing = keys.iter().take(1).flatten().map(Value::null).cycle();
            let missing = (size - keys.len()) * width;
            let values: Vec<Value> = keys.iter().flatten().cloned().chain(nothing.take(missing)).collect();
            self.check(&statement, &values, size * width)?;
            found.extend(self.fetch(statement.table(), sql, values).await?);
        }
        Ok(found)
    }

    /// Runs a statement that has arguments and also rows of them, in one execution, and reads the rows that it returns.
    /// The rows are filled up with NULL, which equals nothing.
    pub(crate) async fn rows_with(
        &mut self,
        statement: Statement,
        mut args: Vec<Value>,
        rows: &[Vec<Value>],
    ) -> Result<Vec<Row>, StoreError> {
        let sizes = [1].into_iter().chain(KEYS_AT_ONCE);
        let size = sizes.into_iter().find(|size| *size >= rows.len()).unwrap_or(rows.len());
        let (sql, width) = statement.for_rows(size, matches!(self.conn, Conn::Postgres(_)));
        let nothing = rows.iter().take(1).flatten().map(Value::null).cycle();
        let missing = (size - rows.len()) * width;
        args.extend(rows.iter().flatten().cloned().chain(nothing.take(missing)));
        self.check(&statement, &args, statement.arguments() + size * width)?;
        self.fetch(statement.table(), sql, args).await
    }

    async fn fetch(
        &mut self,
        table: &'static str,
        sql: impl IntoSql,
        args: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let limit = self.limit();
        let row = |row| Row { table, row };
        let result = match &mut self.conn {
            Conn::Sqlite(lent) => {
                let rows = bind_sqlite(sql, args).fetch_all(lent.link()?).await;
                rows.map(|rows| rows.into_iter().map(AnyRow::Sqlite).map(row).collect())
            }
            Conn::Postgres(lent) => {
                let (query, session) = lent.link()?.query(sql, args);
                let rows = within(limit, query.fetch_all(session)).await;
                rows.map(|rows| rows.into_iter().map(AnyRow::Postgres).map(row).collect())
            }
        };
        self.settle(result)
    }

    /// Runs a statement and passes on its rows one by one, so that no table has to fit in memory. Returns their number.
    pub(crate) async fn each<E: From<StoreError>>(
        &mut self,
        statement: Statement,
        args: Vec<Value>,
        work: impl FnMut(&Row) -> Result<(), E>,
    ) -> Result<u64, E> {
        self.check_plain(&statement, &args)?;
        let table = statement.table();
        let done = match &mut self.conn {
            Conn::Sqlite(lent) => {
                let rows = bind_sqlite(statement.sql, args).fetch(lent.link()?);
                hand_over(rows.map_ok(|row| Row { table, row: AnyRow::Sqlite(row) }), work).await
            }
            Conn::Postgres(lent) => {
                let (query, session) = lent.link()?.query(statement.sql, args);
                let rows = query.fetch(session);
                hand_over(rows.map_ok(|row| Row { table, row: AnyRow::Postgres(row) }), work).await
            }
        };
        // A caller that has not read every row has not seen the complete result.
        if done.is_err() && self.failed.is_none() {
            self.failed = Some((Fault::Failed, format!("the rows of {table} were not read to the end")));
        }
        done
    }

    /// Returns the first row, if there is one.
    pub(crate) async fn optional(
        &mut self,
        statement: Statement,
        args: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(statement, args).await?.into_iter().next())
    }

    /// Returns the only row, which must exist.
    pub(crate) async fn one(&mut self, statement: Statement, args: Vec<Value>) -> Result<Row, StoreError> {
        self.optional(statement, args).await?.ok_or_else(|| StoreError::Corrupt {
            table: statement.table(),
            column: "(no row)".into(),
            row: statement.name.into(),
        })
    }

    fn check_plain(&self, statement: &Statement, args: &[Value]) -> Result<(), StoreError> {
        self.check(statement, args, statement.arguments())
    }

    fn check(&self, statement: &Statement, args: &[Value], needed: usize) -> Result<(), StoreError> {
        self.refuse_poisoned()?;
        // SQLite would bind a missing argument as NULL, silently.
        if args.len() != needed {
            return Err(StoreError::Arguments(statement.name, args.len(), needed));
        }
        if !is_storable(args) {
            return Err(StoreError::Unstorable);
        }
        tracing::trace!(target: TRACE_STATEMENTS, statement = statement.name, table = statement.table());
        Ok(())
    }

    fn refuse_poisoned(&self) -> Result<(), StoreError> {
        match &self.failed {
            Some((fault, cause)) => Err(StoreError::Poisoned { fault: *fault, cause: cause.clone() }),
            None => Ok(()),
        }
    }

    fn limit(&self) -> Option<Duration> {
        (!self.is_unlimited).then_some(ANSWERS_WITHIN)
    }

    fn settle<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        if let Err(error) = &result {
            let fault = Fault::of(error);
            self.failed.get_or_insert_with(|| (fault, describe(error)));
            match &mut self.conn {
                Conn::Sqlite(lent) => part_from(lent, fault),
                Conn::Postgres(lent) => part_from(lent, fault),
            }
        }
        Ok(result?)
    }
}

/// Decides what happens to a connection after a failure, besides its ROLLBACK.
fn part_from<L: Link>(lent: &mut Lent<L>, fault: Fault) {
    match fault {
        Fault::Unreachable => lent.give_up(),
        // A session keeps `default_transaction_read_only` as it was when the session began.
        Fault::ReadOnly => lent.renew(),
        Fault::Full | Fault::Busy | Fault::Denied | Fault::Failed => {}
    }
}

async fn within<T>(
    limit: Option<Duration>,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| Err(timed_out(limit))),
        None => answer.await,
    }
}

async fn hand_over<E: From<StoreError>>(
    mut rows: impl Stream<Item = Result<Row, sqlx::Error>> + Unpin,
    mut work: impl FnMut(&Row) -> Result<(), E>,
) -> Result<u64, E> {
    let mut count = 0;
    while let Some(row) = rows.try_next().await.map_err(StoreError::from)? {
        work(&row)?;
        count += 1;
    }
    Ok(count)
}
