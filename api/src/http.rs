//! The HTTP server: sockets with limits, routes that name their permission, who calls and what they may see.

pub mod auth;
pub mod bodies;
pub mod file;
pub mod input;
pub mod io;
pub mod origin;
pub mod page;
pub mod reply;
pub mod route;
pub mod server;
pub mod trail;

pub use auth::{Caller, Permission};
pub use bodies::Bodies;
pub use file::{file_body, read_to_file};
pub use input::{Body, Input, Query, RequestId, Segment, read_body};
pub use page::{Page, Paging};
pub use reply::Written;
pub use route::{Doc, Route, Routes, doc, routes};
