use super::rejects::Rejects;
use super::*;

#[test]
fn rejects_are_cut_back_to_what_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rejects.csv");
    let mut first = Rejects::open(&path, 0).unwrap();
    first
        .add(3, "time_form", Some("time"), "no \"time\"", b"a,b\nc")
        .unwrap();
    let durable = first.bytes();
    first.add(9, "row_columns", None, "=1+1", b"x").unwrap();
    assert_eq!(first.bytes_at(1), durable);
    first.landed(1);
    assert_eq!(first.bytes_at(1), durable);
    assert_eq!(first.bytes_at(2), first.bytes());
    assert_eq!(first.finish().unwrap(), 2);

    let mut again = Rejects::open(&path, durable).unwrap();
    assert_eq!(again.count(), 1);
    assert_eq!(again.bytes_at(1), durable, "what an earlier run left stays");
    again.add(9, "row_columns", None, "=1+1", b"x").unwrap();
    assert_eq!(again.finish().unwrap(), 2);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        text,
        "row,code,field,reason,original\n\
         3,\"time_form\",\"time\",\"no \"\"time\"\"\",\"a,b\nc\"\n\
         9,\"row_columns\",\"\",\"'=1+1\",\"x\"\n"
    );
}

#[test]
fn nothing_rejected_makes_no_file_and_removes_an_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rejects.csv");
    std::fs::write(&path, "of an earlier import").unwrap();
    assert_eq!(Rejects::open(&path, 0).unwrap().finish().unwrap(), 0);
    assert!(!path.exists());
}

#[test]
fn the_rejects_lie_beside_the_input() {
    assert_eq!(
        beside(Path::new("/data/orders.csv")),
        Path::new("/data/orders.csv.rejects.csv")
    );
}
