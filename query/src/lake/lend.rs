//! From a batch of columns to lent events. The same for files and for the tail, whatever form their texts have.

use std::ops::ControlFlow;
use std::sync::Arc;

use actors::history::{Each, HistoryEvent, HistoryOrder, Wanted};
use actors::machine::RecordAt;
use actors::model::{
    BrandId, Currency, EventKind, IdentNo, Offset, PartitionId, Place, Position, SourceId, Time,
};
use arrow::array::{
    Array, AsArray, BooleanArray, DictionaryArray, ListArray, PrimitiveArray, RecordBatch,
    StringArray, StringViewArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMillisecondType,
    UInt16Type, UInt32Type, UInt64Type,
};

use super::erase::Erased;
use super::schema::{column, kind_of, status_of};

/// What a sink was shown.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    pub shown: u64,
    pub read: u64,
}

/// What is to be shown.
pub(super) struct Lend<'w> {
    /// What the reader wants.
    pub wanted: &'w Wanted,
    /// Results below this offset.
    pub until: Offset,
    /// Who is to be shown without personal columns.
    pub erased: Arc<Erased>,
}

impl Lend<'_> {
    /// Shows the wanted events of a batch.
    pub fn each(
        &self,
        batch: &RecordBatch,
        sink: &mut Each<'_>,
        count: &mut Count,
    ) -> Result<ControlFlow<()>, String> {
        let wanted = self.wanted;
        let columns = Columns::of(batch, wanted)?;
        count.read += batch.num_rows() as u64;
        for row in 0..batch.num_rows() {
            let Some(kind) = columns.kind.get(row) else {
                continue;
            };
            if !columns.names.get(row) {
                continue;
            }
            let offset = Offset(columns.offset.value(row));
            if offset >= self.until {
                continue;
            }
            let fragment = IdentNo(columns.fragment.value(row));
            let gone = self.erased.holds(fragment);
            let event = columns.event(row, kind, fragment, offset, gone);
            // Names are checked already, once per different name where there is a dictionary.
            if wanted.holds_but_name(&event) {
                count.shown += 1;
                if sink(&event).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// The columns of one batch.
struct Columns<'b> {
    fragment: &'b PrimitiveArray<UInt32Type>,
    offset: &'b PrimitiveArray<UInt64Type>,
    index: &'b PrimitiveArray<UInt32Type>,
    raw_partition: &'b PrimitiveArray<UInt16Type>,
    raw_offset: &'b PrimitiveArray<UInt64Type>,
    time: &'b PrimitiveArray<TimestampMillisecondType>,
    received: &'b PrimitiveArray<TimestampMillisecondType>,
    kind: Kinds<'b>,
    names: Names<'b>,
    name: Text<'b>,
    source: &'b PrimitiveArray<UInt32Type>,
    brand: &'b PrimitiveArray<UInt32Type>,
    test: &'b BooleanArray,
    erased: &'b BooleanArray,
    order_only: &'b BooleanArray,
    message_id: Text<'b>,
    identifiers: Option<(&'b ListArray, Vec<&'b str>)>,
    properties: Text<'b>,
    traits: Text<'b>,
    context: Text<'b>,
    place: Option<Places<'b>>,
    order: Option<Orders<'b>>,
}

struct Places<'b> {
    lat: &'b PrimitiveArray<Float64Type>,
    lon: &'b PrimitiveArray<Float64Type>,
    accuracy: &'b PrimitiveArray<Float32Type>,
}

struct Orders<'b> {
    order: &'b PrimitiveArray<UInt32Type>,
    holder: &'b PrimitiveArray<UInt32Type>,
    order_id: Text<'b>,
    shop: Text<'b>,
    status: Text<'b>,
    currency: Text<'b>,
    total: &'b PrimitiveArray<Int64Type>,
    lines: Text<'b>,
}

impl<'b> Columns<'b> {
    fn of(batch: &'b RecordBatch, wanted: &Wanted) -> Result<Columns<'b>, String> {
        let asked = wanted.columns;
        let text = |name, asked: bool| match asked {
            true => Text::of(batch, name),
            false => Ok(Text::None),
        };
        let name = Text::of(batch, column::NAME)?;
        Ok(Columns {
            fragment: numbers(batch, column::FRAGMENT)?,
            offset: numbers(batch, column::OFFSET)?,
            index: numbers(batch, column::INDEX)?,
            raw_partition: numbers(batch, column::RAW_PARTITION)?,
            raw_offset: numbers(batch, column::RAW_OFFSET)?,
            time: numbers(batch, column::TIME)?,
            received: numbers(batch, column::RECEIVED)?,
            kind: Kinds::of(Text::of(batch, column::KIND)?),
            names: Names::of(name, wanted),
            name,
            source: numbers(batch, column::SOURCE)?,
            brand: numbers(batch, column::BRAND)?,
            test: flags(batch, column::TEST)?,
            erased: flags(batch, column::ERASED)?,
            order_only: flags(batch, column::ORDER_ONLY)?,
            message_id: text(column::MESSAGE_ID, asked.message_id)?,
            identifiers: match asked.identifiers {
                true => Some(identifiers(batch)?),
                false => None,
            },
            properties: text(column::PROPERTIES, asked.properties)?,
            traits: text(column::TRAITS, asked.traits)?,
            context: text(column::CONTEXT, asked.context)?,
            place: match asked.place {
                true => Some(Places {
                    lat: numbers(batch, column::LAT)?,
                    lon: numbers(batch, column::LON)?,
                    accuracy: numbers(batch, column::ACCURACY)?,
                }),
                false => None,
            },
            order: match asked.order {
                true => Some(Orders {
                    order: numbers(batch, column::ORDER)?,
                    holder: numbers(batch, column::HOLDER)?,
                    order_id: Text::of(batch, column::ORDER_ID)?,
                    shop: Text::of(batch, column::SHOP)?,
                    status: Text::of(batch, column::STATUS)?,
                    currency: Text::of(batch, column::CURRENCY)?,
                    total: numbers(batch, column::TOTAL)?,
                    lines: Text::of(batch, column::LINES)?,
                }),
                false => None,
            },
        })
    }

    /// Lends one row. `gone`: without its personal columns.
    fn event(
        &self,
        row: usize,
        kind: EventKind,
        fragment: IdentNo,
        offset: Offset,
        gone: bool,
    ) -> HistoryEvent<'_> {
        let personal = |text: &Text<'b>| text.get(row).filter(|_| !gone);
        HistoryEvent {
            fragment,
            at: RecordAt {
                position: Position {
                    partition: PartitionId(0),
                    offset,
                },
                index: self.index.value(row),
            },
            raw: Position {
                partition: PartitionId(self.raw_partition.value(row)),
                offset: Offset(self.raw_offset.value(row)),
            },
            time: Time(self.time.value(row)),
            received: Time(self.received.value(row)),
            kind,
            name: self.name.get(row).unwrap_or_default(),
            source: SourceId(self.source.value(row)),
            brand: BrandId(self.brand.value(row)),
            test: self.test.value(row),
            erased: gone || self.erased.value(row),
            order_only: self.order_only.value(row),
            message_id: personal(&self.message_id),
            identifiers: match &self.identifiers {
                Some((list, texts)) if !gone && list.is_valid(row) => {
                    let ends = list.value_offsets();
                    &texts[ends[row] as usize..ends[row + 1] as usize]
                }
                _ => &[],
            },
            properties: personal(&self.properties),
            traits: personal(&self.traits),
            context: personal(&self.context),
            place: self
                .place
                .as_ref()
                .filter(|_| !gone)
                .and_then(|p| p.get(row)),
            order: self.order.as_ref().and_then(|orders| orders.get(row)),
        }
    }
}

impl Places<'_> {
    fn get(&self, row: usize) -> Option<Place> {
        (self.lat.is_valid(row) && self.lon.is_valid(row)).then(|| Place {
            lat: self.lat.value(row),
            lon: self.lon.value(row),
            accuracy_m: self
                .accuracy
                .is_valid(row)
                .then(|| self.accuracy.value(row)),
        })
    }
}

impl Orders<'_> {
    fn get(&self, row: usize) -> Option<HistoryOrder<'_>> {
        if self.order.is_null(row) {
            return None;
        }
        let currency = self.currency.get(row).and_then(|code| code.parse().ok());
        Some(HistoryOrder::new(
            IdentNo(self.order.value(row)),
            IdentNo(self.holder.value(row)),
            self.order_id.get(row).unwrap_or_default(),
            self.shop.get(row).unwrap_or_default(),
            self.status.get(row).and_then(status_of),
            currency.unwrap_or(Currency::CNY),
            self.total.is_valid(row).then(|| self.total.value(row)),
            self.lines.get(row).unwrap_or_default(),
        ))
    }
}

/// A column of texts in one of its forms.
#[derive(Clone, Copy)]
pub(super) enum Text<'b> {
    /// Not read.
    None,
    /// One after the other.
    Plain(&'b StringArray),
    /// In place.
    View(&'b StringViewArray),
    /// Codes and what they stand for.
    Codes(&'b DictionaryArray<Int32Type>, &'b StringArray),
}

impl<'b> Text<'b> {
    /// The column of this name.
    pub fn of(batch: &'b RecordBatch, name: &str) -> Result<Text<'b>, String> {
        let array = array(batch, name)?;
        if let Some(plain) = array.as_string_opt::<i32>() {
            return Ok(Text::Plain(plain));
        }
        if let Some(view) = array.as_string_view_opt() {
            return Ok(Text::View(view));
        }
        let codes = array.as_dictionary_opt::<Int32Type>();
        let words = codes.and_then(|codes| codes.values().as_string_opt::<i32>());
        match codes.zip(words) {
            Some((codes, words)) => Ok(Text::Codes(codes, words)),
            None => Err(format!("column {name} holds no text")),
        }
    }

    fn get(&self, row: usize) -> Option<&'b str> {
        match *self {
            Text::None => None,
            Text::Plain(array) => array.is_valid(row).then(|| array.value(row)),
            Text::View(array) => array.is_valid(row).then(|| array.value(row)),
            Text::Codes(codes, words) => codes
                .is_valid(row)
                .then(|| words.value(codes.keys().value(row) as usize)),
        }
    }
}

/// Sorts of events: each different word is read once.
enum Kinds<'b> {
    Plain(Text<'b>),
    Codes(&'b DictionaryArray<Int32Type>, Vec<Option<EventKind>>),
}

impl<'b> Kinds<'b> {
    fn of(text: Text<'b>) -> Kinds<'b> {
        match text {
            Text::Codes(codes, words) => {
                let read = (0..words.len()).map(|word| kind_of(words.value(word)));
                Kinds::Codes(codes, read.collect())
            }
            text => Kinds::Plain(text),
        }
    }

    fn get(&self, row: usize) -> Option<EventKind> {
        match self {
            Kinds::Plain(text) => text.get(row).and_then(kind_of),
            Kinds::Codes(codes, read) => read[codes.keys().value(row) as usize],
        }
    }
}

/// Which names are wanted: each different name is looked at once.
enum Names<'b> {
    All,
    Plain(Text<'b>, Vec<actors::history::NameWanted>),
    Codes(&'b DictionaryArray<Int32Type>, Vec<bool>),
}

impl<'b> Names<'b> {
    fn of(text: Text<'b>, wanted: &Wanted) -> Names<'b> {
        match (&wanted.names, text) {
            (None, _) => Names::All,
            (Some(_), Text::Codes(codes, words)) => {
                let held = (0..words.len()).map(|word| wanted.holds_name(words.value(word)));
                Names::Codes(codes, held.collect())
            }
            (Some(names), text) => Names::Plain(text, names.clone()),
        }
    }

    fn get(&self, row: usize) -> bool {
        match self {
            Names::All => true,
            Names::Plain(text, names) => {
                let name = text.get(row).unwrap_or_default();
                names.iter().any(|wanted| wanted.holds(name))
            }
            Names::Codes(codes, held) => held[codes.keys().value(row) as usize],
        }
    }
}

/// The rows of a batch whose name is wanted.
pub(super) fn named(batch: &RecordBatch, wanted: &Wanted) -> Result<BooleanArray, String> {
    let names = Names::of(Text::of(batch, column::NAME)?, wanted);
    let held = (0..batch.num_rows()).map(|row| names.get(row));
    Ok(BooleanArray::from_iter(held.map(Some)))
}

fn array<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b Arc<dyn Array>, String> {
    batch
        .column_by_name(name)
        .ok_or_else(|| format!("there is no column {name}"))
}

/// The numbers of a column.
pub(super) fn numbers<'b, T: ArrowPrimitiveType>(
    batch: &'b RecordBatch,
    name: &str,
) -> Result<&'b PrimitiveArray<T>, String> {
    array(batch, name)?
        .as_primitive_opt()
        .ok_or_else(|| format!("column {name} has another type"))
}

fn flags<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b BooleanArray, String> {
    array(batch, name)?
        .as_boolean_opt()
        .ok_or_else(|| format!("column {name} has another type"))
}

fn identifiers(batch: &RecordBatch) -> Result<(&ListArray, Vec<&str>), String> {
    let wrong = || format!("column {} has another type", column::IDENTIFIERS);
    let list = array(batch, column::IDENTIFIERS)?
        .as_list_opt::<i32>()
        .ok_or_else(wrong)?;
    let texts = list.values().as_string_opt::<i32>().ok_or_else(wrong)?;
    let texts = texts.iter().map(Option::unwrap_or_default).collect();
    Ok((list, texts))
}
