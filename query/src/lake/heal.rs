//! Damage: a file that is not what was written is set aside, and its rows are made again from the result log.
//!
//! The manifest says of a file which results, times and fragments its rows lie within. Those are read again, without the
//! rows that other files have.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use actors::history::{Columns, HistoryEvent, Wanted};
use actors::model::{EventKind, Offset};
use arrow::array::RecordBatch;

use super::file::LakeFile;
use super::manifest::FileEntry;
use super::schema::Builder;
use super::{FRAMES_AT_ONCE, Lake, LakeError, Results, TAIL_BATCH_ROWS, View, write};

/// Folder below the lake's where damaged files go, for who wants to know what happened.
const DAMAGED: &str = "damaged";

impl Lake {
    /// Makes the files again in which damage was found. Answers how many.
    pub fn heal(&self, results: &dyn Results) -> Result<usize, LakeError> {
        let _one = self.tending.lock();
        let view = self.view();
        let mut lost: BTreeMap<EventKind, Vec<&Arc<LakeFile>>> = BTreeMap::new();
        for file in view.files.iter().filter(|file| file.is_suspect()) {
            lost.entry(file.kind()).or_default().push(file);
        }
        let count = lost.values().map(Vec::len).sum();
        for files in lost.into_values() {
            self.make_again(&view, &files, results)?;
        }
        Ok(count)
    }

    /// Reads every file whole and finds damage that nobody has met yet. Answers the names of damaged files.
    pub fn verify(&self) -> Vec<String> {
        let view = self.view();
        let mut damaged = Vec::new();
        for file in view.files.iter() {
            let read = file.open().and_then(|opened| {
                let whole = opened.file.verify();
                whole.map_err(|error| file.damaged(error))
            });
            if read.is_err() || file.is_suspect() {
                damaged.push(file.entry.file_name());
            }
        }
        damaged
    }

    /// Makes files of one sort again, all that are lost of it together: one may have what lies within the bounds of another.
    fn make_again(
        &self,
        view: &View,
        files: &[&Arc<LakeFile>],
        results: &dyn Results,
    ) -> Result<(), LakeError> {
        let lost = Lost(files.iter().map(|file| &file.entry).collect());
        let (first, last) = lost.offsets();
        if first < results.start() {
            return Err(files[0].damaged(format!(
                "its rows begin at result {first}, the log at {}: restore the lake from a backup",
                results.start()
            )));
        }
        tracing::warn!(files = lost.names(), "damaged files are made again");
        let elsewhere = elsewhere(view, &lost)?;
        let mut batches: Vec<RecordBatch> = Vec::new();
        let mut builder = Builder::default();
        let mut at = first;
        while at <= last {
            let to = Offset((last.0 + 1).min(at.0 + FRAMES_AT_ONCE));
            let mut pick = |event: &HistoryEvent<'_>| {
                let place = (event.at.position.offset.0, event.at.index);
                lost.has(event) && !elsewhere.contains(&place)
            };
            results
                .read(at..to, &mut pick, &mut |event| builder.push(event))
                .map_err(LakeError::Results)?;
            if builder.rows() >= TAIL_BATCH_ROWS {
                batches.push(builder.finish());
            }
            at = to;
        }
        if builder.rows() > 0 {
            batches.push(builder.finish());
        }
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if rows as u64 != lost.rows() {
            return Err(files[0].damaged(format!(
                "{} had {} rows, the log has {rows}",
                lost.names(),
                lost.rows()
            )));
        }
        let parts: Vec<&RecordBatch> = batches.iter().collect();
        let folder = &self.config.folder;
        let mut number = || self.number();
        let written = write::files(folder, &self.config, &parts, &view.erased, &mut number)?;
        let aside = folder.join(DAMAGED);
        std::fs::create_dir_all(&aside).map_err(LakeError::io("make a folder"))?;
        for file in files {
            // A second name, best effort: the file itself stays where it is until the manifest is swapped.
            let _ = std::fs::hard_link(file.path(), aside.join(file.entry.file_name()));
        }
        self.commit(|manifest| {
            let is_lost = |number| lost.0.iter().any(|entry| entry.number == number);
            manifest.files.retain(|entry| !is_lost(entry.number));
            manifest.files.extend(written);
            true
        })?;
        Ok(())
    }
}

/// Places of events that lie within the bounds of lost files but stand in others.
fn elsewhere(view: &View, lost: &Lost<'_>) -> Result<HashSet<(u64, u32)>, LakeError> {
    let (first, last) = lost.offsets();
    let wanted = Wanted {
        kinds: Some([lost.0[0].kind()].into()),
        from: first,
        columns: Columns::NONE,
        order_only: true,
        ..Wanted::default()
    };
    let sound = view.files.iter().filter(|file| !file.is_suspect());
    let others = View {
        position: view.position,
        files: Arc::new(sound.cloned().collect()),
        tail: Vec::new(),
        erased: view.erased.clone(),
    };
    let mut found = HashSet::new();
    let mut sink = |event: &HistoryEvent<'_>| {
        if lost.has(event) {
            found.insert((event.at.position.offset.0, event.at.index));
        }
        std::ops::ControlFlow::Continue(())
    };
    super::scan::over(&others, &wanted, Offset(last.0 + 1), &mut [&mut sink])?;
    Ok(found)
}

/// Files of one sort of event that cannot be read.
struct Lost<'a>(Vec<&'a FileEntry>);

impl Lost<'_> {
    /// Whether an event may have been in one of them.
    fn has(&self, event: &HistoryEvent<'_>) -> bool {
        self.0.iter().any(|lost| {
            event.kind == lost.kind()
                && (lost.times.0..=lost.times.1).contains(&event.time)
                && (lost.fragments.0..=lost.fragments.1).contains(&event.fragment)
                && (lost.offsets.0..=lost.offsets.1).contains(&event.at.position.offset)
        })
    }

    fn offsets(&self) -> (Offset, Offset) {
        let first = self.0.iter().map(|lost| lost.offsets.0).min();
        let last = self.0.iter().map(|lost| lost.offsets.1).max();
        (first.unwrap_or_default(), last.unwrap_or_default())
    }

    fn rows(&self) -> u64 {
        self.0.iter().map(|lost| lost.rows).sum()
    }

    fn names(&self) -> String {
        let names: Vec<String> = self.0.iter().map(|lost| lost.file_name()).collect();
        names.join(", ")
    }
}
