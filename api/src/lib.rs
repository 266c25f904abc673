//! HTTP in, JSON out; the `tributary` binary.
//!
//! [`cli`] reads the command, [`config`] says what to run with, [`service`] puts platform and server together,
//! [`routes`] holds the handlers by topic, and [`error`] is the only place that knows status codes of errors.

pub mod app;
pub mod backup;
pub mod bench;
pub mod cli;
pub mod config;
pub mod demo;
pub mod error;
pub mod export;
pub mod housekeeping;
pub mod http;
pub mod import;
pub mod jobs;
pub mod names;
pub mod objects;
pub mod openapi;
pub mod rate;
pub mod resource;
pub mod routes;
pub mod service;
pub mod tags;
pub mod telemetry;
