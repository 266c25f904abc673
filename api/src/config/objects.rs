//! Section `[object_store]`: what its keys mean together.

use std::collections::BTreeMap;

use super::{ConfigError, Origin, Value};
use crate::objects::{Credentials, Settings};

/// What all keys of the section begin with.
const SECTION: &str = "object_store.";
/// Region that signatures name where a store of another maker has none.
const REGION_DEFAULT: &str = "us-east-1";

/// The section, if somebody set one of its keys; adds what is wrong with its keys together.
pub(super) fn read(
    values: &BTreeMap<&'static str, Value>,
    environment: &BTreeMap<String, String>,
    errors: &mut Vec<ConfigError>,
) -> Option<Settings> {
    let set = |(name, value): (&&str, &Value)| {
        name.starts_with(SECTION) && value.origin != Origin::Default
    };
    if !values.iter().any(set) {
        return None;
    }
    let value = |name: &str| &values[format!("{SECTION}{name}").as_str()];
    let text = |name: &str| Some(value(name).text.clone()).filter(|text| !text.is_empty());
    let ambient = |name: &str| environment.get(name).cloned().filter(|it| !it.is_empty());
    let mut wrong = |name: &str, what: &str, allowed: &str| {
        errors.push(ConfigError {
            key: format!("{SECTION}{name}"),
            origin: value(name).origin.clone(),
            what: what.into(),
            allowed: allowed.into(),
        });
    };
    let endpoint = text("endpoint");
    let allow_http = value("allow_http").text == "true";
    if endpoint
        .as_ref()
        .is_some_and(|it| it.starts_with("http://"))
        && !allow_http
    {
        wrong(
            "endpoint",
            "it is not encrypted",
            "https://…, or object_store.allow_http = true inside a network that you trust",
        );
    }
    let region = text("region")
        .or_else(|| ambient("AWS_REGION"))
        .or_else(|| ambient("AWS_DEFAULT_REGION"))
        .or_else(|| endpoint.is_some().then(|| REGION_DEFAULT.to_owned()));
    if region.is_none() {
        let allowed = "a region of AWS, e.g. cn-north-1, or object_store.endpoint of another store";
        wrong(
            "region",
            "there is neither a region nor an endpoint",
            allowed,
        );
    }
    let credentials = match value("credentials").text.as_str() {
        "instance" => Some(Credentials::Instance),
        "anonymous" => Some(Credentials::Anonymous),
        _ => {
            let own = (text("access_key_id"), text("secret_access_key"));
            let token = text("session_token");
            let found = match own {
                (None, None) => (
                    ambient("AWS_ACCESS_KEY_ID"),
                    ambient("AWS_SECRET_ACCESS_KEY"),
                    token.or_else(|| ambient("AWS_SESSION_TOKEN")),
                ),
                (id, secret) => (id, secret, token),
            };
            let allowed = "both object_store.access_key_id and object_store.secret_access_key, or both \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, or object_store.credentials = \
                 instance or anonymous";
            match found {
                (Some(id), Some(secret), token) => Some(Credentials::Keys { id, secret, token }),
                (Some(_), None, _) => {
                    wrong("secret_access_key", "it is missing", allowed);
                    None
                }
                (None, Some(_), _) => {
                    wrong("access_key_id", "it is missing", allowed);
                    None
                }
                (None, None, _) => {
                    wrong("access_key_id", "there are no access keys", allowed);
                    None
                }
            }
        }
    };
    Some(Settings {
        endpoint,
        region: region?,
        credentials: credentials?,
        allow_http,
        path_style: value("path_style").text == "true",
        // A value that its kind refused is among the mistakes already.
        allowed: value("buckets").text.parse().ok()?,
        spool_bytes_max: value("spool_mib_max").text.parse::<u64>().ok()? * 1024 * 1024,
    })
}
