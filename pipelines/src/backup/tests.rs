use super::*;

#[test]
fn a_backup_that_was_stopped_is_named_and_nothing_is_made_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (from, data) = (folder.path().join("half"), folder.path().join("data"));
    fs::create_dir_all(&from).unwrap();
    fs::write(from.join(ROWS), "x").unwrap();
    let error = restore(&from, &folder.path().join("half-keys"), &data, &()).unwrap_err();
    assert!(
        matches!(&error, BackupError::NotWhole(path) if *path == from),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(!data.exists());
}
