//! Servers of the tests: each on a port of its own, with a state that the test shares.

use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};

/// A server on a port of its own, until the test ends.
pub struct Listener<S> {
    pub port: u16,
    pub state: Arc<Mutex<S>>,
}

impl<S: Default + Send + 'static> Listener<S> {
    /// Starts a server that answers each connection in this way.
    #[expect(clippy::disallowed_methods, reason = "a server of this test")]
    pub async fn start<F>(answer: impl Fn(TcpStream, Arc<Mutex<S>>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::<Mutex<S>>::default();
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, shared.clone()));
            }
        });
        Self { port, state }
    }

    /// Changes or reads the state.
    pub fn with<T>(&self, work: impl FnOnce(&mut S) -> T) -> T {
        work(&mut self.state.lock().unwrap())
    }
}
