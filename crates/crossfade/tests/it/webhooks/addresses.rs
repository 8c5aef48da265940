//! To which addresses nothing is sent.

use super::{HOUR, create, log, posting, rotate, send_all, sent};
use crate::{engines::on_both_engines, receiver::Receiver, world::World};
use crossfade_app::Poster;
use serde_json::{Value, json};

on_both_engines! {
    a_redirect_is_not_followed_and_an_inner_address_is_not_asked,
    a_url_of_the_inside_is_refused_in_every_spelling,
}

async fn a_redirect_is_not_followed_and_an_inner_address_is_not_asked(mut world: World) {
    let (client, receiver, other) =
        (posting(&mut world).await, Receiver::start().await, Receiver::start().await);
    let webhook = create(&world, &receiver, json!({})).await;
    rotate(&world, &client, "production").await;
    receiver.answer(&[&format!("302\r\nlocation: {}", other.url())]);
    assert_eq!((sent(&world, &receiver).await.len(), other.take().len()), (1, 0));
    let said = log(&world, &webhook).await[0]["last_error"].as_str().unwrap().to_owned();
    assert_eq!(said, "status 302, a redirect, which is not followed");
    // The setting no longer allows the network. What is told is no more than that.
    world.restart_with_poster(Poster::new(vec!["10.255.0.0/16".parse().unwrap()], None).unwrap()).await;
    world.raw(&format!("UPDATE webhooks SET url = 'https://localhost:{}/'", port(&receiver))).await;
    world.advance(HOUR);
    send_all(&world).await;
    let logged = &log(&world, &webhook).await[0];
    assert_eq!((&logged["last_error"], &logged["last_status"]), (&json!("refused address"), &Value::Null));
    assert!(receiver.take().is_empty());
}

fn port(receiver: &Receiver) -> String {
    receiver.url().split([':', '/']).nth(4).unwrap().to_owned()
}

async fn a_url_of_the_inside_is_refused_in_every_spelling(world: World) {
    let owner = world.owner().await;
    for url in [
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://169.254.169.254/latest/",
        "https://ada:secret@hooks.example.com/",
        "https://hooks.example.com\\@127.0.0.1/",
        "https://127。0。0。1/",
        "https://hooks.example.com:22/",
        "ftp://hooks.example.com/",
        "",
    ] {
        let body = json!({"name": "Hook", "url": url, "confirm_name": "platform"});
        let refused = owner.post("/webhooks", body).await.refused(422, "invalid_body");
        assert_eq!(refused["field"], "url", "{url}");
        assert!(!refused["detail"].as_str().unwrap().contains("secret"), "{refused}");
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM webhooks").await, 0);
}
