//! Items: events that are about nobody are filed by the first unit that reads them.

use actors::machine::{Rows, RowsError, WriteSet};
use actors::model::{Event, Position, RawJson};

use super::{IdentityMachine, Taken, refusal};
use crate::identity::view::View;
use crate::item::{self, ItemRow};

/// Longest type of an item in bytes: its length is one byte of the key.
const TYPE_BYTES_MAX: usize = 100;
/// Longest id of an item in bytes.
const ID_BYTES_MAX: usize = 1_024;

impl IdentityMachine {
    /// Keeps what an event tells of an item. The event is not a duplicate.
    pub(super) fn item(
        &mut self,
        rows: &dyn Rows,
        at: Position,
        event: &Event,
        out: &mut WriteSet,
    ) -> Result<Taken, RowsError> {
        let told = event
            .properties
            .as_ref()
            .map(RawJson::parse)
            .unwrap_or_default();
        let text = |name: &str, max: usize| {
            let text = told.get(name)?.as_str()?;
            (1..=max).contains(&text.len()).then_some(text)
        };
        let (Some(item_type), Some(item_id)) = (
            text("item_type", TYPE_BYTES_MAX),
            text("item_id", ID_BYTES_MAX),
        ) else {
            let reason = "an item needs `item_type` and `item_id`".to_owned();
            return Ok(Taken::Refused(refusal(event, "field_missing", reason)));
        };
        let removed = &*event.name == "item_delete";
        let properties = told
            .get("properties")
            .filter(|_| !removed)
            .and_then(|json| RawJson::object(&json.to_string()).ok());
        let new = ItemRow {
            item_type: item_type.into(),
            item_id: item_id.into(),
            properties,
            removed,
            time: event.time,
            position: at,
            source: event.source,
        };
        let fp = (self.memory).message_fp(event.source.0, &event.message_id, false);
        self.memory.see(fp);
        let key = item::key(event.brand, item_type, item_id);
        let mut view = View::new(rows, &mut self.overlay, out);
        let known = view.get(item::SPACE, &key)?;
        let known = known.as_deref().map(ItemRow::decode).transpose()?;
        if known.as_ref().is_none_or(|known| new.follows(known)) {
            let live = |row: &ItemRow| i64::from(!row.removed);
            let by = live(&new) - known.as_ref().map_or(0, live);
            view.out.count("items", by);
            view.put(item::SPACE, key, new.encode());
        }
        out.count("items_told", 1);
        Ok(Taken::Applied)
    }
}
