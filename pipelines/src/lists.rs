//! Entries of lists that nobody had when they were uploaded: found when somebody gets the identifier.
//!
//! Numbers of identifiers grow, so only new ones are looked at. Each pass does a bounded piece of work.

use std::collections::HashSet;

use actors::machine::Rows;
use actors::model::IdentNo;
use actors::registry::{Print, ResourceChanged};
use cdp::identity::row::{self, IdentRow};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

use crate::dictionary::LIST;
use crate::platform::{Platform, PlatformError};

/// Identifiers looked at in one pass: some milliseconds, because a pass runs between requests.
const PASS: usize = 5_000;

/// Identifiers looked at again after an upload: some may have come between looking an entry up and keeping it. More than
/// come in while a large list streams in.
const AGAIN: u32 = 4_000_000;

/// Prints read at once.
const PAGE: u32 = 10_000;

/// What is waited for, and up to where identifiers were looked at.
pub struct ListWatch {
    changes: Receiver<ResourceChanged>,
    /// Prints that wait; `None`: to be read.
    waiting: Option<HashSet<Print>>,
    next: u32,
    /// Lists that this watch itself has told of.
    told: Vec<i64>,
}

impl Platform {
    /// A watch that begins with the first identifier.
    pub fn list_watch(&self) -> ListWatch {
        ListWatch {
            changes: self.registry().resource_changes(),
            waiting: None,
            next: 0,
            told: Vec::new(),
        }
    }

    /// Looks at identifiers that are new since the last pass. Answers how many entries found their member; `None`: there
    /// is nothing more to look at for now.
    pub async fn list_watch_pass(
        &self,
        watch: &mut ListWatch,
    ) -> Result<Option<usize>, PlatformError> {
        loop {
            match watch.changes.try_recv() {
                Ok(change) if change.kind != LIST.name => {}
                Ok(change) if watch.told.contains(&change.id) => {
                    watch.told.retain(|told| *told != change.id);
                }
                // Behind: whatever was missed may have been a list.
                Ok(_) | Err(TryRecvError::Lagged(_)) => {
                    watch.waiting = None;
                    watch.next = watch.next.saturating_sub(AGAIN);
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        let waiting = match &mut watch.waiting {
            Some(waiting) => waiting,
            none => none.insert(self.waiting().await?),
        };
        // Nobody is waited for: what comes in meanwhile is looked at when somebody is.
        if waiting.is_empty() {
            return Ok(None);
        }
        let key = self.registry().list_key().await?;
        let snapshot = self.snapshot()?;
        let mut found: Vec<(Print, IdentNo)> = Vec::new();
        let mut seen = 0;
        let from = row::key32(watch.next);
        let mut next = watch.next;
        Rows::scan_from(&snapshot, row::IDENT, &[], &from, &mut |number, value| {
            let Ok(number) = <[u8; 4]>::try_from(number) else {
                return true;
            };
            let ident = IdentNo(u32::from_be_bytes(number));
            next = ident.0.saturating_add(1);
            seen += 1;
            if let Ok(row) = row::decode::<IdentRow>(row::IDENT, value) {
                let print = cdp::list::print(&key, &row.identifier);
                if waiting.contains(&print) {
                    found.push((print, ident));
                }
            }
            seen < PASS
        })?;
        for (print, ident) in &found {
            let lists = self.registry().list_entry_found(*print, *ident).await?;
            waiting.remove(print);
            for list in lists {
                if !watch.told.contains(&list) {
                    watch.told.push(list);
                    self.registry().resource_touched(LIST, list);
                }
            }
        }
        watch.next = next;
        Ok((seen == PASS || !found.is_empty()).then_some(found.len()))
    }

    async fn waiting(&self) -> Result<HashSet<Print>, PlatformError> {
        let mut all = HashSet::new();
        let mut after = None;
        loop {
            let page = self.registry().list_entry_waiting(after, PAGE).await?;
            after = page.last().copied();
            let more = page.len() == PAGE as usize;
            all.extend(page);
            if !more {
                return Ok(all);
            }
        }
    }
}
