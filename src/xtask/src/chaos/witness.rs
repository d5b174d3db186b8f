//! Who ran, when, and how often, told by the jobs themselves and not by the operator. Each run connects to this witness and
//! waits for its word; the connection lasts as long as the run, because the kernel closes it with the run's last process.
//!
//! Invariant: a run that got the word is on the record, once; two open connections of one proc are two runs at a time.

use anyhow::Context as _;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    task::JoinHandle,
};

/// What a job's script does first: `$0` is the job, `$1` the proc; afterwards `$n` is the number of this run, from 1, and
/// `wait_for_word` waits until the witness is told to let it go.
pub(super) fn preamble(witness: SocketAddr) -> String {
    format!(
        "mkfifo in out || exit 97\n\
         nc {} {} <in >out & exec 3>in 4<out\n\
         echo \"$0 $1 at-`hostname -i`\" >&3\n\
         read -r word n <&4 || exit 98\n\
         wait_for_word() {{ read -r word <&4 || exit 99; }}\n",
        witness.ip(),
        witness.port()
    )
}

/// A proc of a job: the job's name, and the proc's number.
pub(super) type Proc = (String, u32);

/// One run.
#[derive(Debug)]
struct Run {
    place: String,
    over: bool,
    line: Option<OwnedWriteHalf>,
}

#[derive(Debug, Default)]
struct Record {
    runs: BTreeMap<Proc, Vec<Run>>,
    concurrent: Vec<String>,
    unheard: u64,
}

/// The record of all runs.
#[derive(Clone, Default)]
pub(super) struct Witness(Arc<Mutex<Record>>);

impl Witness {
    /// Listens on this address for runs; where, and until when.
    pub(super) async fn listen(
        address: IpAddr,
    ) -> anyhow::Result<(Self, SocketAddr, JoinHandle<()>)> {
        let listener = TcpListener::bind((address, 0)).await;
        let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
        let place = listener.local_addr()?;
        let witness = Self::default();
        let heard = witness.clone();
        let task = tokio::spawn(async move {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(hear(heard.clone(), stream));
                }
            }
        });
        Ok((witness, place, task))
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many runs the proc has had.
    pub(super) fn runs(&self, job: &str, proc: u32) -> usize {
        self.record().runs.get(&(job.to_owned(), proc)).map_or(0, Vec::len)
    }

    /// Where its runs were: the addresses of their pods.
    pub(super) fn places(&self, job: &str, proc: u32) -> Vec<String> {
        let record = self.record();
        let runs = record.runs.get(&(job.to_owned(), proc)).into_iter().flatten();
        runs.map(|run| run.place.clone()).collect()
    }

    /// How many runs there were, and how many have not ended.
    pub(super) fn total(&self) -> (usize, usize) {
        let record = self.record();
        let runs = record.runs.values().flatten();
        runs.fold((0, 0), |(all, open), run| (all + 1, open + usize::from(!run.over)))
    }

    /// Lets the job's runs that wait for a word go on.
    pub(super) async fn say_the_word(&self, job: &str, procs: u32) {
        for proc in 0..procs {
            let line = {
                let mut record = self.record();
                let runs = record.runs.get_mut(&(job.to_owned(), proc));
                runs.and_then(|runs| runs.last_mut()).and_then(|run| run.line.take())
            };
            if let Some(mut line) = line {
                // A run that has ended needs no word. The rest of the line stays open for as long as the run.
                let _ = line.write_all(b"go\n").await;
                let mut record = self.record();
                let runs = record.runs.get_mut(&(job.to_owned(), proc));
                if let Some(run) = runs.and_then(|runs| runs.last_mut()) {
                    run.line = Some(line);
                }
            }
        }
    }

    /// Procs that ran twice at a time.
    pub(super) fn concurrent(&self) -> Vec<String> {
        self.record().concurrent.clone()
    }

    fn begin(&self, proc: &Proc, place: &str) -> usize {
        let mut record = self.record();
        let runs = record.runs.entry(proc.clone()).or_default();
        let beside: Vec<_> =
            runs.iter().filter(|run| !run.over).map(|run| run.place.clone()).collect();
        runs.push(Run { place: place.to_owned(), over: false, line: None });
        let number = runs.len();
        for other in beside {
            let (job, number) = proc;
            record.concurrent.push(format!("{job}.{number} ran {place} beside {other}"));
        }
        number
    }

    fn change(&self, proc: &Proc, number: usize, change: impl FnOnce(&mut Run)) {
        if let Some(run) =
            self.record().runs.get_mut(proc).and_then(|runs| runs.get_mut(number - 1))
        {
            change(run);
        }
    }
}

async fn hear(witness: Witness, stream: TcpStream) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let Ok(Some(line)) = lines.next_line().await else {
        // Its run was stopped before it could speak.
        witness.record().unheard += 1;
        return;
    };
    let words: Vec<_> = line.split(' ').collect();
    let [job, proc, place] = words[..] else { return };
    let Ok(proc) = proc.parse() else { return };
    let proc = (job.to_owned(), proc);
    let number = witness.begin(&proc, place);
    // Not told: it ends now, and has left its mark.
    let _ = writer.write_all(format!("go {number}\n").as_bytes()).await;
    witness.change(&proc, number, |run| run.line = Some(writer));
    while let Ok(Some(_)) = lines.next_line().await {}
    witness.change(&proc, number, |run| {
        run.over = true;
        run.line = None;
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};
    use std::{net::Ipv4Addr, process::Stdio, time::Duration};

    fn run(place: SocketAddr, script: &str) -> (Child, std::path::PathBuf) {
        let place_of_run = std::env::temp_dir().join(format!(
            "witness-{}-{}",
            std::process::id(),
            fastrand::u64(..)
        ));
        std::fs::create_dir_all(&place_of_run).unwrap();
        let script = format!("{}{script}", preamble(place));
        let mut command = Command::new("busybox");
        command
            .args(["sh", "-c", &script, "job", "3"])
            .current_dir(&place_of_run)
            .stdin(Stdio::null());
        (command.spawn().unwrap(), place_of_run)
    }

    async fn until(what: impl Fn() -> bool) {
        for _ in 0..3000 {
            if what() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not so after half a minute");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn runs_are_counted_and_two_at_a_time_are_seen() {
        let (witness, place, _task) = Witness::listen(Ipv4Addr::LOCALHOST.into()).await.unwrap();
        let (mut first, there) = run(place, "wait_for_word; exit $n");
        until(|| witness.total() == (1, 1)).await;
        first.kill().unwrap();
        first.wait().unwrap();
        until(|| witness.total() == (1, 0)).await;
        let (mut second, here) = run(place, "wait_for_word; exit $n");
        until(|| witness.total() == (2, 1)).await;
        witness.say_the_word("job", 4).await;
        assert_eq!(second.wait().unwrap().code(), Some(2));
        until(|| witness.total() == (2, 0)).await;
        assert_eq!(witness.concurrent(), Vec::<String>::new());
        let (mut third, a) = run(place, "wait_for_word");
        until(|| witness.total() == (3, 1)).await;
        let (mut fourth, b) = run(place, "wait_for_word");
        until(|| witness.total() == (4, 2)).await;
        assert!(witness.concurrent().iter().any(|text| text.contains("beside")));
        for child in [&mut third, &mut fourth] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        for place in [there, here, a, b] {
            std::fs::remove_dir_all(place).unwrap();
        }
    }
}
