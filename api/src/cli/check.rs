//! `tributary check`: what would run, where each value comes from, and every mistake at once.

use clap::Args as ClapArgs;

use super::{Failure, options::ConfigArgs};
use crate::config::Config;

/// Print the effective configuration and every mistake in it
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Values come from tributary.toml, then the environment, then flags; the later wins.
Environment: the key in capitals with TRIBUTARY_ in front, e.g. TRIBUTARY_HTTP_CONNECTIONS_MAX=100.

Examples:
  tributary check
  tributary check --config /etc/tributary.toml --set log.format=json")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    print!("{}", text(&args.config.load(&[])?));
    Ok(())
}

/// The configuration as TOML with comments; secrets masked.
fn text(config: &Config) -> String {
    let mut text = String::new();
    for (key, value) in &config.effective {
        let shown = match (key.secret, value.text.is_empty()) {
            (_, true) => String::new(),
            (true, false) => "***".to_owned(),
            (false, false) => value.text.clone(),
        };
        let line = format!("{} = {:?}", key.name, shown);
        text.push_str(&format!("{line:<44} # {}; {}\n", value.origin, key.about));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layers, load};

    #[test]
    fn secrets_are_masked_and_origins_shown() {
        let mut layers = Layers::default();
        layers
            .flags
            .insert("admin_key", "tk_0123456789abcdef".into());
        let text = text(&load(&layers).unwrap());
        assert!(!text.contains("0123456789abcdef"), "{text}");
        assert!(text.contains("admin_key = \"***\""), "{text}");
        assert!(text.contains("# --set admin_key"), "{text}");
        assert!(text.contains("# default"), "{text}");
    }
}
