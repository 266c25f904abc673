//! A connection to one bucket of the configured store: never to another host.

use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use reqwest_of_stores::redirect::Policy;

use super::{Credentials, ObjectError, Patience, Settings};

/// Until a connection is there.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Between two pieces of an answer.
const READ_MAX: Duration = Duration::from_secs(30);
/// The first pause between two tries.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// An HTTP client that follows no redirect: the library's own would follow one to any host.
#[derive(Debug)]
struct Direct {
    allow_http: bool,
}

impl HttpConnector for Direct {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = reqwest_of_stores::Client::builder()
            .redirect(Policy::none())
            .https_only(!self.allow_http)
            .connect_timeout(CONNECT_MAX)
            .read_timeout(READ_MAX)
            .user_agent(concat!("tributary/", env!("CARGO_PKG_VERSION")))
            .build();
        let client = client.map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(error),
        })?;
        Ok(HttpClient::new(client))
    }
}

/// A connection to a bucket. Nothing is sent yet.
pub(super) fn bucket(
    settings: &Settings,
    bucket: &str,
    patience: Patience,
) -> Result<AmazonS3, ObjectError> {
    // The machine's own ways are told to its processes by the environment; everything else is ours to say.
    let mut builder = match settings.credentials {
        Credentials::Instance => AmazonS3Builder::from_env(),
        _ => AmazonS3Builder::new(),
    }
    .with_bucket_name(bucket)
    .with_region(&settings.region)
    .with_allow_http(settings.allow_http)
    .with_virtual_hosted_style_request(!settings.path_style)
    // The instance's own address speaks HTTP only.
    .with_http_connector(Direct {
        allow_http: settings.allow_http || settings.credentials == Credentials::Instance,
    })
    .with_retry(RetryConfig {
        backoff: BackoffConfig {
            init_backoff: PAUSE,
            max_backoff: PAUSE_MAX,
            base: 2.0,
        },
        max_retries: patience.retries(),
        retry_timeout: patience.within(),
    });
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(match settings.path_style {
            true => endpoint.clone(),
            false => endpoint.replacen("://", &format!("://{bucket}."), 1),
        });
    }
    builder = match &settings.credentials {
        Credentials::Keys { id, secret, token } => {
            let builder = builder
                .with_access_key_id(id)
                .with_secret_access_key(secret);
            match token {
                Some(token) => builder.with_token(token),
                None => builder,
            }
        }
        Credentials::Instance => builder,
        Credentials::Anonymous => builder.with_skip_signature(true),
    };
    builder.build().map_err(|error| ObjectError::Unreachable {
        endpoint: shown(settings),
        what: error.to_string(),
    })
}

/// The endpoint for people.
pub(super) fn shown(settings: &Settings) -> String {
    match &settings.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => format!("AWS in {}", settings.region),
    }
}
