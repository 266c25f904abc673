//! Why the audience cannot answer.

use actors::history::HistoryError;
use actors::machine::RowsError;
use actors::model::{ErrorKind, Fault, Retry, SegmentId, TagId};
use actors::registry::RegistryError;
use actors::runtime::feed::FeedError;
use actors::runtime::node::Lagging;

use super::VIEWS_MAX;
use super::person::PersonError;
use crate::platform::PlatformError;

/// Why a question cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum AudienceError {
    /// It is being made from rows and history.
    #[error("the audience is being loaded: {read} of {all} member numbers are read")]
    Loading {
        /// Numbers whose attributes are read.
        read: u32,
        /// All of them; 0 while that is not known.
        all: u32,
    },
    /// What the rule asks about the past is being read from history.
    #[error("the history that this rule asks about is being read: {events} events so far")]
    Building {
        /// Events looked at.
        events: u64,
    },
    /// A segment that the rule names is not computed.
    #[error("segment {0} is not computed yet")]
    SegmentBuilding(Box<str>),
    /// A tag is not computed.
    #[error("tag {0} is not computed yet")]
    TagBuilding(TagId),
    /// What somebody sees who may see these brands only is being read.
    #[error("what this key may see is being read")]
    ViewBuilding,
    /// Too many different sets of brands ask.
    #[error("{VIEWS_MAX} different sets of brands are asked for already")]
    TooManyViews,
    /// It is not kept by brand.
    #[error(
        "`{0}` is told by events of several brands, and rules that look inside it are counted for all brands only"
    )]
    Mixed(Box<str>),
    /// There is no such segment at work.
    #[error("segment {0} is not at work")]
    NoSegment(SegmentId),
    /// There is no such tag that is calculated.
    #[error("tag {0} is not calculated: it is switched off, or given by hand")]
    NoTag(TagId),
    /// It is behind.
    #[error(transparent)]
    Lagging(#[from] Lagging),
    /// Rows.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// Events.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The result log.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The platform.
    #[error(transparent)]
    Platform(Box<PlatformError>),
}

impl From<PersonError> for AudienceError {
    fn from(error: PersonError) -> AudienceError {
        match error {
            PersonError::Rows(error) => AudienceError::Rows(error),
            PersonError::History(error) => AudienceError::History(error),
        }
    }
}

impl Fault for AudienceError {
    fn kind(&self) -> ErrorKind {
        match self {
            AudienceError::Loading { .. }
            | AudienceError::Building { .. }
            | AudienceError::ViewBuilding
            | AudienceError::SegmentBuilding(_)
            | AudienceError::TagBuilding(_) => ErrorKind::Unavailable,
            AudienceError::TooManyViews => ErrorKind::Busy,
            AudienceError::Mixed(_) => ErrorKind::Invalid,
            AudienceError::NoSegment(_) => ErrorKind::NotFound,
            AudienceError::NoTag(_) => ErrorKind::Conflict,
            AudienceError::Lagging(error) => error.kind(),
            AudienceError::Rows(error) => error.kind(),
            AudienceError::History(error) => error.kind(),
            AudienceError::Feed(error) => error.kind(),
            AudienceError::Registry(error) => error.kind(),
            AudienceError::Platform(error) => error.kind(),
        }
    }
    fn code(&self) -> &'static str {
        match self {
            AudienceError::Loading { .. } => "audience_loading",
            AudienceError::Building { .. } => "history_building",
            AudienceError::SegmentBuilding(_) => "segment_building",
            AudienceError::TagBuilding(_) => "tag_building",
            AudienceError::ViewBuilding => "view_building",
            AudienceError::TooManyViews => "views_full",
            AudienceError::Mixed(_) => "facts_mixed",
            AudienceError::NoSegment(_) => "segment_not_at_work",
            AudienceError::NoTag(_) => "tag_not_at_work",
            AudienceError::Lagging(error) => error.code(),
            AudienceError::Rows(error) => error.code(),
            AudienceError::History(error) => error.code(),
            AudienceError::Feed(error) => error.code(),
            AudienceError::Registry(error) => error.code(),
            AudienceError::Platform(error) => error.code(),
        }
    }
    fn retry(&self) -> Retry {
        match self {
            AudienceError::Loading { .. }
            | AudienceError::Building { .. }
            | AudienceError::ViewBuilding
            | AudienceError::SegmentBuilding(_)
            | AudienceError::TagBuilding(_) => Retry::After(1),
            AudienceError::Registry(error) => error.retry(),
            AudienceError::Platform(error) => error.retry(),
            AudienceError::History(error) => error.retry(),
            _ => Retry::Never,
        }
    }
}
