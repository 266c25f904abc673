//! A year of a real shop: 541,909 order lines of the "Online Retail" set, imported from CSV with the shipped mapping.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use tests::binary::{self, repository, run_ok};
use tests::need::{self, Missing};
use tests::sandbox::digest_of;
use tests::{Options, Sandbox, rounds, tools, wait};

/// Facts of the file, checked with two other programs: see the notes beside the data.
const ORDERS: u64 = 25_900;
const CANCELLED: u64 = 3_836;
const WITHOUT_PERSON: u64 = 3_710;
const MEMBERS: u64 = 4_372;
const SUM_GBP: &str = "9747747.93";

/// The CSV, converted once, and the digest of an undisturbed import of it.
struct Whole {
    csv: PathBuf,
    digest: String,
    stats: Value,
}

fn csv() -> Result<PathBuf, Missing> {
    let parquet = tools::shared("online_retail.parquet")?;
    let python = tools::python(&["pyarrow.csv", "pyarrow.parquet"])?;
    // In the target folder, begun anew by each run: nothing of it stays in the machine's temporary folder.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("orders");
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    let csv = folder.join("online_retail.csv");
    let done = Command::new(python)
        .arg(tools::script("parquet_to_csv.py"))
        .arg(&parquet)
        .arg(&csv)
        .status()
        .map_err(|error| Missing::tool(error.to_string()))?;
    assert!(done.success(), "the file can be converted");
    Ok(csv)
}

fn whole() -> Result<&'static Whole, Missing> {
    static WHOLE: OnceLock<Result<Whole, String>> = OnceLock::new();
    let whole = WHOLE.get_or_init(|| {
        let csv = csv().map_err(|missing| missing.why)?;
        let mut sandbox = Sandbox::new(Options::default());
        import(&sandbox, &csv);
        let stats = asked(&mut sandbox);
        Ok(Whole {
            digest: sandbox.digest(&[]),
            csv,
            stats,
        })
    });
    whole.as_ref().map_err(|why| Missing::tool(why.clone()))
}

fn mapping() -> PathBuf {
    repository().join("ingest/examples/online_retail.toml")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths are UTF-8")
}

fn import(sandbox: &Sandbox, csv: &Path) {
    run_ok(&[
        "import",
        "--data",
        sandbox.data_text(),
        "--mapping",
        text(&mapping()),
        text(csv),
    ]);
}

/// The figures, from the running server.
fn asked(sandbox: &mut Sandbox) -> Value {
    sandbox.boot();
    let stats = sandbox.stats();
    assert!(sandbox.stop().success());
    stats
}

#[test]
fn the_figures_are_those_of_the_file() {
    let Some(whole) = need::or_skip("the_figures_are_those_of_the_file", whole()) else {
        return;
    };
    let stats = &whole.stats;
    assert_eq!(stats["orders"], ORDERS, "{stats}");
    assert_eq!(stats["orders_cancelled"], CANCELLED, "{stats}");
    assert_eq!(stats["orders_without_person"], WITHOUT_PERSON, "{stats}");
    assert_eq!(stats["members"], MEMBERS, "{stats}");
    assert_eq!(stats["order_amount"], json!({"GBP": SUM_GBP}), "{stats}");
    assert_eq!(stats["dead_letters"], 0, "{stats}");
    // 5,268 lines are exact repeats of an earlier one and real.
    assert_eq!(stats["applied"], 541_909, "{stats}");
    assert_eq!(stats["duplicates"], 0, "{stats}");
}

#[test]
fn a_second_import_changes_nothing() {
    let test = "a_second_import_changes_nothing";
    let Some(whole) = need::or_skip(test, whole()) else {
        return;
    };
    let mut sandbox = Sandbox::new(Options::default());
    // Two halves of the same work: the first import, then all of it again from the first row.
    import(&sandbox, &whole.csv);
    run_ok(&[
        "import",
        "--data",
        sandbox.data_text(),
        "--restart",
        "--mapping",
        text(&mapping()),
        text(&whole.csv),
    ]);
    let stats = asked(&mut sandbox);
    assert_eq!(stats["orders"], ORDERS, "{stats}");
    assert_eq!(stats["order_amount"], json!({"GBP": SUM_GBP}), "{stats}");
    assert_eq!(sandbox.digest(&[]), whole.digest);
}

#[test]
fn an_import_killed_half_way_and_resumed_gives_the_same() {
    let test = "an_import_killed_half_way_and_resumed_gives_the_same";
    let Some(whole) = need::or_skip(test, whole()) else {
        return;
    };
    for round in 0..rounds(1, 5) {
        let sandbox = Sandbox::new(Options::default());
        // Its own copy: progress is kept beside the input.
        let csv = sandbox.folder().join("orders.csv");
        std::fs::copy(&whole.csv, &csv).expect("there is room");
        let mut child = binary::command(&[
            "import",
            "--data",
            sandbox.data_text(),
            "--mapping",
            text(&mapping()),
            text(&csv),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary can be started");
        // Killed when the folder has grown to a part of what it will be: in the middle, whatever the machine's speed.
        let part = (20 + 10 * round as u64) << 20;
        let half_way = wait::until("the import to be half-way", || {
            let ended = child.try_wait().expect("it is our child").is_some();
            (ended || folder_bytes(sandbox.data()) > part).then_some(!ended)
        });
        assert!(
            half_way,
            "the import was through before {part} bytes: the test proves nothing"
        );
        child.kill().expect("it runs");
        child.wait().expect("it is our child");
        import(&sandbox, &csv);
        assert_eq!(
            digest_of(sandbox.data(), &[]),
            whole.digest,
            "round {round}"
        );
    }
}

/// Bytes that the files of a folder take on the disk.
fn folder_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map_while(Result::ok)
    {
        let Ok(meta) = entry.metadata() else { continue };
        bytes += match meta.is_dir() {
            true => folder_bytes(&entry.path()),
            false => meta.blocks() * 512,
        };
    }
    bytes
}

#[test]
fn an_import_into_a_running_server_gives_the_same() {
    let test = "an_import_into_a_running_server_gives_the_same";
    let Some(whole) = need::or_skip(test, whole()) else {
        return;
    };
    let mut sandbox = Sandbox::start();
    let base = sandbox.base();
    run_ok(&[
        "import",
        "--server",
        &base,
        "--key",
        binary::ADMIN_KEY,
        "--restart",
        "--mapping",
        text(&mapping()),
        text(&whole.csv),
    ]);
    let stats = sandbox.stats();
    assert_eq!(stats["orders"], ORDERS, "{stats}");
    assert!(sandbox.stop().success());
    assert_eq!(sandbox.digest(&[]), whole.digest);
}
