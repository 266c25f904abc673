//! Measures identity alone: `cargo run --release -p cdp --example identity_bench -- MEMBERS [DIR]`.

use std::path::PathBuf;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let members = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000_000);
    let dir = arguments.next().map_or_else(
        || std::env::temp_dir().join("identity_bench"),
        PathBuf::from,
    );
    let _ = std::fs::remove_dir_all(&dir);
    match cdp::identity::bench::run(members, &dir) {
        Ok(figures) => println!("{figures:#?}"),
        Err(error) => eprintln!("{error}"),
    }
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        for line in status.lines().filter(|line| line.starts_with("VmHWM")) {
            println!("{line}");
        }
    }
    let _ = std::fs::remove_dir_all(&dir);
}
