use super::*;
use crate::lease::Lease;
use duj_api::{
    job::{EnvironmentVariable, LocalReference},
    scheduling::SecurityContext,
};

fn job() -> DockerUniverseJob {
    let mut job = DockerUniverseJob::new(
        "hello",
        DockerUniverseJobSpec {
            image: "busybox:1.35".into(),
            executable: Some("sh".into()),
            arguments: vec!["-c".into(), "echo $(date) $$ $HOME".into()],
            ..DockerUniverseJobSpec::default()
        },
    );
    job.metadata.namespace = Some("physics".into());
    job.metadata.uid = Some("0a1b2c3d-1111-2222-3333-444455556666".into());
    job.metadata.generation = Some(3);
    job
}

const FIRST: Attempt =
    Attempt { cluster_id: 7, proc: 0, number: 0, starts: 0, delivery: Delivery::ImageVolume };

/// The pod of a job without items.
fn pod_for(job: &DockerUniverseJob, settings: &Settings, attempt: Attempt) -> Result<Pod, String> {
    super::pod_for(job, &Items::read(None, None).unwrap(), settings, attempt)
}

fn container(pod: &Pod) -> &Container {
    &pod.spec.as_ref().unwrap().containers[0]
}

#[test]
fn a_plain_job_is_one_container() {
    let pod = pod_for(&job(), &Settings::default(), FIRST).unwrap();
    let spec = pod.spec.as_ref().unwrap();
    assert_eq!(spec.containers.len(), 1);
    assert_eq!(spec.init_containers, None);
    assert_eq!(pod.metadata.name.as_deref(), Some("hello-0a1b2c3d-0-0"));
    assert_eq!(spec.hostname.as_deref(), Some("htcjob7-0"));
    insta::assert_yaml_snapshot!(pod);
}

#[test]
fn without_image_volumes_an_init_container_copies_the_starter() {
    let attempt = Attempt { delivery: Delivery::InitContainer, ..FIRST };
    let pod = pod_for(&job(), &Settings::default(), attempt).unwrap();
    let spec = pod.spec.unwrap();
    assert_eq!(spec.init_containers.unwrap()[0].command.as_ref().unwrap()[1], "install");
    assert!(spec.volumes.unwrap().iter().all(|volume| volume.image.is_none()));
}

#[test]
fn the_same_job_makes_the_same_pod() {
    let settings = Settings::default();
    assert_eq!(pod_for(&job(), &settings, FIRST), pod_for(&job(), &settings, FIRST));
}

#[test]
fn the_kubelet_expands_nothing_of_the_users() {
    let mut job = job();
    job.spec.environment = vec![EnvironmentVariable {
        name: "PRICE".into(),
        value: Some("$(HOME) $$5".into()),
        value_from: None,
    }];
    let pod = pod_for(&job, &Settings::default(), FIRST).unwrap();
    let arguments = container(&pod).args.as_ref().unwrap();
    assert_eq!(arguments.last().unwrap(), "echo $$(date) $$$$ $$HOME");
    let price = container(&pod).env.as_ref().unwrap()[0].value.clone();
    assert_eq!(price.as_deref(), Some("$$(HOME) $$$$5"));
}

#[test]
fn a_thread_count_that_the_user_gave_stays() {
    let mut job = job();
    job.spec.request_cpus = Some(Quantity("2500m".into()));
    job.spec.environment = vec![EnvironmentVariable {
        name: "OMP_NUM_THREADS".into(),
        value: Some("9".into()),
        value_from: None,
    }];
    let pod = pod_for(&job, &Settings::default(), FIRST).unwrap();
    let env = container(&pod).env.as_ref().unwrap();
    let values: Vec<_> = env.iter().filter(|v| v.name.starts_with("OMP_")).collect();
    assert_eq!(values.len(), 1);
    assert_eq!(values[0].value.as_deref(), Some("9"));
    let arguments = container(&pod).args.as_ref().unwrap().join(" ");
    assert!(
        arguments.contains(" --threads 2 --given OMP_NUM_THREADS --tell-left -- "),
        "{arguments}"
    );
}

#[test]
fn root_is_refused_unless_the_installation_allows_it() {
    let mut job = job();
    job.spec.security_context =
        Some(SecurityContext { run_as_user: Some(0), ..SecurityContext::default() });
    let refused = pod_for(&job, &Settings::default(), FIRST).unwrap_err();
    assert_eq!(
        refused,
        "securityContext.runAsUser '0' is refused by this installation: name another id, or leave the field out"
    );
    let settings = Settings { allow_root: true, ..Settings::default() };
    assert!(pod_for(&job, &settings, FIRST).is_ok());
}

#[test]
fn limits_follow_the_requests() {
    let mut job = job();
    job.spec.request_memory = Some(Quantity("64Mi".into()));
    job.spec.request_disk = Some(Quantity("10M".into()));
    job.spec.request_gpus = Some(2);
    job.spec.image_pull_secrets = vec![LocalReference { name: "registry".into() }];
    let pod = pod_for(&job, &Settings::default(), FIRST).unwrap();
    let resources = container(&pod).resources.clone().unwrap();
    let (requests, limits) = (resources.requests.unwrap(), resources.limits.unwrap());
    assert_eq!(requests["memory"], limits["memory"]);
    assert!(!limits.contains_key("cpu"));
    assert_eq!(requests["ephemeral-storage"].0, "10M");
    assert_eq!(limits["nvidia.com/gpu"].0, "2");
    let arguments = container(&pod).args.clone().unwrap();
    assert!(arguments.windows(2).any(|pair| pair == ["--disk-limit", "10000000"]));
}

#[test]
fn a_lease_is_a_flag_a_file_and_a_first_token() {
    let mut job = job();
    job.spec.lease_duration = Some(1200);
    let pod = pod_for(&job, &Settings::default(), FIRST).unwrap();
    let arguments = container(&pod).args.clone().unwrap();
    assert!(arguments.windows(2).any(|pair| pair == ["--lease-duration", "1200"]));
    let volumes = pod.spec.as_ref().unwrap().volumes.clone().unwrap();
    let control = volumes.iter().find(|volume| volume.name == names::VOLUME_CONTROL).unwrap();
    let files = control.downward_api.clone().unwrap().items.unwrap();
    let paths: Vec<_> = files
        .iter()
        .map(|file| (file.path.as_str(), file.field_ref.as_ref().unwrap().field_path.as_str()))
        .collect();
    assert_eq!(
        paths,
        [
            ("suspend", "metadata.annotations['dockeruniverse.io/suspend']"),
            ("lease", "metadata.annotations['dockeruniverse.io/lease']"),
        ]
    );
    assert_eq!(pod.metadata.annotations.as_ref().unwrap()[names::ANNOTATION_LEASE], "0");
    let lease = Lease::read(&pod).unwrap();
    assert_eq!(lease, Lease { duration: 1200, grace: 605, mark: Some(Mark::FIRST) });
}

#[test]
fn what_the_user_calls_a_lease_is_none() {
    let mut job = job();
    job.spec.arguments = vec!["--lease-duration".into(), "1200".into()];
    let pod = pod_for(&job, &Settings::default(), FIRST).unwrap();
    assert_eq!(Lease::read(&pod), None);
    assert!(!pod.metadata.annotations.unwrap().contains_key(names::ANNOTATION_LEASE));
}
