use tokio::net::TcpListener;

use super::*;

/// A server that answers each request of one connection with the next of `answers`, in two writes.
async fn server(answers: &'static [&'static str]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut input = Vec::new();
        for answer in answers {
            while find(&input, b"\r\n\r\n{}").is_none() {
                if stream.read_buf(&mut input).await.unwrap() == 0 {
                    return;
                }
            }
            input.clear();
            let (first, second) = answer.split_at(answer.len() / 2);
            stream.write_all(first.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            tokio::task::yield_now().await;
            stream.write_all(second.as_bytes()).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let address = server(&[
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTributary-Token: 1-7\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n[1,\r\n2;x=y\r\n2]\r\n0\r\n\r\n",
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
    ])
    .await;
    let mut client = Client::new(address);
    let answer = client.post("/v1/batch", "", b"{}").await.unwrap();
    assert_eq!((answer.status, answer.token.as_deref()), (200, Some("1-7")));
    assert_eq!(answer.body, b"{}");
    let answer = client.post("/x", &write_key("k"), b"{}").await.unwrap();
    assert_eq!(answer.json(), serde_json::json!([1, 2]));
    let answer = client.post("/x", "", b"{}").await.unwrap();
    assert!(answer.asks_patience() && !answer.is_good());
    assert_eq!(answer.retry_after_s, Some(1));
}

#[tokio::test]
async fn patience_ends_with_the_good_answer() {
    let address = server(&[
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ])
    .await;
    let (answer, tries) = Client::new(address)
        .post_patiently("/v1/batch", "", b"{}")
        .await
        .unwrap();
    assert_eq!((answer.status, tries), (200, 1));
}

#[test]
fn keys_are_sent_as_clients_send_them() {
    assert_eq!(write_key("WK1"), "Basic V0sxOg==");
    assert_eq!(api_key("a"), "Bearer a");
}
