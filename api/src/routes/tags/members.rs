//! Giving a tag by hand: to some members, or from a file.
//!
//! Values go through the log to each member, as those that rules give do.

use actors::model::{MemberNo, TagId, Token};
use actors::registry::{Act, Item};
use axum::extract::State;
use cdp::control::{CHANGE_MEMBERS_MAX, Control, TagChange};
use cdp::profile::{Value as Known, coerce};
use cdp::tag::TagDefinition;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Tag;
use crate::app::{Shared, Snapshot};
use crate::error::{ApiError, ErrorDetail};
use crate::http::{Body, Caller, Input, Permission, Routes, Segment, Written, doc};
use crate::resource::{load, read_table};
use crate::routes::members::find_any;

/// Members of one call; more go in several.
const MEMBERS_MAX: usize = 50_000;
/// Entries without a member that an answer names.
const UNMATCHED_SHOWN: usize = 100;

/// The routes of this topic.
pub fn routes() -> Routes {
    crate::http::routes()
        .post(
            "/api/v1/tags/{id}/members",
            Permission::TagsWrite,
            give,
            doc("Tags", "Give a tag to members, or take it").enters_itself()
                .more("For tags with calculation `manual` or `import`; `{id}` is the tag's code. Members are ids or `kind[@scope]:value`.")
                .body::<GiveInput>()
                .written::<GivenAnswer>(),
        )
        .post(
            "/api/v1/tags/{id}/members/import",
            Permission::TagsWrite,
            import,
            doc("Tags", "Give a tag from a file").enters_itself()
                .more("The body is CSV or XLSX with the columns `member` and `value`; an empty value takes the tag. Nothing is done if a value is wrong.")
                .written::<GivenAnswer>(),
        )
}

/// Whom to give which value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GiveInput {
    /// Ids or identifiers, at most 50,000.
    #[schema(example = json!(["phone:13800000000"]))]
    pub members: Vec<String>,
    /// The value; `null` takes the tag.
    #[schema(value_type = Object, example = "gold")]
    pub value: Value,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct GivenAnswer {
    /// Members that have the value now, or have the tag no more.
    pub matched: usize,
    /// Entries that nobody has, or this key may not see: the first 100.
    pub unmatched: Vec<String>,
    /// How many those are in all.
    pub unmatched_count: usize,
}

async fn give(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(code): Segment<String>,
    Input(input): Input<GiveInput>,
) -> Result<Written<GivenAnswer>, ApiError> {
    let tag = HandTag::load(&shared, &caller, &code).await?;
    let value = tag.value(&input.value)?;
    let pairs = input
        .members
        .into_iter()
        .map(|member| (member, value.clone()));
    tag.give(&shared, &caller, pairs.collect()).await
}

async fn import(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(code): Segment<String>,
    Body(body): Body,
) -> Result<Written<GivenAnswer>, ApiError> {
    let tag = HandTag::load(&shared, &caller, &code).await?;
    let table = read_table(&body, MEMBERS_MAX)?;
    let column = |name: &str| {
        let found = table.head.iter().position(|column| column == name);
        found.ok_or_else(|| {
            ApiError::new("table_form", format!("the column `{name}` is missing")).field(name)
        })
    };
    let (member, value) = (column("member")?, column("value")?);
    let text = matches!(tag.definition.value_type.word(), "enum" | "text" | "date");
    let mut pairs = Vec::with_capacity(table.rows.len());
    let mut wrong = Vec::new();
    for (at, mut row) in table.rows.into_iter().enumerate() {
        let cell = std::mem::take(&mut row[value]);
        let json = match cell.as_str() {
            "" => Value::Null,
            _ if text => Value::String(cell),
            _ => serde_json::from_str(&cell).unwrap_or(Value::String(cell)),
        };
        match tag.value(&json) {
            Ok(value) => pairs.push((std::mem::take(&mut row[member]), value)),
            Err(error) => wrong.extend(error.into_details().into_iter().map(|mut detail| {
                detail.row = Some(at + 1);
                detail
            })),
        }
    }
    if !wrong.is_empty() {
        return Err(ApiError::several("import_invalid", wrong));
    }
    tag.give(&shared, &caller, pairs).await
}

/// A tag that is given by hand.
struct HandTag {
    item: Item,
    definition: TagDefinition,
    zone: jiff::tz::TimeZone,
}

impl HandTag {
    async fn load(shared: &Shared, caller: &Caller, code: &str) -> Result<HandTag, ApiError> {
        let item = load::<Tag>(shared, caller, code).await?;
        let definition: TagDefinition = serde_json::from_str(&item.body)
            .map_err(|_| ApiError::new("internal", "the server could not do this"))?;
        if !definition.calculation.by_hand() {
            let message = "this tag is calculated: only `manual` and `import` are given by hand";
            return Err(ApiError::new("tag_calculated", message));
        }
        if !writes(caller, &item) {
            return Err(ApiError::new("denied", "the tag belongs to the group"));
        }
        let zone = &shared.platform().installation().time_zone;
        let zone = jiff::tz::TimeZone::get(zone)
            .map_err(|_| ApiError::new("internal", "the server could not do this"))?;
        Ok(HandTag {
            item,
            definition,
            zone,
        })
    }

    /// A value of this tag; `None` for `null`.
    fn value(&self, json: &Value) -> Result<Option<Known>, ApiError> {
        if json.is_null() {
            return Ok(None);
        }
        let wrong = |message: String| {
            let detail = ErrorDetail::new("value_type", "value", message);
            ApiError::several("tag_invalid", vec![detail])
        };
        self.definition.check_value(json).map_err(wrong)?;
        let of = self.definition.value_type.attribute_type();
        coerce(Some(of), &json.to_string(), &self.zone)
            .map_err(|_| wrong("the value does not fit the tag".to_owned()))
    }

    async fn give(
        &self,
        shared: &Shared,
        caller: &Caller,
        pairs: Vec<(String, Option<Known>)>,
    ) -> Result<Written<GivenAnswer>, ApiError> {
        if pairs.len() > MEMBERS_MAX {
            let message = format!("at most {MEMBERS_MAX} members at once");
            return Err(ApiError::new("body_invalid", message).field("members"));
        }
        let snapshot = shared.snapshot()?;
        let mut members: Vec<(MemberNo, Option<Known>)> = Vec::with_capacity(pairs.len());
        let mut unmatched = Vec::new();
        let mut unmatched_count = 0;
        for (text, value) in pairs {
            match self.find(shared, &snapshot, caller, &text)? {
                Some(member) => members.push((member, value)),
                None => {
                    unmatched_count += 1;
                    if unmatched.len() < UNMATCHED_SHOWN {
                        unmatched.push(text);
                    }
                }
            }
        }
        // The last word about a member counts, and a record names each once.
        members.reverse();
        members.sort_by_key(|(member, _)| *member);
        members.dedup_by_key(|(member, _)| *member);
        let matched = members.len();
        let mut token: Option<Token> = None;
        for chunk in members.chunks(CHANGE_MEMBERS_MAX) {
            let change = TagChange {
                tag: TagId(u32::try_from(self.item.id).unwrap_or(u32::MAX)),
                version: u32::try_from(self.item.body_version).unwrap_or(u32::MAX),
                brand: self.item.brand,
                rebuilt: false,
                at: shared.now(),
                members: chunk.to_vec(),
            };
            token = Some(shared.platform().publish(&Control::Tagged(change)).await?);
        }
        let act = Act {
            detail: format!("{matched} members"),
            ..caller.act("tag", "give", self.item.id, self.item.brand)
        };
        shared.registry().audit(&act, shared.now()).await?;
        let answer = GivenAnswer {
            matched,
            unmatched,
            unmatched_count,
        };
        Ok(Written::changed(token, answer))
    }

    fn find(
        &self,
        shared: &Shared,
        snapshot: &Snapshot,
        caller: &Caller,
        text: &str,
    ) -> Result<Option<MemberNo>, ApiError> {
        match find_any(shared, snapshot, &caller.scope, text) {
            Ok(found) => Ok(found.map(|found| found.member)),
            // What is no identifier is nobody's.
            Err(error) if error.status().is_client_error() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether the caller may write for the tag's owner.
pub(super) fn writes(caller: &Caller, item: &Item) -> bool {
    match &caller.scope.brands {
        actors::model::BrandSet::All => true,
        actors::model::BrandSet::Only(brands) => brands.contains(&item.brand),
    }
}
