//! What the bench harness leaves on disk: for each bench a folder `new` with its name and estimates.

use std::path::Path;
use std::time::SystemTime;

/// One bench.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Measured {
    /// The group's name.
    pub(crate) group: String,
    /// The bench's own name.
    pub(crate) name: String,
    /// The median, in nanoseconds.
    pub(crate) nanos: f64,
}

/// Every bench of a run, in the order in which they ran.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results(pub(crate) Vec<Measured>);

impl Results {
    /// Reads all below `home`.
    ///
    /// # Errors
    /// The folder of a bench whose name or median cannot be read: its row would be missing without a word.
    pub(crate) fn read(home: &Path) -> Result<Self, String> {
        let mut found = Vec::new();
        let mut folders = vec![home.to_path_buf()];
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            folders.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
            if folder.file_name().is_some_and(|name| name == "new") {
                let unread = || format!("cannot read what a bench left in {}", folder.display());
                found.push(read_one(&folder).ok_or_else(unread)?);
            }
        }
        found.sort_by_key(|(written, _)| *written);
        Ok(Self(found.into_iter().map(|(_, measured)| measured).collect()))
    }

    /// The median of a bench, in nanoseconds.
    pub(crate) fn nanos(&self, group: &str, name: &str) -> Option<f64> {
        let found = self.0.iter().find(|one| one.group == group && one.name == name);
        found.map(|one| one.nanos)
    }
}

fn read_one(folder: &Path) -> Option<(SystemTime, Measured)> {
    let path = folder.join("estimates.json");
    let written = path.metadata().ok()?.modified().ok()?;
    let names = std::fs::read_to_string(folder.join("benchmark.json")).ok()?;
    let estimates = std::fs::read_to_string(path).ok()?;
    Some((written, parse(&names, &estimates)?))
}

/// The harness writes JSON in one line; our names have nothing in them that would be escaped.
pub(super) fn parse(names: &str, estimates: &str) -> Option<Measured> {
    let (_, median) = estimates.split_once("\"median\":")?;
    let (_, number) = median.split_once("\"point_estimate\":")?;
    let number = &number[..number.find([',', '}'])?];
    Some(Measured {
        group: text(names, "group_id")?.to_owned(),
        name: text(names, "function_id")?.to_owned(),
        nanos: number.trim().parse().ok()?,
    })
}

fn text<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(&format!("\"{key}\":\""))?;
    rest.split('"').next()
}
