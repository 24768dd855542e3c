//! What this program says that it is: on the command line, to pages, in metrics and traces.

use std::sync::LazyLock;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The version, and after a `+` the revision from which it was built, if the build's environment
/// named one in `GIT_REVISION`. A build does not look for it by itself: each commit would have
/// all of the server built anew.
pub static VERSION: LazyLock<String> = LazyLock::new(|| match option_env!("GIT_REVISION") {
    None | Some("") => env!("CARGO_PKG_VERSION").to_owned(),
    Some(revision) => format!("{}+{revision}", env!("CARGO_PKG_VERSION")),
});

/// Shows it as the label of `rally_build_info`, which is always 1.
pub fn register(registry: &mut Registry) {
    let info = Family::<[(&str, &str); 1], Gauge>::default();
    info.get_or_create(&[("version", VERSION.as_str())]).set(1);
    registry.register("build_info", "What this process was built from", info);
}
