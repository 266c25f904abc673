//! Consents of a member, read from the attributes that consents tell (`consent:CHANNEL:PURPOSE`, per brand).

use actors::model::{BrandId, CONSENT_PREFIX, Scope, SourceId, Time};

use crate::profile::Value;
use crate::profile::attribute::{Attribute, Resolved};

/// What a person said last of one brand, channel and purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// The brand it was said to.
    pub brand: BrandId,
    /// Channel; `*`: all.
    pub channel: Box<str>,
    /// Purpose; `*`: all.
    pub purpose: Box<str>,
    /// Granted, or withdrawn.
    pub granted: bool,
    /// Event time.
    pub time: Time,
    /// Source of the event.
    pub source: SourceId,
}

/// The consents among a member's attributes that `scope` may see.
pub(super) fn of(attributes: &[Attribute], scope: &Scope) -> Vec<Consent> {
    let visible = attributes.iter().filter(|it| scope.sees(it.brand));
    visible
        .filter_map(|attribute| {
            let (channel, purpose) = attribute
                .name
                .strip_prefix(CONSENT_PREFIX)?
                .split_once(':')?;
            let Resolved::Value(told) = attribute.facts.resolve(None) else {
                return None;
            };
            Some(Consent {
                brand: attribute.brand,
                channel: channel.into(),
                purpose: purpose.into(),
                granted: told.value == Value::Text("granted".into()),
                time: told.time,
                source: told.source,
            })
        })
        .collect()
}

/// Whether `brand` may use `channel` for `purpose`: what was said last of exactly this or of all, by event time; said at one
/// time, a withdrawal counts. `None`: nothing was ever said.
///
/// ```
/// use actors::model::{BrandId, SourceId, Time};
/// use cdp::profile::view::consent::{Consent, allows};
/// let said = |channel: &str, granted, time| Consent {
///     brand: BrandId(1), channel: channel.into(), purpose: "*".into(), granted, time: Time(time), source: SourceId(1),
/// };
/// let consents = [said("sms", true, 1), said("*", false, 2)];
/// assert_eq!(allows(&consents, BrandId(1), "sms", "marketing"), Some(false));
/// assert_eq!(allows(&consents, BrandId(2), "sms", "marketing"), None);
/// ```
pub fn allows(consents: &[Consent], brand: BrandId, channel: &str, purpose: &str) -> Option<bool> {
    let covers = |said: &str, asked: &str| said == "*" || said == asked;
    consents
        .iter()
        .filter(|it| it.brand == brand)
        .filter(|it| covers(&it.channel, channel) && covers(&it.purpose, purpose))
        .max_by_key(|it| (it.time, !it.granted))
        .map(|it| it.granted)
}
