//! Against bad servers on this machine (fault row 33): real sockets, short limits.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    answer: Duration::from_millis(300),
    answer_bytes_max: 1_000,
};

fn caller(networks: &str) -> Caller {
    Caller::new(networks.parse().unwrap(), LIMITS)
}

/// A server that answers each connection with these bytes, again and again if `forever`; answers its address.
async fn server(answer: &'static [u8], forever: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4_096];
                if stream.read(&mut head).await.is_err() || stream.write_all(answer).await.is_err()
                {
                    return;
                }
                if forever {
                    while stream.write_all(&[b'x'; 65_536]).await.is_ok() {}
                    return;
                }
                // Hangs: never closes by itself.
                let _ = stream.read(&mut head).await;
                let _ = stream.read(&mut head).await;
            });
        }
    });
    address
}

async fn post(caller: &Caller, url: &str) -> Result<Answer, CallError> {
    let url = Url::parse(url).unwrap();
    caller
        .post(
            &url,
            &[("webhook-id", "msg_1".into())],
            Bytes::from_static(b"{}"),
        )
        .await
}

#[tokio::test]
async fn row_33_bad_servers_cost_little() {
    let caller = caller("127.0.0.1");
    let fine = server(
        b"HTTP/1.1 500 No\r\nretry-after: 9\r\ncontent-length: 4\r\n\r\nwhat",
        false,
    )
    .await;
    let answer = post(&caller, &format!("http://{fine}/x?y=1"))
        .await
        .unwrap();
    assert_eq!(
        (answer.status, answer.retry_after_s, &answer.start[..]),
        (500, Some(9), &b"what"[..])
    );

    let hangs = server(b"", false).await;
    let error = post(&caller, &format!("http://{hangs}/"))
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Failed(_)), "{error}");

    // A gigabyte and more: a part of it is read, and only when it may say what is wrong.
    let huge = server(
        b"HTTP/1.1 503 Huge\r\ncontent-length: 99999999999\r\n\r\n",
        true,
    )
    .await;
    let answer = post(&caller, &format!("http://{huge}/")).await.unwrap();
    assert_eq!(
        (answer.status, answer.start.len()),
        (503, LIMITS.answer_bytes_max)
    );
    let huge = server(
        b"HTTP/1.1 200 Huge\r\ncontent-length: 99999999999\r\n\r\n",
        true,
    )
    .await;
    let answer = post(&caller, &format!("http://{huge}/")).await.unwrap();
    assert_eq!((answer.status, answer.start.len()), (200, 0));
    let head = server(b"HTTP/1.1 200 OK\r\nx: ", true).await;
    assert!(
        post(&caller, &format!("http://{head}/")).await.is_err(),
        "a head without end"
    );

    // A redirect is an answer like any other: nobody goes there.
    let inside = server(
        b"HTTP/1.1 301 There\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        false,
    )
    .await;
    assert_eq!(
        post(&caller, &format!("http://{inside}/"))
            .await
            .unwrap()
            .status,
        301
    );

    let plain = server(b"HTTP/1.1 200 OK\r\n\r\n", false).await;
    let error = post(&caller, &format!("https://{plain}/"))
        .await
        .unwrap_err();
    assert!(error.to_string().starts_with("TLS"), "{error}");
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    assert!(matches!(
        post(&caller, &format!("http://{closed}/")).await,
        Err(CallError::Failed(_))
    ));
}

#[tokio::test]
async fn s12_nothing_inside_is_called() {
    let strict = caller("");
    let target = server(b"HTTP/1.1 200 OK\r\n\r\n", false).await;
    let port = target.port();
    for url in [
        format!("http://127.0.0.1:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("https://2130706433:{port}/"),
        format!("https://0x7f.1:{port}/"),
        format!("https://[::1]:{port}/"),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
        format!("https://localhost:{port}/"),
        "https://169.254.169.254/latest/meta-data".into(),
        "https://8.8.8.8:22/".into(),
        "http://8.8.8.8/".into(),
        "https://user:pass@8.8.8.8/".into(),
        "ftp://8.8.8.8/".into(),
        "file:///etc/passwd".into(),
    ] {
        let refused = post(&strict, &url).await;
        assert!(
            matches!(refused, Err(CallError::Forbidden(_))),
            "{url}: {refused:?}"
        );
    }
    // Allowed by name of its network: reached, by its name too.
    let open = caller("127.0.0.0/8,::1");
    assert_eq!(
        post(&open, &format!("http://127.0.0.1:{port}/"))
            .await
            .unwrap()
            .status,
        200
    );
    assert!(!matches!(
        post(&open, &format!("http://localhost:{port}/")).await,
        Err(CallError::Forbidden(_))
    ));
    assert!(open.check(&Url::parse("http://8.8.8.8/").unwrap()).is_err());
}
