//! TLS and proxies between leadbridge and a receiver.

use std::net::SocketAddr;

use super::{Receivers, told_by_webhook};
use crate::testkit::{Authority, Bridge, Front, Said, Way, WebServer, World, said};

/// `alert test`, on a system whose CA certificates are those in the file.
async fn test_trusting(bridge: &Bridge, authority: Option<&Authority>) -> Said {
    let mut command = bridge.command(&["alert", "test"]);
    let file = authority.map_or("/dev/null".as_ref(), |authority| authority.file.as_path());
    command.env("SSL_CERT_FILE", file).env("SSL_CERT_DIR", "/nonexistent");
    said(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn https_and_smtps_are_used_with_a_certificate_of_the_systems_authorities_only() {
    let world = World::new().await;
    let receivers = Receivers::start().await;
    let bridge = receivers.told_by(Bridge::new(&world), "1h");
    let authority = Authority::new(bridge.dir().join("ca.pem"));
    let front = async |receiver: SocketAddr| Front::start(Way::Tls(authority.acceptor()), receiver).await;
    let write = |name: &str, content: String| std::fs::write(bridge.dir().join(name), content).unwrap();
    let telegram = front(receivers.telegram.address).await;
    let webhook = front(receivers.webhook.address).await;
    let mail = front(receivers.mail.address).await;
    write("webhook", format!("https://{}/hook", webhook.address));
    write("smtp", format!("smtps://mailer:geheim-smtp@{}", mail.address));
    let settings = std::fs::read_to_string(bridge.dir().join("leadbridge.toml")).unwrap();
    write(
        "leadbridge.toml",
        settings.replace(&receivers.telegram.url(""), &format!("https://{}", telegram.address)),
    );

    let said = test_trusting(&bridge, None).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert_eq!(said.out.matches("TLS").count(), 3, "{}", said.out);
    assert_eq!(receivers.telegram.requests().len() + receivers.webhook.requests().len(), 0);
    assert_eq!(receivers.mail.logins(), 0);

    let said = test_trusting(&bridge, Some(&authority)).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert_eq!((receivers.telegram.taken().len(), receivers.webhook.taken().len()), (1, 1));
    assert_eq!(receivers.mail.mails()[0].subject, "[leadbridge School 1] test");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_sent_after_starttls_only_and_never_to_a_server_without_it() {
    let world = World::new().await;
    let receivers = Receivers::start().await;
    let bridge = receivers.told_by(Bridge::new(&world), "1h");
    let authority = Authority::new(bridge.dir().join("ca.pem"));
    let front = Front::start(Way::StartTls(authority.acceptor()), receivers.mail.address).await;
    let mail_through = |address: SocketAddr| {
        let url = format!("smtp://mailer:geheim-smtp@{address}?tls=required");
        std::fs::write(bridge.dir().join("smtp"), url).unwrap();
    };
    mail_through(front.address);
    let said = test_trusting(&bridge, Some(&authority)).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert_eq!((receivers.mail.mails().len(), receivers.mail.logins()), (1, 1));
    let said = test_trusting(&bridge, None).await;
    assert!(said.code == 1 && said.out.contains("TLS with the mail server failed"), "{}", said.out);

    // Somebody between the two has taken the offer of STARTTLS away.
    mail_through(receivers.mail.address);
    let said = test_trusting(&bridge, Some(&authority)).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert_eq!((receivers.mail.mails().len(), receivers.mail.logins()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socks_proxy_looks_up_the_name_and_carries_the_message() {
    let world = World::new().await;
    let webhook = WebServer::start().await;
    let proxy = Front::start(Way::Socks, webhook.address).await;
    let bridge = Bridge::new(&world);
    let file = bridge.dir().join("proxy");
    std::fs::write(&file, format!("socks5h://user:geheim-proxy@{}", proxy.address)).unwrap();
    let bridge = told_by_webhook(bridge, &webhook, &format!("proxy_url_file = '{}'", file.display()));
    std::fs::write(bridge.dir().join("webhook"), "http://hook.invalid/hook").unwrap();
    let said = bridge.run(&["alert", "test"]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert_eq!(proxy.asked(), ["user:geheim-proxy hook.invalid:80"]);
    assert_eq!(webhook.taken().len(), 1);
}
