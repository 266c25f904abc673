//! Webhooks: addresses that are called when something happens, signed as Standard Webhooks has it, and topics of Kafka.

use actors::model::{BrandId, FieldClass};
use actors::registry::{NewWebhook, Telling, Webhook, WebhookChange};
use axum::Json;
use axum::extract::State;
use cdp::definition::DefinitionKind;
use cdp::webhook::{Hook, Hooks, check_words};
use pipelines::effect::kafka::SCHEME;
use pipelines::effect::sign;
use pipelines::effect::webhook::SECRET_ABOUT;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::page::ListQuery;
use crate::http::{Caller, Input, Page, Permission, Query, Routes, Segment, Written, doc};

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Webhooks";
    let (read, write) = (Permission::WebhooksRead, Permission::WebhooksWrite);
    crate::http::routes()
        .get(
            "/api/v1/webhooks",
            read,
            list,
            doc(tag, "Webhooks, oldest first")
                .query::<ListQuery>()
                .lists::<WebhookAnswer>(),
        )
        .post(
            "/api/v1/webhooks",
            write,
            create,
            doc(tag, "Add a webhook").enters("webhook", "create")
                .more(
                    "Answers its `secret`, which is shown this once. Each call is signed as \
                     [Standard Webhooks](https://www.standardwebhooks.com) has it; `webhook-id` stays the same when a call \
                     is repeated. What is answered with 5xx, 408 or 429, or not within 15 s, is called again for about two \
                     days; anything else but 2xx is given up at once (`GET /api/v1/effects?state=dead`). With `url` \
                     `kafka:TOPIC` the same bodies become messages of that topic: the key is the member, the headers are \
                     those of CloudEvents, `ce_id` is what `webhook-id` is.",
                )
                .body::<NewWebhookInput>()
                .written::<KeyedWebhook>(),
        )
        .get(
            "/api/v1/webhooks/{id}",
            read,
            get,
            doc(tag, "One webhook").answers::<WebhookAnswer>(),
        )
        .patch(
            "/api/v1/webhooks/{id}",
            write,
            change,
            doc(tag, "Change a webhook, switch it on or off").enters("webhook", "update")
                .more("While it is off nothing new is kept for it; what waited already waits on.")
                .body::<WebhookInput>()
                .written::<WebhookAnswer>(),
        )
        .delete(
            "/api/v1/webhooks/{id}",
            write,
            remove,
            doc(tag, "Remove a webhook").enters("webhook", "delete").written::<WebhookAnswer>(),
        )
        .post(
            "/api/v1/webhooks/{id}/rotate",
            write,
            rotate,
            doc(tag, "Give a webhook a new secret").enters("webhook", "rotate")
                .more("Both sign for a day, so that the receiver can change over. The new one is shown this once.")
                .written::<KeyedWebhook>(),
        )
}

/// The secret before signs as well for so long after a rotation, in milliseconds: a working day and a night.
const OLD_SECRET_MS: i64 = 24 * 3_600_000;
/// Longest address.
const URL_BYTES_MAX: usize = 2_000;

/// A webhook to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhookInput {
    /// Name, for people.
    #[schema(example = "crm")]
    pub name: String,
    /// Where it is called: https, a public address unless `effects.allow_networks` says otherwise; or `kafka:TOPIC`, a
    /// topic of the cluster that `kafka.brokers` names.
    #[schema(example = "https://crm.example.com/hooks/tributary")]
    pub url: String,
    /// What it hears of: `*`, `event`, `event:NAME`, `member.linked`, `member.merged`, `member.conflict`,
    /// `member.unmerged`, `member.rejoined`, `segment.entered`, `segment.left` (both also with `:ID`), and `rebuilt` to
    /// hear of changes that an edited rule makes.
    #[schema(example = json!(["event:order", "member.merged"]))]
    pub events: Vec<String>,
    /// The brand whose events it hears; 0 or left out: the group.
    #[serde(default)]
    pub brand: u32,
    /// Its bodies carry identifiers, traits and properties, not only where to read them.
    #[serde(default)]
    pub personal: bool,
    /// Whether it is called; left out: yes.
    pub enabled: Option<bool>,
    /// A secret of your own, `whsec_…`; left out: a new one is made.
    pub secret: Option<String>,
}

/// What to change of a webhook.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookInput {
    /// Another name.
    pub name: Option<String>,
    /// Another address.
    pub url: Option<String>,
    /// What it hears of.
    pub events: Option<Vec<String>>,
    /// Its bodies carry what is personal.
    pub personal: Option<bool>,
    /// Whether it is called.
    pub enabled: Option<bool>,
}

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookAnswer {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Where it is called.
    pub url: String,
    /// What it hears of.
    pub events: Vec<String>,
    /// The brand whose events it hears; 0: the group.
    pub brand: u32,
    /// Its bodies carry what is personal.
    pub personal: bool,
    /// Whether it is called.
    pub enabled: bool,
    /// Until when the secret before signs as well.
    pub old_secret_until: Option<String>,
    /// When it was made.
    pub created: String,
}

/// A webhook with its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyedWebhook {
    /// The webhook.
    #[serde(flatten)]
    pub webhook: WebhookAnswer,
    /// Its secret, shown this once.
    #[schema(example = "whsec_…")]
    pub secret: String,
}

async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<WebhookAnswer>>, ApiError> {
    let (limit, cursor) = query.registry()?;
    let page = shared
        .registry()
        .webhook_list(&caller.scope, limit, cursor)
        .await?;
    Ok(Json(Page {
        items: page.items.iter().map(answer).collect(),
        next_cursor: page.next_cursor,
    }))
}

async fn get(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<u32>,
) -> Result<Json<WebhookAnswer>, ApiError> {
    let found = shared.registry().webhook_get(&caller.scope, id).await?;
    Ok(Json(answer(&found)))
}

async fn create(
    State(shared): State<Shared>,
    caller: Caller,
    Input(input): Input<NewWebhookInput>,
) -> Result<Written<KeyedWebhook>, ApiError> {
    let brand = BrandId(input.brand);
    shared.brands_exist(&[brand], "brand").await?;
    let url = address(&shared, &input.url)?;
    words(&input.events, brand)?;
    personal(&caller, input.personal)?;
    let keys = shared.platform().keys();
    let secret = match &input.secret {
        Some(text) => sign::read_secret(text).ok_or_else(|| {
            let message = "a secret is whsec_ and base64 of 24 to 64 bytes";
            ApiError::new("body_invalid", message).field("secret")
        })?,
        None => keys.random_secret()?.to_vec(),
    };
    let new = NewWebhook {
        name: input.name,
        url,
        brand,
        events: input.events,
        personal: input.personal,
        enabled: input.enabled.unwrap_or(true),
        secret: keys.seal_secret(SECRET_ABOUT, &secret),
    };
    let now = shared.now();
    let made = shared
        .registry()
        .webhook_create(&caller.scope, new, telling(&caller), now)
        .await?;
    let token = shared.publish_pending().await?;
    let made = KeyedWebhook {
        webhook: answer(&made),
        secret: sign::secret_text(&secret),
    };
    let item = made.webhook.id;
    Ok(Written::created(token, made).about(item).of_brand(brand))
}

async fn change(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<u32>,
    Input(input): Input<WebhookInput>,
) -> Result<Written<WebhookAnswer>, ApiError> {
    let present = shared.registry().webhook_get(&caller.scope, id).await?;
    let url = match &input.url {
        Some(url) => Some(address(&shared, url)?),
        None => None,
    };
    if let Some(events) = &input.events {
        words(events, present.brand)?;
    }
    // Who may not see what is personal must not send it to an address of their own either.
    let both = input.personal.unwrap_or(present.personal);
    if url.is_some() || input.personal.is_some() {
        personal(&caller, both)?;
    }
    let change = WebhookChange {
        name: input.name,
        url,
        events: input.events,
        personal: input.personal,
        enabled: input.enabled,
        ..WebhookChange::default()
    };
    update(&shared, &caller, id, change).await
}

async fn remove(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<u32>,
) -> Result<Written<WebhookAnswer>, ApiError> {
    let change = WebhookChange {
        removed: true,
        ..WebhookChange::default()
    };
    update(&shared, &caller, id, change).await
}

async fn rotate(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<u32>,
) -> Result<Written<KeyedWebhook>, ApiError> {
    let keys = shared.platform().keys();
    let secret = keys.random_secret()?.to_vec();
    let sealed = keys.seal_secret(SECRET_ABOUT, &secret);
    let change = WebhookChange {
        secret: Some((sealed, shared.now().plus_ms(OLD_SECRET_MS))),
        ..WebhookChange::default()
    };
    let brand = shared
        .registry()
        .webhook_get(&caller.scope, id)
        .await?
        .brand;
    let Written { token, result, .. } = update(&shared, &caller, id, change).await?;
    let token = token.and_then(|token| token.parse().ok());
    let keyed = KeyedWebhook {
        webhook: result,
        secret: sign::secret_text(&secret),
    };
    Ok(Written::changed(token, keyed).of_brand(brand))
}

async fn update(
    shared: &Shared,
    caller: &Caller,
    id: u32,
    change: WebhookChange,
) -> Result<Written<WebhookAnswer>, ApiError> {
    let changed = shared
        .registry()
        .webhook_update(&caller.scope, id, change, telling(caller), shared.now())
        .await?;
    let token = shared.publish_pending().await?;
    Ok(Written::changed(token, answer(&changed)).of_brand(changed.brand))
}

/// What the units are told: who hears of what, and nothing of addresses and secrets.
fn telling(caller: &Caller) -> Telling<'_> {
    Telling {
        kind: DefinitionKind::Webhooks.as_str(),
        author: &caller.name,
        body: &|webhooks| {
            let enabled = webhooks.iter().filter(|webhook| webhook.enabled);
            let hooks = enabled.map(|webhook| Hook {
                id: webhook.id,
                brand: webhook.brand,
                events: webhook
                    .events
                    .iter()
                    .map(|word| word.as_str().into())
                    .collect(),
            });
            Hooks::new(hooks.collect()).to_body().to_string()
        },
    }
}

fn address(shared: &Shared, text: &str) -> Result<String, ApiError> {
    let refuse = |message: String| ApiError::new("body_invalid", message).field("url");
    if text.len() > URL_BYTES_MAX {
        return Err(refuse(format!("longer than {URL_BYTES_MAX} bytes")));
    }
    if let Some(name) = text.strip_prefix(SCHEME) {
        topic(shared, name).map_err(refuse)?;
        return Ok(text.into());
    }
    let url = Url::parse(text).map_err(|error| refuse(error.to_string()))?;
    shared.effect_caller().check(&url).map_err(refuse)?;
    Ok(url.into())
}

/// Whether messages may go to the topic, else why not.
pub fn topic(shared: &Shared, name: &str) -> Result<(), String> {
    let missing = || "no Kafka cluster is configured: set kafka.brokers and start again";
    shared.kafka().ok_or_else(missing)?.check(name)
}

fn words(events: &[String], brand: BrandId) -> Result<(), ApiError> {
    check_words(events, brand)
        .map_err(|message| ApiError::new("body_invalid", message).field("events"))
}

fn personal(caller: &Caller, wanted: bool) -> Result<(), ApiError> {
    if wanted && caller.scope.fields < FieldClass::P3 {
        let message = "this key does not see all personal fields, so it cannot have them sent";
        return Err(ApiError::new("permission_missing", message).field("personal"));
    }
    Ok(())
}

fn answer(webhook: &Webhook) -> WebhookAnswer {
    let old = webhook.old_secret.as_ref();
    WebhookAnswer {
        id: webhook.id,
        name: webhook.name.clone(),
        url: webhook.url.clone(),
        events: webhook.events.clone(),
        brand: webhook.brand.0,
        personal: webhook.personal,
        enabled: webhook.enabled,
        old_secret_until: old.map(|(_, until)| until.rfc3339()),
        created: webhook.created.rfc3339(),
    }
}
