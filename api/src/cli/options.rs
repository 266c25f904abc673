//! Flags that several commands share: where the configuration comes from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::config::{self, Config, Key, Layers};

/// The file that is read when nobody names one.
const FILE_DEFAULT: &str = "tributary.toml";

/// Where the configuration comes from.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    /// Configuration file [default: tributary.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_CONFIG")]
    pub config: Option<PathBuf>,

    /// Folder of everything durable [default: tributary-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Any configuration key, e.g. --set http.connections_max=100
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub set: Vec<(&'static str, String)>,
}

fn pair(text: &str) -> Result<(&'static str, String), String> {
    let (name, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    let key = Key::find(name).ok_or_else(|| {
        let names: Vec<_> = config::KEYS.iter().map(|key| key.name).collect();
        format!("there is no key `{name}`; there are: {}", names.join(", "))
    })?;
    Ok((key.name, value.to_owned()))
}

impl ConfigArgs {
    /// The layers of this process, with flags that a command has of its own.
    pub fn layers(&self, own: &[(&'static str, Option<String>)]) -> Layers {
        let mut flags: BTreeMap<&'static str, String> = self.set.iter().cloned().collect();
        if let Some(data) = &self.data {
            flags.insert("data", data.display().to_string());
        }
        for (name, value) in own {
            if let Some(value) = value {
                flags.insert(name, value.clone());
            }
        }
        let file = match &self.config {
            Some(path) => (path.clone(), true),
            None => (PathBuf::from(FILE_DEFAULT), false),
        };
        Layers {
            file: Some(file),
            environment: std::env::vars().collect(),
            flags,
        }
    }

    /// Loads the configuration; all mistakes end the command with exit code 2.
    pub fn load(&self, own: &[(&'static str, Option<String>)]) -> Result<Config, Failure> {
        config::load(&self.layers(own)).map_err(Failure::usage)
    }
}
