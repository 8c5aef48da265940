//! Shipping of the audit trail: to a file and to syslog, at least once, and never in the way of a change.

use crate::{
    engines::on_both_engines,
    world::{Principal, World},
};
use crossfade_app::{AuditSink, SinkState};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream, UdpSocket, UnixDatagram},
};

on_both_engines! {
    every_event_is_appended_to_a_file_once_in_order,
    a_destination_that_is_down_is_told_and_gets_everything_later,
    syslog_gets_one_event_in_each_datagram,
    syslog_over_tcp_counts_octets_and_sends_again_after_a_break,
    what_replaces_lost_events_is_shipped,
    a_stored_position_after_the_end_is_not_believed,
}

fn seqs(path: &Path) -> Vec<i64> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| line["seq"].as_i64().unwrap()).collect()
}

async fn last(world: &World) -> i64 {
    world.number("SELECT audit_seq FROM head").await
}

async fn something_happens(world: &World, token: &Option<String>) {
    let owner = Principal { world, token: token.clone() };
    let name = format!("Property {}", world.number("SELECT COUNT(*) FROM properties").await);
    owner.post("/properties", json!({"name": name})).await.created();
}

async fn every_event_is_appended_to_a_file_once_in_order(mut world: World) {
    world.client("Billing", &["production"]).await;
    let token = world.owner().await.token;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let sinks = vec![AuditSink::File(path.clone())];
    world.restart_with_sinks(sinks.clone()).await;
    world.app.ship_trail_once().await;
    assert_eq!(seqs(&path), (1..=last(&world).await).collect::<Vec<_>>());
    // After a restart it goes on where it was, also into a file that was rotated.
    world.restart_with_sinks(sinks).await;
    something_happens(&world, &token).await;
    let rotated = directory.path().join("audit.jsonl.1");
    std::fs::rename(&path, &rotated).unwrap();
    world.app.ship_trail_once().await;
    assert_eq!(seqs(&path), [last(&world).await]);
    let text = std::fs::read_to_string(&path).unwrap();
    let line: Value = serde_json::from_str(text.trim()).unwrap();
    let owner = Principal { world: &world, token };
    assert_eq!(line, owner.get("/audit-events?limit=1").await.ok()["items"][0]);
}

async fn a_destination_that_is_down_is_told_and_gets_everything_later(mut world: World) {
    world.client("Billing", &["production"]).await;
    let token = world.owner().await.token;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing").join("audit.jsonl");
    world.restart_with_sinks(vec![AuditSink::File(path.clone())]).await;
    world.app.ship_trail_once().await;
    something_happens(&world, &token).await;
    let sinks = world.app.measure().await.sinks;
    assert_eq!((sinks.len(), sinks[0].kind, sinks[0].is_failing), (1, "file", true));
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    world.advance(Duration::from_secs(60));
    world.app.ship_trail_once().await;
    let sinks = world.app.measure().await.sinks;
    assert_eq!((sinks[0].behind, sinks[0].is_failing), (0, false));
    assert_eq!(seqs(&path), (1..=last(&world).await).collect::<Vec<_>>());
}

async fn syslog_gets_one_event_in_each_datagram(mut world: World) {
    world.client("Billing", &["production"]).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let unix = UnixDatagram::bind(&path).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = udp.local_addr().unwrap().to_string();
    world.restart_with_sinks(vec![AuditSink::SyslogUdp(server), AuditSink::SyslogUnix(path)]).await;
    world.app.ship_trail_once().await;
    for seq in 1..=3 {
        let (mut one, mut two) = (vec![0; 65_536], vec![0; 65_536]);
        let (length, other) = (udp.recv(&mut one).await.unwrap(), unix.recv(&mut two).await.unwrap());
        assert_eq!(one[..length], two[..other]);
        let text = String::from_utf8(one[..length].to_vec()).unwrap();
        let (header, event) = text.split_once(" - {").unwrap();
        let event: Value = serde_json::from_str(&format!("{{{event}")).unwrap();
        assert_eq!(event["seq"], seq);
        let expected = format!("<110>1 {} ", event["at"].as_str().unwrap());
        assert!(header.starts_with(&expected), "{header}");
        assert!(header.ends_with(&format!(" crossfade - {}", event["action"].as_str().unwrap())), "{header}");
    }
}

/// Reads so many messages from a connection, and returns the numbers of their events.
async fn receive(listener: &TcpListener, number: usize) -> (TcpStream, Vec<i64>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut seqs = Vec::new();
    while seqs.len() < number {
        let mut length = 0;
        loop {
            match stream.read_u8().await.unwrap() {
                b' ' => break,
                digit => length = length * 10 + usize::from(digit - b'0'),
            }
        }
        let mut message = vec![0; length];
        stream.read_exact(&mut message).await.unwrap();
        let text = String::from_utf8(message).unwrap();
        let event: Value = serde_json::from_str(&text[text.find(" - {").unwrap() + 3..]).unwrap();
        seqs.push(event["seq"].as_i64().unwrap());
    }
    (stream, seqs)
}

async fn syslog_over_tcp_counts_octets_and_sends_again_after_a_break(mut world: World) {
    world.client("Billing", &["production"]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    world.restart_with_sinks(vec![AuditSink::SyslogTcp(address.to_string())]).await;
    let number = usize::try_from(last(&world).await).unwrap();
    let (_, (stream, received)) = tokio::join!(world.app.ship_trail_once(), receive(&listener, number));
    let all = |number: usize| (1..=i64::try_from(number).unwrap()).collect::<Vec<_>>();
    assert_eq!(received, all(number));
    // The other side has hung up, and is down.
    drop((listener, stream));
    let token = world.owner().await.token;
    something_happens(&world, &token).await;
    world.app.ship_trail_once().await;
    assert!(world.app.measure().await.sinks[0].is_failing);
    // What the other side may not have read comes again, with what is new.
    let listener = TcpListener::bind(address).await.unwrap();
    let now = usize::try_from(last(&world).await).unwrap();
    world.advance(Duration::from_secs(60));
    let (_, (stream, received)) = tokio::join!(world.app.ship_trail_once(), receive(&listener, now));
    assert_eq!((received, now > number), (all(now), true));
    let state = |sinks: Vec<SinkState>| (sinks[0].behind, sinks[0].is_failing);
    assert_eq!(state(world.app.measure().await.sinks), (0, false));
    // After a while without a fault it has arrived, and never comes again.
    world.advance(Duration::from_secs(60));
    world.app.ship_trail_once().await;
    drop(stream);
    something_happens(&world, &token).await;
    world.app.ship_trail_once().await;
    world.advance(Duration::from_secs(60));
    let (_, (_, received)) = tokio::join!(world.app.ship_trail_once(), receive(&listener, 1));
    assert_eq!(received, [last(&world).await]);
}

async fn what_replaces_lost_events_is_shipped(mut world: World) {
    world.client("Billing", &["production"]).await;
    let token = world.owner().await.token;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    world.restart_with_sinks(vec![AuditSink::File(path.clone())]).await;
    world.app.ship_trail_once().await;
    let sent = last(&world).await;
    let kept = sent - 2;
    let lose = format!(
        "DELETE FROM audit_events WHERE seq > {kept}; UPDATE audit_positions SET seq = {kept};
         UPDATE head SET audit_seq = {kept}, audit_hash = (SELECT hash FROM audit_events WHERE seq = {kept})"
    );
    world.raw(&lose).await;
    // The database is shorter than what was sent.
    something_happens(&world, &token).await;
    world.app.ship_trail_once().await;
    world.app.ship_trail_once().await;
    let expected = (1..=sent).chain(kept + 1..=last(&world).await).collect::<Vec<_>>();
    assert_eq!(seqs(&path), expected);
    // It is longer again before anybody looks, and only the hashes show it.
    let sent = last(&world).await;
    world.raw(&lose).await;
    while last(&world).await < sent + 2 {
        something_happens(&world, &token).await;
    }
    world.app.ship_trail_once().await;
    world.app.ship_trail_once().await;
    let expected = expected.into_iter().chain(kept + 1..=last(&world).await).collect::<Vec<_>>();
    assert_eq!(seqs(&path), expected);
    assert_eq!(world.number("SELECT seq FROM audit_positions").await, last(&world).await);
}

async fn a_stored_position_after_the_end_is_not_believed(mut world: World) {
    world.client("Billing", &["production"]).await;
    let token = world.owner().await.token;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let sinks = vec![AuditSink::File(path.clone())];
    world.restart_with_sinks(sinks.clone()).await;
    world.app.ship_trail_once().await;
    let end = last(&world).await;
    world.raw("UPDATE audit_positions SET seq = seq + 100").await;
    world.restart_with_sinks(sinks).await;
    world.app.ship_trail_once().await;
    something_happens(&world, &token).await;
    world.app.ship_trail_once().await;
    assert_eq!((seqs(&path), end + 1), ((1..=end + 1).collect(), last(&world).await));
}
