//! The lists of the Console.

use crate::harness::*;
use crossfade_core::{ClientId, Timestamp};
use crossfade_store::{ClientFilter, ClientLine, ClientOrder};

async fn lines(t: &TestDb, order: ClientOrder, after: Option<&ClientId>, limit: i64) -> Vec<ClientLine> {
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

#[tokio::test]
async fn clients_are_listed_by_name_without_case_and_newest_first_a_page_at_a_time() {
    let Some(t) = super::open().await else { return };
    seeded(&t).await;
    let all = lines(&t, ClientOrder::Name, None, 9).await;
    assert_eq!((all.len(), names(&all)[0], names(&all)[2]), (3, "Apple", "zebra"));
    let mut newest = lines(&t, ClientOrder::Newest, None, 9).await;
    newest.sort_by(|a, b| (b.created_at, b.id.as_str()).cmp(&(a.created_at, a.id.as_str())));
    for (order, whole) in [(ClientOrder::Name, all), (ClientOrder::Newest, newest)] {
        let (mut found, mut after) = (Vec::new(), None);
        while let Some(line) = lines(&t, order, after.as_ref(), 1).await.pop() {
            after = Some(line.id.clone());
            found.push(line);
        }
        assert_eq!(names(&found), names(&whole), "{order:?}");
    }
}

#[tokio::test]
async fn a_line_says_how_each_registration_stands() {
    let Some(t) = super::open().await else { return };
    seeded(&t).await;
    let line = t.read(async |tx| tx.client_line(&client_id(1), at(100)).await).await.unwrap();
    let until: Vec<Option<Timestamp>> = line.registrations.iter().map(|it| it.retiring_until).collect();
    assert_eq!(until, [Some(at(900)), None]);
    assert!(line.registrations.iter().all(|it| it.current_since.is_some()));
    let later = t.read(async |tx| tx.client_line(&client_id(1), at(900)).await).await.unwrap();
    assert_eq!(later.registrations[0].retiring_until, None, "the deadline itself is the end");
}

#[tokio::test]
async fn only_current_secrets_older_than_their_environment_allows_are_overdue() {
    let Some(t) = super::open().await else { return };
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

#[tokio::test]
async fn transitions_are_listed_while_they_run() {
    let Some(t) = super::open().await else { return };
    seeded(&t).await;
    let running = async |now| t.read(async |tx| tx.transitions(now, 9).await).await;
    assert_eq!(running(at(899)).await.len(), 1);
    assert_eq!(running(at(900)).await.len(), 0);
    t.write(async |tx| tx.delete_client(&client_id(1), at(10)).await).await;
    assert_eq!(running(at(20)).await.len(), 0);
}
