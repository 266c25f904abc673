//! Full-text search over members: names, addresses, tags, notes and identifiers, by word, part, prefix, pinyin or the tail of
//! a phone number; results as you type.
//!
//! The index is a projection: each commit carries the position up to which members are in it, so a restart goes on from
//! there, and a damaged index is made anew from the rows. What a text is split into is pure and stands in [`terms`].

pub mod terms;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use actors::model::{BrandId, ErrorKind, Fault, MemberNo};
use tantivy::collector::{Count, FilterCollector, TopDocs};
use tantivy::directory::MmapDirectory;
use tantivy::query::{
    AllQuery, BooleanQuery, BoostQuery, ConstScoreQuery, Occur, PhraseQuery, Query, RegexQuery,
    TermQuery,
};
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{SimpleTokenizer, TextAnalyzer, Token, TokenStream, Tokenizer};
use tantivy::{
    Index as TantivyIndex, IndexReader, IndexWriter, ReloadPolicy, TantivyDocument, TantivyError,
    Term,
};

use terms::{Ask, Terms};

/// Memory of the writer before it writes a segment, in bytes. One thread: indexing stands back behind everything else.
const WRITER_BYTES: usize = 64 << 20;

/// Version of the schema, of the splitting and of what is put in; another one makes the index anew.
const FORM: u32 = 2;

/// Most results that one page may skip: further ones are found by asking more precisely.
pub const OFFSET_MAX: usize = 10_000;

/// Most results of one page.
pub const LIMIT_MAX: usize = 100;

/// What the index knows of one member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberText {
    /// The member.
    pub member: MemberNo,
    /// Brands whose users may see it; the group's users see all.
    pub brands: Vec<BrandId>,
    /// Values of identifiers, e.g. `+8613800000000`, `o1`.
    pub identifiers: Vec<String>,
    /// Names of people: found by pinyin too.
    pub names: Vec<String>,
    /// Other texts: addresses, tags, notes, attributes.
    pub texts: Vec<String>,
}

/// What somebody looks for.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// What was typed; words apart by blanks must all be found.
    pub text: String,
    /// Only members of these brands; `None`: all.
    pub brands: Option<Vec<BrandId>>,
    /// Results to skip.
    pub offset: usize,
    /// Results at most.
    pub limit: usize,
}

/// Who may be in the result: a segment, say.
pub type Filter = Arc<dyn Fn(MemberNo) -> bool + Send + Sync>;

/// A page of results, best first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// Members.
    pub members: Vec<MemberNo>,
    /// How many there are in all.
    pub total: usize,
    /// The position up to which members are in the index.
    pub position: u64,
}

/// Why searching failed.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The index's files are damaged or cannot be read: it is made anew.
    #[error("the search index cannot be used: {0}")]
    Index(#[from] TantivyError),
    /// The folder.
    #[error("search index at {path}: {source}")]
    Io {
        /// Folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Too far into the results.
    #[error("a search shows its first {OFFSET_MAX} results: ask more precisely")]
    TooFar,
}

impl Fault for SearchError {
    fn kind(&self) -> ErrorKind {
        match self {
            SearchError::TooFar => ErrorKind::Invalid,
            SearchError::Index(_) | SearchError::Io { .. } => ErrorKind::Unavailable,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            SearchError::TooFar => "search_too_far",
            SearchError::Index(_) | SearchError::Io { .. } => "search_unavailable",
        }
    }
}

#[derive(Clone, Copy)]
struct Fields {
    member: Field,
    brand: Field,
    /// Single characters of Chinese text in their order: a phrase of them is a part of the text.
    chars: Field,
    /// Words: Chinese ones as segmented, others whole.
    words: Field,
    /// What is found by its beginning: words, pinyin, identifiers, tails of numbers.
    keys: Field,
}

/// The index on disk: one writer, readers at the last commit.
pub struct Index {
    fields: Fields,
    writer: IndexWriter,
    searcher: Searcher,
    position: Option<u64>,
}

/// Reads the last commit; cheap to clone.
#[derive(Clone)]
pub struct Searcher {
    fields: Fields,
    reader: IndexReader,
    position: Arc<std::sync::atomic::AtomicU64>,
}

impl Index {
    /// Opens the index in `dir`, or makes an empty one there. An index that is damaged or of another form is set aside by
    /// deleting it: everything in it stands in the rows too.
    pub fn open(dir: &Path) -> Result<Index, SearchError> {
        let name = format!("form-{FORM}");
        let path = dir.join(&name);
        let io = |source| SearchError::Io {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(&path).map_err(io)?;
        // Indexes of other forms are of no use, and would keep who is erased.
        for other in std::fs::read_dir(dir).map_err(io)? {
            let other = other.map_err(io)?;
            let is_form = other
                .file_name()
                .to_str()
                .is_some_and(|it| it.starts_with("form-"));
            if is_form && other.file_name() != *name {
                std::fs::remove_dir_all(other.path()).map_err(io)?;
            }
        }
        match Index::open_in(&path) {
            Ok(index) => Ok(index),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "search index is made anew");
                std::fs::remove_dir_all(&path).map_err(io)?;
                std::fs::create_dir_all(&path).map_err(io)?;
                Index::open_in(&path)
            }
        }
    }

    fn open_in(path: &Path) -> Result<Index, SearchError> {
        let (schema, fields) = schema();
        let directory = MmapDirectory::open(path).map_err(TantivyError::from)?;
        let index = TantivyIndex::open_or_create(directory, schema)?;
        index.tokenizers().register("split", Split);
        index.tokenizers().register(
            "default",
            TextAnalyzer::builder(SimpleTokenizer::default()).build(),
        );
        if !index.validate_checksum()?.is_empty() {
            return Err(TantivyError::InternalError("a file is damaged".into()).into());
        }
        let position = index
            .load_metas()?
            .payload
            .and_then(|payload| payload.parse().ok());
        let writer = index.writer_with_num_threads(1, WRITER_BYTES)?;
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()?;
        Ok(Index {
            fields,
            writer,
            searcher: Searcher {
                fields,
                reader,
                position: Arc::new(position.unwrap_or(0).into()),
            },
            position,
        })
    }

    /// The position of the last commit; `None`: nothing is in it.
    pub fn position(&self) -> Option<u64> {
        self.position
    }

    /// A reader for other threads.
    pub fn searcher(&self) -> Searcher {
        self.searcher.clone()
    }

    /// Forgets everything; visible with the next commit.
    pub fn clear(&mut self) -> Result<(), SearchError> {
        self.writer.delete_all_documents()?;
        Ok(())
    }

    /// Puts a member in, instead of what was known of it; visible with the next commit.
    pub fn put(&mut self, text: &MemberText) -> Result<(), SearchError> {
        self.remove(text.member);
        let terms = Terms::of(text);
        let mut document = TantivyDocument::new();
        document.add_u64(self.fields.member, text.member.0.into());
        for brand in &text.brands {
            document.add_u64(self.fields.brand, brand.0.into());
        }
        document.add_text(self.fields.chars, terms.chars);
        document.add_text(self.fields.words, terms.words);
        document.add_text(self.fields.keys, terms.keys);
        self.writer.add_document(document)?;
        Ok(())
    }

    /// Takes a member out; visible with the next commit.
    pub fn remove(&mut self, member: MemberNo) {
        self.writer
            .delete_term(Term::from_field_u64(self.fields.member, member.0.into()));
    }

    /// Makes what was put and removed durable and visible, as of `position`.
    pub fn commit(&mut self, position: u64) -> Result<(), SearchError> {
        let mut prepared = self.writer.prepare_commit()?;
        prepared.set_payload(&position.to_string());
        prepared.commit()?;
        self.searcher.reader.reload()?;
        self.position = Some(position);
        self.searcher
            .position
            .store(position, std::sync::atomic::Ordering::Release);
        Ok(())
    }
}

impl Searcher {
    /// The position up to which members are searchable.
    pub fn position(&self) -> u64 {
        self.position.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Members in it.
    pub fn members(&self) -> u64 {
        self.reader.searcher().num_docs()
    }

    /// Looks for members. Without text: all of them, in no order that means anything.
    pub fn search(&self, search: &Search, filter: Option<Filter>) -> Result<Found, SearchError> {
        if search.offset > OFFSET_MAX {
            return Err(SearchError::TooFar);
        }
        let query = self.query(search)?;
        // Read first: the answer is at least as new as it says.
        let position = self.position();
        let searcher = self.reader.searcher();
        let page = TopDocs::with_limit(search.limit.clamp(1, LIMIT_MAX))
            .and_offset(search.offset)
            .order_by_score();
        let (total, top) = match filter {
            None => searcher.search(&query, &(Count, page))?,
            Some(filter) => {
                let allow = move |member: u64| {
                    u32::try_from(member).is_ok_and(|member| filter(MemberNo(member)))
                };
                let both = FilterCollector::new("member".to_owned(), allow, (Count, page));
                searcher.search(&query, &both)?
            }
        };
        let mut members = Vec::with_capacity(top.len());
        for (_, at) in top {
            let column = searcher
                .segment_reader(at.segment_ord)
                .fast_fields()
                .u64("member")?;
            let number = column.first(at.doc_id).unwrap_or_default();
            members.extend(u32::try_from(number).map(MemberNo));
        }
        Ok(Found {
            members,
            total,
            position,
        })
    }

    fn query(&self, search: &Search) -> Result<Box<dyn Query>, SearchError> {
        let mut all: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        for ask in terms::asks(&search.text) {
            all.push((Occur::Must, self.one(&ask)?));
        }
        if all.is_empty() {
            all.push((Occur::Must, Box::new(AllQuery)));
        }
        if let Some(brands) = &search.brands {
            let any = brands
                .iter()
                .map(|brand| {
                    let term = Term::from_field_u64(self.fields.brand, brand.0.into());
                    (Occur::Should, exact(term))
                })
                .collect();
            let seen: Box<dyn Query> = Box::new(BooleanQuery::new(any));
            all.push((Occur::Must, Box::new(ConstScoreQuery::new(seen, 0.0))));
        }
        Ok(Box::new(BooleanQuery::new(all)))
    }

    /// One word that was typed: any way of finding it counts, the more precise the better.
    fn one(&self, ask: &Ask) -> Result<Box<dyn Query>, SearchError> {
        let mut any: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        let term = |field, text: &str| Term::from_field_text(field, text);
        if let Some(prefix) = &ask.prefix {
            any.push((
                Occur::Should,
                Box::new(BoostQuery::new(exact(term(self.fields.keys, prefix)), 4.0)),
            ));
            if ask.is_long_enough() {
                let pattern = format!("{}.*", terms::escape(prefix));
                any.push((
                    Occur::Should,
                    Box::new(RegexQuery::from_pattern(&pattern, self.fields.keys)?),
                ));
            }
        }
        match &ask.chars[..] {
            [] => {}
            [one] => any.push((Occur::Should, exact(term(self.fields.chars, one)))),
            several => {
                let phrase = several.iter().map(|one| term(self.fields.chars, one));
                let phrase = PhraseQuery::new(phrase.collect());
                any.push((
                    Occur::Should,
                    Box::new(BoostQuery::new(Box::new(phrase), 2.0)),
                ));
            }
        }
        if !ask.words.is_empty() {
            let words = ask
                .words
                .iter()
                .map(|word| (Occur::Must, exact(term(self.fields.words, word))))
                .collect();
            any.push((Occur::Should, Box::new(BooleanQuery::new(words))));
        }
        Ok(Box::new(BooleanQuery::new(any)))
    }
}

fn exact(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
}

fn schema() -> (Schema, Fields) {
    let split = |record| {
        TextOptions::default().set_indexing_options(
            TextFieldIndexing::default()
                .set_tokenizer("split")
                .set_fieldnorms(true)
                .set_index_option(record),
        )
    };
    let mut schema = Schema::builder();
    let fields = Fields {
        member: schema.add_u64_field("member", INDEXED | FAST),
        brand: schema.add_u64_field("brand", INDEXED),
        chars: schema.add_text_field("chars", split(IndexRecordOption::WithFreqsAndPositions)),
        words: schema.add_text_field("words", split(IndexRecordOption::WithFreqs)),
        keys: schema.add_text_field("keys", split(IndexRecordOption::Basic)),
    };
    (schema.build(), fields)
}

/// Takes terms apart that [`Terms`] has joined: each ends at a [`terms::END`]; an empty one only counts a position, so that
/// no phrase reaches over the end of a text.
#[derive(Clone)]
struct Split;

struct SplitStream<'a> {
    rest: std::str::Split<'a, char>,
    token: Token,
    place: usize,
}

impl Tokenizer for Split {
    type TokenStream<'a> = SplitStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> SplitStream<'a> {
        SplitStream {
            rest: text.split(terms::END),
            token: Token::default(),
            place: 0,
        }
    }
}

impl TokenStream for SplitStream<'_> {
    fn advance(&mut self) -> bool {
        for term in self.rest.by_ref() {
            let place = self.place;
            self.place += 1;
            if !term.is_empty() {
                self.token.position = place;
                self.token.text.clear();
                self.token.text.push_str(term);
                return true;
            }
        }
        false
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[cfg(test)]
mod tests;
