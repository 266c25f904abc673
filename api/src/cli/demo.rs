//! `tributary demo`: a demo brand, running and filled, in one command.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::options::ConfigArgs;
use super::serve::{Ends, failure};
use super::{Failure, runtime};
use crate::config::Config;
use crate::demo::{self, DemoOptions, MESSAGES_DEFAULT};
use crate::service::Service;

/// Start a demo brand: a platform filled with half a year of a dairy brand's life
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Everything is invented and follows from the seed; the answers of the platform are held against what is true.
Without --data it lives in a temporary folder that goes away with it.

Examples:
  tributary demo
  tributary demo --messages 1000000 --data ./demo --listen 127.0.0.1:8080
  tributary demo --messages 20000 --once          fill, compare, and end")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// Where HTTP listens; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,

    /// Messages of the past half year
    #[arg(long, value_name = "N", default_value_t = MESSAGES_DEFAULT, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,

    /// People, visitors included; 0 takes one for ten messages
    #[arg(long, value_name = "N", default_value_t = 0)]
    people: u32,

    /// Everything but the present time follows from it
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Messages per second after the filling
    #[arg(long, value_name = "N", default_value_t = 5)]
    rate: u32,

    /// End after the filling: exit code 1 if figures differ from the truth
    #[arg(long)]
    once: bool,
}

/// The key of a demo in a temporary folder: everything in it is invented.
const DEMO_KEY: &str = "tk_demo_demo_demo_demo";

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut config = args.config.load(&[("listen", args.listen.clone())])?;
    crate::telemetry::start_logs(&config.log_filter, config.log_json);
    let temporary = args.config.data.is_none();
    if temporary {
        config.data = std::env::temp_dir().join(format!("tributary-demo-{}", std::process::id()));
        config.backup_dir = config.data.join("backups");
    }
    let data = config.data.clone();
    let admin_key = config
        .admin_key
        .get_or_insert_with(|| DEMO_KEY.into())
        .clone();
    let done = runtime()?.block_on(live(args, config, admin_key));
    if temporary {
        remove(&data);
    }
    done
}

async fn live(args: &Args, config: Config, admin_key: String) -> Result<(), Failure> {
    let mut ends = Ends::listen()?;
    let service = Service::start(config).await.map_err(failure)?;
    println!("listening on {}", service.url());
    let options = DemoOptions {
        server: service.address,
        admin_key,
        messages: args.messages,
        people: args.people,
        seed: args.seed,
        now_ms: service.shared.now().0,
    };
    let filled = tokio::select! {
        filled = demo::run(&options) => filled,
        () = ends.wait() => {
            service.stop().await;
            return Ok(());
        }
    };
    let agreed = match &filled {
        Ok((report, _)) => {
            println!("{report}");
            report.totals_agree()
        }
        Err(_) => false,
    };
    match filled {
        Ok((_, trickle)) if !args.once => {
            tokio::select! {
                ended = trickle.run(args.rate) => {
                    if let Err(error) = ended {
                        tracing::warn!(%error, "the demo's life stopped; the server goes on");
                    }
                    ends.wait().await;
                }
                () = ends.wait() => {}
            }
            service.stop().await;
            Ok(())
        }
        Ok(_) => {
            service.stop().await;
            match agreed {
                true => Ok(()),
                false => Err(Failure::work("figures differ from the truth")),
            }
        }
        Err(error) => {
            service.stop().await;
            Err(Failure::work(error))
        }
    }
}

fn remove(data: &PathBuf) {
    if let Err(error) = std::fs::remove_dir_all(data) {
        tracing::warn!(%error, folder = %data.display(), "the demo's folder stays");
    }
}
