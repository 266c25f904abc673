//! The columns of the lake, and how lent events become a batch of them.
//!
//! Personal columns are those that an erase empties. The order facts and the fixed columns are not personal.

use std::sync::{Arc, LazyLock};

use actors::history::HistoryEvent;
use actors::model::{EventKind, OrderStatus};
use arrow::array::{
    ArrayRef, AsArray, BooleanArray, BooleanBuilder, Float32Builder, Float64Builder, Int64Builder,
    ListBuilder, StringBuilder, TimestampMillisecondBuilder, UInt16Builder, UInt32Builder,
    UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;

/// Names of columns that code asks for one by one.
pub(super) mod column {
    pub const FRAGMENT: &str = "fragment";
    pub const OFFSET: &str = "result_offset";
    pub const INDEX: &str = "result_index";
    pub const RAW_PARTITION: &str = "raw_partition";
    pub const RAW_OFFSET: &str = "raw_offset";
    pub const TIME: &str = "time";
    pub const RECEIVED: &str = "received";
    pub const KIND: &str = "kind";
    pub const NAME: &str = "name";
    pub const SOURCE: &str = "source";
    pub const BRAND: &str = "brand";
    pub const TEST: &str = "test";
    pub const ERASED: &str = "erased";
    pub const ORDER_ONLY: &str = "order_only";
    pub const MESSAGE_ID: &str = "message_id";
    pub const IDENTIFIERS: &str = "identifiers";
    pub const PROPERTIES: &str = "properties";
    pub const TRAITS: &str = "traits";
    pub const CONTEXT: &str = "context";
    pub const LAT: &str = "lat";
    pub const LON: &str = "lon";
    pub const ACCURACY: &str = "accuracy_m";
    pub const ORDER: &str = "order";
    pub const HOLDER: &str = "order_holder";
    pub const ORDER_ID: &str = "order_id";
    pub const SHOP: &str = "order_shop";
    pub const STATUS: &str = "order_status";
    pub const CURRENCY: &str = "currency";
    pub const TOTAL: &str = "order_total";
    pub const LINES: &str = "order_lines";
}

use column::*;

/// Columns that every scan reads.
pub(super) const FIXED: &[&str] = &[
    FRAGMENT,
    OFFSET,
    INDEX,
    RAW_PARTITION,
    RAW_OFFSET,
    TIME,
    RECEIVED,
    KIND,
    NAME,
    SOURCE,
    BRAND,
    TEST,
    ERASED,
    ORDER_ONLY,
];

/// Columns that hold order facts.
pub(super) const ORDERS: &[&str] = &[
    ORDER, HOLDER, ORDER_ID, SHOP, STATUS, CURRENCY, TOTAL, LINES,
];

/// Columns that an erase empties.
pub(super) const PERSONAL: &[&str] = &[
    MESSAGE_ID,
    IDENTIFIERS,
    PROPERTIES,
    TRAITS,
    CONTEXT,
    LAT,
    LON,
    ACCURACY,
];

/// Columns of few different texts: read as codes.
const WORDS: &[&str] = &[KIND, NAME, SHOP, STATUS, CURRENCY];

/// Columns of long texts: read in place, without copying.
const LONG: &[&str] = &[MESSAGE_ID, PROPERTIES, TRAITS, CONTEXT, ORDER_ID, LINES];

/// The schema of files and of the tail.
pub(super) static SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| schema(&DataType::Utf8, &DataType::Utf8));

/// The same as readers take it: few different texts as codes, long texts as views.
pub(super) static READ: LazyLock<SchemaRef> = LazyLock::new(|| {
    let codes = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    schema(&codes, &DataType::Utf8View)
});

fn schema(words: &DataType, long: &DataType) -> SchemaRef {
    let instant = || DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let item = Arc::new(Field::new("item", DataType::Utf8, true));
    let fields: [(&str, DataType, bool); 30] = [
        (FRAGMENT, DataType::UInt32, false),
        (OFFSET, DataType::UInt64, false),
        (INDEX, DataType::UInt32, false),
        (RAW_PARTITION, DataType::UInt16, false),
        (RAW_OFFSET, DataType::UInt64, false),
        (TIME, instant(), false),
        (RECEIVED, instant(), false),
        (KIND, DataType::Utf8, false),
        (NAME, DataType::Utf8, false),
        (SOURCE, DataType::UInt32, false),
        (BRAND, DataType::UInt32, false),
        (TEST, DataType::Boolean, false),
        (ERASED, DataType::Boolean, false),
        (ORDER_ONLY, DataType::Boolean, false),
        (MESSAGE_ID, DataType::Utf8, true),
        (IDENTIFIERS, DataType::List(item), true),
        (PROPERTIES, DataType::Utf8, true),
        (TRAITS, DataType::Utf8, true),
        (CONTEXT, DataType::Utf8, true),
        (LAT, DataType::Float64, true),
        (LON, DataType::Float64, true),
        (ACCURACY, DataType::Float32, true),
        (ORDER, DataType::UInt32, true),
        (HOLDER, DataType::UInt32, true),
        (ORDER_ID, DataType::Utf8, true),
        (SHOP, DataType::Utf8, true),
        (STATUS, DataType::Utf8, true),
        (CURRENCY, DataType::Utf8, true),
        (TOTAL, DataType::Int64, true),
        (LINES, DataType::Utf8, true),
    ];
    let fields: Vec<Field> = fields
        .into_iter()
        .map(|(name, kind, nullable)| {
            let kind = match kind {
                _ if WORDS.contains(&name) => words.clone(),
                _ if LONG.contains(&name) => long.clone(),
                kind => kind,
            };
            Field::new(name, kind, nullable)
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// All sorts of event.
const KINDS: [EventKind; 9] = [
    EventKind::Track,
    EventKind::Identify,
    EventKind::Page,
    EventKind::Screen,
    EventKind::Group,
    EventKind::Alias,
    EventKind::Order,
    EventKind::Scan,
    EventKind::Item,
];

/// The sort of event of this word.
pub(super) fn kind_of(word: &str) -> Option<EventKind> {
    KINDS.into_iter().find(|kind| kind.as_str() == word)
}

const STATUSES: [OrderStatus; 6] = [
    OrderStatus::Created,
    OrderStatus::Paid,
    OrderStatus::Shipped,
    OrderStatus::Completed,
    OrderStatus::Refunded,
    OrderStatus::Cancelled,
];

/// The status of this word.
pub(super) fn status_of(word: &str) -> Option<OrderStatus> {
    STATUSES.into_iter().find(|status| status.as_str() == word)
}

/// Rows of a batch that are not only about an order.
pub(super) fn events(batch: &RecordBatch) -> u64 {
    let flags = batch.column_by_name(ORDER_ONLY);
    let flags = flags.and_then(|flags| flags.as_boolean_opt());
    let only = flags.map_or(0, BooleanArray::true_count);
    (batch.num_rows() - only) as u64
}

/// Gathers events into a batch.
pub(super) struct Builder {
    rows: usize,
    text_bytes: usize,
    fragment: UInt32Builder,
    offset: UInt64Builder,
    index: UInt32Builder,
    raw_partition: UInt16Builder,
    raw_offset: UInt64Builder,
    time: TimestampMillisecondBuilder,
    received: TimestampMillisecondBuilder,
    kind: StringBuilder,
    name: StringBuilder,
    source: UInt32Builder,
    brand: UInt32Builder,
    test: BooleanBuilder,
    erased: BooleanBuilder,
    order_only: BooleanBuilder,
    message_id: StringBuilder,
    identifiers: ListBuilder<StringBuilder>,
    properties: StringBuilder,
    traits: StringBuilder,
    context: StringBuilder,
    lat: Float64Builder,
    lon: Float64Builder,
    accuracy: Float32Builder,
    order: UInt32Builder,
    holder: UInt32Builder,
    order_id: StringBuilder,
    shop: StringBuilder,
    status: StringBuilder,
    currency: StringBuilder,
    total: Int64Builder,
    lines: StringBuilder,
}

impl Default for Builder {
    fn default() -> Builder {
        let instant = || TimestampMillisecondBuilder::new().with_timezone("UTC");
        Builder {
            rows: 0,
            text_bytes: 0,
            fragment: Default::default(),
            offset: Default::default(),
            index: Default::default(),
            raw_partition: Default::default(),
            raw_offset: Default::default(),
            time: instant(),
            received: instant(),
            kind: Default::default(),
            name: Default::default(),
            source: Default::default(),
            brand: Default::default(),
            test: Default::default(),
            erased: Default::default(),
            order_only: Default::default(),
            message_id: Default::default(),
            identifiers: Default::default(),
            properties: Default::default(),
            traits: Default::default(),
            context: Default::default(),
            lat: Default::default(),
            lon: Default::default(),
            accuracy: Default::default(),
            order: Default::default(),
            holder: Default::default(),
            order_id: Default::default(),
            shop: Default::default(),
            status: Default::default(),
            currency: Default::default(),
            total: Default::default(),
            lines: Default::default(),
        }
    }
}

impl Builder {
    /// Rows gathered.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of texts gathered.
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// Adds an event.
    pub fn push(&mut self, event: &HistoryEvent<'_>) {
        let texts = [event.properties, event.traits, event.context];
        self.text_bytes += texts.iter().flatten().map(|text| text.len()).sum::<usize>();
        self.rows += 1;
        self.fragment.append_value(event.fragment.0);
        self.offset.append_value(event.at.position.offset.0);
        self.index.append_value(event.at.index);
        self.raw_partition.append_value(event.raw.partition.0);
        self.raw_offset.append_value(event.raw.offset.0);
        self.time.append_value(event.time.0);
        self.received.append_value(event.received.0);
        self.kind.append_value(event.kind.as_str());
        self.name.append_value(event.name);
        self.source.append_value(event.source.0);
        self.brand.append_value(event.brand.0);
        self.test.append_value(event.test);
        self.erased.append_value(event.erased);
        self.order_only.append_value(event.order_only);
        self.message_id.append_option(event.message_id);
        for identifier in event.identifiers {
            self.identifiers.values().append_value(identifier);
        }
        self.identifiers.append(!event.identifiers.is_empty());
        self.properties.append_option(event.properties);
        self.traits.append_option(event.traits);
        self.context.append_option(event.context);
        self.lat.append_option(event.place.map(|place| place.lat));
        self.lon.append_option(event.place.map(|place| place.lon));
        let accuracy = event.place.and_then(|place| place.accuracy_m);
        self.accuracy.append_option(accuracy);
        let order = event.order.as_ref();
        self.order.append_option(order.map(|order| order.order.0));
        self.holder.append_option(order.map(|order| order.holder.0));
        self.order_id
            .append_option(order.map(|order| order.order_id));
        self.shop.append_option(order.map(|order| order.shop));
        let status = order.and_then(|order| order.status);
        self.status.append_option(status.map(OrderStatus::as_str));
        self.currency
            .append_option(order.map(|order| order.currency.as_str().to_owned()));
        self.total
            .append_option(order.and_then(|order| order.total));
        let lines = order.map(|order| order.lines_json());
        self.lines
            .append_option(lines.filter(|lines| !lines.is_empty()));
    }

    /// The batch; the builder is empty again.
    pub fn finish(&mut self) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.fragment.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.index.finish()),
            Arc::new(self.raw_partition.finish()),
            Arc::new(self.raw_offset.finish()),
            Arc::new(self.time.finish()),
            Arc::new(self.received.finish()),
            Arc::new(self.kind.finish()),
            Arc::new(self.name.finish()),
            Arc::new(self.source.finish()),
            Arc::new(self.brand.finish()),
            Arc::new(self.test.finish()),
            Arc::new(self.erased.finish()),
            Arc::new(self.order_only.finish()),
            Arc::new(self.message_id.finish()),
            Arc::new(self.identifiers.finish()),
            Arc::new(self.properties.finish()),
            Arc::new(self.traits.finish()),
            Arc::new(self.context.finish()),
            Arc::new(self.lat.finish()),
            Arc::new(self.lon.finish()),
            Arc::new(self.accuracy.finish()),
            Arc::new(self.order.finish()),
            Arc::new(self.holder.finish()),
            Arc::new(self.order_id.finish()),
            Arc::new(self.shop.finish()),
            Arc::new(self.status.finish()),
            Arc::new(self.currency.finish()),
            Arc::new(self.total.finish()),
            Arc::new(self.lines.finish()),
        ];
        self.rows = 0;
        self.text_bytes = 0;
        RecordBatch::try_new(SCHEMA.clone(), columns)
            .expect("each builder has one value per row, of its column's type")
    }
}
