//! `sml stats`: look at class statistics, import the official ones, merge several.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::stdout;
use crate::files::{read_class_vector, write_whole};
use crate::render::table::text_table;
use crate::{ClassStatistics, Provenance, Result, cityscapes};

/// Show, import or merge class statistics
#[derive(Args)]
#[command(after_help = "Examples:
  sml stats show statistics.json
  sml stats import cityscapes_mean.npy cityscapes_var.npy -o cityscapes.json
  sml stats merge part1.json part2.json -o all.json")]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Print statistics as a table
    Show {
        /// Statistics (JSON)
        stats: PathBuf,
        /// Print them as one JSON object, as `sml` writes them
        #[arg(long)]
        json: bool,
    },
    /// Turn .npy files into statistics: the official project's (a pickled dict, read without executing anything), or
    /// plain vectors by train id
    Import {
        /// Means (.npy)
        mean: PathBuf,
        /// Variances (.npy)
        variance: PathBuf,
        /// File for the statistics (JSON)
        #[arg(short, long, value_name = "STATS.json")]
        output: PathBuf,
    },
    /// Merge statistics of the same network on different pictures
    Merge {
        /// Statistics (JSON), two or more
        #[arg(required = true, num_args = 2..)]
        stats: Vec<PathBuf>,
        /// File for the merged statistics (JSON)
        #[arg(short, long, value_name = "STATS.json")]
        output: PathBuf,
    },
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// When a file cannot be read or written, or does not hold statistics.
    pub(super) fn run(&self) -> Result<()> {
        match &self.action {
            Action::Show { stats, json } => show(stats, *json),
            Action::Import { mean, variance, output } => import(mean, variance, output),
            Action::Merge { stats, output } => merge(stats, output),
        }
    }
}

fn show(path: &Path, json: bool) -> Result<()> {
    let statistics = ClassStatistics::read(path)?;
    if json {
        return stdout::print(&statistics.to_json());
    }
    stdout::print(&format!("{}{}", table(&statistics), provenance(&statistics)))
}

/// One line a class.
fn table(statistics: &ClassStatistics) -> String {
    let given = &statistics.provenance().class_names;
    let names = match statistics.classes().len() {
        n if n == given.len() => given.clone(),
        n if n == cityscapes::CLASSES.len() => cityscapes::class_names(),
        n => vec![String::new(); n],
    };
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
    let rows: Vec<Vec<String>> = statistics
        .classes()
        .iter()
        .zip(names)
        .enumerate()
        .map(|(class, (moments, name))| {
            let usable = if moments.is_usable() { "" } else { "without statistics" };
            vec![
                class.to_string(),
                name,
                moments.count.map_or("-".to_owned(), |count| count.to_string()),
                number(moments.mean),
                number(moments.variance),
                number(moments.variance.map(f64::sqrt)),
                usable.to_owned(),
            ]
        })
        .collect();
    text_table(&["id", "class", "pixels", "mean", "variance", "deviation", ""], &rows)
}

fn provenance(statistics: &ClassStatistics) -> String {
    let provenance = statistics.provenance();
    let mut lines = Vec::new();
    let mut line = |name: &str, value: Option<String>| {
        lines.extend(value.map(|value| format!("{name}: {value}\n")));
    };
    line("images", provenance.images.map(|n| n.to_string()));
    line("model", provenance.model.clone());
    line("model sha256", provenance.model_sha256.clone());
    let set = [&provenance.dataset, &provenance.split].into_iter().flatten().cloned().collect::<Vec<_>>();
    line("dataset", (!set.is_empty()).then(|| set.join(" ")));
    line("shards", (!provenance.shards.is_empty()).then(|| provenance.shards.join(", ")));
    line("left out", provenance.left_out.map(|images| super::counted(images, "image")));
    line("files", provenance.files.map(|files| files.to_string()));
    line("files' sha256", provenance.content_sha256.clone());
    line("conditioned on", provenance.conditioned_on.clone());
    line("date", provenance.date.clone());
    line("sources", (!provenance.sources.is_empty()).then(|| provenance.sources.join(", ")));
    if let Some(points) = statistics.operating_points() {
        let at = |result: Result<f32>| result.map_or("not measured".to_owned(), |t| format!("{t:.4}"));
        line("threshold at 5 % false positives", Some(at(points.threshold_at_fpr(0.05, &points.params))));
        line("threshold at 95 % true positives", Some(at(points.threshold_at_tpr(0.95, &points.params))));
    }
    lines.concat()
}

fn import(mean: &Path, variance: &Path, output: &Path) -> Result<()> {
    let provenance = Provenance {
        sources: [mean, variance].map(|path| path.display().to_string()).to_vec(),
        ..Provenance::default()
    };
    let statistics =
        ClassStatistics::from_vectors(&read_class_vector(mean)?, &read_class_vector(variance)?, provenance)
            .map_err(super::naming(Some(variance)))?;
    save(&statistics, output)
}

fn merge(stats: &[PathBuf], output: &Path) -> Result<()> {
    let mut merged: Option<ClassStatistics> = None;
    let mut contents: Vec<(String, &Path)> = Vec::new();
    for path in stats {
        let next = ClassStatistics::read(path)?;
        if next.operating_points().is_some() {
            eprintln!("sml: warning: {}: its thresholds are left out, they cannot be merged", path.display());
        }
        if let Some(content) = next.provenance().content_sha256.clone() {
            if let Some((_, first)) = contents.iter().find(|(other, _)| *other == content) {
                let (first, second) = (first.display(), path.display());
                eprintln!(
                    "sml: warning: {second}: measured on the same files as {first}, which now count twice"
                );
            }
            contents.push((content, path));
        }
        merged = Some(match merged {
            Some(merged) => {
                tell_differences(merged.provenance(), next.provenance(), path);
                merged.merge(&next).map_err(super::naming(Some(path)))?
            }
            None => next,
        });
    }
    let Some(merged) = merged else { return Ok(()) };
    let shards = &merged.provenance().shards;
    if !shards.is_empty() {
        eprintln!("sml: warning: the shards {} are not a whole set", shards.join(", "));
    }
    save(&merged, output)
}

/// Statistics of different networks, or by different classes, can be added up, but mean nothing.
fn tell_differences(merged: &Provenance, next: &Provenance, path: &Path) {
    let differ = |a: &Option<String>, b: &Option<String>| a.is_some() && b.is_some() && a != b;
    if differ(&merged.model_sha256, &next.model_sha256) {
        eprintln!("sml: warning: {}: measured with another network than those before", path.display());
    }
    if differ(&merged.conditioned_on, &next.conditioned_on) {
        eprintln!("sml: warning: {}: conditioned on another class than those before", path.display());
    }
}

fn save(statistics: &ClassStatistics, output: &Path) -> Result<()> {
    write_whole(output, |out| out.write_all(statistics.to_json().as_bytes()))?;
    eprintln!("{} classes -> {}", statistics.classes().len(), output.display());
    Ok(())
}
