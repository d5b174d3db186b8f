//! What a job finds in its pod, and what the cluster knows of it.

use crate::{
    volumes::Volume,
    world::{World, event_numbers, script},
};
use duj_api::{
    DockerUniverseJob, names,
    status::{ProcRecord, ProcStatus},
};
use duj_protocol::Record;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{ResourceExt, api::PostParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Submits a job that succeeds, and returns what it wrote.
async fn run(world: &World, name: &str, spec: Value) -> String {
    world.submit(name, spec).await;
    let record: ProcRecord = world.wait_for(name, ProcStatus::Completed).await;
    assert_eq!(
        (record.exit_code, record.exit_signal),
        (Some(0), None),
        "{}",
        world.output(name).await
    );
    world.output(name).await
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[tokio::test]
async fn the_environment_is_htcondors() {
    let world = World::new("environment").await;
    let own = json!([
        { "name": "OMP_NUM_THREADS", "value": "7" },
        { "name": "WORDS", "value": "a  b $(HOME) $$ $(date) \"é\" *" },
    ]);
    let spec = json!({ "executable": "env", "environment": own });
    let output = run(&world, "env", spec).await;
    let mut seen: BTreeMap<&str, &str> =
        output.lines().filter_map(|line| line.split_once('=')).collect();
    seen.retain(|name, _| !name.starts_with("KUBERNETES_")); // every pod has them
    let status = world.job("env").await.status.unwrap();
    let hostname = format!("htcjob{}-0", status.cluster_id.unwrap());
    let slot = format!("{}@{}", world.pod("env").await.name_any(), world.node().await.name_any());
    let mut expected: BTreeMap<&str, &str> = BTreeMap::from([
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOSTNAME", hostname.as_str()),
        ("WORDS", "a  b $(HOME) $$ $(date) \"é\" *"),
        ("BATCH_SYSTEM", "HTCondor"),
        ("_CONDOR_JOB_AD", "/scratch/work/.job.ad"),
        ("_CONDOR_MACHINE_AD", "/scratch/work/.machine.ad"),
        ("_CONDOR_SLOT", slot.as_str()),
    ]);
    let scratch = [
        "_CONDOR_SCRATCH_DIR",
        "_CONDOR_JOB_IWD",
        "TMPDIR",
        "TEMP",
        "TMP",
        "HOME",
        "APPTAINER_CACHEDIR",
    ];
    expected.extend(
        scratch.into_iter().chain(["SINGULARITY_CACHEDIR"]).map(|name| (name, "/scratch/work")),
    );
    let threads =
        ["CUBACORES", "GOMAXPROCS", "JULIA_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"];
    let more = ["OMP_THREAD_LIMIT", "OPENBLAS_NUM_THREADS", "PYTHON_CPU_COUNT", "ROOT_MAX_THREADS"];
    let last = ["TF_LOOP_PARALLEL_ITERATIONS", "TF_NUM_THREADS"];
    expected.extend(threads.into_iter().chain(more).chain(last).map(|name| (name, "1")));
    expected.insert("OMP_NUM_THREADS", "7");
    assert_eq!(seen, expected);
    world.end().await;
}

#[tokio::test]
async fn htcondors_own_variables_are_not_the_jobs_to_set() {
    let world = World::new("reserved").await;
    for name in ["_CONDOR_SLOT", "BATCH_SYSTEM", "TMPDIR"] {
        let job = json!({
            "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseJob", "metadata": { "name": "reserved" },
            "spec": { "image": "i", "executable": "true", "environment": [{ "name": name, "value": "mine" }] },
        });
        let job: DockerUniverseJob = serde_json::from_value(job).unwrap();
        let refusal = world
            .api()
            .create(&PostParams::default(), &job)
            .await
            .expect_err("refused")
            .to_string();
        assert!(refusal.contains("is set by the docker universe itself"), "{refusal}");
    }
    world.end().await;
}

#[tokio::test]
async fn scratch_is_home_and_belongs_to_the_job() {
    let world = World::new("directories").await;
    let look = "pwd; stat -c %a:%u .; touch file /tmp/file /var/tmp/file; ls -A . /tmp /var/tmp
        cat .job.ad; echo; cat .machine.ad";
    let spec = script(look, json!({ "requestDisk": "10Mi", "requestMemory": "32Mi" }));
    let output = run(&world, "look", spec).await;
    let seen = lines(&output);
    assert_eq!(seen[0], "/scratch/work");
    // The volume hands its group down (setgid); nobody but the job's user reads it.
    assert!(["700:65534", "2700:65534"].contains(&seen[1]), "{output}");
    assert_eq!(seen.iter().filter(|line| **line == "file").count(), 3, "{output}");
    let cluster = world.job("look").await.status.unwrap().cluster_id.unwrap();
    let expected = [
        &format!("ClusterId = {cluster}"),
        "ProcId = 0",
        "WantDocker = true",
        "Cmd = \"sh\"",
        "Iwd = \"/scratch/work\"",
        "NumJobStarts = 0",
        "RequestMemory = 32",
        "RequestDisk = 10240",
        "Memory = 32",
        "Disk = 10240",
    ];
    for line in expected {
        assert!(seen.contains(&line), "'{line}' is not in\n{output}");
    }
    world.end().await;
}

#[tokio::test]
async fn arguments_arrive_as_they_were_written() {
    let world = World::new("arguments").await;
    let arguments = [
        "",
        " ",
        "a b",
        "$(date)",
        "$$",
        "$(HOME)",
        "$$(HOME)",
        "$HOME",
        "`id`",
        "*",
        "~",
        "\"",
        "'",
        "\\",
        "\\n",
        "--",
        "-c",
        "line\nbreak",
        "tab\t",
        "é漢字🚀",
        "$(NO_SUCH)",
        "end",
    ];
    let mut all = vec!["%s\\0"];
    all.extend(arguments);
    let output = run(&world, "printf", json!({ "executable": "printf", "arguments": all })).await;
    let seen: Vec<&str> = output.strip_suffix('\0').unwrap_or(&output).split('\0').collect();
    assert_eq!(seen, arguments);
    world.end().await;
}

#[tokio::test]
async fn the_executable_is_found_on_the_jobs_path() {
    let world = World::new("path").await;
    let path = |path: &str| json!([{ "name": "PATH", "value": path }]);
    world
        .submit("nowhere", json!({ "executable": "true", "environment": path("/nowhere:/etc") }))
        .await;
    run(&world, "somewhere", json!({ "executable": "true", "environment": path("/nowhere:/bin") }))
        .await;
    let hold = world.wait_for("nowhere", ProcStatus::Held).await.hold.unwrap();
    assert_eq!((hold.code, hold.subcode), (6, 2));
    assert!(hold.reason.ends_with("it is in no directory of PATH '/nowhere:/etc'"), "{hold:?}");
    world.end().await;
}

#[tokio::test]
async fn the_job_runs_as_whom_it_may_and_with_no_rights() {
    let world = World::new("users").await;
    let look = "id -u; id -g; id -G; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'
        ls -A /var/run/secrets 2>/dev/null; touch mine && echo writes";
    let rights = [
        "CapBnd:0000000000000000",
        "CapEff:0000000000000000",
        "NoNewPrivs:1",
        "Seccomp:2",
        "writes",
    ];
    let own = json!({ "runAsUser": 1234, "runAsGroup": 2345, "fsGroup": 3456, "supplementalGroups": [4567] });
    let cases = [
        ("default", json!({}), ["65534", "65534", "65534"]),
        ("own", json!({ "securityContext": own }), ["1234", "2345", "2345 3456 4567"]),
    ];
    for (name, more, ids) in cases {
        let output = run(&world, name, script(look, more)).await;
        let mut seen = lines(&output);
        seen[3..].sort_unstable();
        assert_eq!(seen, [&ids[..], &rights[..]].concat());
    }
    // As in HTCondor, no job runs as root, unless the installation allows it.
    world
        .submit("root", json!({ "executable": "true", "securityContext": { "runAsUser": 0 } }))
        .await;
    let hold = world.wait_for("root", ProcStatus::Held).await.hold.unwrap();
    assert_eq!((hold.code, hold.subcode), (6, 0));
    assert!(
        hold.reason.contains("securityContext.runAsUser '0' is refused by this installation"),
        "{hold:?}"
    );
    world.end().await;
}

#[tokio::test]
async fn the_pod_tells_whose_it_is() {
    let world = World::new("labels").await;
    run(&world, "named", json!({ "executable": "true" })).await;
    let job = world.job("named").await;
    let cluster = job.status.as_ref().unwrap().cluster_id.unwrap();
    let pod = world.pod("named").await;
    let label = |name: &str| pod.labels().get(name).map(String::as_str);
    assert_eq!(label(names::LABEL_JOB), Some("named"));
    assert_eq!(label(names::LABEL_JOB_UID), job.uid().as_deref());
    assert_eq!(label(names::LABEL_CLUSTER_ID), Some(cluster.to_string().as_str()));
    assert_eq!(label(names::LABEL_PROC_ID), Some("0"));
    assert_eq!(label(names::LABEL_ATTEMPT), Some("0"));
    assert_eq!(pod.annotations()[names::ANNOTATION_CONTAINER_NAME], format!("HTCJob{cluster}_0"));
    assert_eq!(pod.owner_references()[0].uid, job.uid().unwrap());
    let spec = pod.spec.as_ref().unwrap();
    assert_eq!(spec.hostname, Some(format!("htcjob{cluster}-0")));
    assert_eq!(spec.automount_service_account_token, Some(false));
    // What a job does not need is not there.
    let containers: Vec<&str> = spec.containers.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(containers, [names::CONTAINER_JOB]);
    world.end().await;
}

#[tokio::test]
async fn config_maps_and_secrets_are_mounted() {
    let world = World::new("mounts").await;
    let data = json!({ "first": "one\n", "second": "two\n" });
    world.create::<ConfigMap>(json!({ "metadata": { "name": "words" }, "data": data })).await;
    world
        .create::<Secret>(
            json!({ "metadata": { "name": "hidden" }, "stringData": { "key": "three\n" } }),
        )
        .await;
    let mounts = json!({
        "volumes": [
            { "name": "words", "configMap": { "name": "words" } },
            { "name": "hidden", "secret": { "secretName": "hidden" } },
        ],
        "volumeMounts": [
            { "name": "words", "mountPath": "/data/words", "readOnly": true },
            { "name": "words", "mountPath": "/data/only", "subPath": "second" },
            { "name": "hidden", "mountPath": "/data/hidden" },
        ],
    });
    let look =
        "cat /data/words/first /data/words/second /data/only /data/hidden/key; ls /data/words";
    let output = run(&world, "reads", script(look, mounts)).await;
    assert_eq!(lines(&output), ["one", "two", "two", "three", "first", "second"]);
    world.end().await;
}

#[tokio::test]
async fn a_claim_keeps_what_jobs_write() {
    let world = World::new("claim").await;
    let volume = Volume::writable(&world, "kept").await;
    let mounts = |sub_path: &str| {
        json!({
            "volumes": [{ "name": "kept", "persistentVolumeClaim": { "claimName": "kept" } }],
            "volumeMounts": [{ "name": "kept", "mountPath": "/kept", "subPath": sub_path }],
        })
    };
    volume.make_directory("results");
    run(&world, "writes", script("echo result >/kept/file", mounts("results"))).await;
    assert_eq!(volume.text("results/file").as_deref(), Some("result\n"));
    assert_eq!(
        run(&world, "reads", script("cat /kept/results/file", mounts("."))).await,
        "result\n"
    );
    volume.end().await;
    world.end().await;
}

#[tokio::test]
async fn what_a_job_used_is_measured() {
    let world = World::new("usage").await;
    let work = "head -c 20m /dev/zero | tail -c 20m >/dev/null; dd if=/dev/zero of=file bs=1M count=3 2>/dev/null
        n=0; while [ $n -lt 300000 ]; do n=$((n+1)); done; echo out; echo err >&2";
    let output = run(&world, "works", script(work, json!({ "requestDisk": "10Mi" }))).await;
    let mut streams = lines(&output);
    streams.sort_unstable(); // two streams have no order between them
    assert_eq!(streams, ["err", "out"]);
    let pod: Pod = world.pod("works").await;
    let mut containers = pod.status.unwrap().container_statuses.unwrap();
    let ended = containers.remove(0).state.unwrap().terminated.unwrap();
    let usage = Record::from_message(&ended.message.unwrap()).expect("the starter's record").usage;
    assert!(usage.user_ms + usage.system_ms > 0, "{usage:?}");
    assert!((20 << 20..=64 << 20).contains(&usage.peak_memory), "{usage:?}");
    assert!(usage.resident >= 20 << 20, "{usage:?}");
    assert!(usage.scratch >= 3 << 20, "{usage:?}");
    let status = world.job("works").await.status.unwrap();
    assert_eq!(event_numbers(&status), [0, 1, 6, 5]);
    let log = status.user_log.unwrap().text;
    let memory = format!("{}  -  MemoryUsage of job (MB)", usage.peak_memory.div_ceil(1 << 20));
    assert!(log.contains(&memory), "{log}");
    world.end().await;
}
