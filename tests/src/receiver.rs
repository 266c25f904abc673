//! A server that is called by the product: it records what comes and answers what the test says.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::wait;

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The path it came to: tests name their endpoints by it.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Body.
    pub body: Vec<u8>,
}

impl Call {
    /// A header that must be there.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
    }

    /// The body as JSON.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.body).expect("webhooks send JSON")
    }
}

type Answers = Arc<Mutex<BTreeMap<String, String>>>;

/// The server. It lives as long as the test.
pub struct Receiver {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    answers: Answers,
}

impl Receiver {
    /// Listens on a free port and answers 204 to everything.
    pub fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let answers: Answers = Arc::default();
        let (heard, told) = (calls.clone(), answers.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (heard, told) = (heard.clone(), told.clone());
                std::thread::spawn(move || take(stream, &heard, &told));
            }
        });
        Receiver {
            address,
            calls,
            answers,
        }
    }

    /// Its address with a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on this path answers with these lines, e.g. `500 No` or `301 There\r\nlocation: …`.
    pub fn answers(&self, path: &str, head: &str) {
        let mut answers = self.answers.lock().expect("no thread panics with it");
        answers.insert(path.to_owned(), head.to_owned());
    }

    /// What came to a path so far.
    pub fn calls(&self, path: &str) -> Vec<Call> {
        let calls = self.calls.lock().expect("no thread panics with it");
        calls
            .iter()
            .filter(|call| call.path == path)
            .cloned()
            .collect()
    }

    /// Waits until so many calls came to a path.
    pub fn wait_for(&self, path: &str, calls: usize) -> Vec<Call> {
        wait::until(&format!("{calls} calls of {path}"), || {
            let came = self.calls(path);
            (came.len() >= calls).then_some(came)
        })
    }
}

fn take(stream: TcpStream, calls: &Mutex<Vec<Call>>, answers: &Answers) {
    // Whatever breaks here is a caller that went away: it is killed in some tests.
    let _ = exchange(stream, calls, answers);
}

fn exchange(
    mut stream: TcpStream,
    calls: &Mutex<Vec<Call>>,
    answers: &Answers,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|text| text.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let answer = {
        let answers = answers.lock().expect("no thread panics with it");
        answers.get(&path).cloned()
    };
    calls.lock().expect("no thread panics with it").push(Call {
        path,
        headers,
        body,
    });
    let answer = answer.unwrap_or_else(|| "204 Fine".to_owned());
    write!(
        stream,
        "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
}
