//! Files: the real ones import with their known figures; what a command shows without writing.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tests::binary::{self, repository, run, run_ok};
use tests::{Options, Sandbox, need, tools, wait};

fn example(name: &str) -> String {
    let path = repository().join("ingest/examples").join(name);
    text(&path).to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths are UTF-8")
}

fn import(sandbox: &Sandbox, mapping: &str, file: &Path) -> String {
    run_ok(&[
        "import",
        "--data",
        sandbox.data_text(),
        "--mapping",
        mapping,
        text(file),
    ])
}

fn asked(sandbox: &mut Sandbox) -> Value {
    sandbox.boot();
    let stats = sandbox.stats();
    assert!(sandbox.stop().success());
    stats
}

fn retail(stats: &Value) {
    assert_eq!(stats["orders"], 25_900, "{stats}");
    assert_eq!(stats["orders_cancelled"], 3_836, "{stats}");
    assert_eq!(stats["orders_without_person"], 3_710, "{stats}");
    assert_eq!(stats["members"], 4_372, "{stats}");
    assert_eq!(
        stats["order_amount"],
        json!({"GBP": "9747747.93"}),
        "{stats}"
    );
    // Groups that were durable but not noted when it was killed came twice and count once.
    assert_eq!(stats["applied"], 541_909, "{stats}");
}

#[test]
fn online_retail_as_parquet_killed_half_way_has_its_figures() {
    let test = "online_retail_as_parquet_killed_half_way_has_its_figures";
    let Some(parquet) = need::or_skip(test, tools::shared("online_retail.parquet")) else {
        return;
    };
    let mut sandbox = Sandbox::new(Options::default());
    let mapping = example("online_retail.toml");
    let mut child = binary::command(&[
        "import",
        "--data",
        sandbox.data_text(),
        "--mapping",
        &mapping,
        text(&parquet),
    ])
    .stdout(Stdio::null())
    .stderr(Stdio::null())
    .spawn()
    .expect("the binary can be started");
    // Killed once it has noted how far it is: the rest must find its place in the middle of the table.
    let notes = sandbox.data().join("imports");
    let noted = wait::until("the import to note how far it is", || {
        let ended = child.try_wait().expect("it is our child").is_some();
        let noted = std::fs::read_dir(&notes)
            .into_iter()
            .flatten()
            .map_while(Result::ok)
            .filter_map(|note| std::fs::read(note.path()).ok())
            .any(|note| {
                serde_json::from_slice::<Value>(&note)
                    .is_ok_and(|note| note["rows"].as_u64() > Some(100_000))
            });
        (ended || noted).then_some(!ended)
    });
    assert!(noted, "the import was through before it was killed");
    child.kill().expect("it runs");
    child.wait().expect("it is our child");
    import(&sandbox, &mapping, &parquet);
    retail(&asked(&mut sandbox));
}

#[test]
fn cdnow_packed_and_apart_by_blanks_has_its_figures() {
    let test = "cdnow_packed_and_apart_by_blanks_has_its_figures";
    let Some(file) = need::or_skip(test, tools::shared("CDNOW_master.txt.gz")) else {
        return;
    };
    let mut sandbox = Sandbox::new(Options::default());
    let mapping = example("cdnow.toml");
    import(&sandbox, &mapping, &file);
    let stats = asked(&mut sandbox);
    assert_eq!(stats["orders"], 69_659, "{stats}");
    assert_eq!(stats["members"], 23_570, "{stats}");
    assert_eq!(
        stats["order_amount"],
        json!({"USD": "2500315.63"}),
        "{stats}"
    );
    assert_eq!(stats["duplicates"], 0, "{stats}");
}

/// A small export as a shop writes it: GB18030, Chinese names, one bad row.
fn export(sandbox: &Sandbox) -> PathBuf {
    let rows = "订单编号,下单时间,手机号码,实付金额(元),订单状态\n\
        E1,2026/11/20 9:50,13800000000,12.50,已发货\n\
        E2,2026/11/20 9:51,13900000000,一百,交易关闭\n\
        E3,2026/11/20 9:52,13900000000,7,交易关闭\n";
    let path = sandbox.folder().join("orders.csv");
    let (bytes, _, lossy) = encoding_rs::GB18030.encode(rows);
    assert!(!lossy);
    std::fs::write(&path, bytes).expect("there is room");
    path
}

#[test]
fn a_mapping_is_guessed_tried_and_used() {
    let mut sandbox = Sandbox::new(Options::default());
    let file = export(&sandbox);
    let mapping = sandbox.folder().join("orders.toml");
    let guessed = run_ok(&["import", "--suggest", text(&file)]);
    std::fs::write(&mapping, &guessed).expect("there is room");

    let shown = run_ok(&[
        "import",
        "--dry-run",
        "--mapping",
        text(&mapping),
        text(&file),
    ]);
    let rows: Vec<Value> = shown
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    assert_eq!(rows.len(), 3, "{shown}");
    assert_eq!(rows[0]["event"]["order"]["total"], "12.50", "{guessed}");
    assert_eq!(rows[1]["rejected"]["code"], "amount_form", "{shown}");
    assert_eq!(rows[2]["event"]["order"]["status"], "cancelled", "{shown}");
    assert!(!sandbox.data().exists(), "a dry run writes nothing");

    let said = import(&sandbox, text(&mapping), &file);
    assert!(said.contains("3 rows, 2 accepted, 1 set aside"), "{said}");
    let rejects = std::fs::read_to_string(sandbox.folder().join("orders.csv.rejects.csv"))
        .expect("there are rejects");
    assert!(rejects.contains("\n2,\"amount_form\""), "{rejects}");
    let stats = asked(&mut sandbox);
    assert_eq!(stats["orders"], 2, "{stats}");
    assert_eq!(stats["members"], 2, "{stats}");
}

#[test]
fn a_file_of_another_kind_is_refused_before_anything_is_touched() {
    let sandbox = Sandbox::new(Options::default());
    let file = sandbox.folder().join("old.xlsx");
    std::fs::write(&file, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 an old one").expect("there is room");
    let output = run(&[
        "import",
        "--data",
        sandbox.data_text(),
        "--mapping",
        &example("cdnow.toml"),
        text(&file),
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("save it as .xlsx"), "{said}");
}
