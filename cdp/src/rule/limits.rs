//! How large a rule may be. A person's rule stays far below; what is above is refused with a code.

/// Levels of nodes inside each other. The reader's stack holds more than this.
pub const DEPTH_MAX: usize = 32;
/// Nodes and conditions of a rule.
pub const NODES_MAX: usize = 1_000;
/// Constants of one `in` or `has_…`; more belongs into an uploaded list.
pub const VALUES_MAX: usize = 10_000;
/// Bytes of a constant text, a name or a key.
pub const TEXT_BYTES_MAX: usize = 4_096;
/// Bytes of a regular expression.
pub const REGEX_BYTES_MAX: usize = 1_000;
/// Bytes of a compiled regular expression.
pub const REGEX_COMPILED_BYTES_MAX: usize = 1 << 20;
/// Keys of a path.
pub const PATH_KEYS_MAX: usize = 16;
/// Names of one event leaf.
pub const NAMES_MAX: usize = 200;
/// Steps of a sequence.
pub const STEPS_MAX: usize = 10;
/// Shifts of one date constant.
pub const SHIFTS_MAX: usize = 8;
/// How far one shift goes, in its unit. A century of days; more is a mistake.
pub const SHIFT_MAX: i64 = 40_000;
/// Longest sliding window (`h`, `m`, `s`): the time lists that members keep reach this far.
pub const SLIDE_DAYS_MAX: u32 = 90;
/// Longest lookback of a sequence.
pub const LOOKBACK_DAYS_MAX: u32 = 400;
/// Longest window in days: a century.
pub const WINDOW_DAYS_MAX: u32 = 36_600;
/// Bytes of a rule's JSON or text.
pub const RULE_BYTES_MAX: usize = 1 << 20;
