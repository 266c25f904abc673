//! The channel `webhook`: signed JSON to an address that somebody entered, or to a topic of Kafka.

use std::sync::Arc;

use actors::model::{ErrorKind, Fault, MemberId, Scope};
use actors::registry::Webhook;
use actors::runtime::dispatch::Outcome;
use actors::runtime::effects::EffectRow;
use bytes::Bytes;
use cdp::webhook::{CHANNEL, Notice};
use serde_json::{Map, Value, json};
use url::Url;

use super::call::{Answer, CallError, Caller};
use super::kafka::{self, Kafka, SendError};
use super::{Channel, Sending, sign};
use crate::platform::{Platform, StoredEvent};

/// What the sealed secrets of webhooks are for.
pub const SECRET_ABOUT: &[u8] = b"webhook";

/// Delivers to webhooks.
pub struct Webhooks {
    platform: Arc<Platform>,
    caller: Arc<Caller>,
    kafka: Option<Arc<Kafka>>,
}

impl Webhooks {
    /// The channel of a platform. `kafka`: the cluster of those that name a topic.
    pub fn new(
        platform: Arc<Platform>,
        caller: Arc<Caller>,
        kafka: Option<Arc<Kafka>>,
    ) -> Webhooks {
        Webhooks {
            platform,
            caller,
            kafka,
        }
    }

    async fn deliver(&self, row: &EffectRow) -> Result<Outcome, Outcome> {
        let notice = Notice::read(&row.effect.payload)
            .ok_or_else(|| refused("it was made by a newer version"))?;
        let hook = self.hook(row.effect.target).await?;
        if !hook.enabled {
            return Ok(Outcome::Paused);
        }
        let body = self.body(notice, hook.personal).await?;
        let id = message_id(row.effect.key);
        match hook.url.strip_prefix(kafka::SCHEME) {
            Some(topic) => self.produce(topic, &id, row.effect.target, &body).await,
            None => self.call(&hook, id, body.to_string().into()).await,
        }
    }

    async fn produce(
        &self,
        topic: &str,
        id: &str,
        hook: u64,
        body: &Value,
    ) -> Result<Outcome, Outcome> {
        let kafka = self.kafka.as_ref();
        let kafka = kafka.ok_or_else(|| retry("kafka.brokers is not set any more"))?;
        let message = kafka::Message {
            topic,
            key: body["data"]["member"].as_str(),
            id,
            source: &format!("/webhooks/{hook}"),
            kind: body["type"].as_str().unwrap_or_default(),
            time: body["timestamp"].as_str().unwrap_or_default(),
            brand: body["data"]["brand"].as_u64(),
            body: &body.to_string(),
        };
        match kafka.send(message).await {
            Ok(()) => Ok(Outcome::Done),
            Err(SendError::Refused(reason)) => Ok(refused(&reason)),
            Err(SendError::Failed(reason)) => Ok(retry(&reason)),
        }
    }

    async fn call(&self, hook: &Webhook, id: String, body: Bytes) -> Result<Outcome, Outcome> {
        let url = Url::parse(&hook.url).map_err(|error| refused(&error.to_string()))?;
        let now = self.platform.clock().now();
        let timestamp = now.0.div_euclid(1_000);
        let mut secrets = vec![self.open(&hook.secret)?];
        if let Some((old, until)) = &hook.old_secret
            && now < *until
        {
            secrets.push(self.open(old)?);
        }
        let headers = [
            ("webhook-id", id.clone()),
            ("webhook-timestamp", timestamp.to_string()),
            (
                "webhook-signature",
                sign::signatures(&secrets, &id, timestamp, &body),
            ),
        ];
        match self.caller.post(&url, &headers, body).await {
            Ok(answer) => Ok(outcome(&answer)),
            Err(CallError::Forbidden(reason)) => Ok(refused(&reason)),
            Err(CallError::Failed(reason)) => Ok(retry(&reason)),
        }
    }

    async fn hook(&self, target: u64) -> Result<Webhook, Outcome> {
        let id = u32::try_from(target).map_err(|_| refused("there is no such webhook"))?;
        let found = self
            .platform
            .registry()
            .webhook_get(&Scope::installation(), id)
            .await;
        found.map_err(|error| match error.kind() {
            ErrorKind::NotFound => refused("the webhook was removed"),
            _ => retry(&error.to_string()),
        })
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, Outcome> {
        let opened = self.platform.keys().open_secret(SECRET_ABOUT, sealed);
        opened.map_err(|error| refused(&error.to_string()))
    }

    async fn body(&self, notice: Notice, personal: bool) -> Result<Value, Outcome> {
        let at = match &notice {
            Notice::Event { at, .. } => *at,
            Notice::Identity { .. } | Notice::Segment { .. } | Notice::Alert(_) => {
                return Ok(notice_body(&notice));
            }
        };
        // Reads a log file.
        let platform = self.platform.clone();
        let read = tokio::task::spawn_blocking(move || platform.events(&[at])).await;
        let read = read.map_err(|error| retry(&error.to_string()))?;
        let event = read.map_err(|error| retry(&error.to_string()))?.pop();
        match event.flatten() {
            Some(event) => Ok(event_body(&event, personal)),
            None => Err(refused("the event's record is not there any more")),
        }
    }
}

impl Channel for Webhooks {
    fn name(&self) -> &'static str {
        CHANNEL
    }

    fn send<'a>(&'a self, row: &'a EffectRow) -> Sending<'a> {
        Box::pin(async move {
            match self.deliver(row).await {
                Ok(outcome) | Err(outcome) => outcome,
            }
        })
    }
}

/// The header `webhook-id` of an effect: the same for every call of it.
pub fn message_id(key: u64) -> String {
    format!("msg_{key:016x}")
}

/// What an answer means.
fn outcome(answer: &Answer) -> Outcome {
    let text = String::from_utf8_lossy(&answer.start);
    let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    let reason = format!("answered {} {text}", answer.status);
    match answer.status {
        200..=299 => Outcome::Done,
        300..=399 => refused(&format!(
            "answered {}: redirects are not followed, enter the final address",
            answer.status
        )),
        408 | 429 | 500.. => Outcome::Retry {
            after_ms: answer.retry_after_s.map(|seconds| seconds * 1_000),
            reason: reason.trim_end().into(),
        },
        _ => refused(reason.trim_end()),
    }
}

fn event_body(event: &StoredEvent, personal: bool) -> Value {
    let head = &event.head;
    let mut data = Map::new();
    let mut put = |name: &str, value: Value| data.insert(name.to_owned(), value);
    put("member", MemberId(head.member).to_string().into());
    put("event", head.raw.to_string().into());
    put("kind", head.kind.as_str().into());
    put("name", (&*head.name).into());
    put("time", head.time.rfc3339().into());
    put("received", head.received.rfc3339().into());
    put("source", head.source.0.into());
    put("brand", head.brand.0.into());
    put("test", head.test.into());
    put("erased", event.body.is_none().into());
    if let (true, Some(body)) = (personal, &event.body) {
        let object = |json: &Option<actors::model::RawJson>| match json {
            Some(json) => Value::Object(json.parse()),
            None => Value::Null,
        };
        let identifiers: Vec<String> = body.identifiers.iter().map(ToString::to_string).collect();
        put("message_id", (&*body.message_id).into());
        put("identifiers", identifiers.into());
        put("traits", object(&body.traits));
        put("properties", object(&body.properties));
        put("context", object(&body.context));
    }
    json!({"type": "event", "timestamp": head.time.rfc3339(), "data": data})
}

/// The body of what stands in the payload itself.
fn notice_body(notice: &Notice) -> Value {
    let (time, data) = match notice {
        // Its body is made of its record.
        Notice::Event { .. } => return Value::Null,
        Notice::Identity {
            member,
            other,
            time,
            cause,
            ..
        } => {
            let data = json!({
                "member": MemberId(*member).to_string(),
                "other": other.map(|other| MemberId(other).to_string()),
                "event": cause.to_string(),
            });
            (time, data)
        }
        Notice::Segment {
            member,
            segment,
            version,
            rebuilt,
            time,
            ..
        } => {
            let data = json!({
                "member": MemberId(*member).to_string(),
                "segment": segment.0,
                "version": version,
                "rebuilt": rebuilt,
            });
            (time, data)
        }
        Notice::Alert(change) => {
            let data = json!({
                "alert": change.id,
                "name": &*change.name,
                "firing": change.firing,
                "count": change.count,
                "threshold": change.threshold,
                "window_s": change.window_s,
                "source": change.source,
                "reason": change.code.as_deref(),
                "event": change.event.as_deref(),
            });
            (&change.at, data)
        }
    };
    json!({"type": notice.word(), "timestamp": time.rfc3339(), "data": data})
}

fn refused(reason: &str) -> Outcome {
    Outcome::Refused {
        reason: reason.into(),
    }
}

fn retry(reason: &str) -> Outcome {
    Outcome::Retry {
        after_ms: None,
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_the_standard_says() {
        let answer = |status, retry_after_s| Answer {
            status,
            retry_after_s,
            start: Bytes::from_static(b"a\r\nb"),
        };
        assert_eq!(outcome(&answer(204, None)), Outcome::Done);
        for status in [408, 429, 500, 503] {
            let expected = Outcome::Retry {
                after_ms: Some(7_000),
                reason: format!("answered {status} ab").into(),
            };
            assert_eq!(outcome(&answer(status, Some(7))), expected);
        }
        for status in [301, 400, 401, 404, 410] {
            assert!(matches!(
                outcome(&answer(status, None)),
                Outcome::Refused { .. }
            ));
        }
    }
}
