//! Gathers the stream's messages into request bodies, one source each.

use super::generator::{Generator, Message, Source};

/// How a source's requests look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `{"batch":[…]}` to `/v1/batch`.
    Segment,
    /// `[…]` to `/v1/scan`.
    Scan,
    /// `[…]` to `/v1/events`.
    Own,
}

impl Form {
    /// The form that a source speaks.
    pub fn of(source: Source) -> Form {
        match source {
            Source::Club | Source::Web => Form::Segment,
            Source::Scan => Form::Scan,
            Source::Tmall | Source::Youzan | Source::Store => Form::Own,
        }
    }

    /// Where it posts.
    pub fn path(self) -> &'static str {
        match self {
            Form::Segment => "/v1/batch",
            Form::Scan => "/v1/scan",
            Form::Own => "/v1/events",
        }
    }

    fn head(self) -> &'static [u8] {
        match self {
            Form::Segment => b"{\"batch\":[",
            Form::Scan | Form::Own => b"[",
        }
    }

    fn tail(self) -> &'static [u8] {
        match self {
            Form::Segment => b"]}",
            Form::Scan | Form::Own => b"]",
        }
    }
}

/// One request: its body and the truth about each of its messages.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Who sends it.
    pub source: Source,
    /// The body.
    pub body: Vec<u8>,
    /// Its messages, in order.
    pub messages: Vec<Message>,
}

/// Bytes of a body at most: below the 500 KB that a Segment request may have.
const BODY_BYTES_MAX: usize = 440_000;

/// Requests from a stream, each of one source, in order within the source.
#[derive(Debug)]
pub struct Batches {
    generator: Generator,
    messages_max: usize,
    open: Vec<Batch>,
    spare: Vec<Batch>,
    scratch: Vec<u8>,
}

impl Batches {
    /// Requests of at most `messages_max` messages.
    pub fn new(generator: Generator, messages_max: usize) -> Batches {
        let mut batches = Batches {
            generator,
            messages_max: messages_max.max(1),
            open: Vec::new(),
            spare: Vec::new(),
            scratch: Vec::with_capacity(4_096),
        };
        batches.open = Source::ALL.map(|source| batches.fresh(source)).into();
        batches
    }

    /// The next request that is full, at the end of the stream the rest; `None` when all were given.
    pub fn next_batch(&mut self) -> Option<Batch> {
        loop {
            self.scratch.clear();
            let Some(message) = self.generator.next(&mut self.scratch) else {
                let at = self.open.iter().position(|b| !b.messages.is_empty())?;
                return Some(self.close(at));
            };
            let batch = &mut self.open[message.source as usize];
            if !batch.messages.is_empty() {
                batch.body.push(b',');
            }
            batch.body.extend_from_slice(&self.scratch);
            batch.messages.push(message);
            if batch.messages.len() >= self.messages_max || batch.body.len() >= BODY_BYTES_MAX {
                return Some(self.close(message.source as usize));
            }
        }
    }

    /// Takes a used request back, so that its memory serves again.
    pub fn give_back(&mut self, mut batch: Batch) {
        batch.body.clear();
        batch.messages.clear();
        self.spare.push(batch);
    }

    /// The stream, to go on with another span of it.
    pub fn generator(&mut self) -> &mut Generator {
        &mut self.generator
    }

    fn close(&mut self, at: usize) -> Batch {
        let source = Source::ALL[at];
        let fresh = self.fresh(source);
        let mut batch = std::mem::replace(&mut self.open[at], fresh);
        batch.body.extend_from_slice(Form::of(source).tail());
        batch
    }

    fn fresh(&mut self, source: Source) -> Batch {
        let mut batch = self.spare.pop().unwrap_or_else(|| Batch {
            source,
            body: Vec::new(),
            messages: Vec::new(),
        });
        batch.source = source;
        batch.body.extend_from_slice(Form::of(source).head());
        batch
    }
}
