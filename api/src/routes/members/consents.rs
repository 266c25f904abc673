//! Consents of a member: what it allows each brand, and the events that are the evidence.

use actors::model::{BrandId, IdSpace, MemberId, SourceId};
use axum::Json;
use axum::extract::State;
use cdp::identity::row::{self, IdentRow};
use cdp::profile::view::consent::Consent;
use ingest::{Protocol, SourceInfo, Verdict, consent};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Input, Permission, RequestId, Routes, Segment, Written, doc};

/// The source of what an API key says instead of a source: consents, notes.
const BY_HAND: SourceId = SourceId(0);

pub fn routes(tag: &'static str) -> Routes {
    crate::http::routes()
        .get(
            "/api/v1/members/{id}/consents",
            Permission::MembersRead,
            list,
            doc(tag, "What a member allows, by brand, channel and purpose")
                .more(
                    "The events behind it are in the member's timeline: `/events?name=consent`. `*` stands for all; of what \
                     covers a channel and a purpose, what was said last counts.",
                )
                .answers::<ConsentsAnswer>()
                .reads(),
        )
        .post(
            "/api/v1/members/{id}/consents",
            Permission::MembersWrite,
            say,
            doc(tag, "Record a consent or its withdrawal").enters("member", "consent")
                .more("The same as an event named `consent` with these properties, which any source may send.")
                .body::<ConsentInput>()
                .written::<ConsentsAnswer>()
                .writes(),
        )
}

/// What a member allows.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConsentsAnswer {
    /// By brand, channel, purpose.
    pub items: Vec<ConsentAnswer>,
}

/// The last word on one channel and purpose.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConsentAnswer {
    /// Brand.
    pub brand: u32,
    /// Channel; `*`: all.
    #[schema(example = "sms")]
    pub channel: String,
    /// Purpose; `*`: all.
    #[schema(example = "marketing")]
    pub purpose: String,
    /// `granted` or `withdrawn`.
    pub state: &'static str,
    /// When it was said.
    pub time: String,
    /// The source of the event; 0: recorded through this API.
    pub source: u32,
}

impl ConsentAnswer {
    /// As JSON shows it.
    pub fn of(consent: &Consent) -> ConsentAnswer {
        ConsentAnswer {
            brand: consent.brand.0,
            channel: consent.channel.to_string(),
            purpose: consent.purpose.to_string(),
            state: if consent.granted {
                "granted"
            } else {
                "withdrawn"
            },
            time: consent.time.rfc3339(),
            source: consent.source.0,
        }
    }
}

/// What was said.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentInput {
    /// Channel, or `*` for all.
    #[schema(example = "sms")]
    pub channel: String,
    /// Purpose, or `*` for all.
    #[schema(example = "marketing")]
    pub purpose: String,
    /// `granted` or `withdrawn`.
    #[schema(example = "withdrawn")]
    pub state: String,
    /// Brand; the group when left out.
    #[serde(default, skip_serializing)]
    pub brand: u32,
    /// When it was said; now when left out.
    #[serde(default, skip_serializing)]
    pub time: Option<String>,
    /// How we know: a form, its version, a call. Kept with the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub evidence: Option<serde_json::Value>,
}

async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
) -> Result<Json<ConsentsAnswer>, ApiError> {
    let snapshot = shared.snapshot()?;
    let found = super::by_id(&shared, &snapshot, &caller.scope, &id)?;
    let items = found.view.consents.iter().map(ConsentAnswer::of).collect();
    Ok(Json(ConsentsAnswer { items }))
}

async fn say(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
    RequestId(request): RequestId,
    Input(input): Input<ConsentInput>,
) -> Result<Written<ConsentsAnswer>, ApiError> {
    let brand = BrandId(input.brand);
    if !caller.scope.sees(brand) {
        return Err(ApiError::new("body_invalid", "this brand is not yours").field("brand"));
    }
    shared.brands_exist(&[brand], "brand").await?;
    let (member, strongest) = {
        let snapshot = shared.snapshot()?;
        let found = super::by_id(&shared, &snapshot, &caller.scope, &id)?;
        let first = found.row.identifiers.first().copied();
        let strongest = match first {
            Some(ident) => row::get::<IdentRow>(&snapshot, row::IDENT, &ident.0.to_be_bytes())?,
            None => None,
        };
        (found.member, strongest)
    };
    let Some(strongest) = strongest else {
        return Err(ApiError::new("not_found", "this member has no identifier"));
    };
    let mut event = serde_json::json!({
        "message_id": caller.request(&request),
        "type": "track",
        "name": consent::EVENT,
        "identifiers": [strongest.identifier.to_string()],
        "properties": input,
        "context": {"by": caller.name.as_str()},
    });
    if let Some(time) = &input.time {
        event["time"] = time.as_str().into();
    }
    let source = SourceInfo {
        id: BY_HAND,
        id_space: IdSpace(0),
        brand,
        test: false,
        orders: Default::default(),
        sensors: Default::default(),
    };
    let admitted = ingest::admit(
        Protocol::Own,
        &source,
        ingest::Request {
            path: "/v1/events",
            headers: &[],
            received: shared.now(),
            query: "",
            nonce: shared.nonce(),
            body: event.to_string().into(),
        },
    )?;
    for record in &admitted.records {
        let refused = match &record.verdict {
            Verdict::Rejected(reject) => Some(reject.clone()),
            _ => ingest::decode(record).err(),
        };
        if let Some(reject) = refused {
            let error = ApiError::new(reject.code.as_str(), reject.reason.clone());
            return Err(match reject.field {
                Some(field) => error.field(field.trim_start_matches("properties.")),
                None => error,
            });
        }
    }
    let token = shared.append(admitted.records).await?;
    shared.wait(token).await?;
    let snapshot = shared.snapshot()?;
    let id = MemberId(member).to_string();
    let found = super::by_id(&shared, &snapshot, &caller.scope, &id)?;
    let items = found.view.consents.iter().map(ConsentAnswer::of).collect();
    Ok(Written::changed(token, ConsentsAnswer { items }))
}
