//! Builds the layer, and names it to a process.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use super::disk::Disk;

/// The layer's file. It is built here, because Cargo builds no library that is only preloaded.
static LIBRARY: LazyLock<String> = LazyLock::new(|| {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--package", "rally-power", "--message-format", "json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo, which builds the layer");
    assert!(built.status.success(), "the layer is not built: {}", built.status);
    let lines = String::from_utf8(built.stdout).unwrap();
    let mut made = lines.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_ours = line["target"]["name"] == "rally_power";
        is_ours.then(|| line["filenames"][0].as_str().map(str::to_owned))?
    });
    let library = made.next_back().expect("cargo says what it built");
    assert!(PathBuf::from(&library).exists(), "{library}");
    library
});

/// Names what a process on the layer is started with.
pub fn environment(disk: &Disk, further: &[(&'static str, u64)]) -> Vec<(&'static str, String)> {
    let path = |path: PathBuf| path.into_os_string().into_string().unwrap();
    let mut all = vec![
        ("LD_PRELOAD", LIBRARY.clone()),
        ("POWER_BELOW", path(disk.home())),
        ("POWER_LOG", path(disk.log())),
    ];
    all.extend(further.iter().map(|(name, value)| (*name, value.to_string())));
    all
}
