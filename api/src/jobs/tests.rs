use serde_json::json;

use super::*;

#[test]
fn a_job_runs_alone_reports_and_ends() {
    let jobs = Jobs::default();
    let (id, ticket) = jobs.start("backup", "there".into(), Time(0)).unwrap();
    assert_eq!(jobs.start("backup", "here".into(), Time(0)).err(), Some(id));
    ticket.progress(3, 10);
    assert_eq!(
        (jobs.get(id).unwrap().done, jobs.get(id).unwrap().total),
        (3, 10)
    );
    jobs.end(id, Ok("fine".into()), Time(1_000));
    assert_eq!(jobs.get(id).unwrap().state, JobState::Done);
    assert!(jobs.start("backup", "here".into(), Time(0)).is_ok());
}

#[test]
fn a_cancelled_job_is_no_failed_one() {
    let jobs = Jobs::default();
    let (id, ticket) = jobs.start("backup", "there".into(), Time(0)).unwrap();
    jobs.cancel(id, Time(0)).unwrap();
    assert!(ticket.cancelled());
    jobs.end(id, Err("stopped".into()), Time(0));
    assert_eq!(jobs.get(id).unwrap().state, JobState::Cancelled);
    assert!(jobs.cancel(99, Time(0)).is_none());
}

#[test]
fn jobs_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = Jobs::open(folder.path());
    jobs.start("backup", "there".into(), Time(0)).unwrap();
    let first = jobs
        .enqueue("import", "a.csv".into(), json!({"n": 1}), Time(0))
        .unwrap();
    let second = jobs
        .enqueue("import", "b.csv".into(), json!({"n": 2}), Time(0))
        .unwrap();
    let third = jobs
        .enqueue("import", "c.csv".into(), json!({"n": 3}), Time(0))
        .unwrap();
    assert_eq!(jobs.take("import").unwrap().id, first.id);
    jobs.cancel(second.id, Time(9)).unwrap();
    drop(jobs);

    let jobs = Jobs::open(folder.path());
    let states: Vec<_> = jobs.list(None).iter().map(|job| job.state).collect();
    use JobState::*;
    assert_eq!(states, [Waiting, Cancelled, Waiting, Failed]);
    let again = jobs.take("import").unwrap();
    assert_eq!((again.id, &again.detail["n"]), (first.id, &json!(1)));
    again.ticket.progress(5, 9);
    again.ticket.count("rows", 5);
    jobs.end(first.id, Ok("fine".into()), Time(1));
    assert!(jobs.again(first.id).is_none(), "what is done is done");
    jobs.again(second.id).unwrap().unwrap();
    assert_eq!(jobs.take("import").unwrap().id, second.id);
    assert_eq!(jobs.take("import").unwrap().id, third.id);
    jobs.stop();
    assert!(jobs.take("import").is_none());

    let jobs = Jobs::open(folder.path());
    let done = jobs.get(first.id).unwrap();
    assert_eq!((done.state, done.done, done.total), (Done, 5, 9));
    assert_eq!(done.counts["rows"], 5);
}

#[test]
fn old_jobs_are_forgotten_with_their_folders() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = Jobs::open(folder.path());
    for _ in 0..FINISHED_KEPT + 2 {
        let (id, _) = jobs.start("backup", "there".into(), Time(0)).unwrap();
        std::fs::create_dir_all(jobs.folder_of(id).unwrap()).unwrap();
        jobs.end(id, Ok("fine".into()), Time(0));
    }
    jobs.start("backup", "there".into(), Time(0)).unwrap();
    assert_eq!(jobs.list(None).len(), FINISHED_KEPT + 1);
    assert!(!jobs.folder_of(1).unwrap().exists());
    assert!(jobs.folder_of(9).unwrap().exists());
}
