//! Section `[kafka]`: what its keys mean together.

use std::collections::BTreeMap;

use pipelines::effect::kafka::{Brokers, Settings};

use super::{ConfigError, Value};

/// The section, if it names brokers; adds what is wrong with the file of properties.
pub(super) fn read(
    values: &BTreeMap<&'static str, Value>,
    errors: &mut Vec<ConfigError>,
) -> Option<Settings> {
    let brokers = &values["kafka.brokers"].text;
    let file = &values["kafka.properties"];
    let mut wrong = |what: String, allowed: &str| {
        errors.push(ConfigError {
            key: "kafka.properties".into(),
            origin: file.origin.clone(),
            what,
            allowed: allowed.into(),
        });
    };
    // What cannot be read was told with its own key.
    let brokers = brokers.parse::<Brokers>().ok()?;
    if brokers.is_empty() {
        if !file.text.is_empty() {
            wrong("there are no brokers".into(), "kafka.brokers as well");
        }
        return None;
    }
    let topics = values["kafka.topics"].text.parse().ok()?;
    let properties = match file.text.as_str() {
        "" => String::new(),
        path => match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                wrong(
                    format!("`{path}` cannot be read: {error}"),
                    "a file that this user may read",
                );
                return None;
            }
        },
    };
    match Settings::read(brokers, topics, &properties) {
        Ok(settings) => Some(settings),
        Err(what) => {
            let allowed = "NAME=VALUE as librdkafka's CONFIGURATION.md has it; # begins a comment";
            wrong(format!("{}: {what}", file.text), allowed);
            None
        }
    }
}
