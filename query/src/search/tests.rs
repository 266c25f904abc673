use std::collections::BTreeSet;

use super::*;

fn text(member: u32, name: &str, identifiers: &[&str], texts: &[&str]) -> MemberText {
    MemberText {
        member: MemberNo(member),
        brands: vec![BrandId(member % 2)],
        identifiers: identifiers.iter().map(|it| it.to_string()).collect(),
        names: vec![name.to_owned()],
        texts: texts.iter().map(|it| it.to_string()).collect(),
    }
}

fn shop() -> Vec<MemberText> {
    vec![
        text(
            1,
            "张三丰",
            &["+8613800000001", "o1ABC"],
            &["上海市浦东新区世纪大道100号", "高价值"],
        ),
        text(
            2,
            "李雷",
            &["+8613912345678", "li.lei@example.com"],
            &["北京市朝阳区", "喜欢低脂牛奶"],
        ),
        text(
            3,
            "Han Meimei",
            &["+8613800009999"],
            &["江苏省南京市鼓楼区", "VIP"],
        ),
        text(4, "张伟", &[], &["三丰路8号", "Ｆｕｌｌ width"]),
    ]
}

fn index(dir: &Path) -> Index {
    let mut index = Index::open(dir).unwrap();
    for member in shop() {
        index.put(&member).unwrap();
    }
    index.commit(7).unwrap();
    index
}

fn find(searcher: &Searcher, text: &str) -> Vec<u32> {
    let search = Search {
        text: text.into(),
        limit: 10,
        ..Search::default()
    };
    let found = searcher.search(&search, None).unwrap();
    assert_eq!(found.total, found.members.len(), "{text}");
    let mut members: Vec<u32> = found.members.iter().map(|it| it.0).collect();
    members.sort_unstable();
    members
}

#[test]
fn members_are_found_by_what_people_type() {
    let dir = tempfile::tempdir().unwrap();
    let index = index(dir.path());
    let table: &[(&str, &[u32])] = &[
        ("张三丰", &[1]),
        ("张", &[1, 4]),
        ("三丰", &[1, 4]),  // part of a name, and of a street
        ("zhangsan", &[1]), // pinyin, its beginning
        ("zsf", &[1]),      // initials
        ("zw", &[4]),
        ("lilei", &[2]),
        ("0001", &[1]), // tail of a phone
        ("5678", &[2]),
        ("13800", &[1, 3]), // beginning without the country's code
        ("+86138", &[1, 3]),
        ("139-1234-5678", &[2]),
        ("999", &[3]), // any part of a number
        ("4321", &[]),
        ("9999", &[3]),
        ("LI.LEI@exam", &[2]),
        ("example", &[2]),
        ("o1a", &[1]),
        ("浦东", &[1]),
        ("上海浦东", &[1]), // words with something between them
        ("世纪大道", &[1]),
        ("低脂", &[2]),
        ("牛奶", &[2]),
        ("han", &[3]),
        ("meim", &[3]),
        ("vip", &[3]),
        ("ＶＩＰ", &[3]),
        ("full", &[4]),
        ("张 浦东", &[1]), // both
        ("张 朝阳", &[]),
        ("江苏 9999", &[3]),
        ("大道100", &[1]),
        ("丰上", &[]), // never over the end of a text
        ("王", &[]),
        ("", &[1, 2, 3, 4]),
        ("  ", &[1, 2, 3, 4]),
        (".*", &[]), // no pattern of the asker's
        ("(", &[]),
    ];
    for (typed, members) in table {
        assert_eq!(find(&index.searcher(), typed), *members, "{typed:?}");
        let asks = terms::asks(typed);
        let mut by_terms = Vec::new();
        for member in shop() {
            if Terms::of(&member).answers(&asks) {
                by_terms.push(member.member.0);
            }
        }
        assert_eq!(by_terms, *members, "{typed:?} by terms alone");
    }
}

#[test]
fn the_better_answer_comes_first_and_pages_follow() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::open(dir.path()).unwrap();
    for number in 0..250 {
        index.put(&text(number, "王小明", &[], &["x"])).unwrap();
    }
    index.put(&text(900, "王", &["wang"], &[])).unwrap();
    index.commit(1).unwrap();
    let page = |offset, limit| Search {
        text: "王小明".into(),
        offset,
        limit,
        ..Search::default()
    };
    let searcher = index.searcher();
    let mut seen = BTreeSet::new();
    for offset in [0, 100, 200] {
        let found = searcher.search(&page(offset, 100), None).unwrap();
        assert_eq!(found.total, 250);
        seen.extend(found.members);
    }
    assert_eq!(seen.len(), 250);
    assert!(matches!(
        searcher.search(&page(OFFSET_MAX + 1, 10), None),
        Err(SearchError::TooFar)
    ));
    let wang = Search {
        text: "wang".into(),
        limit: 1,
        ..Search::default()
    };
    assert_eq!(
        searcher.search(&wang, None).unwrap().members,
        [MemberNo(900)]
    );
}

#[test]
fn brands_and_segments_narrow() {
    let dir = tempfile::tempdir().unwrap();
    let searcher = index(dir.path()).searcher();
    let search = |brands| Search {
        text: "张".into(),
        brands,
        limit: 10,
        ..Search::default()
    };
    let of = |found: Found| found.members.iter().map(|it| it.0).collect::<Vec<_>>();
    let odd = searcher
        .search(&search(Some(vec![BrandId(1)])), None)
        .unwrap();
    assert_eq!((of(odd.clone()), odd.total), (vec![1], 1));
    assert!(of(searcher.search(&search(Some(vec![])), None).unwrap()).is_empty());
    let four: Filter = Arc::new(|member| member == MemberNo(4));
    let filtered = searcher.search(&search(None), Some(four)).unwrap();
    assert_eq!((of(filtered.clone()), filtered.total), (vec![4], 1));
}

#[test]
fn changes_replace_and_the_position_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut index = index(dir.path());
        index.put(&text(1, "赵六", &[], &[])).unwrap();
        index.remove(MemberNo(2));
        assert_eq!(
            find(&index.searcher(), "张三丰"),
            [1],
            "not before the commit"
        );
        index.commit(9).unwrap();
        assert!(find(&index.searcher(), "张三丰").is_empty());
        assert_eq!(find(&index.searcher(), "赵六"), [1]);
        assert!(find(&index.searcher(), "李雷").is_empty());
        index.put(&text(5, "孙七", &[], &[])).unwrap(); // never committed
    }
    let index = Index::open(dir.path()).unwrap();
    assert_eq!(index.position(), Some(9));
    assert_eq!(index.searcher().position(), 9);
    assert!(find(&index.searcher(), "孙七").is_empty());
    assert_eq!(find(&index.searcher(), "zhaoliu"), [1]);
}

#[test]
fn a_damaged_index_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    drop(index(dir.path()));
    let form = dir.path().join(format!("form-{FORM}"));
    let damaged = std::fs::read_dir(&form)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|it| it == "term"))
        .unwrap();
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    let index = Index::open(dir.path()).unwrap();
    assert_eq!(index.position(), None);
    assert!(find(&index.searcher(), "").is_empty());
}

#[test]
fn an_index_of_another_form_goes() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join(format!("form-{}", FORM - 1));
    std::fs::create_dir_all(&old).unwrap();
    std::fs::write(old.join("meta.json"), "{}").unwrap();
    std::fs::write(dir.path().join("note"), "").unwrap();
    Index::open(dir.path()).unwrap();
    assert!(!old.exists() && dir.path().join("note").exists());
}
