//! What the brand sells: a small dairy range. The brand is invented, like everything in the demo.

use super::place::Picker;

/// A product.
#[derive(Debug, Clone, Copy)]
pub struct Product {
    /// Product code.
    pub sku: &'static str,
    /// Name.
    pub name: &'static str,
    /// List price of one unit in fen.
    pub price: u32,
    /// Category.
    pub category: &'static str,
}

macro_rules! products {
    ($($sku:literal $name:literal $category:literal $price:literal;)*) => {
        /// All products, the best seller first.
        pub const PRODUCTS: &[Product] = &[$(Product {
            sku: $sku, name: $name, category: $category, price: $price,
        }),*];
    };
}

products! {
    "HM1001" "禾牧纯牛奶 250ml×16" "常温奶" 5990; "HM2001" "禾牧原味酸奶 100g×8" "酸奶" 1980;
    "HM1002" "禾牧高钙低脂奶 250ml×12" "常温奶" 4990; "HM3001" "禾牧鲜牛奶 950ml" "鲜奶" 1690;
    "HM2002" "禾牧黄桃燕麦酸奶 200g×10" "酸奶" 4580; "HM1003" "禾牧有机纯牛奶 250ml×10" "常温奶" 7990;
    "HM4001" "禾牧儿童成长奶 190ml×12" "儿童奶" 5290; "HM3002" "禾牧A2鲜牛奶 780ml" "鲜奶" 2590;
    "HM5001" "禾牧奶酪棒 500g" "奶酪" 3990; "HM2003" "禾牧希腊酸奶 120g×6" "酸奶" 3290;
    "HM6001" "禾牧全脂奶粉 800g" "奶粉" 8900; "HM1004" "禾牧早餐奶 麦香 250ml×16" "常温奶" 4690;
    "HM2004" "禾牧零蔗糖酸奶 250g×6" "酸奶" 3590; "HM7001" "禾牧香草冰淇淋 75g×10" "冰淇淋" 4250;
    "HM6002" "禾牧中老年奶粉 800g" "奶粉" 9900; "HM3003" "禾牧低温娟姗牛奶 450ml" "鲜奶" 1890;
    "HM5002" "禾牧马苏里拉奶酪碎 450g" "奶酪" 3150; "HM4002" "禾牧儿童奶酪酸奶 90g×8" "儿童奶" 2890;
    "HM1005" "禾牧沙漠有机奶 200ml×24" "常温奶" 13900; "HM2005" "禾牧活菌酸奶饮品 100ml×20" "酸奶" 3680;
    "HM6003" "禾牧婴幼儿奶粉 1段 900g" "奶粉" 31800; "HM6004" "禾牧婴幼儿奶粉 2段 900g" "奶粉" 29800;
    "HM6005" "禾牧婴幼儿奶粉 3段 900g" "奶粉" 26800; "HM7002" "禾牧牛乳雪糕 68g×8" "冰淇淋" 3760;
    "HM5003" "禾牧黄油 200g" "奶酪" 2690; "HM5004" "禾牧淡奶油 1L" "奶酪" 4580;
    "HM3004" "禾牧鲜牛奶 200ml×5" "鲜奶" 1950; "HM2006" "禾牧老酸奶 139g×12" "酸奶" 3860;
    "HM1006" "禾牧零乳糖牛奶 220ml×12" "常温奶" 5590; "HM1007" "禾牧谷物牛奶 250ml×12" "常温奶" 4190;
    "HM8001" "禾牧礼盒 典藏 200ml×16" "礼盒" 16800; "HM8002" "禾牧礼盒 新春 250ml×20" "礼盒" 12800;
}

/// Products by popularity: the k-th sells 1/k as often as the first (Zipf).
pub fn by_popularity() -> Picker {
    let weights: Vec<u32> = (1..=PRODUCTS.len() as u32)
        .map(|rank| 1_000_000 / rank)
        .collect();
    Picker::by_weight(&weights)
}
