//! Who calls, and what they may do and see.
//!
//! The check stands in front of every handler ([`super::route`]); it puts a [`Caller`] into the request, whose `scope`
//! every read and command below takes. Unknown, malformed and revoked keys are refused alike: a key is looked up by its
//! hash, so the time tells nothing about how much of a guess was right.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use actors::model::{BrandId, BrandSet, Scope, Token};
use actors::registry::{Act, ApiKey};

use pipelines::audience::Sees;

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::origin::origin;
use crate::http::route::{Behind, Entry};
use crate::http::trail;

macro_rules! permissions {
    ($($(#[doc = $doc:literal])* $name:ident $text:literal;)*) => {
        /// What a route requires of its caller.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Permission {
            $($(#[doc = $doc])* $name,)*
        }

        impl Permission {
            /// All of them.
            pub const ALL: &[Permission] = &[$(Permission::$name),*];

            /// The stable word, as API keys name it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Permission::$name => $text,)*
                }
            }
        }
    };
}

permissions! {
    /// Anybody, without a key: health, documentation.
    Public "public";
    /// Sending events: a write key of a source, checked by the handler, because clients may put it into the body.
    EventsSend "events.send";
    /// Members, their events and orders, conflicts.
    MembersRead "members.read";
    /// Unmerge and rejoin.
    MembersWrite "members.write";
    /// Forgetting people, and handing them all that is known of them.
    MembersErase "members.erase";
    /// Exporting members of segments as files.
    MembersExport "members.export";
    /// Dead letters with their original bytes.
    DeadLettersRead "dead_letters.read";
    /// Fixing, replaying and dropping dead letters.
    DeadLettersWrite "dead_letters.write";
    /// Sources without their keys.
    SourcesRead "sources.read";
    /// Adding, switching and rotating sources: answers write keys.
    SourcesWrite "sources.write";
    /// Names of brands.
    BrandsRead "brands.read";
    /// Adding brands.
    BrandsWrite "brands.write";
    /// Making and revoking API keys.
    KeysManage "keys.manage";
    /// Identity rules and attributes.
    DefinitionsRead "definitions.read";
    /// Changing identity rules and attributes.
    DefinitionsWrite "definitions.write";
    /// Segments and their members' number.
    SegmentsRead "segments.read";
    /// Making and changing segments.
    SegmentsWrite "segments.write";
    /// Tags.
    TagsRead "tags.read";
    /// Making, changing and giving tags.
    TagsWrite "tags.write";
    /// Uploaded lists.
    ListsRead "lists.read";
    /// Uploading and removing lists.
    ListsWrite "lists.write";
    /// Who did what.
    AuditRead "audit.read";
    /// Webhooks without their secrets.
    WebhooksRead "webhooks.read";
    /// Adding, changing and removing webhooks: sends what happens to other systems.
    WebhooksWrite "webhooks.write";
    /// Figures of the installation.
    StatsRead "stats.read";
    /// Setting the clock of a test installation.
    ClockSet "clock.set";
    /// Backups and jobs.
    OperationsManage "operations.manage";
}

/// A role: a name for a set of permissions.
#[derive(Debug)]
pub struct Role {
    /// Its name, as keys are stored with it.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    words: &'static [&'static str],
}

/// All roles. A key with another one (of a later version) may do nothing.
pub const ROLES: &[Role] = &[
    Role {
        name: actors::registry::ADMIN,
        about: "everything",
        words: &["*"],
    },
    Role {
        name: "manager",
        about: "members, sources, definitions and dead letters, but no keys and no operation",
        words: &[
            "members.read",
            "members.write",
            "members.export",
            "dead_letters.read",
            "dead_letters.write",
            "sources.read",
            "sources.write",
            "brands.read",
            "brands.write",
            "definitions.read",
            "definitions.write",
            "segments.read",
            "segments.write",
            "tags.read",
            "tags.write",
            "lists.read",
            "lists.write",
            "audit.read",
            "webhooks.read",
            "webhooks.write",
            "stats.read",
        ],
    },
    Role {
        name: "analyst",
        about: "reads everything",
        words: &[
            "members.read",
            "dead_letters.read",
            "sources.read",
            "brands.read",
            "definitions.read",
            "segments.read",
            "tags.read",
            "lists.read",
            "webhooks.read",
            "stats.read",
        ],
    },
    Role {
        name: "viewer",
        about: "reads members and figures",
        words: &[
            "members.read",
            "brands.read",
            "definitions.read",
            "segments.read",
            "tags.read",
            "lists.read",
            "stats.read",
        ],
    },
];

impl Role {
    /// The role of a name.
    pub fn find(name: &str) -> Option<&'static Role> {
        ROLES.iter().find(|role| role.name == name)
    }

    /// What it may do.
    pub fn permissions(&self) -> Permissions {
        Permissions::of(self.words.iter().copied())
    }
}

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The key's number.
    pub key: i64,
    /// The key's name: who did it, for those who look later.
    pub name: String,
    /// The address that the request comes from; empty if it came through no socket.
    pub address: String,
    /// What it may see.
    pub scope: Scope,
    /// What it may do.
    pub permissions: Permissions,
}

impl Caller {
    /// Refuses who sees some brands only: `what` belongs to nobody in particular.
    pub fn needs_everything(&self, what: &str) -> Result<(), ApiError> {
        if self.scope.brands == BrandSet::All {
            return Ok(());
        }
        let message = format!("{what} need a key that sees the whole installation");
        Err(ApiError::new("denied", message))
    }

    /// What the caller did, for the audit chain.
    pub fn act(&self, kind: &str, action: &str, item: impl ToString, brand: BrandId) -> Act {
        Act {
            by: self.name.clone(),
            from: self.address.clone(),
            brand,
            action: action.to_owned(),
            kind: kind.to_owned(),
            item: item.to_string(),
            detail: String::new(),
            change: None,
        }
    }

    /// What makes a repeated command of this caller the same one. Other callers' keys never meet it.
    pub fn request(&self, id: &str) -> Box<str> {
        format!("{} {id}", self.key).into()
    }
}

impl From<ApiKey> for Caller {
    fn from(key: ApiKey) -> Caller {
        let role = Role::find(&key.role);
        Caller {
            key: key.id,
            permissions: role.map(Role::permissions).unwrap_or_default(),
            scope: key.scope,
            name: key.name,
            address: String::new(),
        }
    }
}

/// A set of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions(u64);

impl Permissions {
    /// Everything: the admin key.
    pub const ALL: Permissions = Permissions(u64::MAX);

    /// Reads the words that a key is stored with; unknown ones (of a newer version) give nothing.
    pub fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Permissions {
        let mut set = 0;
        for word in words {
            if word == "*" {
                return Permissions::ALL;
            }
            if let Some(permission) = Permission::ALL.iter().find(|p| p.as_str() == word) {
                set |= permission.bit();
            }
        }
        Permissions(set)
    }

    /// Whether all of it is in `outer`.
    pub fn within(self, outer: Permissions) -> bool {
        self.0 & !outer.0 == 0
    }

    /// Whether it is in the set.
    pub fn has(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }
}

impl Permission {
    /// What it allows has no brand: backups, jobs, parked keys, effects and the clock are of all.
    fn is_of_everything(self) -> bool {
        matches!(self, Permission::OperationsManage | Permission::ClockSet)
    }

    fn bit(self) -> u64 {
        1 << (self as u64)
    }
}

/// What stands in front of one route.
#[derive(Clone)]
pub struct Guard {
    /// The application.
    pub shared: Shared,
    /// What the route requires.
    pub permission: Permission,
    /// The route reads state and takes `?after=`.
    pub reads: bool,
    /// What it wants to see the write in beside the rows.
    pub behind: Option<Behind>,
    /// What the audit chain hears of it.
    pub entry: Entry,
}

/// Lets the request through, or answers 401 or 403. A read with `?after=` waits here until the token is visible.
pub async fn check(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let known = match guard.permission {
        Permission::Public | Permission::EventsSend => Ok(None),
        permission => caller(&guard.shared, request.headers(), permission)
            .await
            .map(Some),
    };
    let mut caller = match known {
        Ok(caller) => caller,
        Err(refusal) => return refusal.into_response(),
    };
    if let Some(caller) = &mut caller {
        let origin = origin(&request, &guard.shared.config.trusted_proxies);
        caller.address = origin.map_or_else(String::new, |address| address.to_string());
    }
    if guard.reads
        && let Some(query) = request.uri().query()
        && let Some(token) = parameter(query, "after=")
        && let Err(refusal) = seen(&guard.shared, token, guard.behind, query).await
    {
        return refusal.into_response();
    }
    let Some(caller) = caller else {
        return next.run(request).await;
    };
    request.extensions_mut().insert(caller.clone());
    match guard.entry {
        Entry::Made { kind, action } => {
            trail::enter(guard.shared, caller, (kind, action), request, next).await
        }
        Entry::Unsaid | Entry::Nothing | Entry::Own => next.run(request).await,
    }
}

/// The value of a parameter in a query string.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name))
}

async fn seen(
    shared: &Shared,
    token: &str,
    behind: Option<Behind>,
    query: &str,
) -> Result<(), ApiError> {
    let token: Token = token
        .parse()
        .map_err(|()| ApiError::new("after_form", "after is no token of a write").field("after"))?;
    shared.wait(token).await?;
    match behind {
        Some(Behind::Audience(sees)) => shared.wait_audience(sees).await,
        Some(Behind::Search) => {
            shared.wait_search().await?;
            match parameter(query, "segment=") {
                // Members of the segment are the audience's.
                Some(_) => shared.wait_audience(Sees::Segments).await,
                None => Ok(()),
            }
        }
        Some(Behind::Dictionary) => shared.wait_dictionary().await,
        None => Ok(()),
    }
}

/// Who calls, if they may do this.
pub async fn caller(
    shared: &Shared,
    headers: &HeaderMap,
    permission: Permission,
) -> Result<Caller, ApiError> {
    let key = api_key(headers).ok_or_else(|| {
        let message = "this path needs an API key";
        ApiError::new("key_missing", message)
    })?;
    let caller = shared
        .caller(key)
        .await?
        .ok_or_else(|| ApiError::new("key_unknown", "this API key is not known"))?;
    if caller.permissions.has(permission) {
        if permission.is_of_everything() && caller.scope.brands != BrandSet::All {
            let message = "this concerns the whole installation, this key sees some brands only";
            return Err(ApiError::new("denied", message));
        }
        return Ok(caller);
    }
    let message = format!(
        "this key may not do this: it lacks `{}`",
        permission.as_str()
    );
    Err(ApiError::new("permission_missing", message))
}

/// The header for callers whose `Authorization` is taken by a proxy.
static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The key of `Authorization: Bearer …` or `X-Api-Key: …`.
fn api_key(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.to_str().ok()?.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or_else(|| headers.get(&X_API_KEY)?.to_str().ok().map(str::trim))
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiError> {
        // Missing only behind a public route, whose handler then asked for what it cannot have.
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.ok_or_else(|| ApiError::new("key_missing", "this path needs an API key"))
    }
}

/// Lets browsers of any origin send events: web pages of every shop do, with a write key and no cookies.
pub fn any_origin() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([super::trail::TOKEN.clone(), header::RETRY_AFTER])
        .max_age(PREFLIGHT_KEPT)
}

/// How long a browser may keep the answer to a preflight: two hours, the most that Chromium honours.
const PREFLIGHT_KEPT: std::time::Duration = std::time::Duration::from_secs(7_200);

#[cfg(test)]
mod tests;
