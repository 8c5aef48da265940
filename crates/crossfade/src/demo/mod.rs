//! x
use crate::{cli::Demo, failure::Failure};
pub(crate) async fn demo(_: Demo) -> Result<(), Failure> {
    Ok(())
}
