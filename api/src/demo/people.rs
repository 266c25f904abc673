//! Who lives in the demo world, and which identifiers each person carries.
//!
//! Nothing is stored per person: all facts are derived from the seed and the person's number, so a world of thirty
//! million people costs no memory. An identifier is a [`Key`] until it is written out.
//!
//! Nobody here is real. Phones begin with 154, a prefix that no Chinese carrier has been given; names end with （演示）
//! ("demo"); e-mail addresses are under example.com (RFC 2606).

use super::json::{hex, padded, raw};
use super::random::{derive, mix};

/// Sorts of identifiers, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Mobile phone.
    Phone,
    /// WeChat unionid, one for all apps of the brand.
    UnionId,
    /// Account number of the club mini-program, also used on the web.
    UserId,
    /// WeChat openid in the club mini-program.
    ClubOpenId,
    /// WeChat openid in the scan mini-program.
    ScanOpenId,
    /// Buyer id in the Tmall shop.
    Ouid,
    /// Buyer id in the Youzan shop.
    YouzanId,
    /// Member card of the stores.
    Card,
    /// E-mail address.
    Email,
    /// A device.
    Device,
    /// A browser's cookie.
    Anonymous,
}

/// App id of the club mini-program.
pub const CLUB_APP: &str = "wxdemo00000000club";
/// App id of the scan mini-program.
pub const SCAN_APP: &str = "wxdemo00000000scan";
/// Shop id at Tmall.
pub const TMALL_SHOP: &str = "tmall-hemu";
/// Shop id at Youzan.
pub const YOUZAN_SHOP: &str = "youzan-hemu";

const KINDS: [Kind; 11] = [
    Kind::Phone,
    Kind::UnionId,
    Kind::UserId,
    Kind::ClubOpenId,
    Kind::ScanOpenId,
    Kind::Ouid,
    Kind::YouzanId,
    Kind::Card,
    Kind::Email,
    Kind::Device,
    Kind::Anonymous,
];

impl Kind {
    /// Kind and scope as the platform writes them, up to the colon.
    pub fn prefix(self) -> &'static str {
        match self {
            Kind::Phone => "phone:",
            Kind::UnionId => "unionid:",
            Kind::UserId => "user_id:",
            Kind::ClubOpenId => "openid@wxdemo00000000club:",
            Kind::ScanOpenId => "openid@wxdemo00000000scan:",
            Kind::Ouid => "ouid@tmall-hemu:",
            Kind::YouzanId => "youzan_id@youzan-hemu:",
            Kind::Card => "member_card:",
            Kind::Email => "email:",
            Kind::Device => "device_id:",
            Kind::Anonymous => "anonymous_id:",
        }
    }

    /// Whether it names a person rather than a machine: a member has at least one of these.
    pub fn names_person(self) -> bool {
        !matches!(self, Kind::Device | Kind::Anonymous)
    }
}

/// An identifier: its sort, who owns it in truth, and which of several of that sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

impl Key {
    /// The `variant`th identifier of `kind` that `owner` has.
    pub fn new(kind: Kind, owner: u32, variant: u8) -> Key {
        Key((kind as u64) << 40 | u64::from(variant) << 32 | u64::from(owner))
    }

    /// The sort.
    pub fn kind(self) -> Kind {
        KINDS[(self.0 >> 40) as usize]
    }

    /// The person it belongs to in truth.
    pub fn owner(self) -> u32 {
        self.0 as u32
    }

    /// Appends the value as the platform normalises it (a phone without its country: see [`Key::canonical`]).
    pub fn write(self, out: &mut Vec<u8>) {
        let owner = self.owner();
        let bits = derive(self.0, 0x1d);
        match self.kind() {
            Kind::Phone => {
                raw(out, "154");
                padded(out, u64::from(owner), 8);
            }
            Kind::UnionId => letters(out, b"oU", bits, 26),
            Kind::UserId => {
                out.push(b'M');
                padded(out, u64::from(owner), 8);
            }
            Kind::ClubOpenId => letters(out, b"oC", bits, 26),
            Kind::ScanOpenId => letters(out, b"oS", bits, 26),
            Kind::Ouid => letters(out, b"AAE", bits, 21),
            Kind::YouzanId => letters(out, b"yz", bits, 16),
            Kind::Card => {
                raw(out, "88");
                padded(out, u64::from(owner), 10);
            }
            Kind::Email => {
                raw(out, "hemu.");
                padded(out, u64::from(owner), 8);
                raw(out, "@example.com");
            }
            Kind::Device => uuid(out, bits),
            Kind::Anonymous => uuid(out, bits),
        }
    }

    /// The text form of the platform, e.g. `phone:+8615400000042`.
    pub fn canonical(self) -> String {
        let mut out = Vec::with_capacity(64);
        raw(&mut out, self.kind().prefix());
        if self.kind() == Kind::Phone {
            raw(&mut out, "+86");
        }
        self.write(&mut out);
        String::from_utf8(out).expect("identifiers of the demo are ASCII")
    }
}

/// Letters of base64url: openids look like that.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn letters(out: &mut Vec<u8>, head: &[u8], bits: u64, count: usize) {
    out.extend_from_slice(head);
    let (mut word, mut left) = (bits, 10);
    for _ in 0..count {
        if left == 0 {
            (word, left) = (mix(word ^ bits), 10);
        }
        out.push(LETTERS[(word & 63) as usize]);
        word = word.rotate_right(6);
        left -= 1;
    }
}

fn uuid(out: &mut Vec<u8>, bits: u64) {
    let low = mix(bits ^ 0x75);
    hex(out, bits >> 32, 8);
    out.push(b'-');
    hex(out, bits >> 16, 4);
    raw(out, "-4");
    hex(out, bits, 3);
    raw(out, "-a");
    hex(out, low >> 48, 3);
    out.push(b'-');
    hex(out, low, 12);
}

/// Where a person is active; bits of [`Person::channels`].
pub mod channel {
    /// The club mini-program.
    pub const CLUB: u8 = 1;
    /// The web shop.
    pub const WEB: u8 = 2;
    /// The scan mini-program.
    pub const SCAN: u8 = 4;
    /// The Tmall shop.
    pub const TMALL: u8 = 8;
    /// The Youzan shop.
    pub const YOUZAN: u8 = 16;
    /// The brand's stores.
    pub const STORE: u8 = 32;
}

/// First number of bots: no person's number comes this far.
pub const BOTS: u32 = 90_000_000;
/// First number of store clerks, who type their own phone for hurried customers.
pub const CLERKS: u32 = 95_000_000;
/// People above this number do not fit eight digits of a phone.
pub const PEOPLE_MAX: u32 = 89_000_000;

/// A person: a number and the bits that all facts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Person {
    /// The number.
    pub no: u32,
    bits: u64,
}

impl Person {
    /// The person of that number in the world of `seed`.
    #[inline]
    pub fn new(seed: u64, no: u32) -> Person {
        Person {
            no,
            bits: derive(seed, u64::from(no)),
        }
    }

    /// `true` if bits from `at` on, read as eight bits, are below `of_256`.
    #[inline]
    fn is(self, at: u32, of_256: u64) -> bool {
        (self.bits.rotate_right(at) & 255) < of_256
    }

    /// Never tells who it is: a device or a cookie only. Three in ten.
    pub fn is_visitor(self) -> bool {
        self.is(0, 77)
    }

    /// Where the person is active: at least one channel.
    pub fn channels(self) -> u8 {
        use channel::*;
        if self.is_visitor() {
            // Half look at the web shop, half open the club without logging in.
            return if self.is(8, 128) { WEB } else { CLUB };
        }
        let mut channels = 0;
        for (bit, at, of_256) in [
            (CLUB, 8, 154),
            (SCAN, 16, 166),
            (TMALL, 24, 102),
            (YOUZAN, 32, 56),
            (STORE, 40, 52),
            (WEB, 48, 76),
        ] {
            if self.is(at, of_256) {
                channels |= bit;
            }
        }
        if channels == 0 { CLUB } else { channels }
    }

    /// The phone that the person gives: the own one, the household's, or none.
    pub fn phone(self, seed: u64) -> Option<Key> {
        if self.is_visitor() || self.is(52, 20) {
            return None;
        }
        let head = self.household(seed);
        Some(Key::new(Kind::Phone, head, 0))
    }

    /// Number of the person whose phone the household uses: usually the person itself.
    pub fn household(self, seed: u64) -> u32 {
        let head = self.no - self.no % 4;
        if head == self.no || !self.is(56, 30) {
            return self.no;
        }
        let head = Person::new(seed, head);
        if head.is_visitor() || head.is(52, 20) {
            return self.no;
        }
        head.no
    }

    /// The person's identifier of a sort.
    pub fn key(self, kind: Kind) -> Key {
        Key::new(kind, self.no, 0)
    }

    /// One of up to two devices, chosen by `bits`.
    pub fn device(self, bits: u64) -> Key {
        let second = self.is(4, 60) && bits & 3 == 0;
        Key::new(Kind::Device, self.no, u8::from(second))
    }

    /// One of up to three cookies, chosen by `bits`.
    pub fn cookie(self, bits: u64) -> Key {
        let cookies = 1 + (self.bits >> 12) % 3;
        Key::new(Kind::Anonymous, self.no, (bits % cookies) as u8)
    }

    /// The clock of the person's devices is wrong by this many milliseconds; 0 for nearly all.
    pub fn clock_off_ms(self) -> i64 {
        const DAY_MS: i64 = 86_400_000;
        match (self.bits >> 20) % 2_000 {
            0 => -20_000 * DAY_MS,
            1 => 400 * DAY_MS,
            2 => -3 * DAY_MS,
            3 => 8 * 3_600_000,
            _ => 0,
        }
    }

    /// Facts that do not concern identity, e.g. the city: bits that differ by `facet`.
    pub fn facet(self, facet: u64) -> u64 {
        derive(self.bits, facet)
    }

    /// Appends the name: a surname and two characters of the invented brand's world.
    pub fn write_name(self, out: &mut Vec<u8>) {
        const SURNAMES: [&str; 24] = [
            "王", "李", "张", "刘", "陈", "杨", "黄", "赵", "吴", "周", "徐", "孙", "马", "朱",
            "胡", "郭", "何", "高", "林", "罗", "郑", "梁", "谢", "欧阳",
        ];
        const GIVEN: [&str; 20] = [
            "禾", "牧", "乳", "麦", "禧", "悠", "沐", "晴", "岚", "乐", "安", "溪", "朵", "暖",
            "甘", "恬", "果", "云", "露", "杏",
        ];
        let bits = self.facet(1);
        raw(out, SURNAMES[(bits % 24) as usize]);
        raw(out, GIVEN[(bits >> 8) as usize % 20]);
        if bits >> 60 > 3 {
            raw(out, GIVEN[(bits >> 16) as usize % 20]);
        }
        raw(out, "（演示）");
    }
}
