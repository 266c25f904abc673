use actors::model::{Offset, PartitionId};
use jiff::tz::TimeZone;

use super::*;
use crate::audience::tests::plan;

#[test]
fn events_come_back_in_order_with_their_values() {
    let plan = plan(r#"{"event":"a","agg":"last","field":"v","op":"eq","value":1}"#);
    let measure = plan.measures().remove(0);
    let mut series = Series::new(Extractor::new(measure, &TimeZone::UTC));
    let values = [
        None,
        Some(Value::Int(-5)),
        Some(Value::Int(i64::MAX)),
        Some(Value::Text("x".into())),
        Some(Value::List(vec![Value::Int(1), Value::Bool(true)])),
    ];
    let mut expected = Vec::new();
    // Times go up and down, with ties.
    for n in 0..200u64 {
        let hit = Hit {
            time: Time((n as i64 * 7919) % 50 - 20),
            value: values[n as usize % values.len()].clone(),
        };
        let at = Position {
            partition: PartitionId(1),
            offset: Offset(n * 3),
        };
        let fragment = IdentNo((n % 3) as u32);
        series.push(fragment, at, &hit);
        expected.push(hit);
    }
    expected.sort_by_key(|hit| hit.time);
    let mut hits = Vec::new();
    for fragment in 0..3 {
        series.collect(IdentNo(fragment), &mut hits);
    }
    assert_eq!(in_order(hits, 3), expected);
}
