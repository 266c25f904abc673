//! Rows as they are in the middle of a batch: what is committed, and on top what the batch has written so far.

use std::collections::BTreeMap;

use actors::machine::{Rows, RowsError, Space, WriteSet};
use bytes::Bytes;

/// Rows that this batch wrote and may read again.
pub type Overlay = BTreeMap<(u8, Bytes), Option<Bytes>>;

/// Committed rows, the batch's own on top, and where the batch writes.
pub struct View<'a> {
    rows: &'a dyn Rows,
    overlay: &'a mut Overlay,
    /// What the batch decides.
    pub out: &'a mut WriteSet,
}

impl<'a> View<'a> {
    /// A view for one record.
    pub fn new(rows: &'a dyn Rows, overlay: &'a mut Overlay, out: &'a mut WriteSet) -> Self {
        View { rows, overlay, out }
    }

    /// Writes a row that the batch may read again.
    pub fn put(&mut self, space: Space, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        self.overlay
            .insert((space.0, key.clone()), Some(value.clone()));
        self.out.put(space, key, value);
    }

    /// Deletes a row that the batch may ask for again.
    pub fn delete(&mut self, space: Space, key: impl Into<Bytes>) {
        let key = key.into();
        self.overlay.insert((space.0, key.clone()), None);
        self.out.delete(space, key);
    }
}

impl Rows for View<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, RowsError> {
        match self.overlay.get(&(space.0, Bytes::copy_from_slice(key))) {
            Some(written) => Ok(written.clone()),
            None => self.rows.get(space, key),
        }
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        let from = (space.0, Bytes::copy_from_slice(prefix));
        let mut written = self
            .overlay
            .range(from..)
            .take_while(|((of, key), _)| *of == space.0 && key.starts_with(prefix))
            .map(|((_, key), value)| (key, value))
            .peekable();
        let mut on = true;
        self.rows.scan(space, prefix, &mut |key, value| {
            while let Some((mine, new)) = written.next_if(|(mine, _)| &mine[..] <= key) {
                if let Some(new) = new {
                    on = each(mine, new);
                }
                if &mine[..] == key {
                    return on;
                }
                if !on {
                    return false;
                }
            }
            on = each(key, value);
            on
        })?;
        for (key, value) in written {
            if !on {
                break;
            }
            if let Some(value) = value {
                on = each(key, value);
            }
        }
        Ok(())
    }
}
