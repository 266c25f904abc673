use super::*;
use crate::file::Mapping;

fn of(text: &'static str) -> Suggestion {
    suggest(|| Ok(Content::from(text.as_bytes())), &Known::default()).expect("it can be read")
}

fn places(suggestion: &Suggestion) -> Vec<(&str, &str)> {
    suggestion
        .columns
        .iter()
        .map(|column| (&*column.name, &*column.place))
        .collect()
}

#[test]
fn an_export_of_a_chinese_shop() {
    let found = of(
        "\u{feff}订单编号,下单时间,收货人姓名,手机号码,商品编码,商品名称,数量,单价(元),实付金额（元）,订单状态,备注\n\
        E1,2026/11/22 9:50:41,王芳,13800000000,S1,鲜牛奶,2,6.25,12.50,已发货,\n\
        E2,2026/11/22 9:51,李雷,13900000000,S2,酸奶,1,5,5,交易关闭,请放门口\n",
    );
    assert_eq!(
        places(&found),
        [
            ("订单编号", "order.order_id"),
            ("下单时间", "event.time"),
            ("收货人姓名", "traits.name"),
            ("手机号码", "identifiers.phone"),
            ("商品编码", "order.line.sku"),
            ("商品名称", "order.line.name"),
            ("数量", "order.line.quantity"),
            ("单价(元)", "order.line.unit_price"),
            ("实付金额（元）", "order.total"),
            ("订单状态", "order.status_when"),
            ("备注", "properties.备注"),
        ]
    );
    Mapping::parse(&found.mapping).unwrap_or_else(|errors| panic!("{errors}\n{}", found.mapping));
    for part in [
        "time_formats = [\"%Y/%m/%d %H:%M:%S\", \"%Y/%m/%d %H:%M\"]",
        "message_id = [\"订单编号\", \"商品编码\"]",
        "equals = \"交易关闭\"\nstatus = \"cancelled\"",
    ] {
        assert!(found.mapping.contains(part), "{}", found.mapping);
    }
    assert_eq!(found.columns[3].samples, ["13800000000", "13900000000"]);
}

/// The third column would be the second one's namesake, and with its number the first one's.
#[test]
fn columns_of_one_name_get_different_ones() {
    let found = of("r_2_3,r 2,r-2\na,b,c\n");
    let names = places(&found).into_iter().map(|(_, place)| place);
    let names: std::collections::BTreeSet<&str> = names.collect();
    assert_eq!(names.len(), 3, "{names:?}");
    Mapping::parse(&found.mapping).unwrap_or_else(|errors| panic!("{errors}\n{}", found.mapping));
}

#[test]
fn rules_can_count_orders_that_a_row_each_tells() {
    let found = of("订单号,手机号,实付金额\nE1,13800000000,12.50\nE2,13900000000,7\n");
    Mapping::parse(&found.mapping).unwrap_or_else(|errors| panic!("{errors}\n{}", found.mapping));
    for part in [
        "order_id = \"订单号\"\ntotal = { column = \"实付金额\", type = \"number\" }",
        "# No column says when",
    ] {
        assert!(found.mapping.contains(part), "{}", found.mapping);
    }
}

#[test]
fn our_own_json_needs_no_mapping() {
    let found = of(
        "{\"message_id\":\"1\",\"type\":\"identify\",\"identifiers\":[\"phone:13800000000\"]}\n",
    );
    assert!(
        found.mapping.contains("without a mapping"),
        "{}",
        found.mapping
    );
}

#[test]
fn members_in_english_by_semicolon_with_the_dictionary() {
    let text = "Member No;E-Mail;Full Name;Birthday;Favourite Brew;Score\n\
        7;a@b.cn;Ann;1990-01-02;IPA;3.5\n8;c@d.cn;Bob;1991-02-03;Stout;4\n";
    let known = Known {
        traits: vec![("beer".to_owned(), vec!["Favourite brew".to_owned()])],
        properties: vec![("points".to_owned(), vec!["Score".to_owned()])],
    };
    let found = suggest(|| Ok(Content::from(text.as_bytes())), &known).expect("it can be read");
    assert_eq!(
        places(&found),
        [
            ("Member No", "identifiers.member_card"),
            ("E-Mail", "identifiers.email"),
            ("Full Name", "traits.name"),
            ("Birthday", "traits.birthday"),
            ("Favourite Brew", "traits.beer"),
            ("Score", "traits.score"),
        ]
    );
    Mapping::parse(&found.mapping).unwrap_or_else(|errors| panic!("{errors}\n{}", found.mapping));
    assert!(
        found.mapping.contains("delimiter = \";\""),
        "{}",
        found.mapping
    );
    assert!(
        found.mapping.contains("type = \"identify\""),
        "{}",
        found.mapping
    );
}

#[test]
fn lines_of_objects() {
    let found = of(
        "{\"user\":{\"openid\":\"o1\",\"x\":1},\"event\":\"Scan\",\"time\":\"2026-11-22T09:50:41Z\"}\n{\"event\":\"Scan\",\"n\":2}\n",
    );
    assert_eq!(
        places(&found),
        [
            ("user.openid", "identifiers.openid"),
            ("user.x", "properties.user_x"),
            ("event", "event.name_column"),
            ("time", "event.time"),
            ("n", "properties.n"),
        ]
    );
    Mapping::parse(&found.mapping).unwrap_or_else(|errors| panic!("{errors}\n{}", found.mapping));
}

#[test]
fn values_tell_what_names_do_not() {
    let found = of("a  b  c\n13800000000  x@y.cn  007\n13900000000  z@y.cn  008\n");
    assert_eq!(
        places(&found),
        [
            ("a", "identifiers.phone"),
            ("b", "identifiers.email"),
            ("c", "traits.c"),
        ]
    );
    assert!(found.mapping.contains("delimiter = \"whitespace\""));
    assert!(
        found.mapping.contains("c = \"c\""),
        "007 is no number: {}",
        found.mapping
    );
    Mapping::parse(&found.mapping).unwrap_or_else(|errors| panic!("{errors}\n{}", found.mapping));
}

#[test]
fn properties_go_by_what_people_call_them() {
    let text = "手机号,事件,渠道,礼品\n13800000000,scan,微信,杯\n13900000000,scan,店,伞\n";
    let known = Known {
        traits: Vec::new(),
        properties: vec![
            ("channel".to_owned(), vec!["渠道".to_owned()]),
            ("gift".to_owned(), vec![]),
        ],
    };
    let found = suggest(|| Ok(Content::from(text.as_bytes())), &known).expect("it can be read");
    assert_eq!(places(&found)[2], ("渠道", "properties.channel"));
    assert_eq!(places(&found)[3], ("礼品", "properties.礼品"));
}
