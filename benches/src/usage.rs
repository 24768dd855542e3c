//! What was asked for cannot be done, whatever the machine does: a command line's own fault.

use std::fmt;

/// The status of a command line that is not understood, as sysexits has it (EX_USAGE).
pub const STATUS: u8 = 64;

/// Why a command line cannot be done.
#[derive(Debug)]
pub struct Usage(anyhow::Error);

impl From<anyhow::Error> for Usage {
    fn from(why: anyhow::Error) -> Self {
        Self(why)
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for Usage {}
