//! What only a server can get wrong.

use crate::engines::on_postgres;
use crate::harness::*;
use crossfade_core::{NodeId, Timestamp, base62};
use crossfade_store::{ChangeKind, Db, Fault, Granted, LeaseRequest, Location, Purpose, StoreError};
use std::time::Duration;

on_postgres! {
    a_serve_lock_whose_session_broke_is_not_held,
    servers_share_a_database_and_a_command_can_have_it_alone,
    the_node_that_leads_is_followed_when_its_lease_has_ended,
    a_lease_is_granted_at_the_time_of_the_database,
    a_lease_needs_the_change_that_the_database_has,
    broken_sessions_are_replaced,
    a_commit_whose_session_breaks_is_unknown_never_done,
    sessions_of_a_read_only_time_are_not_kept,
    a_start_writes_nothing_where_nothing_is_to_migrate,
    a_session_that_ends_while_a_change_waits_leaves_the_next_working,
    reads_that_are_held_back_leave_their_connections_to_the_feed,
    a_server_that_cannot_be_reached_is_refused_without_telling_the_password,
    a_change_and_a_lease_are_flushed_whatever_the_database_says,
    a_role_reads_which_standbys_confirm_commits,
}

/// Notes the setting under which a row is written.
const NOTE: &str = "CREATE TABLE noted (setting TEXT);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO noted VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
    CREATE TRIGGER note AFTER UPDATE ON head FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TRIGGER note AFTER INSERT ON nodes FOR EACH ROW EXECUTE FUNCTION note()";

async fn a_change_and_a_lease_are_flushed_whatever_the_database_says(t: TestDb) {
    t.place.raw(NOTE).await;
    let name = database(&t);
    t.place.raw(&format!("ALTER DATABASE {name} SET synchronous_commit = off")).await;
    let again = Db::open(&t.place.location).await.unwrap();
    let mut lock = again.lock_for_serving().await.unwrap();
    again.write::<_, StoreError>(async |tx| seed(tx).await).await.unwrap();
    let id = NodeId::parse(&format!("node_{:022}", 1)).unwrap();
    let request = LeaseRequest {
        id: &id,
        name: "a",
        started_at: Timestamp::from_seconds(1),
        length: Duration::from_secs(15),
        applied: (1_000, None),
        uncertainty: Duration::ZERO,
    };
    lock.renew(request, false).await.unwrap();
    assert!(t.place.number("SELECT COUNT(*) FROM noted").await >= 3, "the change and the lease");
    assert_eq!(t.place.number("SELECT COUNT(*) FROM noted WHERE setting <> 'on'").await, 0);
    // The database is set as it was told to be.
    assert_eq!(
        t.place.number("SELECT COUNT(*) FROM pg_db_role_setting WHERE 'synchronous_commit=off' = ANY (setconfig) AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())").await,
        1
    );
}

async fn a_role_reads_which_standbys_confirm_commits(t: TestDb) {
    let found = t.db.standbys().await.unwrap().unwrap();
    assert_eq!((&*found.names, found.connected, found.synchronous), ("", 0, Some(0)));
}

async fn a_serve_lock_whose_session_broke_is_not_held(t: TestDb) {
    let mut lock = t.db.lock_for_serving().await.unwrap();
    assert!(lock.is_held().await);
    t.place
        .raw("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
        .await;
    assert!(!lock.is_held().await);
}

async fn broken_sessions_are_replaced(t: TestDb) {
    t.write(seed).await;
    t.place
        .raw("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        .await;
    assert_eq!(t.read(async |tx| tx.environments().await).await.len(), 3);
}

async fn a_commit_whose_session_breaks_is_unknown_never_done(t: TestDb) {
    let outcome = t
        .try_write(async |tx| {
            seed(tx).await?;
            t.place
                .raw("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()")
                .await;
            Ok(())
        })
        .await;
    assert!(matches!(outcome, Err(StoreError::Database(_) | StoreError::OutcomeUnknown(_))), "{outcome:?}");
    assert_eq!(t.place.number("SELECT COUNT(*) FROM environments").await, 0);
}

async fn a_server_that_cannot_be_reached_is_refused_without_telling_the_password(_: Place) {
    // Port 1 of this machine: nothing listens there.
    let location = Location::Postgres("postgres://u:hunter2@127.0.0.1:1/x".into());
    let error = Db::open(&location).await.err().unwrap();
    assert!(matches!(error, StoreError::Open(_)), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

/// The name of the database of a test.
fn database(t: &TestDb) -> String {
    let Location::Postgres(url) = &t.place.location else { panic!("not a server") };
    url.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned()
}

async fn sessions_of_a_read_only_time_are_not_kept(t: TestDb) {
    let name = database(&t);
    let end_sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    t.place.raw(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    t.place.raw(end_sessions).await;
    for _ in 0..3 {
        let refused = t.try_write(seed).await.unwrap_err();
        assert_eq!(refused.fault(), Fault::ReadOnly);
        assert!(refused.to_string().contains("SQLSTATE 25006"), "{refused}");
    }
    t.place
        .raw(&format!("BEGIN READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only; COMMIT"))
        .await;
    t.write(seed).await;
}

async fn a_start_writes_nothing_where_nothing_is_to_migrate(t: TestDb) {
    t.write(seed).await;
    let name = database(&t);
    t.place.raw(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    let again = Db::open(&t.place.location).await.unwrap();
    let found = again.read::<_, StoreError>(async |tx| tx.environments().await).await.unwrap();
    assert_eq!(found.len(), 3);
}

async fn a_session_that_ends_while_a_change_waits_leaves_the_next_working(t: TestDb) {
    let held = t.place.hold_writes().await;
    let end_waiting = async {
        while t.place.number("SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").await == 0 {}
    };
    let (failed, ()) = tokio::join!(t.try_write(seed), end_waiting);
    let failed = failed.unwrap_err();
    assert_eq!(failed.fault(), Fault::Unreachable);
    assert!(failed.to_string().contains("SQLSTATE 57P01"), "{failed}");
    drop(held);
    t.write(seed).await;
}

async fn reads_that_are_held_back_leave_their_connections_to_the_feed(t: TestDb) {
    let own = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'crossfade'";
    let (opened, _) = t.db.open_connections().await;
    t.place.wait_for(own, opened as i64).await;
    t.db.hold_reads_back();
    t.place.wait_for(own, 2).await;
    t.db.read_for(Purpose::Feed, async |tx| tx.read_head().await).await.unwrap();
    // The connection of the feed is not kept, either.
    t.place.wait_for(own, 2).await;
    let read = t.try_read(async |tx| tx.environments().await);
    let (read, ()) = tokio::join!(read, async {
        t.place.wait_for(own, 2).await;
        t.db.let_reads_go_on().await;
    });
    read.unwrap();
    t.place.wait_for(own, 3).await;
}

async fn servers_share_a_database_and_a_command_can_have_it_alone(t: TestDb) {
    let first = t.db.lock_for_serving().await.unwrap();
    let mut second = t.db.lock_for_serving().await.unwrap();
    first.release().await;
    assert!(second.is_held().await);
    let refused = t.db.lock_alone().await.err();
    assert!(matches!(refused, Some(StoreError::AlreadyServed)), "{refused:?}");
    second.release().await;
    let alone = t.db.lock_alone().await.unwrap();
    let refused = t.db.lock_for_serving().await.err();
    assert!(matches!(refused, Some(StoreError::AlreadyServed)), "{refused:?}");
    alone.release().await;
    t.db.lock_for_serving().await.unwrap().release().await;
}

fn node(byte: u8) -> NodeId {
    NodeId::parse(&format!("node_{}", base62::encode_fixed(&[byte; 16], 22))).unwrap()
}

fn request(id: &NodeId, applied: (i64, Option<Timestamp>)) -> LeaseRequest<'_> {
    let (length, uncertainty) = (Duration::from_secs(60), Duration::ZERO);
    LeaseRequest { id, name: "one", started_at: at(0), length, applied, uncertainty }
}

async fn the_node_that_leads_is_followed_when_its_lease_has_ended(t: TestDb) {
    let (one, two) = (node(1), node(2));
    let (mut first, mut second) =
        (t.db.lock_for_serving().await.unwrap(), t.db.lock_for_serving().await.unwrap());
    for (lock, node) in [(&mut first, &one), (&mut second, &two)] {
        let granted = lock.renew(request(node, (0, None)), false).await.unwrap();
        assert!(matches!(granted, Granted::Lease(_)), "{granted:?}");
    }
    assert_eq!(first.lead(&one).await.unwrap(), (true, true), "nobody led");
    assert!(!second.lead(&two).await.unwrap().0 && first.lead(&one).await.unwrap().0);
    assert!(t.read(async |tx| tx.leads(&one).await).await);
    t.place.raw(&format!("UPDATE nodes SET lease_until = 1 WHERE id = '{one}'")).await;
    assert_eq!(second.lead(&two).await.unwrap(), (true, false));
    assert!(!first.lead(&one).await.unwrap().0);
    assert!(!t.read(async |tx| tx.leads(&one).await).await);
    second.release_lease(&two).await.unwrap();
    first.renew(request(&one, (0, None)), false).await.unwrap();
    assert!(first.lead(&one).await.unwrap().0, "a node that has given up its lease leads no more");
}

/// The node takes the time of a grant for the time of the database.
async fn a_lease_is_granted_at_the_time_of_the_database(t: TestDb) {
    let (mut lock, one) = (t.db.lock_for_serving().await.unwrap(), node(1));
    lock.renew(request(&one, (0, None)), false).await.unwrap();
    // As after the clock of the database was set back by ten minutes.
    t.place.raw("UPDATE nodes SET lease_until = lease_until + 600000000").await;
    for without_lock in [false, true] {
        let before = t.read(async |tx| tx.clock().await).await.unwrap();
        let granted = lock.renew(request(&one, (0, None)), without_lock).await.unwrap();
        let Granted::Lease(grant) = granted else { panic!("{granted:?}") };
        let after = t.read(async |tx| tx.clock().await).await.unwrap();
        assert!((before..=after).contains(&grant.at), "{before} {grant:?} {after}");
        let left = grant.until.since(grant.at).as_secs();
        assert!(
            if without_lock { left == 60 } else { left > 600 },
            "an end that others saw is kept: {grant:?}"
        );
    }
}

/// After a failover that has lost changes, others have their numbers.
async fn a_lease_needs_the_change_that_the_database_has(t: TestDb) {
    t.write(async |tx| {
        tx.stamp(at(7));
        tx.append_change(&ChangeKind::Registration(registration_id(1))).await
    })
    .await;
    let (mut lock, one) = (t.db.lock_for_serving().await.unwrap(), node(1));
    for without_lock in [false, true] {
        for (applied, is_granted) in
            [((0, None), false), ((1, None), false), ((1, Some(at(6))), false), ((1, Some(at(7))), true)]
        {
            let granted = lock.renew(request(&one, applied), without_lock).await.unwrap();
            assert_eq!(matches!(granted, Granted::Lease(_)), is_granted, "{applied:?}: {granted:?}");
        }
    }
}
