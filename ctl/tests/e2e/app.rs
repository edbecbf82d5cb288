//! App folders of tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// `examples/shop` of the repository.
pub(crate) fn shop_folder() -> PathBuf {
    repository().join("examples/shop")
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A temporary app folder.
#[derive(Debug)]
pub(crate) struct App {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl App {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("e2e-").tempdir().unwrap();
        // PostgreSQL runs as a user of its own, who must get through.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = folder.path().join("app");
        fs::create_dir(&path).unwrap();
        Self { folder, path }
    }

    /// One blueprint, `blueprints/main.js`.
    pub(crate) fn with(script: &str) -> Self {
        let app = Self::empty();
        app.write("blueprints/main.js", script);
        app
    }

    /// A copy of the example shop.
    pub(crate) fn shop() -> Self {
        let app = Self::empty();
        copy(&shop_folder(), &app.path);
        app
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path beside the app folder.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the app, its folders too.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path.join(name)).unwrap();
    }
}

/// Without what a run of it has left there.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
