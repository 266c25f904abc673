//! The shell: what feeds machines, commits their decisions and keeps them alive.

pub mod background;
pub mod core;
pub mod dispatch;
pub mod effects;
pub mod feed;
pub mod gate;
pub mod guard;
pub mod node;
pub mod progress;
pub mod replay;
pub mod restore;
pub mod rows;
pub mod runner;
pub mod timers;
pub mod worker;
