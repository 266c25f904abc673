//! The object store: the one endpoint that an operator configured, spoken to as S3.
//!
//! Imports read objects ([`spool`] for all of one, [`head`] for a look at its begin), exports write them ([`upload`]).
//! Names come from callers, addresses never do: a name is checked ([`Location`]) and resolved below the configured
//! endpoint only, redirects are not followed, and `object_store.buckets` says which buckets may be named.
//!
//! Whatever is read is pinned: an object is looked at once ([`Object::look`]), and every later read says which content it
//! means (`If-Match`). An object that changes in between is an error, never a mixture.
//!
//! Absent on purpose: archives and backups, which are `actors` and `pipelines`; listing for callers of the API.

mod connect;
mod fault;
pub mod head;
mod location;
pub mod spool;
pub mod upload;

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

pub use fault::ObjectError;
pub use location::{Allowed, Location, is_object};

/// How the store is reached: section `[object_store]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// `https://HOST[:PORT]`; none: AWS in the region.
    pub endpoint: Option<String>,
    /// Region; part of every signature.
    pub region: String,
    /// Who we are.
    pub credentials: Credentials,
    /// `http://` is taken as endpoint.
    pub allow_http: bool,
    /// The bucket is in the path rather than in the host.
    pub path_style: bool,
    /// What callers may name.
    pub allowed: Allowed,
    /// Bytes of an object that is copied to the disk for its import.
    pub spool_bytes_max: u64,
}

/// Who we are to the store.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Access keys.
    Keys {
        /// The name of the key.
        id: String,
        /// The key.
        secret: String,
        /// The token of a temporary key.
        token: Option<String>,
    },
    /// What the machine gives its processes: web identity, container or instance role.
    Instance,
    /// Nobody: public buckets.
    Anonymous,
}

impl std::fmt::Debug for Settings {
    /// Without secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// How long a store that does not answer is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Somebody waits for the answer: seconds.
    Asked,
    /// A job waits: minutes.
    Job,
}

impl Patience {
    /// Most tries behind the first.
    fn retries(self) -> usize {
        match self {
            Patience::Asked => 2,
            Patience::Job => 10,
        }
    }

    /// From the first try on. Requests are signed once, so it stays below the five minutes that signatures are good for.
    fn within(self) -> Duration {
        match self {
            Patience::Asked => Duration::from_secs(10),
            Patience::Job => Duration::from_secs(180),
        }
    }
}

/// One object's name with a connection to its bucket. Cheap to clone.
#[derive(Clone)]
pub struct Object {
    client: AmazonS3,
    path: Path,
    location: Location,
    endpoint: String,
}

/// Which content of an object is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// What the store calls this content.
    pub etag: Option<String>,
    /// Its bytes.
    pub bytes: u64,
    /// When it was written, in epoch milliseconds.
    pub modified_ms: i64,
}

impl Object {
    /// The object of this name. Nothing is sent yet. `None` as settings: there is no section.
    pub fn open(
        settings: Option<&Settings>,
        location: &Location,
        patience: Patience,
    ) -> Result<Object, ObjectError> {
        let settings = settings.ok_or(ObjectError::NotConfigured)?;
        settings.allowed.check(location)?;
        let client = connect::bucket(settings, &location.bucket, patience)?;
        let path = Path::parse(&location.key).map_err(|error| ObjectError::Name {
            what: error.to_string(),
        })?;
        Ok(Object {
            client,
            path,
            location: location.clone(),
            endpoint: connect::shown(settings),
        })
    }

    /// Its name.
    pub fn location(&self) -> &Location {
        &self.location
    }

    fn error(&self, error: object_store::Error) -> ObjectError {
        ObjectError::of(&error, &self.location, &self.endpoint)
    }

    /// What content it has now.
    pub async fn look(&self) -> Result<Pin, ObjectError> {
        let head = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let found = self.client.get_opts(&self.path, head).await;
        let meta = match found {
            Ok(found) => found.meta,
            // Only an answer with a body says what is not there or why not: ask as if for the content.
            Err(first) => match self
                .client
                .get_opts(&self.path, GetOptions::default())
                .await
            {
                Ok(found) => found.meta,
                Err(object_store::Error::Generic { .. }) => return Err(self.error(first)),
                Err(second) => return Err(self.error(second)),
            },
        };
        Ok(Pin {
            etag: meta.e_tag,
            bytes: meta.size,
            modified_ms: meta.last_modified.timestamp_millis(),
        })
    }

    /// A part of the content that was pinned.
    pub async fn range(&self, pin: &Pin, range: Range<u64>) -> Result<Bytes, ObjectError> {
        let options = GetOptions {
            if_match: pin.etag.clone(),
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        let found = self.client.get_opts(&self.path, options).await;
        let found = found.map_err(|error| self.error(error))?;
        // A store that does not know `If-Match` answers with what it has.
        let other = match &pin.etag {
            Some(etag) => found.meta.e_tag.as_ref() != Some(etag),
            None => found.meta.last_modified.timestamp_millis() != pin.modified_ms,
        };
        if other || found.meta.size != pin.bytes {
            return Err(ObjectError::Changed {
                location: self.location.clone(),
            });
        }
        let bytes = found.bytes().await.map_err(|error| self.error(error))?;
        match bytes.len() as u64 == range.end - range.start {
            true => Ok(bytes),
            false => Err(ObjectError::Store {
                location: self.location.clone(),
                what: format!(
                    "it answered {} bytes where {} were asked for",
                    bytes.len(),
                    range.end - range.start
                ),
            }),
        }
    }
}

/// How often whoever waits for the store looks whether to go on.
const LOOK: Duration = Duration::from_millis(250);

/// Waits for an answer of the store; `None`: `go_on` said no meanwhile. Blocks its thread.
fn wait<T>(
    runtime: &Handle,
    answer: impl Future<Output = T>,
    go_on: &mut dyn FnMut() -> bool,
) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    loop {
        let look = async { tokio::time::timeout(LOOK, answer.as_mut()).await };
        match runtime.block_on(look) {
            Ok(answer) => return Some(answer),
            Err(_) if go_on() => {}
            Err(_) => return None,
        }
    }
}

/// Objects whose names match `location`, whose key ends in `/` or has `*`; in order of their names.
pub async fn matching(
    settings: Option<&Settings>,
    location: &Location,
) -> Result<Vec<Location>, ObjectError> {
    let object = Object::open(settings, location, Patience::Asked)?;
    let prefix = Path::parse(location.folder()).map_err(|error| ObjectError::Name {
        what: error.to_string(),
    })?;
    let prefix = (!location.folder().is_empty()).then_some(prefix);
    let listed = object.client.list_with_delimiter(prefix.as_ref()).await;
    let listed = listed.map_err(|error| object.error(error))?;
    let mut found: Vec<Location> = listed
        .objects
        .into_iter()
        .map(|meta| Location {
            bucket: location.bucket.clone(),
            key: meta.location.to_string(),
        })
        .filter(|one| location.matches(one))
        .collect();
    found.sort();
    match found.is_empty() {
        true => Err(ObjectError::NoObject {
            location: location.clone(),
        }),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests;
