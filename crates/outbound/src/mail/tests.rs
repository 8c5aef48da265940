//! A small mail server of our own, and what the mailer makes of its answers.

use super::*;
use crate::mail::letter::{Letter, Mail};
use crossfade_core::Timestamp;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::{mpsc, watch},
};

/// Answers of the server to the commands that a test changes.
#[derive(Clone, Copy)]
struct Answers {
    greeting: &'static str,
    hello: &'static str,
    auth: &'static str,
    mail: &'static str,
    rcpt: &'static str,
    data: &'static str,
    starttls: &'static str,
    /// Empty: none.
    quit: &'static str,
    /// Number of messages after which it hangs up without a word.
    messages: u32,
}

const WILLING: Answers = Answers {
    greeting: "220 mail.example.com",
    hello: "250-mail.example.com\r\n250 8BITMIME",
    auth: "235 welcome",
    mail: "250 ok",
    rcpt: "250 ok",
    data: "250 taken",
    starttls: "502 what",
    quit: "221 bye",
    messages: u32::MAX,
};

struct Server {
    port: u16,
    messages: mpsc::UnboundedReceiver<String>,
    connections: Arc<AtomicU32>,
    /// Number of times that QUIT was said.
    farewells: watch::Receiver<u32>,
}

impl Server {
    /// Serves until the test ends.
    #[expect(clippy::disallowed_methods, reason = "a server of this test")]
    async fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, messages) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicU32::new(0));
        let counted = connections.clone();
        let (said, farewells) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(converse(stream, answers, sender.clone(), said.clone()));
            }
        });
        Self { port, messages, connections, farewells }
    }

    fn mailer(&self) -> Mailer {
        self.mailer_at(&format!("smtp://127.0.0.1:{}", self.port))
    }

    fn mailer_at(&self, url: &str) -> Mailer {
        let server = MailServer::parse(url, None, None).unwrap();
        Mailer::new(server, "Crossfade <crossfade@example.com>").unwrap()
    }

    fn connections(&self) -> u32 {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn converse(
    stream: tokio::net::TcpStream,
    answers: Answers,
    messages: mpsc::UnboundedSender<String>,
    farewells: watch::Sender<u32>,
) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let (mut message, mut is_data, mut taken) = (String::new(), false, 0);
    let _ = write.write_all(format!("{}\r\n", answers.greeting).as_bytes()).await;
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match line.as_str() {
            "." if is_data => {
                is_data = false;
                if answers.data.starts_with("250") {
                    let _ = messages.send(std::mem::take(&mut message));
                }
                taken += 1;
                answers.data
            }
            _ if is_data => {
                message.push_str(line.strip_prefix('.').unwrap_or(&line));
                message.push('\n');
                continue;
            }
            _ if taken >= answers.messages => return,
            "DATA" => {
                is_data = true;
                "354 go on"
            }
            _ if line.starts_with("EHLO") => answers.hello,
            _ if line.starts_with("AUTH") => answers.auth,
            _ if line.starts_with("MAIL") => answers.mail,
            _ if line.starts_with("RCPT") => answers.rcpt,
            "STARTTLS" => answers.starttls,
            "QUIT" => {
                farewells.send_modify(|number| *number += 1);
                if answers.quit.is_empty() {
                    continue;
                }
                answers.quit
            }
            _ => "502 what",
        };
        if write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

fn letter() -> Letter {
    Letter {
        times: "Times are in UTC.".into(),
        subject: "Secret rotated: Billing in production".into(),
        heading: "The secret was rotated: Billing in production".into(),
        is_urgent: false,
        facts: vec![
            ("Client", "Billing".into()),
            ("Old secret", "valid until 24 Nov 2026, 13:05 UTC".into()),
        ],
        groups: Vec::new(),
        has_link: false,
        next: "Change every caller to the new secret before 24 Nov 2026, 13:05 UTC.".into(),
        button: "View the change-over",
        url: "https://auth.example.com/console/clients/cl_1/environments/production/security".into(),
        because: "You receive this message because you are an owner of Billing.".into(),
    }
}

async fn send(mailer: &Mailer, letter: &Letter) -> Result<(), Failure> {
    let at = Timestamp::from_seconds(1_795_525_500);
    mailer.send(&Mail { id: "0123456789abcdefghijkl", to: "ada@example.com", at, letter }, || {}).await
}

#[tokio::test]
async fn a_message_has_the_same_bytes_in_each_attempt_and_says_that_a_program_wrote_it() {
    let mut server = Server::start(WILLING).await;
    let mailer = server.mailer();
    for _ in 0..2 {
        send(&mailer, &letter()).await.unwrap();
    }
    let (one, two) = (server.messages.recv().await.unwrap(), server.messages.recv().await.unwrap());
    assert_eq!(one, two);
    for line in [
        "From: \"Crossfade\" <crossfade@example.com>",
        "To: ada@example.com",
        "Subject: Secret rotated: Billing in production",
        "Date: Tue, 24 Nov 2026 13:05:00 +0000",
        "Message-ID: <0123456789abcdefghijkl@example.com>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
    ] {
        assert!(one.lines().any(|found| found.replace('"', "") == line.replace('"', "")), "{line}: {one}");
    }
    assert!(one.contains("multipart/alternative") && one.contains("text/html"), "{one}");
    assert_eq!(server.connections(), 1, "a connection is used again");
}

#[tokio::test]
async fn a_connection_that_the_server_closed_costs_no_message() {
    let mut server = Server::start(Answers { messages: 1, ..WILLING }).await;
    let mailer = server.mailer();
    for _ in 0..3 {
        send(&mailer, &letter()).await.unwrap();
        server.messages.recv().await.unwrap();
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn all_connections_are_closed_within_one_limit() {
    let server = Server::start(Answers { quit: "", ..WILLING }).await;
    let mailer = server.mailer();
    let letter = letter();
    let sent = join_all((0..MAX_KEPT).map(|_| send(&mailer, &letter))).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    assert_eq!(server.connections(), 8);
    // The limit ends as soon as each server has got its farewell, which none of them answers. One after the other, the second
    // would get its farewell only after the limit.
    let mut farewells = server.farewells.clone();
    let limit = async {
        farewells.wait_for(|number| *number == 8).await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(10), mailer.close_within(limit)).await.unwrap();
    mailer.close().await;
    assert_eq!(
        (*server.farewells.borrow(), link::CLOSES_WITHIN),
        (8, Duration::from_secs(2)),
        "none is left"
    );
}

#[tokio::test]
async fn a_message_on_a_connection_of_its_own_uses_no_kept_one_and_keeps_none() {
    let server = Server::start(WILLING).await;
    let mailer = server.mailer();
    let (letter, at) = (letter(), Timestamp::from_seconds(1));
    let mail = Mail { id: "1", to: "ada@example.com", at, letter: &letter };
    send(&mailer, &letter).await.unwrap();
    for connections in [2, 3] {
        let mut alone = mailer.open_alone(&mail).await.unwrap();
        alone.send().await.unwrap();
        alone.close().await;
        assert_eq!((server.connections(), *server.farewells.borrow()), (connections, connections - 1));
    }
    let refusing = Server::start(Answers { rcpt: "550 5.1.1 unknown", ..WILLING }).await;
    let mut alone = refusing.mailer().open_alone(&mail).await.unwrap();
    let refused = alone.send().await.unwrap_err();
    alone.close().await;
    assert_eq!(refused.said(), "the mail server refuses the recipient: 550 5.1.1 unknown");
    assert_eq!(*refusing.farewells.borrow(), 1);
}

#[tokio::test]
async fn what_the_server_refuses_is_told_with_its_words() {
    use Failure::{Deferred, Refused, Server as Unusable};
    let own = "mail server refuses the";
    for (answers, expected) in [
        (
            Answers { rcpt: "550 5.1.1 unknown", ..WILLING },
            Refused(format!("the {own} recipient: 550 5.1.1 unknown")),
        ),
        (
            Answers { rcpt: "450 4.2.1 later", ..WILLING },
            Deferred(format!("the {own} recipient: 450 4.2.1 later")),
        ),
        (Answers { data: "554 spam", ..WILLING }, Refused(format!("the {own} message: 554 spam"))),
        (Answers { data: "452 full", ..WILLING }, Deferred(format!("the {own} message: 452 full"))),
        (Answers { rcpt: "421 closing", ..WILLING }, Unusable(format!("the {own} recipient: 421 closing"))),
        (Answers { mail: "553 not you", ..WILLING }, Unusable(format!("the {own} sender: 553 not you"))),
        (Answers { greeting: "554 no", ..WILLING }, Unusable("cannot connect: 554 no".into())),
    ] {
        let server = Server::start(answers).await;
        assert_eq!(send(&server.mailer(), &letter()).await.unwrap_err(), expected);
    }
    let closed = Server::start(WILLING).await.mailer_at("smtp://127.0.0.1:1");
    let failure = send(&closed, &letter()).await.unwrap_err();
    assert!(matches!(&failure, Unusable(said) if said.starts_with("cannot connect: ")), "{failure:?}");
}

#[tokio::test]
async fn a_refused_password_is_a_failure_of_the_server_and_is_never_shown() {
    let answers = Answers { hello: "250-mail\r\n250 AUTH PLAIN LOGIN", auth: "535 5.7.8 no", ..WILLING };
    let server = Server::start(answers).await;
    let mailer = server.mailer_at(&format!("smtp://ada:can%40ry@127.0.0.1:{}", server.port));
    let failure = mailer.try_server().await.unwrap_err();
    let said = "the mail server refuses the user or password: 535 5.7.8 no".to_owned();
    assert_eq!(failure, Failure::Server(said));
    assert!(!format!("{mailer:?} {}", mailer.server()).contains("can"), "{mailer:?}");
}

#[tokio::test]
async fn a_wrong_setting_is_named_instead_of_another_fault() {
    let said = async |answers: Answers, scheme: &str, more: &str| {
        let server = Server::start(answers).await;
        let url = format!("{scheme}127.0.0.1:{}{more}", server.port);
        send(&server.mailer_at(&url), &letter()).await.unwrap_err().said().to_owned()
    };
    let offering =
        Answers { hello: "250-mail\r\n250-8BITMIME\r\n250 STARTTLS", mail: "530 5.7.0 first", ..WILLING };
    let plain = said(WILLING, "smtps://", "").await;
    assert!(plain.contains("does not begin with TLS: use smtp://"), "{plain}");
    let unencrypted = said(offering, "smtp://ada:x@", "").await;
    let wanted = "offers no sign-in with a password (AUTH PLAIN or LOGIN) on an unencrypted connection: add ?tls=required";
    assert!(unencrypted.contains(wanted), "{unencrypted}");
    let required = said(offering, "smtp://", "").await;
    assert!(
        required.contains("requires STARTTLS: add ?tls=required") && required.ends_with("530 5.7.0 first"),
        "{required}"
    );
    let anonymous = said(Answers { mail: "530 5.7.0 first", ..WILLING }, "smtp://", "").await;
    assert!(anonymous.contains("requires a sign-in: set a user"), "{anonymous}");
}

#[tokio::test]
async fn the_password_file_is_read_at_each_connection() {
    let answers = Answers { hello: "250-mail\r\n250 AUTH PLAIN", ..WILLING };
    let server = Server::start(answers).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    let url = format!("smtp://ada@127.0.0.1:{}", server.port);
    let mailer =
        Mailer::new(MailServer::parse(&url, Some(path.clone()), None).unwrap(), "a@example.com").unwrap();
    let failure = mailer.try_server().await.unwrap_err();
    assert!(failure.said().starts_with("cannot read the password file"), "{failure:?}");
    std::fs::write(&path, "first\n").unwrap();
    mailer.try_server().await.unwrap();
}

#[tokio::test]
async fn nothing_is_sent_unencrypted_where_starttls_is_required() {
    let server = Server::start(WILLING).await;
    let url = format!("smtp://127.0.0.1:{}?tls=required", server.port);
    let failure = send(&server.mailer_at(&url), &letter()).await.unwrap_err();
    assert!(failure.said().contains("does not offer STARTTLS"), "{failure:?}");
}

#[test]
fn a_server_is_named_by_its_url() {
    for (url, shown, encryption) in [
        ("smtp://mail.example.com", "smtp://mail.example.com:587", server::Encryption::StartTls),
        ("smtps://mail.example.com/", "smtps://mail.example.com:465", server::Encryption::Tls),
        ("smtp://a:b@localhost:25", "smtp://localhost:25", server::Encryption::None),
        ("smtp://[::1]:25", "smtp://[::1]:25", server::Encryption::None),
        ("smtp://127.0.0.1:25?tls=required", "smtp://127.0.0.1:25", server::Encryption::StartTls),
        ("smtp://localhost.example.com", "smtp://localhost.example.com:587", server::Encryption::StartTls),
    ] {
        let server = MailServer::parse(url, None, None).unwrap();
        assert_eq!((server.to_string().as_str(), server.encryption), (shown, encryption), "{url}");
    }
    for bad in [
        "",
        "mail.example.com",
        "http://mail.example.com",
        "smtp://",
        "smtp://mail.example.com/x",
        "smtp://mail.example.com?tls=none",
        "smtps://mail.example.com?tls=required",
        "smtp://mail.example.com#x",
        "smtp://user@mail.example.com",
        "smtp://:password@mail.example.com",
        "smtp://mail example.com",
    ] {
        assert!(MailServer::parse(bad, None, None).is_err(), "{bad}");
    }
    let typo = MailServer::parse("smtp://mail.example.com?tls=require", None, None);
    assert!(typo.unwrap_err().contains("?tls=required"));
    let both = MailServer::parse("smtp://a:b@mail.example.com", Some("file".into()), None);
    assert!(both.unwrap_err().contains("smtp_password_file"));
}

#[tokio::test]
async fn no_text_becomes_a_header_or_a_command() {
    let hostile = [
        "Billing\r\nBcc: eve@example.com",
        "Billing\nX-Evil: 1\n\nbody",
        "\u{2028}\u{85}Bcc: eve@example.com",
        "\"><script>alert(1)</script>",
        ".\r\nMAIL FROM:<eve@example.com>",
        "صندوق الدفع שלום",
    ];
    let mut server = Server::start(WILLING).await;
    let mailer = server.mailer();
    let long = "é".repeat(200);
    for name in hostile.into_iter().chain([long.as_str()]) {
        let mut letter = letter();
        letter.subject = format!("Secret rotated: {name}");
        letter.heading = format!("The secret was rotated: {name}");
        letter.facts.push(("Reason", name.to_owned()));
        letter.because = name.to_owned();
        send(&mailer, &letter).await.unwrap();
        let message = server.messages.recv().await.unwrap();
        let header = message.split("\n\n").next().unwrap();
        for line in header.lines() {
            let is_known = [
                "From:",
                "To:",
                "Subject:",
                "Date:",
                "Message-ID:",
                "Auto-Submitted:",
                "MIME-Version:",
                "Content-Type:",
                " ",
                "\t",
            ];
            assert!(is_known.iter().any(|known| line.starts_with(known)), "{line:?} in {header}");
            assert!(line.len() <= 998 && line.is_ascii(), "{line:?}");
        }
        let html = message.split("text/html").nth(1).unwrap();
        assert!(!html.contains("<script"), "{html}");
    }
    let injected = Mailer::new(mailer.server().clone(), "Crossfade <a@example.com>\r\nBcc: eve@example.com");
    assert!(injected.is_err());
    let at = Timestamp::from_seconds(1);
    for to in ["ada@example.com\r\nRCPT TO:<eve@example.com>", "ada@example.com> SIZE=1", "ada", ""] {
        let mail = Mail { id: "1", to, at, letter: &letter() };
        assert!(matches!(mailer.send(&mail, || {}).await, Err(Failure::Refused(_))), "{to}");
    }
}

#[test]
fn a_letter_as_text_has_short_lines_and_a_whole_link() {
    let mut letter = letter();
    letter.next = "word ".repeat(60);
    let (html, text) = letter.render().unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 80 || line.starts_with("https://")), "{text}");
    assert!(text.contains(&letter.url) && html.contains(&letter.url), "{text}");
    assert!(text.starts_with("The secret was rotated") && !text.contains("\n\n\n"), "{text}");
}

#[tokio::test]
async fn responses_that_are_added_before_the_encryption_end_the_connection() {
    let hello = "250-mail\r\n250 STARTTLS";
    for added in [
        Answers { hello, starttls: "220 go\r\n250 injected", ..WILLING },
        Answers { hello, starttls: "220-go\r\n220 go\r\n250 injected", ..WILLING },
        Answers { hello: "250-mail\r\n250 STARTTLS\r\n220 go\r\n250 injected", ..WILLING },
        Answers { greeting: "220 mail\r\n250-mail\r\n250 STARTTLS\r\n220 go", hello, ..WILLING },
    ] {
        let server = Server::start(added).await;
        let mailer = server.mailer_at(&format!("smtp://127.0.0.1:{}?tls=required", server.port));
        let failure = send(&mailer, &letter()).await.unwrap_err();
        assert!(failure.said().contains("more than one response"), "{failure:?}");
    }
    // Without them, the encryption begins, and this server has none.
    let server = Server::start(Answers { hello, starttls: "220 go", ..WILLING }).await;
    let mailer = server.mailer_at(&format!("smtp://127.0.0.1:{}?tls=required", server.port));
    let failure = send(&mailer, &letter()).await.unwrap_err();
    assert!(failure.said().starts_with("STARTTLS: ") && !failure.said().contains("more than"), "{failure:?}");
}
