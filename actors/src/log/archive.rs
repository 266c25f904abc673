//! Where sealed segments go to: an object store behind calls that wait.
//!
//! The log's threads are no asynchronous ones, and reads come from any thread. So the store runs on a thread of its own,
//! which callers ask and wait for.

use std::io;
use std::ops::Range;
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
