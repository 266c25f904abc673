//! Who may see some brands only: what they count, and what their own rules conclude.

use super::*;

impl World {
    /// What somebody counts who sees one brand, which is what each member that is visible then is by its visible facts.
    async fn count_as(&self, brand: u32, rule: &str, people: &[&str]) -> (u64, u64) {
        let brands = BrandSet::Only(vec![BrandId(brand)]);
        let plan = self.plan(rule);
        self.settled().await;
        let seen = loop {
            match self.audience().preview(&brands, &plan, 3, 1) {
                Ok(seen) => break seen,
                Err(AudienceError::Building { .. } | AudienceError::ViewBuilding) => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        };
        let rows = self.platform().snapshot().unwrap();
        let schema = book::schema_of(&rows).unwrap();
        let scope = Scope {
            brands,
            fields: actors::model::FieldClass::P3,
        };
        let (mut visible, mut holds) = (0, 0);
        for person in people {
            let member = self.member(person);
            let view = cdp::profile::view::member_view(&rows, member, &schema, &scope);
            if view.unwrap().is_none() {
                continue;
            }
            visible += 1;
            let question = Question {
                rows: &rows,
                history: &**self.audience().history(),
                schema: &schema,
                zone: self.audience().zone(),
                codes: &self.audience().codes(),
                scope: &scope,
                then: None,
            };
            let facts = Person::read(&question, member, Default::default(), &[&plan]).unwrap();
            let now = actors::model::Clock::now(&*self.clock);
            let zone = self.audience().zone();
            holds += u64::from(cdp::rule::evaluate(&plan, &facts, now, zone));
        }
        assert_eq!((seen.count, seen.of), (holds, visible), "{rule}");
        (seen.count, seen.of)
    }

    /// Of `a` each brand says another city; `b` is known to the second only, `c` to the first.
    async fn two_brands_tell_cities(&mut self) {
        for (brand, who, traits) in [
            (1, "user_id:a", r#"{"city":"上海"}"#),
            (2, "user_id:a", r#"{"city":"北京"}"#),
            (2, "user_id:b", r#"{"city":"上海"}"#),
            (1, "user_id:c", r#"{"city":"广州"}"#),
        ] {
            self.identify_as(brand, &[who], traits).await;
        }
    }

    async fn identify_as(&mut self, brand: u32, identifiers: &[&str], traits: &str) {
        self.brand = BrandId(brand);
        self.identify(identifiers, traits).await;
        self.brand = BrandId(0);
    }

    async fn track_as(&mut self, brand: u32, identifiers: &[&str], name: &str) {
        self.brand = BrandId(brand);
        self.track(identifiers, name, NOON, "{}").await;
        self.brand = BrandId(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sees_one_brand_counts_its_members_by_its_facts() {
    let mut world = World::new().await;
    let people = ["user_id:a", "user_id:b", "user_id:c"];
    let count_as = async |world: &World, brand, rule| world.count_as(brand, rule, &people).await;
    world.two_brands_tell_cities().await;
    world.track_as(1, &["user_id:c"], "paid").await;
    world.track_as(2, &["user_id:c"], "paid").await;
    let not = r#"{"not":{"attr":"city","op":"eq","value":"上海"}}"#;
    let beijing = r#"{"attr":"city","op":"eq","value":"北京"}"#;
    assert_eq!(world.count(SHANGHAI).await, 1);
    assert_eq!(world.count(BUYERS).await, 1);
    for clean in [None, Some(true), Some(false)] {
        if let Some(clean) = clean {
            world.restart(clean).await;
        }
        assert_eq!(count_as(&world, 1, SHANGHAI).await, (1, 2));
        assert_eq!(count_as(&world, 1, not).await, (1, 2));
        assert_eq!(count_as(&world, 1, beijing).await, (0, 2));
        assert_eq!(count_as(&world, 2, beijing).await, (1, 3));
        assert_eq!(count_as(&world, 1, BUYERS).await, (0, 2));
        assert_eq!(count_as(&world, 3, r#"{"and":[]}"#).await, (0, 0));
    }
    // What comes is seen at once: an event that tells nothing, facts of the brand and of another, a merge.
    world.track_as(1, &["user_id:b"], "login").await;
    assert_eq!(count_as(&world, 1, not).await, (2, 3));
    world.track_as(1, &["user_id:c"], "paid").await;
    assert_eq!(count_as(&world, 1, BUYERS).await, (1, 3));
    world
        .identify_as(2, &["user_id:c"], r#"{"city":"上海"}"#)
        .await;
    assert_eq!(count_as(&world, 1, SHANGHAI).await, (1, 3));
    world
        .identify_as(1, &["user_id:b"], r#"{"city":"上海"}"#)
        .await;
    assert_eq!(count_as(&world, 1, SHANGHAI).await, (2, 3));
    world
        .track_as(2, &["unionid:w", "user_id:b"], "login")
        .await;
    world
        .track_as(2, &["openid@wx:o", "unionid:w"], "login")
        .await;
    assert_eq!(count_as(&world, 1, SHANGHAI).await, (2, 3));
    // Segments are what their owner concluded, of the members who are visible.
    let shanghai = world.segment("s", SHANGHAI).await;
    world.serving(shanghai, 1).await;
    let of = |brand| {
        let brands = BrandSet::Only(vec![BrandId(brand)]);
        let now = world.audience().segment(&brands, shanghai).unwrap();
        let members = world.audience().segment_members(&brands, shanghai, None, 9);
        assert_eq!(members.unwrap().len() as u64, now.count.unwrap());
        now.count.unwrap()
    };
    assert_eq!((of(1), of(3), world.members(shanghai).len()), (2, 0, 2));
    let spread = |brand: u32| {
        let brands = BrandSet::Only(vec![BrandId(brand)]);
        let all = world.plan(r#"{"and":[]}"#);
        let leaf = world.plan(SHANGHAI).leaves[0].clone();
        let (spread, ..) = world
            .audience()
            .distribution_at(&brands, &all, &leaf, 9)
            .unwrap();
        (spread.distinct, spread.present)
    };
    assert_eq!((spread(1), spread(2)), ((2, 3), (2, 3)));
}

/// Nothing was told of them, so there is nothing to read of them but that they were seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_brand_sees_those_who_told_nothing_also_after_a_start() {
    let mut world = World::new().await;
    let people = ["user_id:a", "user_id:silent"];
    world.track_as(1, &["user_id:silent"], "login").await;
    world
        .identify_as(1, &["user_id:a"], r#"{"city":"上海"}"#)
        .await;
    world.track_as(2, &["user_id:a"], "login").await;
    for clean in [None, Some(true), Some(false)] {
        if let Some(clean) = clean {
            world.restart(clean).await;
        }
        let everybody = r#"{"and":[]}"#;
        assert_eq!(world.count_as(1, everybody, &people).await, (2, 2));
        assert_eq!(world.count_as(2, everybody, &people).await, (1, 1));
        assert_eq!(world.count_as(1, SHANGHAI, &people).await, (1, 2));
    }
}

/// Who lost all attributes has no row that says so: whoever reads everybody again must find out.
#[tokio::test(flavor = "multi_thread")]
async fn read_again_whoever_lost_all_attributes_has_none() {
    let mut world = World::new().await;
    world.track(&["user_id:a"], "login", NOON, "{}").await;
    world.settled().await;
    let member = world.member("user_id:a");
    let plan = world.plan(SHANGHAI);
    let rows = world.platform().snapshot().unwrap();
    let schema = book::schema_of(&rows).unwrap();
    let engine = parking_lot::Mutex::new(world.audience().inner.fresh());
    engine.lock().apply(cdp::audience::Change::Attributes {
        member,
        values: &[("city", cdp::profile::Value::Text("上海".into()))],
    });
    let codes = Default::default();
    load::load_all(&rows, &schema, &codes, &[], &engine, 1, &|_, _| ()).unwrap();
    let now = actors::model::Clock::now(&*world.clock);
    assert_eq!(engine.lock().count(&plan, now).unwrap().count, 0);
}

impl World {
    /// A segment that a brand owns.
    async fn segment_of(&self, brand: u32, name: &str, rule: &str) -> SegmentId {
        let new = NewItem {
            brand: BrandId(brand),
            ..item(name, rule)
        };
        let scope = Scope::installation();
        let made = self.platform().registry();
        let item = made.resource_create(author(&scope), SEGMENT, &new).await;
        self.audience().look();
        SegmentId(item.unwrap().id as u32)
    }

    /// A tag by rule: one value for everybody who satisfies it.
    pub(super) async fn tag_of(&self, brand: u32, code: &str, rule: &str) -> i64 {
        let new = tag_item(brand, code, rule);
        let scope = Scope::installation();
        let made = self.platform().registry();
        let item = made.resource_create(author(&scope), TAG, &new).await;
        self.audience().look();
        item.unwrap().id
    }

    /// Who has a tag, by rows.
    pub(super) fn tagged(&self, tag: i64, people: &[&str]) -> Vec<String> {
        let rows = self.platform().snapshot().unwrap();
        let has = |person: &&&str| {
            let held = cdp::profile::concluded::tags(&rows, self.member(person)).unwrap();
            held.iter().any(|(held, _)| i64::from(held.0) == tag)
        };
        people
            .iter()
            .filter(has)
            .map(|it| (*it).to_owned())
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brand_concludes_of_what_it_sees_only() {
    let mut world = World::new().await;
    let people = ["user_id:a", "user_id:b", "user_id:c"];
    world.two_brands_tell_cities().await;
    for _ in 0..2 {
        world.track_as(2, &["user_id:c"], "paid").await;
    }
    let not = r#"{"not":{"attr":"city","op":"eq","value":"上海"}}"#;
    let rules = [SHANGHAI, BUYERS, not];
    let mut owned = Vec::new();
    for rule in rules {
        let segment = world.segment_of(1, rule, rule).await;
        world.serving(segment, 1).await;
        owned.push((rule, segment));
    }
    let tag = world.tag_of(1, "own", SHANGHAI).await;
    let loose = world.tag_of(0, "group", SHANGHAI).await;
    // Whatever happens: members of the brand's segment are those whom the brand itself counts, one person at a time.
    let check = async |world: &World, members: [usize; 3]| {
        for ((rule, segment), wanted) in owned.iter().zip(members) {
            let (count, _) = world.count_as(1, rule, &people).await;
            world.settled().await;
            assert_eq!(world.members(*segment).len() as u64, count, "{rule}");
            assert_eq!(world.members(*segment).len(), wanted, "{rule}");
            assert_eq!(world.held(*segment), world.members(*segment), "{rule}");
        }
    };
    check(&world, [1, 0, 1]).await;
    assert_eq!(world.tagged(tag, &people), ["user_id:a"]);
    assert_eq!(world.tagged(loose, &people), ["user_id:b"]);
    // Another brand's news change nothing; the brand's own do, at once.
    world
        .identify_as(2, &["user_id:c"], r#"{"city":"上海"}"#)
        .await;
    world.track_as(1, &["user_id:c"], "paid").await;
    check(&world, [1, 0, 1]).await;
    world
        .identify_as(1, &["user_id:b"], r#"{"city":"上海"}"#)
        .await;
    world.track_as(1, &["user_id:c"], "paid").await;
    check(&world, [2, 1, 1]).await;
    assert_eq!(world.tagged(tag, &people), ["user_id:a", "user_id:b"]);
    for clean in [true, false] {
        world.restart(clean).await;
        world.audience().wait(Sees::Counts, PATIENCE).await.unwrap();
        check(&world, [2, 1, 1]).await;
        assert_eq!(world.tagged(tag, &people), ["user_id:a", "user_id:b"]);
    }
}
