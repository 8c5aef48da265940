//! Shipping of the audit trail: to a file and to syslog, at least once, and never in the way of a change.

use crate::{
    engines::on_both_engines,
    world::{Principal, World},
};
use crossfade_app::AuditSink;
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, UdpSocket, UnixDatagram},
};

on_both_engines! {
    every_event_is_appended_to_a_file_once_in_order,
    a_destination_that_is_down_is_told_and_gets_everything_later,
    syslog_gets_one_event_in_each_datagram,
    syslog_over_tcp_counts_octets_and_sends_again_after_a_break,
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
    let name = format!("Property {}", last(world).await);
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

async fn syslog_over_tcp_counts_octets_and_sends_again_after_a_break(mut world: World) {
    world.client("Billing", &["production"]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap().to_string();
    world.restart_with_sinks(vec![AuditSink::SyslogTcp(server)]).await;
    let number = last(&world).await;
    let (_, received) = tokio::join!(world.app.ship_trail_once(), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seqs = Vec::new();
        while seqs.len() < usize::try_from(number).unwrap() {
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
        seqs
    });
    assert_eq!(received, (1..=number).collect::<Vec<_>>());
    // The other side has hung up.
    drop(listener);
    let token = world.owner().await.token;
    something_happens(&world, &token).await;
    world.app.ship_trail_once().await;
    assert!(world.app.measure().await.sinks[0].is_failing);
}
