//! A fault in the whole process, where the cargo feature `planted` asks for it.
//!
//! `RALLY_PLANT` names one of `cluster/src/planted.rs`. It is no setting: builds without the
//! feature do not know it, and refuse it as they do any variable that they do not know.

use std::ffi::OsString;

use rally_cluster::planted::{self, Fault};
use tracing::warn;

use crate::config::ConfigError;

/// The variable that names the fault.
const VARIABLE: &str = "RALLY_PLANT";

/// Plants the fault that the environment names, and gives the rest of the environment.
///
/// # Errors
///
/// There is no such fault.
pub fn plant(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(OsString, OsString)>, ConfigError> {
    let (named, rest): (Vec<_>, _) =
        environment.into_iter().partition(|(variable, _)| variable == VARIABLE);
    if let Some((_, name)) = named.first() {
        planted::plant(read(&name.to_string_lossy())?);
    }
    Ok(rest)
}

fn read(name: &str) -> Result<Fault, ConfigError> {
    name.parse().map_err(|_| ConfigError::BadValue {
        given: VARIABLE.to_owned(),
        value: name.to_owned(),
        allowed: format!("one of {:?}", Fault::ALL),
    })
}

/// Warns that this is no server for people.
pub fn warn() {
    match planted::planted() {
        Some(fault) => warn!(
            ?fault,
            "A FAULT IS PLANTED INTO THIS SERVER: IT BREAKS WHAT RALLY PROMISES, ON PURPOSE"
        ),
        None => warn!("this server is built for planted faults; {VARIABLE} names none"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_fault_is_refused_by_name_and_the_known_ones_are_named() {
        let error = plant([(VARIABLE.into(), "Rain".into())]).unwrap_err().to_string();
        assert!(error.contains("RALLY_PLANT") && error.contains("\"Rain\""), "{error}");
        assert!(error.contains("AckUnconfirmed") && error.contains("PlaceKept"), "{error}");
        assert_eq!(read("PlaceKept").unwrap(), Fault::PlaceKept);
    }

    #[test]
    fn the_rest_of_the_environment_is_left_as_it_is() {
        let others = [("RALLY_NODE".into(), "a".into()), ("PATH".into(), "/bin".into())];
        assert_eq!(plant(others.clone()).unwrap(), others);
    }
}
