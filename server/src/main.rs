//! The program: reads the command line and does what it says.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use rally_server::cli::{self, Task};
use rally_server::config::{Config, ConfigError, Flags, Settings};
use rally_server::{health_check, import, node, serve};

/// Exit code for settings that cannot be used (sysexits' EX_CONFIG).
const BAD_CONFIG: u8 = 78;

/// Costs less CPU a message than the system's: most allocations here are small, and many are freed
/// on another thread than they were made on.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    spare_memory();
    let (task, flags) = cli::parse();
    let config = match configure(flags) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("rally-server: {error}");
            return ExitCode::from(BAD_CONFIG);
        }
    };
    let outcome = match task {
        Task::ShowConfig => {
            show(&config);
            Ok(())
        }
        Task::HealthCheck => health_check::ask(config.settings.network.listen),
        Task::ImportUsers { file, password_file } => {
            import_users(&config.settings, &file, password_file.as_deref())
        }
        Task::Serve => serve::serve(Arc::new(config.settings)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rally-server: {}", words(&error));
            let settings = error.downcast_ref::<node::StartError>().is_some();
            ExitCode::from(if settings { BAD_CONFIG } else { 1 })
        }
    }
}

/// Has the kernel hand out memory by small pages alone.
///
/// The allocator asks for huge ones where the kernel lets programs choose. Those cost 0.6 to 2 KiB more
/// a connection. They spare a message nothing that can be told from noise, and a connection that says
/// nothing a microsecond a second (docs/performance.md).
fn spare_memory() {
    // A kernel without huge pages has none to give.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Reads the settings; before them, in a build for it, the fault that is to be planted.
fn configure(flags: Flags) -> Result<Config, ConfigError> {
    let environment = std::env::vars_os();
    #[cfg(feature = "planted")]
    let environment = rally_server::planted::plant(environment)?;
    Config::load(flags, environment)
}

/// Says what went wrong and its causes, each once: some errors have their cause's words in their own.
fn words(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| {
        match (said.is_empty(), said.contains(&cause)) {
            (true, _) => cause,
            (false, true) => said,
            (false, false) => format!("{said}: {cause}"),
        }
    })
}

fn show(config: &Config) {
    let width = config.effective.iter().map(|one| one.setting.key.len()).max().unwrap_or(0);
    let mut out = std::io::stdout().lock();
    for one in &config.effective {
        // Whoever reads it may have read enough.
        if writeln!(out, "{:width$} = {}  # {}", one.setting.key, one.shown, one.source).is_err() {
            return;
        }
    }
}

fn import_users(
    settings: &Settings,
    file: &std::path::Path,
    password_file: Option<&std::path::Path>,
) -> anyhow::Result<()> {
    let import = import::import(&settings.store, file, password_file);
    let imported = actix_rt::System::new().block_on(import)?;
    println!("{} lines read, {} accounts are new", imported.lines, imported.new);
    Ok(())
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let names_it = anyhow!("refused (os error 111)").context("no node: refused (os error 111)");
        assert_eq!(words(&names_it), "no node: refused (os error 111)");
        let adds_to_it = anyhow!("refused (os error 111)").context("no node answers");
        assert_eq!(words(&adds_to_it), "no node answers: refused (os error 111)");
    }
}
