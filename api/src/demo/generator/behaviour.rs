//! What people do in the club mini-program, in the web shop and with the code on a bottle; and what bots do.

use super::super::catalog::PRODUCTS;
use super::super::json::{decimal, instant, number, padded, raw, text};
use super::super::people::{BOTS, CLUB_APP, Key, Kind, Person, channel};
use super::super::place::CITIES;
use super::super::random::{derive, scale};
use super::{Generator, Message, Source, share};

/// What is searched for; some of it is nasty for JSON, CSV and SQL.
const SEARCHES: [&str; 8] = [
    "纯牛奶",
    "酸奶 无糖",
    "奶酪棒 儿童",
    "\"有机\" 牛奶",
    "早餐奶\n买一送一",
    "🥛🐄",
    "A2' OR 1=1 --",
    "path\\to\\奶粉\t3段",
];

/// A person's device model.
const MODELS: [&str; 6] = [
    "iPhone 17",
    "HUAWEI Mate 80",
    "Xiaomi 16",
    "OPPO Find X9",
    "vivo X300",
    "HONOR 500",
];

impl Generator {
    /// Club mini-program: looking around, signing in daily, logging in, telling who one is.
    pub(super) fn club(&mut self, person: Person, now: i64, out: &mut Vec<u8>) -> Message {
        let mut message = self.message(Source::Club, person.no, now);
        let bits = self.random.bits();
        let device = person.device(bits >> 40);
        let anonymous = Key::new(Kind::Anonymous, person.no, 8 + (bits >> 40 & 1) as u8);
        let known = Self::uses(person, channel::CLUB) && !person.is_visitor();
        let tells = known && bits & 15 == 0;
        let logged_in = known && (tells || bits >> 4 & 7 < 5);

        raw(
            out,
            if tells {
                "{\"type\":\"identify\""
            } else {
                "{\"type\":\"track\""
            },
        );
        self.head(&mut message, person, logged_in, anonymous, out);
        raw(
            out,
            ",\"context\":{\"app\":{\"name\":\"禾牧会员\",\"namespace\":\"",
        );
        raw(out, CLUB_APP);
        raw(out, "\"},\"device\":{\"id\":\"");
        if self.random.chance(share::BLOCKED) {
            raw(out, "00000000-0000-0000-0000-000000000000");
        } else {
            device.write(out);
            message.keys.push(device);
        }
        raw(out, "\",\"model\":");
        text(out, MODELS[(device_bits(device) % 6) as usize]);
        raw(
            out,
            "},\"os\":{\"name\":\"HarmonyOS\"},\"library\":{\"name\":\"hemu-club\",\"version\":\"3.2.0\"}",
        );
        if tells {
            // The app that an openid belongs to is said as Segment says it: in the type of an external id.
            let openid = person.key(Kind::ClubOpenId);
            raw(
                out,
                ",\"externalIds\":[{\"type\":\"openid@wxdemo00000000club\",\"collection\":\"users\",\"encoding\":\"none\",\"id\":\"",
            );
            openid.write(out);
            raw(out, "\"}]}");
            message.keys.push(openid);
            self.traits(person, &mut message, out);
        } else {
            out.push(b'}');
            self.act(bits >> 8, out);
        }
        out.push(b'}');
        message
    }

    /// Web shop: pages and carts behind a cookie, at times logged in.
    pub(super) fn web(&mut self, person: Person, now: i64, out: &mut Vec<u8>) -> Message {
        let mut message = self.message(Source::Web, person.no, now);
        let bits = self.random.bits();
        let cookie = person.cookie(bits >> 40);
        let known = !person.is_visitor();
        let tells = known && bits & 31 == 0;
        let logged_in = known && (tells || bits >> 5 & 3 == 0);
        let page = bits >> 7 & 1 == 0 && !tells;
        raw(
            out,
            match (tells, page) {
                (true, _) => "{\"type\":\"identify\"",
                (false, true) => "{\"type\":\"page\",\"name\":\"Product\"",
                (false, false) => "{\"type\":\"track\"",
            },
        );
        self.head(&mut message, person, logged_in, cookie, out);
        raw(
            out,
            ",\"context\":{\"page\":{\"url\":\"https://shop.example.com/p/",
        );
        let product = &PRODUCTS[self.products.pick(bits >> 16)];
        raw(out, product.sku);
        raw(
            out,
            "\",\"referrer\":\"\"},\"userAgent\":\"Mozilla/5.0 (Windows NT 10.0; Win64; x64)\",\"library\":{\"name\":\"analytics.js\",\"version\":\"2.11.1\"}}",
        );
        if tells {
            raw(out, ",\"traits\":{\"email\":\"");
            if let Some(nothing) = self.blocked() {
                raw(out, nothing);
            } else {
                let email = person.key(Kind::Email);
                write_email(email, bits >> 50 & 15 == 0, out);
                message.keys.push(email);
            }
            raw(out, "\",\"newsletter\":");
            raw(
                out,
                if bits >> 54 & 1 == 0 {
                    "true}"
                } else {
                    "false}"
                },
            );
        } else if page {
            raw(out, ",\"properties\":{\"sku\":\"");
            raw(out, product.sku);
            raw(out, "\",\"title\":");
            text(out, product.name);
            out.push(b'}');
        } else {
            self.act(bits >> 8, out);
        }
        out.push(b'}');
        message
    }

    /// A bot on the web shop: many cookies or one, never anybody.
    pub(super) fn bot(&mut self, now: i64, out: &mut Vec<u8>) -> Message {
        let bot = self.bot_no();
        let mut message = self.message(Source::Web, bot, now);
        let changes = bot.is_multiple_of(2);
        let variant = if changes { self.number as u8 } else { 0 };
        let cookie = Key::new(Kind::Anonymous, bot, variant);
        raw(out, "{\"type\":\"page\",\"name\":\"Product\"");
        let person = Person::new(self.world.seed, bot);
        self.head(&mut message, person, false, cookie, out);
        raw(
            out,
            ",\"context\":{\"userAgent\":\"Mozilla/5.0 (compatible; examplebot/2.1)\",\"ip\":\"203.0.113.",
        );
        number(out, u64::from(bot - BOTS));
        raw(out, "\"},\"properties\":{\"sku\":\"");
        raw(
            out,
            PRODUCTS[(self.number % PRODUCTS.len() as u64) as usize].sku,
        );
        raw(out, "\"}}");
        message
    }

    /// A scan of the code on a package, mostly by a consumer.
    pub(super) fn scan(&mut self, person: Person, now: i64, out: &mut Vec<u8>) -> Message {
        let bits = self.random.bits();
        let clerk = bits & 31 == 0;
        let who = if clerk {
            self.clerk_of(person)
        } else {
            person.no
        };
        let mut message = self.message(Source::Scan, who, now);
        let person = if clerk {
            Person::new(self.world.seed, who)
        } else {
            person
        };

        raw(out, "{\"message_id\":\"");
        self.write_message_id(out);
        raw(out, "\",\"code\":\"");
        self.write_code(bits >> 5, out);
        raw(
            out,
            if clerk {
                "\",\"role\":\"clerk\",\"time\":"
            } else {
                "\",\"role\":\"consumer\",\"time\":"
            },
        );
        let said = now - self.lateness_ms() + person.clock_off_ms();
        message.said_ms = said;
        instant(out, said);
        raw(out, ",\"identifiers\":[\"");
        let openid = person.key(Kind::ScanOpenId);
        write_identifier(openid, out);
        message.keys.push(openid);
        if !clerk {
            // The unionid comes with the login; some only open the page.
            if bits >> 8 & 3 != 0 {
                let unionid = person.key(Kind::UnionId);
                raw(out, "\",\"");
                write_identifier(unionid, out);
                message.keys.push(unionid);
            }
            if bits >> 10 & 7 == 0
                && let Some(phone) = person.phone(self.world.seed)
            {
                raw(out, "\",\"phone:");
                if let Some(nothing) = self.blocked() {
                    raw(out, nothing);
                } else {
                    self.write_phone(phone, out);
                    message.keys.push(phone);
                }
            }
        }
        raw(out, "\"]");
        if bits >> 13 & 3 != 0 {
            self.place(person, bits >> 16, out);
        }
        // Reward farmers: strangers' accounts on one of eight devices.
        let farmed = self.random.chance(4_000);
        let device = if farmed {
            Key::new(Kind::Device, BOTS + (bits >> 60 & 7) as u32, 1)
        } else {
            person.device(bits >> 40)
        };
        raw(out, ",\"device\":\"");
        device.write(out);
        if !clerk {
            // A clerk's device is the store's.
            message.keys.push(device);
        }
        raw(out, "\",\"campaign\":\"");
        raw(
            out,
            ["hemu-2026-spring", "hemu-daily", "hemu-618", "hemu-goldcow"]
                [(bits >> 44 & 3) as usize],
        );
        raw(out, "\"}");
        message
    }

    /// `messageId`, `userId`, `anonymousId`, `timestamp`.
    fn head(
        &mut self,
        message: &mut Message,
        person: Person,
        logged_in: bool,
        anonymous: Key,
        out: &mut Vec<u8>,
    ) {
        raw(out, ",\"messageId\":\"");
        self.write_message_id(out);
        if logged_in {
            let user = person.key(Kind::UserId);
            raw(out, "\",\"userId\":\"");
            user.write(out);
            message.keys.push(user);
        }
        raw(out, "\",\"anonymousId\":\"");
        anonymous.write(out);
        message.keys.push(anonymous);
        raw(out, "\",\"timestamp\":");
        let said = message.said_ms - self.lateness_ms() + person.clock_off_ms();
        message.said_ms = said;
        instant(out, said);
    }

    /// Traits of an identify: who somebody is.
    fn traits(&mut self, person: Person, message: &mut Message, out: &mut Vec<u8>) {
        let bits = self.random.bits();
        let unionid = person.key(Kind::UnionId);
        raw(out, ",\"traits\":{\"unionid\":\"");
        unionid.write(out);
        out.push(b'"');
        message.keys.push(unionid);
        if bits & 3 != 0
            && let Some(phone) = person.phone(self.world.seed)
        {
            raw(out, ",\"phone\":\"");
            if let Some(nothing) = self.blocked() {
                raw(out, nothing);
            } else {
                self.write_phone(phone, out);
                message.keys.push(phone);
            }
            out.push(b'"');
        }
        raw(out, ",\"name\":\"");
        person.write_name(out);
        raw(
            out,
            if person.facet(3) & 3 == 0 {
                "\",\"gender\":\"male\""
            } else {
                "\",\"gender\":\"female\""
            },
        );
        raw(out, ",\"birthday\":\"");
        let born = person.facet(4);
        number(out, 1955 + u64::from(scale(born, 53)));
        out.push(b'-');
        padded(out, 1 + born % 12, 2);
        out.push(b'-');
        padded(out, 1 + (born >> 8) % 28, 2);
        raw(out, "\",\"city\":");
        let city = &CITIES[self.cities.pick(person.facet(2))];
        text(out, city.name);
        raw(out, ",\"province\":");
        text(out, city.province);
        raw(out, ",\"children\":");
        number(out, [0, 0, 1, 1, 2, 0, 1, 3][(born >> 16 & 7) as usize]);
        out.push(b'}');
    }

    /// `event` and `properties` of a track.
    fn act(&mut self, bits: u64, out: &mut Vec<u8>) {
        let product = &PRODUCTS[self.products.pick(bits >> 8)];
        let event = match bits & 31 {
            0..=5 => "App Launched",
            6..=14 => "Product Viewed",
            15..=18 => "Product Added",
            19..=21 => "Products Searched",
            22..=25 => "Daily Sign-in",
            26..=27 => "Coupon Viewed",
            28..=29 => "Points Viewed",
            30 => "Article Read",
            _ => "Checkout Started",
        };
        raw(out, ",\"event\":\"");
        raw(out, event);
        raw(out, "\",\"properties\":{");
        match event {
            "Product Viewed" | "Product Added" | "Checkout Started" => {
                raw(out, "\"sku\":\"");
                raw(out, product.sku);
                raw(out, "\",\"name\":");
                text(out, product.name);
                raw(out, ",\"category\":");
                text(out, product.category);
                raw(out, ",\"price\":");
                decimal(out, i64::from(product.price), 2);
                raw(out, ",\"quantity\":");
                number(out, 1 + (bits >> 20 & 3));
            }
            "Products Searched" => {
                // The plain ones are searched for far more often.
                let at = (bits >> 20 & 7).min(bits >> 23 & 7);
                raw(out, "\"query\":");
                text(out, SEARCHES[at as usize]);
                raw(out, ",\"results\":");
                number(out, bits >> 30 & 31);
            }
            "Daily Sign-in" => {
                raw(out, "\"streak\":");
                number(out, 1 + (bits >> 20) % 30);
            }
            "Points Viewed" => {
                raw(out, "\"balance\":");
                number(out, (bits >> 20) % 5_000);
            }
            _ => {
                raw(out, "\"page\":\"pages/home/index\",\"scene\":");
                number(out, [1001, 1007, 1089, 1035][(bits >> 20 & 3) as usize]);
            }
        }
        out.push(b'}');
    }

    /// Code of a package: new ones mostly, at times one that was scanned before. Letters without look-alikes.
    fn write_code(&self, bits: u64, out: &mut Vec<u8>) {
        const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
        let before = if bits & 7 == 0 {
            (bits >> 8) % (self.number + 1)
        } else {
            0
        };
        let item = u64::from(self.world.stream) << 48 | (self.number - before);
        let mut word = derive(self.world.seed ^ 0xc0de, item);
        raw(out, "HM");
        for _ in 0..12 {
            out.push(ALPHABET[(word & 31) as usize]);
            word >>= 5;
        }
    }

    /// Where the scan was: in the person's city mostly, a few kilometres around its centre.
    fn place(&mut self, person: Person, bits: u64, out: &mut Vec<u8>) {
        let home = self.cities.pick(person.facet(2));
        let away = bits & 15 == 0;
        let city = &CITIES[if away {
            self.cities.pick(bits >> 8)
        } else {
            home
        }];
        // The sum of two uniform numbers: more in the middle. A tenth of a degree is about ten kilometres.
        let mut around = |centre: i32| {
            let spread = self.random.below(80_000) + self.random.below(80_000);
            i64::from(centre) + i64::from(spread) - 80_000
        };
        let (lat, lon) = (around(city.lat), around(city.lon));
        raw(out, ",\"place\":{\"lat\":");
        decimal(out, lat, 6);
        raw(out, ",\"lon\":");
        decimal(out, lon, 6);
        raw(
            out,
            match bits >> 4 & 15 {
                0 => ",\"datum\":\"wgs84\"",
                1 => ",\"datum\":\"bd09\"",
                _ => ",\"datum\":\"gcj02\"",
            },
        );
        raw(out, ",\"accuracy_m\":");
        number(out, 10 + (bits >> 20 & 127));
        out.push(b'}');
    }
}

fn write_identifier(key: Key, out: &mut Vec<u8>) {
    raw(out, key.kind().prefix());
    key.write(out);
}

/// Some people write their address in capitals.
fn write_email(key: Key, capitals: bool, out: &mut Vec<u8>) {
    let start = out.len();
    key.write(out);
    if capitals {
        out[start..].make_ascii_uppercase();
    }
}

fn device_bits(device: Key) -> u64 {
    derive(u64::from(device.owner()), 6)
}
