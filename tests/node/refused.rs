//! What the API server refuses at `kubectl apply`, and what it takes: the files of `tests/cases`, each as its head says.
//!
//! Invariant: a refused manifest is refused for the reason that its file names, with the strict validation that users have.

use crate::world::World;
use duj_api::DockerUniverseJob;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A manifest with what the comments at its top say.
#[derive(Default)]
struct Case {
    name: String,
    documents: Vec<String>,
    expect: Vec<String>,
    status: Option<Value>,
    chart: bool,
    server_side: bool,
}

impl Case {
    fn read(path: &Path) -> Self {
        let mut text = fs::read_to_string(path).expect("a readable file");
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let mut case = Self { name, ..Self::default() };
        let head: Vec<String> =
            text.lines().map_while(|line| line.strip_prefix("# ")).map(str::to_owned).collect();
        for line in head {
            let (key, value) = line.split_once(": ").unwrap_or((&line, ""));
            match key {
                "expect" => case.expect.push(value.to_owned()),
                "status" => {
                    case.status = Some(serde_json::from_str(value).expect("status in JSON"));
                }
                "repeat" => text = repeated(&text, value),
                "chart" => case.chart = true,
                "server-side" => case.server_side = true,
                _ => {}
            }
        }
        case.documents = text.split("\n---\n").map(str::to_owned).collect();
        case
    }

    fn is_plain(&self) -> bool {
        self.documents.len() == 1 && !self.server_side
    }
}

/// `TOKEN COUNT TEXT`: each TOKEN below the head becomes COUNT times TEXT.
fn repeated(text: &str, how: &str) -> String {
    let mut words = how.splitn(3, ' ');
    let (token, count, with) =
        (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let with = with.repeat(count.parse().expect("a count"));
    let lines = text.lines().map(|line| {
        if line.starts_with("# ") { line.to_owned() } else { line.replace(token, &with) }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A world, and a directory for the manifests as they are applied there.
struct Applied {
    world: World,
    directory: PathBuf,
}

impl Applied {
    async fn new(test: &str) -> Self {
        let world = World::new(test).await;
        let directory = std::env::temp_dir().join(&world.namespace);
        fs::create_dir_all(&directory).expect("a directory");
        Self { world, directory }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.join(format!("{name}.yaml"));
        fs::write(&path, text).expect("a file");
        path
    }

    /// What `kubectl apply` answers, on both its streams.
    fn apply(&self, flags: &[&str], files: &[PathBuf]) -> (bool, String) {
        let mut command = Command::new("kubectl");
        command.args(["apply", "--namespace", &self.world.namespace]).args(flags);
        for file in files {
            command.arg("--filename").arg(file);
        }
        let output = command.output().expect("kubectl is on the PATH");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    async fn end(self) {
        fs::remove_dir_all(&self.directory).expect("the directory can be removed");
        self.world.end().await;
    }
}

async fn cases(world: &World, directory: &str) -> Vec<Case> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(world.client.clone());
    let policies =
        policies.list(&ListParams::default()).await.expect("policies can be listed").items;
    let with_chart = policies.iter().any(|policy| policy.name_any().ends_with("-command-by"));
    let directory = Path::new("tests/cases").join(directory);
    let files = fs::read_dir(directory).expect("the directory of cases");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    let mut cases: Vec<Case> = paths.iter().map(|path| Case::read(path)).collect();
    cases.retain(|case| with_chart || !case.chart);
    assert!(!cases.is_empty());
    cases
}

/// What kubectl said of one file of several.
fn about<'a>(answer: &'a str, file: &Path) -> Vec<&'a str> {
    let name = format!("\"{}\"", file.display());
    answer.split("error when ").skip(1).filter(|part| part.contains(&name)).collect()
}

/// What is wrong with the answers to plain cases, which one kubectl asks for all at once.
fn wrong_among(cases: &[Case], applied: &Applied) -> Vec<String> {
    let files: Vec<PathBuf> =
        cases.iter().map(|case| applied.write(&case.name, &case.documents[0])).collect();
    let (_, answer) = applied.apply(&["--dry-run=server"], &files);
    let mut wrong = Vec::new();
    for (case, file) in cases.iter().zip(&files) {
        let parts = about(&answer, file);
        let as_said = if case.expect.is_empty() {
            parts.is_empty()
        } else {
            case.expect.iter().all(|text| parts.iter().any(|part| part.contains(text)))
        };
        if !as_said {
            // Perhaps kubectl says it without the file's name.
            let (taken, answer) = applied.apply(&["--dry-run=server"], std::slice::from_ref(file));
            let as_said = case.expect.is_empty() == taken
                && case.expect.iter().all(|text| answer.contains(text));
            if !as_said {
                wrong.push(format!("{}: expected {:?}, got:\n{answer}", case.name, case.expect));
            }
        }
    }
    wrong
}

/// What is wrong with the answer to a case of several documents, in a world of its own.
async fn wrong_with(case: &Case) -> Option<String> {
    let applied = Applied::new("case").await;
    let (last, before) = case.documents.split_last().unwrap();
    let flags: &[&str] = if case.server_side { &["--server-side"] } else { &[] };
    for (number, document) in before.iter().enumerate() {
        let (taken, answer) =
            applied.apply(flags, &[applied.write(&format!("before-{number}"), document)]);
        assert!(taken, "{}: {answer}", case.name);
    }
    if let Some(status) = &case.status {
        give_status(&applied.world, status).await;
    }
    let (taken, answer) = applied.apply(flags, &[applied.write("last", last)]);
    let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    for job in applied.world.api::<DockerUniverseJob>().list(&ListParams::default()).await.unwrap()
    {
        let jobs = applied.world.api::<DockerUniverseJob>();
        jobs.patch(&job.name_any(), &PatchParams::default(), &free)
            .await
            .expect("a finalizer can be taken off");
    }
    applied.end().await;
    let as_said =
        taken == case.expect.is_empty() && case.expect.iter().all(|text| answer.contains(text));
    (!as_said).then(|| format!("{}: expected {:?}, got:\n{answer}", case.name, case.expect))
}

/// Gives a job a status that the operator leaves alone: it does not tell of jobs that are being deleted.
async fn give_status(world: &World, status: &Value) {
    let jobs = world.api::<DockerUniverseJob>();
    let job = jobs.list(&ListParams::default()).await.unwrap().items.remove(0).name_any();
    let keep = Patch::Merge(json!({ "metadata": { "finalizers": ["docker-universe.test/keep"] } }));
    jobs.patch(&job, &PatchParams::default(), &keep).await.expect("a finalizer");
    jobs.delete(&job, &DeleteParams::default()).await.expect("it can be deleted");
    let patch = Patch::Merge(json!({ "status": status }));
    jobs.patch_status(&job, &PatchParams::default(), &patch).await.expect("a status");
}

async fn run(directory: &str) {
    let applied = Applied::new(directory).await;
    let (plain, others): (Vec<_>, Vec<_>) =
        cases(&applied.world, directory).await.into_iter().partition(Case::is_plain);
    let mut wrong = wrong_among(&plain, &applied);
    for case in &others {
        wrong.extend(wrong_with(case).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    applied.end().await;
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_the_words_that_help() {
    run("refused").await;
}

#[tokio::test]
async fn what_is_right_is_taken() {
    run("accepted").await;
}
