//! `tributary digest`: one line that is equal for equal contents.

use clap::Args as ClapArgs;

use super::options::ConfigArgs;
use super::{Failure, runtime};
use pipelines::offline::Offline;

/// Print a digest of a data folder that is not running
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The plain digest is over facts: members named by their identifiers, without positions, internal ids and receive times.
Two folders that were told the same have the same.  --state is over all rows: equal after a restart, a restore and a replay.

Examples:
  tributary digest --data ./data
  tributary digest --data ./data --state
  tributary digest --data ./data --replay      decides everything again from the raw log and compares

Results say which version of the logic decided them.  --replay decides those of this program's version again; those of \
another one are taken over as they were recorded, and how many there are is said on standard error.")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// Over all rows instead of facts
    #[arg(long)]
    state: bool,

    /// Decide everything again from the raw log; differences are an error
    #[arg(long)]
    replay: bool,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let config = args.config.load(&[])?;
    crate::telemetry::start_logs("warn", config.log_json);
    let bar = super::bar("results");
    let tell = |done, of| {
        bar.set_length(of);
        bar.set_position(done);
    };
    let offline = runtime()?
        .block_on(Offline::open(&config.data, tell))
        .map_err(|error| super::start_failure(&error))?;
    let stored = digest(&offline, args.state)?;
    let shown = if args.replay {
        let (facts, state, done) = offline.replay(tell).map_err(Failure::work)?;
        if done.recorded > 0 {
            eprintln!(
                "{} of {} results were decided by another version of the logic: taken over as recorded, not decided again",
                done.recorded,
                done.recorded + done.decided
            );
        }
        let again = if args.state { state } else { facts };
        if again != stored {
            bar.finish_and_clear();
            return Err(Failure::work(format!(
                "decided again, the digest is another: stored {}, again {}",
                hex(&stored),
                hex(&again)
            )));
        }
        again
    } else {
        stored
    };
    bar.finish_and_clear();
    println!("{}", hex(&shown));
    Ok(())
}

fn digest(offline: &Offline, state: bool) -> Result<[u8; 32], Failure> {
    let digest = match state {
        true => offline.state(),
        false => offline.facts(),
    };
    digest.map_err(Failure::work)
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
