//! Events of measures: each counts once, whenever it comes and however many come.

use super::*;

/// What came while reading failed is in the history that is read again, and counts once.
#[tokio::test(flavor = "multi_thread")]
async fn events_count_once_when_reading_the_past_fails_first() {
    let mut world = World::new().await;
    world.track(&["user_id:a"], "paid", NOON, "{}").await;
    world.identify(&["user_id:a"], "{}").await;
    world.broken.store(1, Ordering::Release);
    let twice = r#"{"event":"paid","op":"eq","value":2}"#;
    let segment = world.segment("s", twice).await;
    while world.broken.load(Ordering::Acquire) > 0 {
        tokio::task::yield_now().await;
    }
    world.track(&["user_id:a"], "paid", NOON, "{}").await;
    world.audience().wait(Sees::Counts, PATIENCE).await.unwrap();
    world.audience().look();
    world.serving(segment, 1).await;
    assert_eq!(world.members(segment), [world.member("user_id:a")]);
}

/// Identity decides thousands of events in one result when they come fast: all of them count, whatever a round takes at once.
#[tokio::test(flavor = "multi_thread")]
async fn all_events_of_a_large_result_count() {
    const PEOPLE: u64 = 1_500;
    let mut world = World::new().await;
    let buyers = r#"{"event":"buy","agg":"count","op":"gte","value":1,"within":"7d"}"#;
    let segment = world.segment("Buyers", buyers).await;
    world.serving(segment, 1).await;
    let mut records = Vec::new();
    for person in 0..PEOPLE {
        let event = format!(r#""type":"track","name":"buy","time":{NOON:?},"properties":{{}}"#);
        records.extend(world.admit(&[&format!("user_id:p{person}")], &event));
    }
    world.append(&records).await;
    world.settled().await;
    assert_eq!(world.count(buyers).await, PEOPLE);
    let counted = |members: BTreeSet<MemberNo>| members.len() as u64;
    let all = (world.audience()).segment_members(&BrandSet::All, segment, None, 2_000);
    assert_eq!(counted(all.unwrap().into_iter().collect()), PEOPLE);
}
