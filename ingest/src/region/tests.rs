use super::*;

/// A point well inside each, by the unsimplified borders.
const INSIDE: &[(f64, f64, u32, &str, &str)] = &[
    (34.2113, 108.9347, 610113, "陕西省", "雁塔区"),
    (22.5525, 113.9479, 440305, "广东省", "南山区"),
    (28.7296, 115.9082, 360102, "江西省", "东湖区"),
    (43.7182, 87.6189, 650102, "新疆维吾尔自治区", "天山区"),
    (29.8524, 106.7870, 500112, "重庆市", "渝北区"),
    (22.4882, 113.4066, 442000, "广东省", "中山市"),
    (22.9696, 120.6325, 710001, "台湾省", "高雄市"),
    (18.6121, 109.6026, 469029, "海南省", "保亭黎族苗族自治县"),
    (19.7979, 109.7218, 469024, "海南省", "临高县"),
    (31.1182, 121.7142, 310115, "上海市", "浦东新区"),
    (45.6575, 126.5597, 230103, "黑龙江省", "南岗区"),
    (30.5705, 114.3514, 420106, "湖北省", "武昌区"),
    (22.2516, 113.9290, 810110, "香港特别行政区", "离岛区"),
    (22.8976, 113.9097, 441900, "广东省", "东莞市"),
    (30.5953, 104.0212, 510107, "四川省", "武侯区"),
    (30.2207, 120.0785, 330106, "浙江省", "西湖区"),
    (39.8179, 98.2272, 620200, "甘肃省", "嘉峪关市"),
    (39.9480, 116.5303, 110105, "北京市", "朝阳区"),
    (29.6599, 91.1560, 540102, "西藏自治区", "城关区"),
    (22.5296, 110.4809, 450981, "广西壮族自治区", "北流市"),
    (36.1371, 117.8002, 370117, "山东省", "钢城区"),
    (25.7811, 113.1480, 431003, "湖南省", "苏仙区"),
    (25.3846, 107.8939, 522722, "贵州省", "荔波县"),
    (36.5252, 118.9442, 370725, "山东省", "昌乐县"),
    (44.0691, 130.8470, 231086, "黑龙江省", "东宁市"),
    (35.6419, 111.1827, 140825, "山西省", "新绛县"),
    (31.9617, 80.4583, 542523, "西藏自治区", "噶尔县"),
    (40.6721, 111.1981, 150121, "内蒙古自治区", "土默特左旗"),
    (36.0350, 114.3781, 410502, "河南省", "文峰区"),
    (33.2653, 106.6605, 610725, "陕西省", "勉县"),
    (40.3449, 119.1048, 130321, "河北省", "青龙满族自治县"),
    (43.0231, 127.0085, 220282, "吉林省", "桦甸市"),
];

#[test]
fn points_well_inside_are_found() {
    for &(lat, lon, code, province, name) in INSIDE {
        let region = find(lat, lon).unwrap_or_else(|| panic!("{name} at {lat}, {lon}"));
        assert_eq!((region.code, region.province), (code, province), "{name}");
        let last = match region.district {
            "" => region.city,
            district => district,
        };
        assert_eq!(last, name);
        assert_eq!(region.dataset, "cn-2026-07");
    }
}

#[test]
fn municipalities_are_their_own_city_and_some_cities_have_no_districts() {
    let pudong = find(31.2397, 121.4998).unwrap();
    assert_eq!(
        (pudong.province, pudong.city, pudong.district),
        ("上海市", "上海市", "浦东新区")
    );
    let dongguan = find(23.02, 113.75).unwrap();
    assert_eq!(
        (dongguan.province, dongguan.city, dongguan.district),
        ("广东省", "东莞市", "")
    );
}

#[test]
fn nothing_is_found_abroad_at_sea_or_off_the_globe() {
    for (lat, lon) in [
        (48.85, 2.35),
        (30.0, 130.0),
        (0.0, 0.0),
        (90.0, 180.0),
        (-90.0, -180.0),
        (f64::NAN, 100.0),
        (1e300, -1e300),
        (f64::INFINITY, 0.0),
    ] {
        assert_eq!(find(lat, lon), None, "{lat}, {lon}");
    }
}

#[test]
fn damaged_borders_are_refused() {
    let whole: &'static [u8] = include_bytes!("../../geo/districts.bin");
    for bytes in [0, 4, 100, 60_000, whole.len() - 1] {
        assert!(Map::read(&whole[..bytes]).is_none(), "{bytes}");
    }
    assert!(Map::read(whole).is_some());
}
