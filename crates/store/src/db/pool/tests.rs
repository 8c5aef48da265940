use super::*;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const SHORT: Duration = Duration::from_millis(50);

/// An engine whose connections open and answer when a test allows it.
#[derive(Default)]
struct Engine {
    opened: AtomicUsize,
    closed: AtomicUsize,
    may_open: Notify,
}

struct FakeLink(Arc<Engine>);

impl Link for FakeLink {
    type Opener = Arc<Engine>;
    const FOR_CHANGES: usize = 1;
    const READS: usize = 2;
    const ANSWERS: Option<(Duration, Duration)> = None;

    async fn open(engine: &Arc<Engine>) -> Result<Self, StoreError> {
        engine.may_open.notified().await;
        engine.opened.fetch_add(1, SeqCst);
        Ok(Self(engine.clone()))
    }

    fn past_pooler(_: &Arc<Engine>) -> Option<Arc<Engine>> {
        None
    }

    fn is_current(&self) -> bool {
        true
    }

    fn begin(&self, _: Purpose) -> &'static str {
        "BEGIN"
    }

    async fn run(&mut self, _: &'static str) -> Result<(), sqlx::Error> {
        Ok(())
    }

    async fn close(self) {
        self.0.closed.fetch_add(1, SeqCst);
    }
}

#[tokio::test]
async fn a_connection_that_opens_while_the_pool_closes_is_closed_too() {
    let engine = Arc::new(Engine::default());
    let pools = Arc::new(Pools::<FakeLink>::new(engine.clone(), engine.clone()));
    let gone = timeout(SHORT, pools.begin(Purpose::Read)).await;
    assert!(gone.is_err(), "its caller left while the connection was being opened");
    let release = async {
        tokio::time::sleep(SHORT).await;
        engine.may_open.notify_one();
    };
    tokio::join!(pools.close(), release);
    assert_eq!((engine.opened.load(SeqCst), engine.closed.load(SeqCst)), (1, 1));
}

#[tokio::test]
async fn a_connection_that_comes_back_while_the_pool_closes_is_closed_too() {
    let engine = Arc::new(Engine::default());
    let pools = Pools::<FakeLink>::new(engine.clone(), engine.clone());
    engine.may_open.notify_one();
    let mut lent = pools.begin(Purpose::Read).await.unwrap();
    let come_back = async {
        tokio::time::sleep(SHORT).await;
        lent.commit().await.unwrap();
        drop(lent);
    };
    tokio::join!(pools.close(), come_back);
    assert_eq!((engine.opened.load(SeqCst), engine.closed.load(SeqCst)), (1, 1));
}
