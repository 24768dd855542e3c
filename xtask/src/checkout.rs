//! Where things lie: the checkout, the build folder, and what is kept in either.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// One checkout of Rally and the folder it is built into.
pub struct Checkout {
    root: PathBuf,
    target: PathBuf,
}

impl Checkout {
    /// Finds both from where this program was compiled and where it lies now.
    pub fn find() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("the folder of xtask has no parent")?
            .to_path_buf();
        // Cargo put this program into `<target>/debug`, wherever it was told `<target>` is.
        let program = std::env::current_exe().context("cannot tell where this program lies")?;
        let target = program
            .ancestors()
            .nth(2)
            .with_context(|| format!("{} does not lie in a build folder", program.display()))?
            .to_path_buf();
        Ok(Self { root, target })
    }

    /// The top folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The browser client's folder.
    pub fn client(&self) -> PathBuf {
        self.root.join("client-web")
    }

    /// The server as `cargo build --release` leaves it.
    pub fn server(&self) -> PathBuf {
        self.target.join("release/rally-server")
    }

    /// A program of the workspace as its package's tests leave it.
    pub fn tested(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }

    /// Takes the server that a build with `--features planted` just left out of the place where an
    /// honest one is looked for; gives where it is.
    pub fn planted_server(&self) -> std::io::Result<PathBuf> {
        let folder = self.target.join("planted");
        std::fs::create_dir_all(&folder)?;
        let kept = folder.join("rally-server");
        std::fs::rename(self.tested("rally-server"), &kept)?;
        Ok(kept)
    }

    /// Where these commands keep what they install or remember, apart from Cargo's own.
    pub fn kept(&self, name: &str) -> PathBuf {
        self.target.join("xtask").join(name)
    }
}
