//! The service: a platform with its HTTP server. What `serve`, `demo` and the tests start.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actors::model::{Clock, ManualClock, SystemClock};
use actors::registry::{InstallationWish, RegistryError, Secret};
use actors::runtime::dispatch::Policy;
use actors::runtime::gate::Limits;
use axum::Router;
use axum::middleware::from_fn;
use pipelines::audience::Audience;
use pipelines::audience::lists::remove_unfinished;
use pipelines::dictionary::observed::{Observed, ObservedError};
use pipelines::effect::Channel;
use pipelines::effect::erase::Erasing;
use pipelines::effect::webhook::Webhooks;
use pipelines::search::{Search, SearchError};
use pipelines::{Platform, PlatformConfig, StartError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::app::{App, Shared};
use crate::config::Config;
use crate::error::{ApiError, chain};
use crate::export;
use crate::http::server::Server;
use crate::http::trail;
use crate::import::worker;
use crate::routes::{self, dead_letters};

/// How often definitions that units have taken are put into force, and those left by a crash are sent.
const DEFINITIONS_EVERY: Duration = Duration::from_millis(200);

/// A running service.
pub struct Service {
    /// What handlers have at hand.
    pub shared: Shared,
    /// Where it listens.
    pub address: SocketAddr,
    /// The admin key, if this start made one: it is shown now or never.
    pub admin_key: Option<Secret>,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
    definitions: JoinHandle<()>,
    alerts: JoinHandle<()>,
    imports: std::thread::JoinHandle<()>,
    tags: std::thread::JoinHandle<()>,
    fixes: std::thread::JoinHandle<()>,
    exports: std::thread::JoinHandle<()>,
    effects: JoinHandle<()>,
    housekeeping: JoinHandle<()>,
}

/// Why a service does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: stop what listens there, or choose another address with --listen"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The machine gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The data folder cannot be opened.
    #[error(transparent)]
    Platform(#[from] StartError),
    /// The search index cannot be opened.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The folder of the dictionary cannot be used.
    #[error(transparent)]
    Dictionary(#[from] ObservedError),
    /// The registry refuses the admin key.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// The platform's configuration out of ours.
pub fn platform_config(config: &Config) -> PlatformConfig {
    PlatformConfig {
        limits: Limits {
            lag_records_max: config.lag_events_max,
            ..Limits::default()
        },
        wish: InstallationWish {
            time_zone: config.time_zone.clone(),
            partitions: config.partitions,
            ..InstallationWish::default()
        },
        registry_url: config.registry_url.clone(),
        lake: config.lake,
        archive: Some(config.archive_dir.clone()).filter(|folder| !folder.as_os_str().is_empty()),
        ..PlatformConfig::new(&config.data)
    }
}

impl Service {
    /// Takes the address, opens the data folder, and serves. Callers that come while the folder is being opened wait in
    /// the socket's queue.
    pub async fn start(config: Config) -> Result<Service, ServiceError> {
        let listen = |source| ServiceError::Listen {
            address: config.listen,
            source,
        };
        let server = Server::bind(config.listen, config.http)
            .await
            .map_err(listen)?;
        let address = server.address().map_err(listen)?;
        // Before anything counts: what was counted without a recorder is lost.
        crate::telemetry::metrics();
        let manual = config.manual_clock.then(|| {
            let stood = crate::routes::clock::stood_at(&config.data);
            Arc::new(ManualClock::new(stood.unwrap_or_else(|| SystemClock.now())))
        });
        let clock: Arc<dyn Clock> = match &manual {
            Some(clock) => clock.clone(),
            None => Arc::new(SystemClock),
        };
        let platform = Platform::start(platform_config(&config), clock.clone(), tell).await?;
        let platform = Arc::new(platform);
        let admin_key = platform
            .registry()
            .api_key_ensure_admin(config.admin_key.as_deref(), clock.now())
            .await?;
        match remove_unfinished(platform.registry(), clock.now()).await {
            Ok(0) => {}
            Ok(lists) => tracing::warn!(lists, "lists whose upload had broken off were removed"),
            Err(error) => tracing::warn!(error = %chain(&error), "unfinished lists stay"),
        }
        let audience = Audience::start(platform.clone(), platform.history())?;
        let search = Search::start(platform.clone())?;
        let dictionary = Observed::start(platform.clone())?;
        let shared = Arc::new(App::new(
            config, platform, audience, search, dictionary, manual,
        ));
        let (stop, stopped) = watch::channel(false);
        let served = tokio::spawn(server.run(router(&shared), stopped.clone()));
        let definitions = tokio::spawn(definitions(shared.clone(), stopped.clone()));
        let effects = tokio::spawn(effects(&shared, stopped.clone()));
        let alerts = tokio::spawn(dead_letters::run_alerts(shared.clone(), stopped.clone()));
        let housekeeping = tokio::spawn(crate::housekeeping::run(shared.clone(), stopped));
        let fixes = dead_letters::start_fixes(shared.clone()).map_err(ServiceError::Thread)?;
        let imports = worker::start(shared.clone()).map_err(ServiceError::Thread)?;
        let tags = crate::tags::start(shared.clone()).map_err(ServiceError::Thread)?;
        let exports = export::worker::start(shared.clone()).map_err(ServiceError::Thread)?;
        Ok(Service {
            shared,
            address,
            admin_key,
            stop,
            served,
            definitions,
            alerts,
            imports,
            tags,
            fixes,
            exports,
            effects,
            housekeeping,
        })
    }

    /// Where it listens, as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops taking requests, finishes open ones, and brings the platform to rest.
    pub async fn stop(self) {
        self.shared.start_draining();
        // The receivers live in the two tasks; if they are gone there is nobody to tell.
        let _ = self.stop.send(true);
        let tasks = [
            self.served,
            self.definitions,
            self.alerts,
            self.effects,
            self.housekeeping,
        ];
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the server failed");
            }
        }
        let shared = self.shared.clone();
        // Before the platform rests: a group that is on its way still arrives.
        self.shared.jobs.stop();
        let threads = [
            ("imports", self.imports),
            ("tags", self.tags),
            ("dead letters", self.fixes),
            ("exports", self.exports),
        ];
        for (name, thread) in threads {
            if let Ok(Err(_)) | Err(_) = tokio::task::spawn_blocking(move || thread.join()).await {
                tracing::error!("the thread of {name} failed");
            }
        }
        let platform = self.shared.platform().clone();
        let registry = platform.registry().clone();
        let drained = tokio::task::spawn_blocking(move || {
            shared.audience().stop();
            shared.search().stop();
            shared.dictionary().stop();
            platform.drain();
        })
        .await;
        if let Err(error) = drained {
            tracing::error!(%error, "the platform did not come to rest");
        }
        registry.close().await;
    }
}

/// All routes with what stands around each.
pub fn router(shared: &Shared) -> Router {
    routes::all()
        .router(shared)
        .fallback(async || ApiError::new("path_unknown", "there is no such path"))
        .layer(from_fn(trail::follow))
        .with_state(shared.clone())
}

/// Puts definitions into force once all units have them; sends what a crash left unsent.
async fn definitions(shared: Shared, mut stopped: watch::Receiver<bool>) {
    let mut beat = tokio::time::interval(DEFINITIONS_EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        let platform = shared.platform();
        let done = match platform.publish_pending().await {
            Ok(_) => platform.activate_acknowledged().await.map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            tracing::warn!(error = %chain(&error), "definitions wait");
        }
    }
}

/// Sends effects. A new channel is listed here.
fn effects(
    shared: &Shared,
    stopped: watch::Receiver<bool>,
) -> impl Future<Output = ()> + Send + 'static {
    let platform = shared.platform().clone();
    let caller = shared.effect_caller().clone();
    let channels: Vec<Arc<dyn Channel>> = vec![
        Arc::new(Webhooks::new(
            platform.clone(),
            caller,
            shared.kafka().cloned(),
        )),
        Arc::new(Erasing::new(platform.clone())),
    ];
    pipelines::effect::run(platform, channels, Policy::default(), stopped)
}

/// Restoring takes long after a crash under load: says how far it is, not too often.
fn tell(done: u64, of: u64) {
    const EVERY: u64 = 1_000;
    if done.is_multiple_of(EVERY) && of > EVERY {
        tracing::info!(done, of, "filling the row store from the log");
    }
}

#[cfg(test)]
mod tests;
