//! The lists of the Console.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{Timestamp, api::Grain};
use crossfade_store::{ClientFilter, ClientLine, ClientOrder, LinePlace, SharedHour, Usage};
use std::time::Duration;

on_both_engines! {
    clients_are_listed_by_name_without_case_and_by_their_secrets_a_page_at_a_time,
    a_line_says_how_each_registration_stands,
    a_line_has_the_hours_of_its_transition_and_no_earlier_ones,
    only_current_secrets_older_than_their_environment_allows_are_overdue,
    transitions_are_listed_while_they_run,
}

async fn lines(t: &TestDb, order: ClientOrder, after: Option<&LinePlace>, limit: i64) -> Vec<ClientLine> {
    let filter = ClientFilter::default();
    t.read(async |tx| tx.client_lines(&filter, order, after, limit, at(100)).await).await
}

fn names(lines: &[ClientLine]) -> Vec<&str> {
    lines.iter().map(|line| line.name.as_str()).collect()
}

/// Client 1 of `seed_client` is in staging (registration 1) and production (2).
async fn seeded(t: &TestDb) {
    t.write(async |tx| {
        seed_client(tx).await?;
        tx.insert_client(&client(2, "zebra")).await?;
        tx.insert_client(&client(3, "Apple")).await?;
        tx.insert_secret(&secret(1, 1, 1)).await?;
        tx.set_secret_end(&secret_id(1), Some(at(900)), None).await?;
        tx.insert_secret(&secret(2, 1, 2)).await?;
        tx.insert_secret(&secret(3, 2, 1)).await
    })
    .await;
}

async fn clients_are_listed_by_name_without_case_and_by_their_secrets_a_page_at_a_time(t: TestDb) {
    seeded(&t).await;
    let all = lines(&t, ClientOrder::Name, None, 9).await;
    assert_eq!((all.len(), names(&all)[0], names(&all)[2]), (3, "Apple", "zebra"));
    let reversed: Vec<_> = all.iter().rev().cloned().collect();
    // One line for each current secret: numbers 2 and 3, of one client.
    let oldest = lines(&t, ClientOrder::OldestSecret, None, 9).await;
    let placed: Vec<_> = oldest.iter().filter_map(|line| line.placed_by.clone()).collect();
    assert!(
        placed.len() == 2 && placed.is_sorted_by_key(|(at, id)| (*at, id.as_str().to_owned())),
        "{placed:?}"
    );
    assert!(oldest.iter().all(|line| line.registrations.len() == 2), "each line shows the whole client");
    let newest: Vec<_> = oldest.iter().rev().cloned().collect();
    for (order, whole) in [
        (ClientOrder::Name, all),
        (ClientOrder::NameReversed, reversed),
        (ClientOrder::OldestSecret, oldest),
        (ClientOrder::NewestSecret, newest),
    ] {
        let (mut found, mut after) = (Vec::new(), None);
        while let Some(line) = lines(&t, order, after.as_ref(), 1).await.pop() {
            after = Some(match line.placed_by.clone() {
                Some((at, secret)) => LinePlace::Secret(at, secret),
                None => LinePlace::Client(line.id.clone()),
            });
            found.push(line);
        }
        assert_eq!(names(&found), names(&whole), "{order:?}");
        let placed = |lines: &[ClientLine]| lines.iter().map(|it| it.placed_by.clone()).collect::<Vec<_>>();
        assert_eq!(placed(&found), placed(&whole), "{order:?}");
    }
}

async fn a_line_says_how_each_registration_stands(t: TestDb) {
    seeded(&t).await;
    let line = t.read(async |tx| tx.client_line(&client_id(1), at(100)).await).await.unwrap();
    let until: Vec<Option<Timestamp>> = line.registrations.iter().map(|it| it.retiring_until).collect();
    assert_eq!(until, [Some(at(900)), None]);
    assert!(line.registrations.iter().all(|it| it.current_since.is_some()));
    let later = t.read(async |tx| tx.client_line(&client_id(1), at(900)).await).await.unwrap();
    assert_eq!(later.registrations[0].retiring_until, None, "the deadline itself is the end");
}

async fn a_line_has_the_hours_of_its_transition_and_no_earlier_ones(t: TestDb) {
    seeded(&t).await;
    let made = t.read(async |tx| tx.client_line(&client_id(1), at(100)).await).await.unwrap();
    let since = made.registrations[0].current_since.unwrap();
    assert!(made.registrations.iter().all(|it| it.hours.is_empty()));
    let hour = Duration::from_secs(3600);
    for (secret, when, count) in [
        (1, since.before(hour * 2), 9),
        (1, since, 5),
        (2, since, 2),
        (2, since.after(hour * 3), 4),
        (3, since, 7),
    ] {
        add_uses(&t, secret, Usage { first_used_at: when, last_used_at: when, use_count: count }).await;
    }
    let shared = |from: Timestamp, old, new| SharedHour {
        from: Grain::Hour.begins(Grain::Hour.bucket(from)),
        old,
        new,
    };
    let expected = [shared(since, 5, 2), shared(since.after(hour * 3), 0, 4)];
    let one = t.read(async |tx| tx.client_line(&client_id(1), at(100)).await).await.unwrap();
    assert_eq!(one.registrations[0].hours, expected);
    assert_eq!(one.registrations[1].hours, [], "no transition runs there");
    let listed = lines(&t, ClientOrder::Name, None, 9).await;
    assert!(listed.iter().any(|line| line.registrations.iter().any(|it| it.hours == expected)));
    let running = t.read(async |tx| tx.transitions(at(100), None, 9).await).await;
    assert_eq!(running[0].registrations[0].hours, expected);
}

async fn only_current_secrets_older_than_their_environment_allows_are_overdue(t: TestDb) {
    seeded(&t).await;
    let overdue = async |now| {
        let filter = ClientFilter { overdue_at: Some(now), ..ClientFilter::default() };
        t.read(async |tx| tx.client_lines(&filter, ClientOrder::Name, None, 9, now).await).await.len()
    };
    let made = t.read(async |tx| tx.client_line(&client_id(1), at(100)).await).await.unwrap();
    let oldest = made.registrations.iter().filter_map(|it| it.current_since).min().unwrap();
    let environments = t.read(async |tx| tx.environments().await).await;
    let ages =
        environments.iter().filter_map(|it| it.max_age_days).map(|days| DAY * u32::try_from(days).unwrap());
    let due = oldest.after(ages.min().unwrap());
    assert_eq!(overdue(due.before(MICRO)).await, 0);
    assert_eq!(overdue(due).await, 1);
}

async fn transitions_are_listed_while_they_run(t: TestDb) {
    seeded(&t).await;
    let running = async |now| t.read(async |tx| tx.transitions(now, None, 9).await).await;
    assert_eq!(running(at(899)).await.len(), 1);
    assert_eq!(running(at(900)).await.len(), 0);
    t.write(async |tx| tx.delete_client(&client_id(1), at(10)).await).await;
    assert_eq!(running(at(20)).await.len(), 0);
}
