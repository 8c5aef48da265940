//! Evidence of use, as the flush adds it (rule 17).

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{
    NodeId, Timestamp,
    api::{GapKind, Grain},
    base62,
};
use crossfade_store::{
    EvidenceGap, PageStart, Recorder, SourceCaps, SourceUsage, Usage, UsageRow, UsageSource,
};
use std::time::Duration;

on_both_engines! {
    uses_add_up_whatever_order_the_flushes_come_in,
    a_flush_of_any_size_writes_each_row_once,
    the_longest_pause_grows_with_what_is_seen_and_never_shrinks,
    sources_beyond_the_caps_are_gathered_by_address_and_at_last_together,
    labels_tell_instances_apart,
    sources_are_listed_page_by_page_and_from_a_time_on,
    uses_stand_in_the_minute_the_hour_and_the_day_of_their_last_one,
    minutes_are_kept_for_transitions_and_thinned_elsewhere,
    gaps_are_told_latest_first_and_forgotten_in_time,
    what_another_process_has_not_stored_since_it_was_asked_is_a_gap,
    many_sources_at_once_are_what_they_are_one_by_one,
}

fn usage(first: u32, last: u32, use_count: i64) -> Usage {
    Usage { first_used_at: at(first), last_used_at: at(last), use_count }
}

fn source(secret: usize, ip: &str, agent: &str, usage: Usage) -> UsageRow {
    let source = UsageSource { ip: ip.into(), user_agent: agent.into(), ..UsageSource::default() };
    UsageRow { secret_id: secret_id(secret), source, usage, longest_pause: Duration::ZERO }
}

/// Client 1 with secrets 1 and 2 in staging (2 is current) and secret 3 in production.
async fn seeded(t: &TestDb) {
    t.write(async |tx| {
        seed_client(tx).await?;
        tx.insert_secret(&secret(1, 1, 1)).await?;
        tx.set_secret_end(&secret_id(1), Some(at(900)), None).await?;
        tx.insert_secret(&secret(2, 1, 2)).await?;
        tx.insert_secret(&secret(3, 2, 1)).await
    })
    .await;
}

async fn add(t: &TestDb, rows: &[UsageRow], (of_secret, of_address): (i64, i64)) {
    t.write(async |tx| tx.add_uses(rows, SourceCaps { of_secret, of_address }).await).await;
}

async fn sources(t: &TestDb, since: Option<Timestamp>, page: PageStart) -> Vec<SourceUsage> {
    t.read(async |tx| tx.usage_sources(&registration_id(1), since, &page).await).await
}

fn keys(rows: &[SourceUsage]) -> Vec<(usize, &str, &str, bool, i64)> {
    let number = |row: &SourceUsage| (1..9).find(|n| secret_id(*n) == row.row.secret_id).unwrap();
    rows.iter()
        .map(|it| {
            let source = &it.row.source;
            (number(it), &*source.ip, &*source.user_agent, source.gathered, it.row.usage.use_count)
        })
        .collect()
}

async fn uses_add_up_whatever_order_the_flushes_come_in(t: TestDb) {
    seeded(&t).await;
    for (first, last, count) in [(50, 60, 3), (10, 55, 4), (58, 99, 1), (60, 60, 1_i64 << 40)] {
        add(&t, &[source(1, "192.0.2.1", "curl", usage(first, last, count))], (10, 10)).await;
    }
    let total = usage(10, 99, 8 + (1 << 40));
    let stored = t.read(async |tx| tx.secret(&registration_id(1), &secret_id(1)).await).await.unwrap();
    assert_eq!(stored.usage, Some(total));
    let rows = sources(&t, None, first(10)).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].row.usage, total);
    assert_eq!((rows[0].expires_at, rows[0].revoked_at), (Some(at(900)), None));
    let other = t.read(async |tx| tx.secret(&registration_id(1), &secret_id(2)).await).await.unwrap();
    assert_eq!(other.usage, None);
}

/// The sizes at which a flush is cut into statements, and one beside each.
async fn a_flush_of_any_size_writes_each_row_once(t: TestDb) {
    seeded(&t).await;
    let mut uses = 0;
    for size in [1_u32, 3, 4, 5, 16, 17, 64, 65, 200] {
        let row = |n| source(1, &format!("192.0.2.{n}"), "curl", usage(n + 1, n + 1, 1));
        add(&t, &(0..size).map(row).collect::<Vec<_>>(), (1000, 10)).await;
        uses += i64::from(size);
    }
    let rows = t.read(async |tx| tx.sources_of_secrets(&[&secret_id(1)]).await).await;
    assert_eq!((rows.len(), rows.iter().map(|row| row.usage.use_count).sum::<i64>()), (200, uses));
    let stored = t.read(async |tx| tx.secret(&registration_id(1), &secret_id(1)).await).await.unwrap();
    assert_eq!(stored.usage, Some(usage(1, 200, uses)));
}

async fn the_longest_pause_grows_with_what_is_seen_and_never_shrinks(t: TestDb) {
    seeded(&t).await;
    let pause = async |first, last, within: u64| {
        let row = UsageRow {
            longest_pause: Duration::from_secs(within),
            ..source(1, "192.0.2.1", "curl", usage(first, last, 2))
        };
        add(&t, &[row], (10, 10)).await;
        let rows = t.read(async |tx| tx.sources_of_secrets(&[&secret_id(1)]).await).await;
        rows[0].longest_pause.as_secs()
    };
    assert_eq!(pause(10, 20, 4).await, 4, "what was seen within the flush");
    assert_eq!(pause(100, 110, 3).await, 80, "since the last use that is stored");
    assert_eq!(pause(120, 130, 90).await, 90);
    assert_eq!(pause(131, 140, 1).await, 90);
    assert_eq!(pause(50, 60, 2).await, 90, "one that comes late lies before the last use");
}

/// However a flush is divided, what finds room is the same, and so is how much is gathered. Which addresses have a row of
/// their own where there are too many for all depends on who comes first.
async fn many_sources_at_once_are_what_they_are_one_by_one(place: Place) {
    let rows: Vec<_> = (0..90)
        .map(|n| {
            let (of, address, agent) = (1 + n as usize % 2, n % 31, n / 3 % 4);
            let mut row =
                source(of, &format!("192.0.2.{address}"), &format!("agent/{agent}/{n}"), usage(n, n, 1));
            if n % 10 == 9 || n % 10 == 4 {
                row.source.gathered = true;
                row.source.user_agent.clear();
            }
            if n == 44 || n == 83 {
                // The rest of all, as it comes from memory.
                row.source.ip.clear();
            }
            row
        })
        .collect();
    let mut outcomes = Vec::new();
    for at_once in [1, 7, 90] {
        let t = TestDb::open(place.another().await).await;
        seeded(&t).await;
        for some in rows.chunks(at_once) {
            add(&t, some, (9, 2)).await;
        }
        let mut stored = Vec::new();
        for of in [1, 2] {
            stored.extend(t.read(async |tx| tx.sources_of_secrets(&[&secret_id(of)]).await).await);
        }
        let (gathered, mut own): (Vec<_>, Vec<_>) = stored.into_iter().partition(|row| row.source.gathered);
        own.sort_by(|one, other| (&one.secret_id, &one.source).cmp(&(&other.secret_id, &other.source)));
        let others = gathered.iter().filter(|row| row.source.ip.is_empty()).count();
        let uses = gathered.iter().map(|row| row.usage.use_count).sum::<i64>();
        outcomes.push((own, gathered.len(), others, uses));
    }
    let (own, gathered, others, uses) = &outcomes[0];
    assert_eq!((own.len() as i64 + uses, *gathered > *others, *others), (90, true, 2));
    assert!(outcomes[0] == outcomes[1] && outcomes[0] == outcomes[2], "{outcomes:#?}");
}

async fn sources_beyond_the_caps_are_gathered_by_address_and_at_last_together(t: TestDb) {
    seeded(&t).await;
    for n in 1..=4 {
        add(&t, &[source(1, "192.0.2.1", &format!("agent/{n}"), usage(n, n, 1))], (4, 2)).await;
    }
    for n in 2..=5 {
        add(&t, &[source(1, &format!("192.0.2.{n}"), "curl", usage(10 + n, 10 + n, 1))], (4, 2)).await;
    }
    // A source that is known goes on by itself.
    add(&t, &[source(1, "192.0.2.1", "agent/1", usage(20, 20, 5))], (4, 2)).await;
    // Each secret has caps of its own.
    add(&t, &[source(2, "192.0.2.9", "curl", usage(1, 1, 1))], (4, 2)).await;
    let rows = sources(&t, None, first(20)).await;
    let expected = [
        (2, "192.0.2.9", "curl", false, 1),
        (1, "192.0.2.1", "agent/1", false, 6),
        (1, "192.0.2.5", "", true, 1),
        (1, "192.0.2.4", "", true, 1),
        (1, "192.0.2.3", "curl", false, 1),
        (1, "192.0.2.2", "curl", false, 1),
        (1, "192.0.2.1", "", true, 2),
        (1, "192.0.2.1", "agent/2", false, 1),
    ];
    assert_eq!(keys(&rows), expected, "the newest secret first, then the latest use");
    // A flood of addresses ends in one row, however long it is.
    for n in 0..50 {
        add(&t, &[source(1, &format!("198.51.100.{n}"), "flood", usage(30 + n, 30 + n, 1))], (4, 2)).await;
    }
    let rows = t.read(async |tx| tx.sources_of_secrets(&[&secret_id(1)]).await).await;
    let others = rows.iter().find(|row| row.source.gathered && row.source.ip.is_empty()).unwrap();
    assert_eq!((rows.len(), others.usage.use_count), (4 + 4 + 1, 49));
}

async fn labels_tell_instances_apart(t: TestDb) {
    seeded(&t).await;
    let labelled = |label: &str, last| {
        let mut row = source(1, "192.0.2.1", "curl", usage(last, last, 1));
        row.source.instance = label.to_owned();
        row
    };
    add(&t, &[labelled("a", 1), labelled("b", 2), labelled("", 3)], (9, 9)).await;
    add(&t, &[labelled("b", 4)], (9, 9)).await;
    let rows = t.read(async |tx| tx.sources_of_secrets(&[&secret_id(1)]).await).await;
    let mut told: Vec<_> = rows.iter().map(|it| (it.source.instance.as_str(), it.usage.use_count)).collect();
    told.sort_unstable();
    assert_eq!(told, [("", 1), ("a", 1), ("b", 2)]);
}

async fn sources_are_listed_page_by_page_and_from_a_time_on(t: TestDb) {
    seeded(&t).await;
    for n in 1..=5 {
        add(&t, &[source(1, &format!("192.0.2.{n}"), "", usage(1, n * 10, 1))], (99, 99)).await;
    }
    add(&t, &[source(3, "192.0.2.9", "", usage(1, 99, 1))], (99, 99)).await;
    let mut seen = Vec::new();
    for offset in [0, 2, 4, 6] {
        let rows = sources(&t, None, after(offset, "", 2)).await;
        seen.extend(rows.into_iter().map(|row| row.row.usage.last_used_at));
    }
    assert_eq!(seen, [50, 40, 30, 20, 10].map(at), "another registration's are not among them");
    let last = async |since| sources(&t, Some(since), first(10)).await.len();
    assert_eq!((last(at(40)).await, last(at(40).after(MICRO)).await), (2, 1), "from that time on");
}

async fn series(t: &TestDb, grain: Grain, from: u32, until: u32) -> Vec<(usize, Timestamp, i64)> {
    let span = (at(from), at(until));
    let rows = t.read(async |tx| tx.usage_series(&registration_id(1), grain, span, &first(100)).await).await;
    let number = |id| (1..9).find(|n| secret_id(*n) == id).unwrap();
    rows.into_iter().map(|it| (number(it.secret_id), it.from, it.use_count)).collect()
}

async fn uses_stand_in_the_minute_the_hour_and_the_day_of_their_last_one(t: TestDb) {
    seeded(&t).await;
    // The tests begin at a whole minute: 60 seconds later the next one begins.
    for (secret, last, count) in [(1, 0, 4), (2, 59, 1), (1, 60, 2), (3, 0, 9)] {
        add(&t, &[source(secret, "192.0.2.1", "", usage(0, last, count))], (9, 9)).await;
    }
    let begin = at(0);
    assert_eq!(begin.as_seconds() % 60, 0);
    let minutes = series(&t, Grain::Minute, 0, 3600).await;
    assert_eq!(minutes, [(1, begin, 4), (2, begin, 1), (1, at(60), 2)]);
    assert_eq!(series(&t, Grain::Minute, 60, 60).await, [(1, at(60), 2)]);
    for grain in [Grain::Hour, Grain::Day] {
        let began = grain.begins(grain.bucket(begin));
        assert_eq!(series(&t, grain, 0, 60).await, [(1, began, 6), (2, began, 1)]);
    }
}

async fn minutes_are_kept_for_transitions_and_thinned_elsewhere(t: TestDb) {
    seeded(&t).await;
    for secret in [1, 2, 3] {
        add(&t, &[source(secret, "192.0.2.1", "", usage(0, 30, 1))], (9, 9)).await;
    }
    let left = async |registration| {
        let span = (at(0), at(3600));
        let rows = t.read(async |tx| {
            tx.usage_series(&registration_id(registration), Grain::Minute, span, &first(9)).await
        });
        rows.await.len()
    };
    // The transition in staging ends at 900; the second registration has none.
    let thin = async |kept| {
        let span = (at(0), at(60));
        t.write(async |tx| tx.thin_usage_series(Grain::Minute, span, kept).await).await;
    };
    thin(at(899)).await;
    assert_eq!((left(1).await, left(2).await), (2, 0));
    thin(at(900)).await;
    assert_eq!(left(1).await, 0);
    let day = async || series(&t, Grain::Day, 0, 60).await.len();
    assert_eq!(day().await, 2, "the other grains stay");
    t.write(async |tx| tx.delete_usage_series(Grain::Day, at(2 * 86_400)).await).await;
    assert_eq!(day().await, 0);
}

async fn gaps_are_told_latest_first_and_forgotten_in_time(t: TestDb) {
    let gap = |from, to, kind| EvidenceGap { began_at: at(from), ended_at: at(to), kind };
    let all = [gap(1, 4, GapKind::Stopped), gap(10, 12, GapKind::Killed), gap(20, 29, GapKind::Unknown)];
    let lost = async || t.read(async |tx| tx.last_evidence_loss().await).await;
    for (gap, lost_until) in all.iter().zip([None, Some(at(12)), Some(at(29))]) {
        t.write(async |tx| tx.insert_evidence_gap(gap).await).await;
        assert_eq!(lost().await, lost_until);
    }
    let told = async |after, most| t.read(async |tx| tx.evidence_gaps(at(after), most).await).await;
    assert_eq!(told(4, 9).await, [all[2], all[1]]);
    assert_eq!(told(0, 1).await, [all[2]]);
    t.write(async |tx| tx.delete_evidence_gaps(at(12)).await).await;
    assert_eq!(told(0, 9).await, [all[2], all[1]]);
}

async fn what_another_process_has_not_stored_since_it_was_asked_is_a_gap(t: TestDb) {
    let recorders = async || t.read(async |tx| tx.recorders().await).await;
    assert_eq!(recorders().await, [], "nothing was ever recorded");
    let node = |byte| NodeId::parse(&format!("node_{}", base62::encode_fixed(&[byte; 16], 22))).unwrap();
    let (own, other) = (node(1), node(2));
    t.db.is_node(&own);
    for (node, until) in [(&own, 5), (&other, 7)] {
        t.write(async |tx| tx.evidence_recorded(node, at(until), true).await).await;
    }
    let recorder = |node: &NodeId, until, asked| Recorder {
        node: Some(node.clone()),
        recorded_until: at(until),
        is_recording: true,
        lease_until: None,
        asked_at: asked,
    };
    let never = Timestamp::from_micros(0);
    assert_eq!(recorders().await, [recorder(&own, 5, never), recorder(&other, 7, never)]);
    let gaps = async || t.read(async |tx| tx.evidence_gaps(at(0), 9).await).await;
    assert_eq!(gaps().await, [], "nobody has asked");
    t.db.ask_recorders(at(9)).await.unwrap();
    if !t.db.has_own_clock() {
        return assert_eq!(gaps().await, [], "on SQLite there is no other process");
    }
    assert_eq!(recorders().await[1], recorder(&other, 7, at(9)));
    let silence = EvidenceGap { began_at: at(7), ended_at: at(9), kind: GapKind::Unknown };
    assert_eq!(gaps().await, [silence]);
    t.write(async |tx| tx.evidence_recorded(&other, at(9), true).await).await;
    assert_eq!(gaps().await, [], "it has answered");
    t.db.ask_recorders(at(12)).await.unwrap();
    t.write(async |tx| tx.evidence_recorded(&other, at(11), false).await).await;
    assert_eq!(gaps().await, [], "it stopped in order");
    t.write(async |tx| tx.forget_recorder(Some(&other)).await).await;
    assert_eq!(recorders().await, [recorder(&own, 5, never)]);
}
