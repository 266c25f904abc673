//! What a member's texts, and what somebody types, are split into. Pure.
//!
//! Everything is compared after NFKC in lower case. Chinese text becomes single characters (a run of them found in order is a
//! part of the text) and words (as jieba segments them, also the short ones in long ones); other text becomes words. What is
//! found by its beginning are words, identifiers, the pinyin of names (`zhangsan`, `zs`), and every tail of a number of four
//! digits or more, so that any part of a phone number finds it.

use std::collections::BTreeSet;

use pinyin::ToPinyin;
use tantivy_jieba::jieba_rs::Jieba;
use unicode_normalization::UnicodeNormalization;

use super::MemberText;

/// Ends a term in joined terms.
pub const END: char = '\u{1f}';

/// Fewest digits by which the tail of a number is found.
const TAIL_DIGITS_MIN: usize = 4;

/// Longest identifier or word by whose beginning something is found, in bytes: longer ones are cut.
const KEY_BYTES_MAX: usize = 128;

/// Longest text that is indexed, in characters: a profile holds facts, not documents.
const TEXT_CHARS_MAX: usize = 2_000;

/// Fewest Chinese characters that are looked up as words that may stand apart: shorter ones are a name, or a part of one.
const WORDS_CHARS_MIN: usize = 4;

/// Words of a question that count; more are ignored.
const ASKS_MAX: usize = 16;

/// A member's terms, each field's joined by [`END`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Chinese characters in order.
    pub chars: String,
    /// Words.
    pub words: String,
    /// What is found by its beginning.
    pub keys: String,
}

impl Terms {
    /// Splits what is known of a member.
    pub fn of(text: &MemberText) -> Terms {
        let mut terms = Terms::default();
        let mut keys = BTreeSet::new();
        for identifier in &text.identifiers {
            let plain = fold(identifier);
            tails(&plain, &mut keys);
            keys.insert(cut(&plain));
            // `li.lei@example.com` is found by `li.lei`, `example` and `lei`.
            for part in plain.split(|c: char| !c.is_alphanumeric()) {
                keys.insert(cut(part));
            }
        }
        for name in &text.names {
            let plain = fold(name);
            pinyin(&plain, &mut keys);
            terms.text(&plain, &mut keys);
        }
        for other in &text.texts {
            terms.text(&fold(other), &mut keys);
        }
        for key in keys.iter().filter(|key| !key.is_empty()) {
            push(&mut terms.keys, key);
        }
        terms
    }

    /// Whether what was asked is in these terms: the same answer as the index gives, for one member.
    pub fn answers(&self, asks: &[Ask]) -> bool {
        let has = |joined: &str, wanted: &str| joined.split(END).any(|term| term == wanted);
        asks.iter().all(|ask| {
            let prefix = ask.prefix.as_ref().is_some_and(|prefix| {
                let begins = |key: &str| match ask.is_long_enough() {
                    true => key.starts_with(&**prefix),
                    false => key == prefix,
                };
                self.keys.split(END).any(begins)
            });
            let mut chars = String::new();
            ask.chars.iter().for_each(|one| push(&mut chars, one));
            let phrase = !ask.chars.is_empty() && self.chars.contains(&chars);
            let words = !ask.words.is_empty() && ask.words.iter().all(|it| has(&self.words, it));
            prefix || phrase || words
        })
    }

    fn text(&mut self, plain: &str, keys: &mut BTreeSet<String>) {
        for run in runs(plain) {
            match run {
                Run::Chinese(text) => {
                    for one in text.chars() {
                        push(&mut self.chars, one.encode_utf8(&mut [0; 4]));
                    }
                    self.chars.push(END);
                    for word in words(text) {
                        push(&mut self.words, word);
                    }
                }
                Run::Word(word) => {
                    push(&mut self.words, word);
                    tails(word, keys);
                    keys.insert(cut(word));
                }
            }
        }
    }
}

/// One word of a question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    /// The beginning of something: for what holds no Chinese.
    pub prefix: Option<String>,
    /// Chinese characters that must stand together.
    pub chars: Vec<String>,
    /// Words that must all be there.
    pub words: Vec<String>,
}

impl Ask {
    /// Whether beginnings are looked up: one letter begins too much to be of use.
    pub fn is_long_enough(&self) -> bool {
        self.prefix
            .as_ref()
            .is_some_and(|prefix| prefix.chars().nth(1).is_some())
    }
}

/// Splits what was typed. Parts between blanks must each be found; so must the Chinese and the other text of one part.
pub fn asks(text: &str) -> Vec<Ask> {
    let plain = fold(text);
    let mut asks = Vec::new();
    for part in plain.split_whitespace() {
        let runs: Vec<Run<'_>> = runs(part).collect();
        let is_chinese = runs.iter().any(|run| matches!(run, Run::Chinese(_)));
        if !is_chinese {
            // A number however it is written: 138-0000-0000, +86 138….
            let digits: String = part.chars().filter(char::is_ascii_digit).collect();
            let is_number = part
                .chars()
                .all(|c| c.is_ascii_digit() || "+-()".contains(c));
            let prefix = match is_number && !digits.is_empty() {
                true => digits,
                false => cut(part),
            };
            asks.push(Ask {
                prefix: Some(prefix),
                ..Ask::default()
            });
            continue;
        }
        for run in runs {
            asks.push(match run {
                Run::Word(word) => Ask {
                    prefix: Some(cut(word)),
                    ..Ask::default()
                },
                Run::Chinese(text) => Ask {
                    prefix: None,
                    chars: text.chars().map(String::from).collect(),
                    words: match text.chars().count() < WORDS_CHARS_MIN {
                        true => Vec::new(),
                        false => short_words(text),
                    },
                },
            });
        }
    }
    asks.truncate(ASKS_MAX);
    asks
}

/// A regular expression that matches `text` itself.
pub fn escape(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 8);
    for one in text.chars() {
        if !one.is_alphanumeric() {
            pattern.push('\\');
        }
        pattern.push(one);
    }
    pattern
}

enum Run<'a> {
    Chinese(&'a str),
    Word(&'a str),
}

/// Runs of Chinese characters and of other letters and digits; the rest separates.
fn runs(text: &str) -> impl Iterator<Item = Run<'_>> {
    let kind = |c: char| match c {
        _ if is_chinese(c) => 2,
        _ if c.is_alphanumeric() => 1,
        _ => 0,
    };
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let first = kind(rest.chars().next()?);
            let end = rest.find(|c| kind(c) != first).unwrap_or(rest.len());
            let (run, behind) = rest.split_at(end);
            rest = behind;
            match first {
                2 => return Some(Run::Chinese(run)),
                1 => return Some(Run::Word(run)),
                _ => {}
            }
        }
    })
}

fn is_chinese(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3134f}')
}

/// Words of Chinese text, long and short ones.
fn words(text: &str) -> impl Iterator<Item = &str> {
    use std::sync::LazyLock;
    static JIEBA: LazyLock<Jieba> = LazyLock::new(Jieba::new);
    JIEBA
        .cut_for_search(text, true)
        .into_iter()
        .map(|token| token.word)
}

/// Of a question's words those that hold no shorter one: `上海浦东` asks for `上海` and `浦东`, wherever they stand.
fn short_words(text: &str) -> Vec<String> {
    let all: BTreeSet<&str> = words(text).collect();
    let holds_other = |word: &str| {
        all.iter()
            .any(|other| *other != word && word.contains(other))
    };
    let mut short: Vec<String> = words(text)
        .filter(|word| !holds_other(word))
        .map(String::from)
        .collect();
    short.dedup();
    short
}

fn fold(text: &str) -> String {
    text.nfkc()
        .flat_map(char::to_lowercase)
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(TEXT_CHARS_MAX)
        .collect()
}

fn pinyin(name: &str, keys: &mut BTreeSet<String>) {
    let (mut whole, mut initials) = (String::new(), String::new());
    for syllable in name.chars().filter_map(|c| c.to_pinyin()) {
        whole.push_str(syllable.plain());
        initials.push_str(syllable.first_letter());
    }
    if !whole.is_empty() {
        keys.insert(cut(&whole));
        keys.insert(cut(&initials));
    }
}

/// Every tail of a number; a number is digits and what people put between them.
fn tails(text: &str, keys: &mut BTreeSet<String>) {
    let is_number = text
        .chars()
        .all(|c| c.is_ascii_digit() || c == '+' || c == '-' || c == ' ');
    if !is_number {
        return;
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let digits = cut(&digits);
    for from in 0..=digits.len().saturating_sub(TAIL_DIGITS_MIN) {
        keys.insert(digits[from..].to_owned());
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(KEY_BYTES_MAX)].to_owned()
}

fn push(joined: &mut String, term: &str) {
    joined.push_str(term);
    joined.push(END);
}
