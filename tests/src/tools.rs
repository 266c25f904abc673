//! Programs and data that some tests need: Python and Node with packages (`make tools`), the data beside the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binary::repository;
use crate::need::Missing;

/// Where `make tools` puts Python and Node packages: `tools` in the target folder.
fn folder() -> PathBuf {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => PathBuf::from(target),
        None => repository().join("target"),
    };
    target.join("tools")
}

/// A Python that can import these modules.
pub fn python(modules: &[&str]) -> Result<PathBuf, Missing> {
    let own = folder().join("python/bin/python");
    let import = format!("import {}", modules.join(", "));
    for python in [own, PathBuf::from("python3")] {
        let done = Command::new(&python).args(["-c", &import]).output();
        if done.is_ok_and(|output| output.status.success()) {
            return Ok(python);
        }
    }
    let what = modules.join(", ");
    Err(Missing::tool(format!(
        "no Python with {what} is here (`make tools` installs it)"
    )))
}

/// The folder whose `node_modules` holds these packages.
pub fn node(packages: &[&str]) -> Result<PathBuf, Missing> {
    if Command::new("node").arg("--version").output().is_err() {
        return Err(Missing::tool("Node is not installed"));
    }
    let folder = folder().join("node");
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|package| !folder.join("node_modules").join(package).is_dir())
        .collect();
    if missing.is_empty() {
        return Ok(folder);
    }
    let what = missing.join(", ");
    Err(Missing::tool(format!(
        "npm packages {what} are not here (`make tools` installs them)"
    )))
}

/// A program of the machine.
pub fn program(name: &str, package: &str) -> Result<PathBuf, Missing> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let found = folders
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.ok_or_else(|| {
        Missing::tool(format!(
            "{name} is not installed (Debian package {package})"
        ))
    })
}

/// A file of the data folder beside the repository (`../shared/data`, or `TRIBUTARY_SHARED`).
pub fn shared(name: &str) -> Result<PathBuf, Missing> {
    let own = std::env::var_os("TRIBUTARY_SHARED").map(PathBuf::from);
    let beside = repository().parent().map(|parent| parent.join("shared"));
    let folders = own.into_iter().chain(beside);
    for folder in folders {
        let path = folder.join("data").join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    Err(Missing::machine(format!(
        "../shared/data/{name} is not beside the repository (TRIBUTARY_SHARED names another place)"
    )))
}

/// A library that is preloaded into the server, built from `tests/shim/NAME.c` into `folder`.
pub fn shim(name: &str, folder: &Path) -> Result<PathBuf, Missing> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("shim")
        .join(format!("{name}.c"));
    let library = folder.join(format!("{name}.so"));
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .output();
    match built {
        Ok(output) if output.status.success() => Ok(library),
        Ok(output) => Err(Missing::machine(format!(
            "{} is not compiled: {}",
            source.display(),
            String::from_utf8_lossy(&output.stderr)
        ))),
        Err(error) => Err(Missing::tool(format!("there is no C compiler: {error}"))),
    }
}

/// A script of `tests/sdk/`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk").join(name)
}
