use std::time::Duration;

use axum::routing::get;
use tokio::io::AsyncReadExt;

use super::*;

struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    done: tokio::task::JoinHandle<()>,
}

fn limits(connections_max: usize, head_timeout: Duration) -> HttpLimits {
    HttpLimits {
        connections_max,
        connections_per_address_max: 0,
        head_timeout,
        body_timeout: Duration::from_secs(5),
        unread_timeout: Duration::from_secs(30),
        drain_timeout: Duration::from_secs(5),
        body_memory_bytes: 1 << 20,
    }
}

async fn start(connections_max: usize, head_timeout: Duration) -> Running {
    start_with(limits(connections_max, head_timeout)).await
}

async fn start_with(limits: HttpLimits) -> Running {
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), limits)
        .await
        .unwrap();
    let address = server.address().unwrap();
    let (stop, stopped) = watch::channel(false);
    // More than both ends of a local socket hold for a reader who does not read.
    let large = || async { vec![b' '; 64 << 20] };
    let router = Router::new()
        .route("/", get(|| async { "here" }))
        .route("/large", get(large));
    let done = tokio::spawn(server.run(router, stopped));
    Running {
        address,
        stop,
        done,
    }
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

async fn read_to_end(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // A reset counts as an end: the server owes a slow client no more.
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8(text).unwrap()
}

const WHOLE: &str = "GET / HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let running = start(10, Duration::from_millis(50)).await;
    let mut slow = TcpStream::connect(running.address).await.unwrap();
    send(&mut slow, "GET / HTTP/1.1\r\nx-slow: ").await;
    let answer = read_to_end(slow).await;
    assert!(answer.is_empty() || answer.contains(" 408 "), "{answer}");
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_cut_off() {
    let running = start(10, Duration::from_millis(50)).await;
    let idle = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(read_to_end(idle).await, "");
}

#[tokio::test]
async fn one_connection_too_many_is_refused_politely_and_others_live() {
    let running = start(1, Duration::from_secs(30)).await;
    let mut first = TcpStream::connect(running.address).await.unwrap();
    // Half a request makes sure that the server holds this connection before the next one comes.
    send(&mut first, "GET / HTTP/1.1\r\nhost: t\r\n").await;
    let second = TcpStream::connect(running.address).await.unwrap();
    let refusal = read_to_end(second).await;
    assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal}");
    assert!(refusal.contains("connections_full"), "{refusal}");
    let body = refusal.split("\r\n\r\n").nth(1).unwrap();
    serde_json::from_str::<serde_json::Value>(body).unwrap();
    send(&mut first, "connection: close\r\n\r\n").await;
    assert!(read_to_end(first).await.ends_with("here"));
}

#[tokio::test]
async fn stopping_ends_idle_connections_and_refuses_new_ones() {
    let running = start(10, Duration::from_secs(30)).await;
    let mut served = TcpStream::connect(running.address).await.unwrap();
    send(&mut served, WHOLE).await;
    assert!(read_to_end(served).await.ends_with("here"));
    let idle = TcpStream::connect(running.address).await.unwrap();
    running.stop.send(true).unwrap();
    running.done.await.unwrap();
    assert_eq!(read_to_end(idle).await, "");
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn an_address_gets_its_share_of_connections_and_others_live() {
    let running = start_with(HttpLimits {
        connections_per_address_max: 2,
        ..limits(10, Duration::from_secs(30))
    })
    .await;
    let connect = async |from: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(from.parse().unwrap()).unwrap();
        socket.connect(running.address).await.unwrap()
    };
    let mut greedy = Vec::new();
    for _ in 0..2 {
        let mut stream = connect("127.0.0.1:0").await;
        // Half a request makes sure that the server holds this connection before the next one comes.
        send(&mut stream, "GET / HTTP/1.1\r\nhost: t\r\n").await;
        greedy.push(stream);
    }
    let refusal = read_to_end(connect("127.0.0.1:0").await).await;
    assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal}");
    assert!(refusal.contains("from this address"), "{refusal}");
    let mut other = connect("127.0.0.2:0").await;
    send(&mut other, WHOLE).await;
    assert!(read_to_end(other).await.ends_with("here"));
    // A seat that is given back is taken again.
    let mut first = greedy.remove(0);
    send(&mut first, "connection: close\r\n\r\n").await;
    assert!(read_to_end(first).await.ends_with("here"));
    let mut answer = String::new();
    while !answer.ends_with("here") {
        let mut again = connect("127.0.0.1:0").await;
        send(&mut again, WHOLE).await;
        answer = read_to_end(again).await;
    }
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() {
    let running = start_with(HttpLimits {
        unread_timeout: Duration::from_millis(50),
        connections_per_address_max: 1,
        ..limits(10, Duration::from_secs(30))
    })
    .await;
    let mut deaf = TcpStream::connect(running.address).await.unwrap();
    send(&mut deaf, "GET /large HTTP/1.1\r\nhost: t\r\n\r\n").await;
    // Its seat is free again although it reads nothing and stays.
    let mut answer = String::new();
    while !answer.ends_with("here") {
        let mut other = TcpStream::connect(running.address).await.unwrap();
        send(&mut other, WHOLE).await;
        answer = read_to_end(other).await;
    }
    drop(deaf);
}

#[test]
fn a_household_is_an_address_or_a_network_of_64_bits() {
    let of = |text: &str| household(text.parse().unwrap()).to_string();
    for (address, expected) in [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
    ] {
        assert_eq!(of(address), expected);
    }
}
