use super::*;

#[test]
fn same_seed_same_bytes_other_seed_no_entry() {
    let (first, second, other) = (TestSealer::new(1), TestSealer::new(1), TestSealer::new(2));
    let seal = |sealer: &TestSealer| {
        let (mut day, mut fragment) = (Vec::new(), Vec::new());
        sealer.seal_day(Time(5), b"raw", &mut day).unwrap();
        sealer
            .seal_fragment(IdentNo(9), b"person", &mut fragment)
            .unwrap();
        (day, fragment)
    };
    let (day, fragment) = seal(&first);
    assert_eq!((day.clone(), fragment.clone()), seal(&second));
    assert_eq!(second.open_day(&day).unwrap().unwrap(), b"raw");
    assert!(!fragment.windows(6).any(|part| part == b"person"));
    assert!(other.open_day(&day).is_err());
    assert!(other.open_fragment(IdentNo(9), &fragment).is_err());
    assert!(first.open_fragment(IdentNo(8), &fragment).is_err());

    first.erase_fragments(&[IdentNo(9)]);
    first.destroy_days_before(1);
    assert_eq!(first.open_fragment(IdentNo(9), &fragment).unwrap(), None);
    assert_eq!(first.open_day(&day).unwrap(), None);
}
