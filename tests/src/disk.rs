//! Disks of one's own: small file systems that fill up, images that are copied while in use. Need root and loop mounts.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::need::Missing;
use crate::tools;

/// A mounted file system; unmounted and gone at the end.
pub struct Disk {
    mounted: Option<PathBuf>,
    image: PathBuf,
    _root: TempDir,
}

impl Disk {
    /// A new ext4 of so many MiB, mounted.
    pub fn ext4(mib: u64) -> Result<Disk, Missing> {
        let root = temporary();
        let image = root.path().join("disk.img");
        let file = fs::File::create(&image).map_err(refused)?;
        file.set_len(mib << 20).map_err(refused)?;
        let mkfs = tools::program("mkfs.ext4", "e2fsprogs")?;
        run(Command::new(mkfs).arg("-qF").arg(&image)).map_err(Missing::machine)?;
        Disk::mount(root, image)
    }

    /// The copy of an image as a crash would have left it: mounting it replays its journal.
    pub fn from_copy(copy: &Path) -> Result<Disk, Missing> {
        let root = temporary();
        let image = root.path().join("disk.img");
        fs::rename(copy, &image)
            .or_else(|_| fs::copy(copy, &image).map(|_| ()))
            .map_err(refused)?;
        Disk::mount(root, image)
    }

    /// A tmpfs of so many MiB: the fastest way to a full disk.
    pub fn tmpfs(mib: u64) -> Result<Disk, Missing> {
        let root = temporary();
        let at = root.path().join("mnt");
        fs::create_dir(&at).map_err(refused)?;
        let size = format!("size={mib}m");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&at))
        .map_err(not_mounted)?;
        Ok(Disk {
            mounted: Some(at),
            image: PathBuf::new(),
            _root: root,
        })
    }

    fn mount(root: TempDir, image: PathBuf) -> Result<Disk, Missing> {
        let at = root.path().join("mnt");
        fs::create_dir(&at).map_err(refused)?;
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(&at))
        .map_err(not_mounted)?;
        Ok(Disk {
            mounted: Some(at),
            image,
            _root: root,
        })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.mounted
            .as_deref()
            .expect("it is mounted until it is dropped")
    }

    /// Copies the image as it is on the "platter" now: nothing is synced first. The process that uses it must be
    /// stopped (SIGSTOP), because a copy is not one instant.
    pub fn copy_to(&self, target: &Path) -> Result<(), String> {
        run(Command::new("cp")
            .arg("--sparse=always")
            .arg(&self.image)
            .arg(target))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(at) = self.mounted.take() {
            // Lazily: a process that was just killed may still be closing its files.
            if let Err(why) = run(Command::new("umount").arg("-l").arg(&at)) {
                eprintln!("{} stays mounted: {why}", at.display());
            }
        }
    }
}

fn temporary() -> TempDir {
    tempfile::Builder::new()
        .prefix("tributary-disk-")
        .tempdir()
        .expect("the machine has room for temporary files")
}

fn refused(error: std::io::Error) -> Missing {
    Missing::machine(error.to_string())
}

fn not_mounted(why: String) -> Missing {
    Missing::machine(format!("this machine does not allow mounting: {why}"))
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_owned();
    let show = |what: &OsStr| what.to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{}: {error}", show(&name)))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{}: {} {}",
            show(&name),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
