//! Static files: `file(path)` and `assets(dir)`.
//!
//! A generation lists its files when it is built and answers for exactly those: a
//! path of a request is looked up in a table and never reaches the file system, so
//! that there is no traversal to defend against. Small files are kept in memory;
//! large ones stay open and are read through the ring. `forebay dev` watches the
//! folder and builds a new generation.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use forebay_ring::File;
use sha2::{Digest as _, Sha256};

/// Files up to here are kept in memory, bytes.
const MEMORY_BYTES_MAX: u64 = 64 * 1024;
/// Files of one folder. Beyond it the app is refused.
pub const FILES_MAX: usize = 10_000;
/// Depth of folders below the one that is served.
const DEPTH_MAX: usize = 32;

/// Where a file's bytes are.
#[derive(Debug, Clone)]
pub enum Content {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// On disk, open: length in bytes.
    File(File, u64),
}

/// One file, as it is answered.
#[derive(Debug)]
pub struct Asset {
    /// Content-Type.
    pub media_type: Box<str>,
    /// ETag with its quotes (RFC 9110 section 8.8.3): a hash of the bytes, or of size and time for large files.
    pub etag: Box<str>,
    /// The bytes.
    pub content: Content,
}

/// The files behind one route.
#[derive(Debug)]
pub struct Assets {
    /// By path below the folder; the one key of a `file()` route is empty.
    files: HashMap<Box<str>, Arc<Asset>>,
    /// One file, whatever the route's parameters are.
    is_file: bool,
    /// Cache-Control, if the work says how long.
    pub cache_control: Option<Box<str>>,
}

/// Why files can't be served. The author of the blueprint must act.
#[derive(Debug)]
pub enum AssetError {
    /// The path leaves the app's folder.
    Outside(String),
    /// More than [`FILES_MAX`] files.
    TooMany(String),
    /// The file system says no.
    Io(String, io::Error),
}

impl fmt::Display for AssetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside(path) => write!(f, "{path:?} must lie below the app's folder"),
            Self::TooMany(path) => write!(f, "{path:?} has more than {FILES_MAX} files"),
            Self::Io(path, error) => write!(f, "{path:?}: {error}"),
        }
    }
}

impl std::error::Error for AssetError {}

impl Assets {
    /// One file.
    pub fn file(root: &Path, path: &str, static_seconds: Option<u64>) -> Result<Self, AssetError> {
        let asset = load(&below(root, path)?).map_err(|e| AssetError::Io(path.to_owned(), e))?;
        Ok(Self {
            files: HashMap::from([(Box::from(""), Arc::new(asset))]),
            is_file: true,
            cache_control: cache_control(static_seconds),
        })
    }

    /// All files below a folder; names that begin with a dot, and links that lead out of it, are left out.
    pub fn folder(root: &Path, path: &str, static_seconds: Option<u64>) -> Result<Self, AssetError> {
        let folder = below(root, path)?;
        let mut files = HashMap::new();
        collect(&folder, &folder, 0, &mut files).map_err(|e| AssetError::Io(path.to_owned(), e))?;
        if files.len() > FILES_MAX {
            return Err(AssetError::TooMany(path.to_owned()));
        }
        Ok(Self { files, is_file: false, cache_control: cache_control(static_seconds) })
    }

    /// The file under a decoded path without a leading slash; a folder's `index.html` answers for the folder.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Arc<Asset>> {
        self.files.get(path).or_else(|| {
            let folder = path.strip_suffix('/').unwrap_or(path);
            let index =
                if folder.is_empty() { "index.html".to_owned() } else { format!("{folder}/index.html") };
            self.files.get(index.as_str())
        })
    }

    /// Whether it is one file that answers for every path of its route.
    #[must_use]
    pub const fn is_file(&self) -> bool {
        self.is_file
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.files.len()
    }
}

fn cache_control(static_seconds: Option<u64>) -> Option<Box<str>> {
    static_seconds.map(|seconds| format!("public, max-age={seconds}").into())
}

fn below(root: &Path, path: &str) -> Result<PathBuf, AssetError> {
    let relative = Path::new(path);
    if relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
        Ok(root.join(relative))
    } else {
        Err(AssetError::Outside(path.to_owned()))
    }
}

fn collect(
    top: &Path,
    folder: &Path,
    depth: usize,
    files: &mut HashMap<Box<str>, Arc<Asset>>,
) -> io::Result<()> {
    for item in fs::read_dir(folder)? {
        let path = item?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        let real = fs::canonicalize(&path)?;
        if hidden || !real.starts_with(fs::canonicalize(top)?) || files.len() > FILES_MAX {
            continue;
        }
        if real.is_dir() {
            if depth < DEPTH_MAX {
                collect(top, &path, depth + 1, files)?;
            }
        } else if let Some(name) = path.strip_prefix(top).ok().and_then(Path::to_str) {
            files.insert(name.into(), Arc::new(load(&path)?));
        }
    }
    Ok(())
}

fn load(path: &Path) -> io::Result<Asset> {
    let guess = mime_guess::from_path(path).first_raw().unwrap_or("application/octet-stream");
    let textual = guess.starts_with("text/") || guess == "application/javascript";
    let media_type = if textual { format!("{guess}; charset=utf-8") } else { guess.to_owned() };
    let file = fs::File::open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    let mut hash = Sha256::new();
    let content = if facts.len() <= MEMORY_BYTES_MAX {
        let bytes = fs::read(path)?;
        hash.update(&bytes);
        Content::Bytes(bytes.into())
    } else {
        hash.update(facts.len().to_le_bytes());
        if let Ok(age) = facts.modified()?.duration_since(std::time::UNIX_EPOCH) {
            hash.update(age.as_nanos().to_le_bytes());
        }
        Content::File(File::from(file), facts.len())
    };
    let digest = hash.finalize();
    let hex: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Asset { media_type: media_type.into(), etag: format!("\"{hex}\"").into(), content })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_files_are_there() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("public/sub")).unwrap();
        for (name, text) in [("public/a.css", "a"), ("public/sub/index.html", "i"), ("public/.env", "no")] {
            fs::write(root.path().join(name), text).unwrap();
        }
        fs::write(root.path().join("secret"), "no").unwrap();
        std::os::unix::fs::symlink(root.path().join("secret"), root.path().join("public/leak")).unwrap();
        fs::write(root.path().join("public/big"), vec![7; 100_000]).unwrap();
        let assets = Assets::folder(root.path(), "public", Some(60)).unwrap();
        assert_eq!(assets.count(), 3);
        assert_eq!(&*assets.get("a.css").unwrap().media_type, "text/css; charset=utf-8");
        assert!(assets.get("sub").is_some() && assets.get("sub/").is_some());
        for none in [".env", "leak", "../secret", "sub/../a.css", "", "/"] {
            assert!(assets.get(none).is_none(), "{none}");
        }
        assert!(matches!(assets.get("big").unwrap().content, Content::File(_, 100_000)));
        assert_eq!(assets.cache_control.as_deref(), Some("public, max-age=60"));
        for bad in ["../x", "/etc/passwd", "a/../../b"] {
            assert!(matches!(Assets::folder(root.path(), bad, None), Err(AssetError::Outside(_))), "{bad}");
        }
        assert!(matches!(Assets::file(root.path(), "public", None), Err(AssetError::Io(..))));
    }
}
