//! What this program says that it is: on the command line and in reports.

use std::sync::LazyLock;

/// The version, and after a `+` the revision from which it was built, if the build's environment
/// named one in `GIT_REVISION`, as a server's does.
pub static VERSION: LazyLock<String> = LazyLock::new(|| match option_env!("GIT_REVISION") {
    None | Some("") => env!("CARGO_PKG_VERSION").to_owned(),
    Some(revision) => format!("{}+{revision}", env!("CARGO_PKG_VERSION")),
});
