//! Files in and out of an S3 service: the program `transfer` beside `s5cmd`, a client that is known to be quick.
//!
//! Both speak to the same server on this machine, in turns, and both leave the same files, which is checked each time. A run
//! begins with nothing at its target and with nothing waiting for the disk.

mod programs;
mod server;

use super::median;
use crate::{cluster, image};
use anyhow::{Context as _, ensure};
use programs::{Program, Programs, Spent};
use server::Server;
use std::{
    fs::{self, File},
    io::{BufReader, BufWriter, Read, Write as _},
    path::{Path, PathBuf},
};

const MIB: u64 = 1 << 20;

/// Size of each of many files, in bytes.
const SMALL: usize = 4096;

/// Arguments of `cargo xtask bench transfer`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Size of the large file, in MiB
    #[arg(long, default_value_t = 2048)]
    size: u64,
    /// Size of the smaller file beside which the memory of the large one is told, in MiB
    #[arg(long, default_value_t = 256)]
    smaller: u64,
    /// How many files of 4 KiB
    #[arg(long, default_value_t = 2000)]
    files: usize,
    /// Runs of each kind; they alternate
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// What is moved.
#[derive(Clone, Copy)]
enum Load {
    /// One file of so many MiB.
    Large(u64),
    /// So many files of [`SMALL`] bytes in a directory.
    Many(usize),
}

/// Into the job's pod, or out of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// What one load took on one way, run by run.
struct Measured {
    load: Load,
    way: Way,
    transfer: Vec<Spent>,
    s5cmd: Vec<Spent>,
}

struct Bench {
    directory: PathBuf,
    server: Server,
    programs: Programs,
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (s5cmd, versitygw) = (cluster::tool("s5cmd")?, cluster::tool("versitygw")?);
    let transfer = image::transfer()?;
    // Below the build directory, because the machine's directory for temporary files may be memory.
    let directory =
        image::target_directory().join(format!("bench-transfer-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let result = run_in(&directory, arguments, &versitygw, (transfer, s5cmd));
    fs::remove_dir_all(&directory)
        .with_context(|| format!("cannot remove {}", directory.display()))?;
    report(&result?);
    Ok(())
}

fn run_in(
    directory: &Path,
    arguments: &Arguments,
    versitygw: &Path,
    (transfer, s5cmd): (PathBuf, PathBuf),
) -> anyhow::Result<Vec<Measured>> {
    let server = Server::start(versitygw, directory)?;
    let programs = Programs::new(transfer, s5cmd, directory, &server)?;
    let bench = Bench { directory: directory.to_owned(), server, programs };
    let loads =
        [Load::Large(arguments.size), Load::Large(arguments.smaller), Load::Many(arguments.files)];
    let mut all = Vec::new();
    for load in loads {
        eprintln!("{load}: making it");
        bench.make(load)?;
        for way in [Way::In, Way::Out] {
            all.push(bench.measure(load, way, arguments.runs)?);
        }
        bench.forget()?;
    }
    Ok(all)
}

impl Bench {
    /// The files on this machine: what is sent, and what is to be brought.
    fn content(&self) -> PathBuf {
        self.directory.join("content")
    }

    /// Where what is brought goes.
    fn scratch(&self) -> PathBuf {
        self.directory.join("scratch")
    }

    /// Makes the files here and puts them into the bucket's `in`.
    fn make(&self, load: Load) -> anyhow::Result<()> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut block = vec![0; usize::try_from(MIB)?];
        match load {
            Load::Large(size) => {
                fs::create_dir_all(self.content())?;
                let mut file = BufWriter::new(File::create(self.content().join("large"))?);
                for _ in 0..size {
                    random.fill(&mut block);
                    file.write_all(&block)?;
                }
                file.flush()?;
            }
            Load::Many(count) => {
                let directory = self.content().join("many");
                fs::create_dir_all(&directory)?;
                for number in 0..count {
                    random.fill(&mut block[..SMALL]);
                    fs::write(directory.join(format!("{number:05}")), &block[..SMALL])?;
                }
            }
        }
        self.programs.send(Program::S5cmd, load, &self.content(), "in")?;
        Ok(())
    }

    /// Removes what [`Bench::make`] made.
    fn forget(&self) -> anyhow::Result<()> {
        empty(&self.content())?;
        empty(&self.scratch())?;
        self.server.empty()
    }

    fn measure(&self, load: Load, way: Way, runs: usize) -> anyhow::Result<Measured> {
        let mut measured = Measured { load, way, transfer: Vec::new(), s5cmd: Vec::new() };
        for run in 1..=runs {
            for program in [Program::Transfer, Program::S5cmd] {
                let spent = self.one_run(program, load, way)?;
                eprintln!("{load} {way}, run {run}: {program:?} {}", load.rate(spent.seconds));
                match program {
                    Program::Transfer => measured.transfer.push(spent),
                    Program::S5cmd => measured.s5cmd.push(spent),
                }
            }
        }
        Ok(measured)
    }

    fn one_run(&self, program: Program, load: Load, way: Way) -> anyhow::Result<Spent> {
        let arrived = match way {
            Way::In => self.scratch(),
            Way::Out => self.server.bucket().join("out"),
        };
        empty(&arrived)?;
        rustix::fs::sync();
        let spent = match way {
            Way::In => self.programs.bring(program, load, "in", &arrived)?,
            Way::Out => self.programs.send(program, load, &self.content(), "out")?,
        };
        let same = same(&self.content().join(load.name()), &arrived.join(load.name()))?;
        ensure!(same, "{program:?} moved something else than the {load}");
        Ok(spent)
    }
}

/// Removes a directory with what is in it.
fn empty(directory: &Path) -> anyhow::Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    Ok(())
}

/// Whether two files, or two directories of files, are the same.
fn same(one: &Path, other: &Path) -> anyhow::Result<bool> {
    if one.is_dir() {
        let names = |directory: &Path| -> anyhow::Result<Vec<_>> {
            let entries = fs::read_dir(directory)
                .with_context(|| format!("cannot read {}", directory.display()))?;
            let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
            names.sort();
            Ok(names)
        };
        let inside = names(one)?;
        if inside != names(other)? {
            return Ok(false);
        }
        for name in inside {
            if !same(&one.join(&name), &other.join(&name))? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    let open = |path: &Path| -> anyhow::Result<BufReader<File>> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(BufReader::with_capacity(1 << 20, file))
    };
    let (mut one, mut other) = (open(one)?, open(other)?);
    let (mut first, mut second) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let (some, more) = (fill(&mut one, &mut first)?, fill(&mut other, &mut second)?);
        if first[..some] != second[..more] {
            return Ok(false);
        }
        if some == 0 {
            return Ok(true);
        }
    }
}

/// As many bytes as there are, up to a whole block.
fn fill(file: &mut impl Read, block: &mut [u8]) -> anyhow::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match file.read(&mut block[filled..])? {
            0 => break,
            more => filled += more,
        }
    }
    Ok(filled)
}

impl Load {
    /// Its name below a directory or a prefix.
    fn name(self) -> &'static str {
        match self {
            Self::Large(_) => "large",
            Self::Many(_) => "many",
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    fn per_second(self, seconds: f64) -> f64 {
        match self {
            Self::Large(size) => (size * MIB) as f64 / 1e6 / seconds,
            Self::Many(count) => count as f64 / seconds,
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Large(_) => "MB/s",
            Self::Many(_) => "files/s",
        }
    }

    fn rate(self, seconds: f64) -> String {
        format!("{:.0} {}", self.per_second(seconds), self.unit())
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Large(size) => write!(formatter, "{size} MiB"),
            Self::Many(count) => write!(formatter, "{count} files of 4 KiB"),
        }
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(if *self == Self::In { "in" } else { "out" })
    }
}

fn report(all: &[Measured]) {
    println!("{:<40} {:>9} {:>9} {:>6}", "medians", "transfer", "s5cmd", "ratio");
    let line = |what: String, one: f64, other: f64| {
        println!("{what:<40} {one:>9.1} {other:>9.1} {:>6.2}", one / other);
    };
    for Measured { load, way, transfer, s5cmd } in all {
        let rate = |runs: &[Spent]| {
            median(runs.iter().map(|spent| load.per_second(spent.seconds)).collect())
        };
        line(format!("{load} {way}, {}", load.unit()), rate(transfer), rate(s5cmd));
    }
    for Measured { load, way, transfer, s5cmd } in all {
        let memory = |runs: &[Spent]| median(runs.iter().map(|spent| spent.peak_mib).collect());
        line(format!("{load} {way}, peak memory, MiB"), memory(transfer), memory(s5cmd));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrived_is_compared_byte_by_byte() {
        let directory = std::env::temp_dir().join(format!("duj-same-{}", std::process::id()));
        let write = |path: &str, content: &[u8]| {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        let long = vec![1; (1 << 20) + 1];
        write("a/x/one", &long);
        write("b/x/one", &long);
        let compare = || same(&directory.join("a"), &directory.join("b"));
        assert!(compare().unwrap());
        write("b/x/one", &long[1..]);
        assert!(!compare().unwrap());
        write("b/x/one", &[&long[1..], &[2]].concat());
        assert!(!compare().unwrap());
        write("b/x/one", &long);
        write("b/x/two", b"");
        assert!(!compare().unwrap());
        assert!(same(&directory.join("a"), &directory.join("c")).is_err());
        fs::remove_dir_all(directory).unwrap();
    }
}
