//! Where sealed segments go to: an object store behind calls that wait.
//!
//! The log's threads are no asynchronous ones, and reads come from any thread. So the store runs on a thread of its own,
//! which callers ask and wait for.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use super::frame::SegmentKey;

/// Named blobs that are written once.
pub trait ArchiveStore: Send + Sync + 'static {
    /// Writes a blob, replacing what has the name. All of it or nothing.
    fn put(&self, name: &str, content: Bytes) -> io::Result<()>;
    /// Reads a part of a blob.
    fn get(&self, name: &str, range: Range<u64>) -> io::Result<Bytes>;
    /// Removes a blob; no error if there is none.
    fn delete(&self, name: &str) -> io::Result<()>;
}

/// The name of a segment in the archive: `<partition>/<first offset>.seg`.
pub fn archive_name(key: SegmentKey) -> String {
    format!("{}/{:020}.seg", key.partition, key.first)
}

/// A folder as an archive, on another disk for example. A blob is on that disk when [`ArchiveStore::put`] returns: the object
/// store's own form for folders does not sync, and what was here is removed after it.
pub struct FolderArchive {
    folder: PathBuf,
}

impl FolderArchive {
    /// Keeps blobs below `folder`, made if need be.
    pub fn open(folder: &std::path::Path) -> io::Result<FolderArchive> {
        fs::create_dir_all(folder)?;
        Ok(FolderArchive {
            folder: folder.to_path_buf(),
        })
    }
}

impl ArchiveStore for FolderArchive {
    fn put(&self, name: &str, content: Bytes) -> io::Result<()> {
        let path = self.folder.join(name);
        let parent = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(parent)?;
        let unfinished = path.with_extension("new");
        let mut file = File::create(&unfinished)?;
        file.write_all(&content)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        File::open(parent)?.sync_all()?;
        File::open(&self.folder)?.sync_all()
    }

    fn get(&self, name: &str, range: Range<u64>) -> io::Result<Bytes> {
        let mut file = File::open(self.folder.join(name))?;
        file.seek(SeekFrom::Start(range.start))?;
        let length = range.end.saturating_sub(range.start);
        // A shorter blob answers what it has; whoever compares sees it.
        let mut content = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.take(length).read_to_end(&mut content)?;
        Ok(content.into())
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Any object store as an archive: a local folder, S3.
pub struct ObjectArchive {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    runtime: tokio::runtime::Handle,
    /// Dropping it ends the thread.
    _alive: tokio::sync::oneshot::Sender<()>,
}

impl ObjectArchive {
    /// Keeps blobs below `prefix`, for example `raw`.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> io::Result<ObjectArchive> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name("log-archive".to_owned())
            .spawn(move || runtime.block_on(ended))?;
        Ok(ObjectArchive {
            store,
            prefix: Path::from(prefix),
            runtime: handle,
            _alive: alive,
        })
    }

    fn path(&self, name: &str) -> Path {
        let name = Path::from(name);
        self.prefix.parts().chain(name.parts()).collect()
    }

    fn wait<T, F>(&self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = object_store::Result<T>> + Send + 'static,
    {
        let (tell, told): (SyncSender<_>, _) = sync_channel(1);
        self.runtime.spawn(async move {
            // Nobody listens only if the caller's thread is gone.
            let _ = tell.send(work.await);
        });
        let answer = told.recv();
        let answer = answer.map_err(|_| io::Error::other("the archive's thread ended"))?;
        answer.map_err(io::Error::from)
    }
}

impl ArchiveStore for ObjectArchive {
    fn put(&self, name: &str, content: Bytes) -> io::Result<()> {
        let (store, path) = (Arc::clone(&self.store), self.path(name));
        self.wait(async move { store.put(&path, content.into()).await.map(|_| ()) })
    }

    fn get(&self, name: &str, range: Range<u64>) -> io::Result<Bytes> {
        let (store, path) = (Arc::clone(&self.store), self.path(name));
        self.wait(async move { store.get_range(&path, range).await })
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        let (store, path) = (Arc::clone(&self.store), self.path(name));
        self.wait(async move {
            match store.delete(&path).await {
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                done => done,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_blobs_whole() {
        let folder = tempfile::tempdir().unwrap();
        let archive = FolderArchive::open(&folder.path().join("a/raw")).unwrap();
        let missing = archive.get("0/1.seg", 0..3).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        archive
            .put("0/1.seg", Bytes::from_static(b"hello"))
            .unwrap();
        assert_eq!(&archive.get("0/1.seg", 1..3).unwrap()[..], b"el");
        archive
            .put("0/1.seg", Bytes::from_static(b"there"))
            .unwrap();
        assert_eq!(&archive.get("0/1.seg", 0..9).unwrap()[..], b"there");
        archive.delete("0/1.seg").unwrap();
        archive.delete("0/1.seg").unwrap();
    }
}
