//! Watches whose items go through a function.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;

use crate::{Result, Watch, WatchSource, Watched};

/// A watch whose items go through `each` on their way. An error that comes out is the last item. `each` lives exactly as
/// long as the watch: what it holds is dropped with it.
///
/// ```
/// use futures::StreamExt;
/// use kore_store::layer::through;
/// use kore_store::{MemoryStore, Store, WatchRequest, Watched};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kore_store::Result<()> {
/// let store = MemoryStore::new();
/// let watch = store.watch(WatchRequest::prefix("")).await?;
/// let mut watch = through(watch, |item| {
///     println!("told: {item:?}");
///     item
/// });
/// store.put("a".into(), "1".into()).await?;
/// assert!(matches!(watch.next().await, Some(Ok(Watched::Batch(_)))));
/// # Ok(())
/// # }
/// ```
pub fn through(watch: Watch, each: impl FnMut(Result<Watched>) -> Result<Watched> + Send + 'static) -> Watch {
    Watch::new(Through { watch, each, ended: false })
}

struct Through<F> {
    watch: Watch,
    each: F,
    ended: bool,
}

// Neither is ever pinned: the watch is a box, and the function is only called.
impl<F> Unpin for Through<F> {}

impl<F: FnMut(Result<Watched>) -> Result<Watched>> Stream for Through<F> {
    type Item = Result<Watched>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let item = ready!(Pin::new(&mut this.watch).poll_next(context)).map(&mut this.each);
        this.ended = !matches!(item, Some(Ok(_)));
        Poll::Ready(item)
    }
}

impl<F: FnMut(Result<Watched>) -> Result<Watched> + Send> WatchSource for Through<F> {
    fn request_progress(mut self: Pin<&mut Self>) {
        self.watch.request_progress();
    }
}
