//! What a load balancer does with requests and with backends, which the judge plays.
//!
//! Entry point: [`chapters`]. Note: `notes/judge.md`.

use super::check::Chapter;

/// The chapters, with backends on these ports.
pub(super) fn chapters(_ports: &[u16]) -> Result<Vec<Chapter>, String> {
    Ok(Vec::new())
}
