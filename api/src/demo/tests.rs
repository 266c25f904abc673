//! The whole demo against a platform of eighty lines: it believes every link, as a platform without limits would.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use actors::model::{BrandId, IdSpace, OrderStatus, SourceId, Time};
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use ingest::{OrderDefaults, Protocol, Request, SourceInfo, admit, decode};
use serde_json::{Value, json};

use super::*;
use crate::demo::people::Kind;

#[derive(Default)]
struct Order {
    amount: i64,
    said_ms: i64,
    status: Option<OrderStatus>,
    person: bool,
}

#[derive(Default)]
struct Naive {
    sources: usize,
    busy: u32,
    repeats: u32,
    seen: HashSet<String>,
    parents: HashMap<String, String>,
    orders: HashMap<String, Order>,
}

type Shared = Arc<Mutex<Naive>>;

impl Naive {
    fn root(&self, text: &str) -> String {
        let mut at = text.to_owned();
        while let Some(above) = self.parents.get(&at).filter(|above| **above != at) {
            at = above.clone();
        }
        at
    }

    fn take(&mut self, body: bytes::Bytes, protocol: Protocol, path: &str) {
        let source = SourceInfo {
            id: SourceId(1),
            id_space: IdSpace(0),
            brand: BrandId(1),
            test: false,
            orders: OrderDefaults::default(),
            sensors: Default::default(),
        };
        let request = Request {
            path,
            headers: &[],
            received: Time(0),
            query: "",
            nonce: 1,
            body,
        };
        for record in admit(protocol, &source, request).unwrap().records {
            if !self.seen.insert(record.message_id.to_string()) {
                self.repeats += 1;
                continue;
            }
            let event = decode(&record).unwrap();
            let identifiers: Vec<String> = generator::tests::read_identifiers(&event)
                .into_iter()
                .filter(|text| generator::tests::means_something(text))
                .collect();
            if let Some(order) = &event.order {
                let id = format!("{} {}", order.shop, order.order_id);
                let entry = self.orders.entry(id).or_default();
                let lines: i64 = order.lines.iter().map(|l| l.amount).sum();
                match order.total {
                    Some(total) if event.time.0 >= entry.said_ms => entry.amount = total,
                    None => entry.amount += lines,
                    Some(_) => {}
                }
                if event.time.0 >= entry.said_ms {
                    entry.said_ms = event.time.0;
                    entry.status = order.status;
                }
                entry.person |= !identifiers.is_empty();
            }
            let Some(first) = identifiers.first() else {
                continue;
            };
            let root = self.root(first);
            for text in &identifiers {
                let other = self.root(text);
                self.parents.insert(other, root.clone());
                self.parents.entry(text.clone()).or_insert(root.clone());
            }
        }
    }
}

async fn events(State(naive): State<Shared>, uri: axum::http::Uri, body: bytes::Bytes) -> Response {
    let mut naive = naive.lock().unwrap();
    naive.busy += 1;
    if naive.busy % 7 == 3 {
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")]).into_response();
    }
    let protocol = match uri.path() {
        "/v1/batch" => Protocol::Segment,
        "/v1/scan" => Protocol::Scan,
        _ => Protocol::Own,
    };
    naive.take(body, protocol, uri.path());
    ([("tributary-token", "1-1")], "{}").into_response()
}

async fn source(State(naive): State<Shared>, body: String) -> Response {
    let mut naive = naive.lock().unwrap();
    naive.sources += 1;
    assert!(serde_json::from_str::<Value>(&body).unwrap()["kind"].is_string());
    axum::Json(json!({"write_key": format!("wk{}", naive.sources)})).into_response()
}

async fn stats(State(naive): State<Shared>) -> Response {
    let naive = naive.lock().unwrap();
    let orders: Vec<_> = naive.orders.values().collect();
    let sum: i64 = orders.iter().map(|o| o.amount).sum();
    let count = |is: &dyn Fn(&Order) -> bool| orders.iter().filter(|o| is(o)).count();
    axum::Json(json!({
        "duplicates": naive.repeats,
        "dead_letters": 0,
        "orders": orders.len(),
        "orders_cancelled": count(&|o| o.status == Some(OrderStatus::Cancelled)),
        "orders_without_person": count(&|o| !o.person),
        "order_amount": {"CNY": format!("{}.{:02}", sum / 100, sum % 100)},
    }))
    .into_response()
}

async fn member(
    State(naive): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let naive = naive.lock().unwrap();
    let identifier = &query["identifier"];
    if !naive.parents.contains_key(identifier) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let root = naive.root(identifier);
    axum::Json(json!({"id": root, "identifiers": [identifier]})).into_response()
}

/// Whatever is defined is at work at once. `/api/v1/segments/preview` is answered by the same.
async fn made() -> axum::Json<Value> {
    axum::Json(json!({ "id": 7, "code": "c", "name": "n", "building": false, "count": 3 }))
}

#[tokio::test]
async fn a_platform_that_believes_everything_counts_right_and_joins_strangers() {
    let app = Router::new()
        .route("/v1/batch", post(events))
        .route("/v1/scan", post(events))
        .route("/v1/events", post(events))
        .route("/api/v1/sources", post(source))
        .route("/api/v1/stats", get(stats))
        .route("/api/v1/members", get(member))
        .route("/api/v1/attributes", post(made))
        .route("/api/v1/tags", post(made))
        .route("/api/v1/tags/{code}", get(made))
        .route("/api/v1/segments", post(made))
        .route("/api/v1/segments/{id}", get(made).post(made))
        .with_state(Shared::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });

    let options = DemoOptions {
        server,
        admin_key: "admin".into(),
        messages: 6_000,
        people: 0,
        seed: 5,
        now_ms: 1_790_000_000_000,
    };
    let (report, _trickle) = run(&options).await.unwrap();
    assert!(report.totals_agree(), "{report}");
    assert_eq!(report.filled.messages, 6_000);
    assert!(report.filled.retries > 0);
    let links = report.judged.links;
    assert_eq!(links.known, links.identifiers, "{report}");
    assert_eq!(links.recall(), 1.0, "{report}");
    // Households, clerks and farmers: who believes every link joins strangers.
    assert!(links.precision() < 0.99, "{report}");
    assert!(report.judged.example.starts_with(Kind::Phone.prefix()));
    assert!(
        report
            .to_string()
            .contains("/api/v1/members?identifier=phone:154")
    );
}
