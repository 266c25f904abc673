//! `tributary serve`: runs until SIGTERM or Ctrl-C.

use std::net::SocketAddr;

use clap::Args as ClapArgs;

use super::options::ConfigArgs;
use super::{Failure, runtime};
use crate::http::server::raise_open_files;
use crate::service::{Service, ServiceError};
use crate::telemetry;

/// Run the platform on a data folder
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The first start makes the folder and an admin key, which is shown once; TRIBUTARY_ADMIN_KEY sets one instead.
When it is ready it prints one line on standard output: listening on http://HOST:PORT
SIGTERM drains: open requests are finished, memory is written, exit code 0.

Examples:
  tributary serve
  tributary serve --data /var/lib/tributary --listen 0.0.0.0:8080
  TRIBUTARY_TIME_ZONE=Europe/Berlin tributary serve --data ./data
  tributary serve --data ./test --listen 127.0.0.1:0 --manual-clock")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// Where HTTP listens; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,

    /// Time zone of the installation, at its first start [default: Asia/Shanghai]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,

    /// For tests: the clock stands still until PUT /api/v1/clock
    #[arg(long)]
    manual_clock: bool,

    /// Log lines as JSON
    #[arg(long)]
    log_json: bool,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let config = args.config.load(&[
        ("listen", args.listen.as_deref().map(resolved)),
        ("time_zone", args.time_zone.clone()),
        ("manual_clock", args.manual_clock.then(|| "true".into())),
        ("log.format", args.log_json.then(|| "json".into())),
    ])?;
    telemetry::start_logs(&config.log_filter, config.log_json);
    let files = raise_open_files();
    if files < config.http.connections_max as u64 {
        tracing::warn!(
            files,
            connections = config.http.connections_max,
            "fewer files may be open than http.connections_max: raise ulimit -n"
        );
    }
    runtime()?.block_on(async {
        let mut ends = Ends::listen()?;
        let service = Service::start(config).await.map_err(failure)?;
        announce(&service);
        ends.wait().await;
        tracing::info!("draining");
        service.stop().await;
        tracing::info!("stopped");
        Ok(())
    })
}

/// `localhost:8080` as a number; what does not resolve is left for the check of the configuration to name.
fn resolved(text: &str) -> String {
    use std::net::ToSocketAddrs;
    if text.parse::<SocketAddr>().is_ok() {
        return text.to_owned();
    }
    let first = text.to_socket_addrs().ok().and_then(|mut all| all.next());
    first.map_or_else(|| text.to_owned(), |address| address.to_string())
}

/// Shows the key once and says where it listens. Programs read the second line, so nothing else goes to standard output.
fn announce(service: &Service) {
    if let Some(key) = &service.admin_key {
        eprintln!("admin key (shown this once, keep it): {}", key.reveal());
    }
    println!("listening on {}", service.url());
}

/// A wrong folder or wish is the caller's (2), all else happened while working (1).
pub(super) fn failure(error: ServiceError) -> Failure {
    use actors::model::{ErrorKind, Fault};
    let kind = match &error {
        ServiceError::Listen { .. } | ServiceError::Thread(_) | ServiceError::Dictionary(_) => {
            ErrorKind::Internal
        }
        ServiceError::Platform(error) => error.kind(),
        ServiceError::Search(error) => error.kind(),
        ServiceError::Registry(error) => error.kind(),
    };
    let text = crate::error::chain(&error);
    match kind {
        ErrorKind::Invalid => Failure::usage(text),
        _ => Failure::work(text),
    }
}

/// The signals that end a service.
pub(super) struct Ends {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Ends {
    /// From now on they do not kill the process.
    pub(super) fn listen() -> Result<Ends, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let hear = |kind| {
            signal(kind).map_err(|error| Failure::work(format!("cannot hear signals: {error}")))
        };
        Ok(Ends {
            terminate: hear(SignalKind::terminate())?,
            interrupt: hear(SignalKind::interrupt())?,
        })
    }

    /// Waits for one.
    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
