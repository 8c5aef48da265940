//! Mounts checks on the engines. A check is a plain `async fn` that takes what it looks at, so that it is formatted and
//! compiled once; the lists at the head of its file name it. A check that no list names is unused code, which the
//! compiler reports.

use super::database::Place;

/// What a check takes.
pub trait Subject: Sized {
    /// Opens it in a place without data.
    async fn open(place: Place) -> Self;

    /// Looks at what the check has left behind.
    async fn end() {}
}

pub async fn run_on_sqlite<S: Subject>(check: impl AsyncFnOnce(S)) {
    run(Place::migrated_file().await, check).await;
}

/// Runs nothing where there is no server.
pub async fn run_on_postgres<S: Subject>(check: impl AsyncFnOnce(S)) {
    if let Some(place) = Place::migrated_database().await {
        run(place, check).await;
    }
}

async fn run<S: Subject>(place: Place, check: impl AsyncFnOnce(S)) {
    check(S::open(place).await).await;
    S::end().await;
}

/// Mounts each of these checks once per engine, as `name::sqlite` and `name::postgres`. `in parallel:` gives them
/// several threads.
macro_rules! on_both_engines {
    (in parallel: $($name:ident),+ $(,)?) => { $(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn sqlite() {
                $crate::engines::run_on_sqlite(super::$name).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn postgres() {
                $crate::engines::run_on_postgres(super::$name).await;
            }
        }
    )+ };
    ($($name:ident),+ $(,)?) => { $(
        mod $name {
            #[tokio::test]
            async fn sqlite() {
                $crate::engines::run_on_sqlite(super::$name).await;
            }

            #[tokio::test]
            async fn postgres() {
                $crate::engines::run_on_postgres(super::$name).await;
            }
        }
    )+ };
}
pub(crate) use on_both_engines;

/// Mounts each of these checks on SQLite alone.
macro_rules! on_sqlite {
    ($($name:ident),+ $(,)?) => { $(
        mod $name {
            #[tokio::test]
            async fn sqlite() {
                $crate::engines::run_on_sqlite(super::$name).await;
            }
        }
    )+ };
}
pub(crate) use on_sqlite;

/// Mounts each of these checks on PostgreSQL alone.
macro_rules! on_postgres {
    ($($name:ident),+ $(,)?) => { $(
        mod $name {
            #[tokio::test]
            async fn postgres() {
                $crate::engines::run_on_postgres(super::$name).await;
            }
        }
    )+ };
}
pub(crate) use on_postgres;
