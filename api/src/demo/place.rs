//! Where people live: 64 prefecture cities with approximate centres and weights by population.
//!
//! Coordinates are WGS-84 in millionths of a degree, good to a few kilometres: enough to draw a map, not to find a door.

/// A prefecture city.
#[derive(Debug, Clone, Copy)]
pub struct City {
    /// Name, e.g. 成都市.
    pub name: &'static str,
    /// Province.
    pub province: &'static str,
    /// Latitude in millionths of a degree.
    pub lat: i32,
    /// Longitude in millionths of a degree.
    pub lon: i32,
}

macro_rules! cities {
    ($($name:literal $province:literal $lat:literal $lon:literal $weight:literal;)*) => {
        /// All cities.
        pub const CITIES: &[City] = &[$(City {
            name: $name, province: $province,
            lat: ($lat * 1e6) as i32, lon: ($lon * 1e6) as i32,
        }),*];
        const WEIGHTS: &[u32] = &[$($weight),*];
    };
}

// Weight: inhabitants in hundred thousands, roughly (census of 2020).
cities! {
    "北京市" "北京市" 39.904 116.407 219; "上海市" "上海市" 31.230 121.474 249;
    "天津市" "天津市" 39.125 117.190 139; "重庆市" "重庆市" 29.563 106.551 220;
    "广州市" "广东省" 23.129 113.264 187; "深圳市" "广东省" 22.543 114.058 176;
    "佛山市" "广东省" 23.022 113.122 95; "东莞市" "广东省" 23.021 113.752 105;
    "惠州市" "广东省" 23.112 114.416 60; "汕头市" "广东省" 23.354 116.682 55;
    "成都市" "四川省" 30.573 104.067 209; "绵阳市" "四川省" 31.468 104.679 49;
    "南充市" "四川省" 30.837 106.111 56; "宜宾市" "四川省" 28.752 104.642 46;
    "武汉市" "湖北省" 30.593 114.305 123; "襄阳市" "湖北省" 32.009 112.122 53;
    "宜昌市" "湖北省" 30.692 111.287 40; "杭州市" "浙江省" 30.274 120.155 119;
    "宁波市" "浙江省" 29.868 121.544 94; "温州市" "浙江省" 27.994 120.699 96;
    "金华市" "浙江省" 29.079 119.647 71; "南京市" "江苏省" 32.060 118.797 93;
    "苏州市" "江苏省" 31.299 120.585 127; "无锡市" "江苏省" 31.491 120.312 75;
    "徐州市" "江苏省" 34.205 117.284 91; "南通市" "江苏省" 31.980 120.894 77;
    "西安市" "陕西省" 34.341 108.940 129; "咸阳市" "陕西省" 34.329 108.709 42;
    "郑州市" "河南省" 34.747 113.625 126; "洛阳市" "河南省" 34.619 112.454 71;
    "南阳市" "河南省" 32.991 112.528 97; "长沙市" "湖南省" 28.228 112.939 100;
    "衡阳市" "湖南省" 26.893 112.572 66; "岳阳市" "湖南省" 29.357 113.129 51;
    "济南市" "山东省" 36.651 117.120 92; "青岛市" "山东省" 36.067 120.383 101;
    "临沂市" "山东省" 35.104 118.357 110; "潍坊市" "山东省" 36.707 119.162 94;
    "烟台市" "山东省" 37.464 121.448 71; "合肥市" "安徽省" 31.821 117.227 94;
    "阜阳市" "安徽省" 32.890 115.814 82; "芜湖市" "安徽省" 31.353 118.433 36;
    "福州市" "福建省" 26.075 119.296 83; "厦门市" "福建省" 24.480 118.089 52;
    "泉州市" "福建省" 24.874 118.676 88; "南昌市" "江西省" 28.682 115.858 63;
    "赣州市" "江西省" 25.831 114.935 90; "石家庄市" "河北省" 38.043 114.514 112;
    "唐山市" "河北省" 39.631 118.180 77; "保定市" "河北省" 38.874 115.465 92;
    "太原市" "山西省" 37.871 112.549 53; "沈阳市" "辽宁省" 41.806 123.432 91;
    "大连市" "辽宁省" 38.914 121.615 75; "长春市" "吉林省" 43.817 125.324 91;
    "哈尔滨市" "黑龙江省" 45.803 126.535 100; "齐齐哈尔市" "黑龙江省" 47.354 123.918 41;
    "呼和浩特市" "内蒙古自治区" 40.843 111.749 34; "包头市" "内蒙古自治区" 40.658 109.840 27;
    "昆明市" "云南省" 24.880 102.833 85; "贵阳市" "贵州省" 26.647 106.630 60;
    "南宁市" "广西壮族自治区" 22.817 108.367 87; "兰州市" "甘肃省" 36.061 103.834 44;
    "乌鲁木齐市" "新疆维吾尔自治区" 43.825 87.617 41; "海口市" "海南省" 20.044 110.200 29;
}

/// Number of entries of a [`Picker`]: a draw is one look-up.
const SLOTS: usize = 1024;

/// Draws an index by weight with one look-up.
#[derive(Debug, Clone)]
pub struct Picker([u8; SLOTS]);

impl Picker {
    /// Cities by population.
    pub fn cities() -> Picker {
        Picker::by_weight(WEIGHTS)
    }

    /// Every index below `weights.len()` (at most 256) about as often as its weight says.
    pub fn by_weight(weights: &[u32]) -> Picker {
        let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
        let mut slots = [0u8; SLOTS];
        let (mut index, mut sum) = (0usize, u64::from(weights[0]));
        for (at, slot) in slots.iter_mut().enumerate() {
            while index + 1 < weights.len() && (at as u64) * total >= sum * SLOTS as u64 {
                index += 1;
                sum += u64::from(weights[index]);
            }
            *slot = index as u8;
        }
        Picker(slots)
    }

    /// The index that `bits` (the lowest ten) point to.
    #[inline]
    pub fn pick(&self, bits: u64) -> usize {
        usize::from(self.0[bits as usize % SLOTS])
    }
}
