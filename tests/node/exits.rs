//! How a job's own process ends, and what the kubelet and `HTCondor` say of it.

use crate::world::{World, condition, event_numbers};
use duj_api::status::ProcStatus;
use serde_json::{Value, json};

fn ended(exit_code: i32) -> Value {
    json!({
        "phase": if exit_code == 0 { "Succeeded" } else { "Failed" },
        "reason": null, "waiting": null, "disruption": null,
        "terminated": if exit_code == 0 { "Completed" } else { "Error" },
        "exitCode": exit_code,
    })
}

#[tokio::test]
async fn exit_codes_are_the_jobs_own() {
    let world = World::new("exit-codes").await;
    for code in [0, 1, 7, 126, 127, 129, 137, 143, 254, 255] {
        world.submit_script(&format!("exit-{code}"), &format!("exit {code}")).await;
    }
    for code in [0, 1, 7, 126, 127, 129, 137, 143, 254, 255] {
        let name = format!("exit-{code}");
        let record = world.wait_for(&name, ProcStatus::Completed).await;
        assert_eq!((record.exit_code, record.exit_signal), (Some(code), None));
        assert_eq!(world.pinned(&name).await, ended(code));
        let status = world.job(&name).await.status.unwrap();
        assert_eq!(event_numbers(&status), [0, 1, 6, 5]);
        assert_eq!(condition(&status, "Finished"), Some("True"));
        assert_eq!(condition(&status, "Complete"), (code == 0).then_some("True"));
        assert_eq!(condition(&status, "Failed"), (code != 0).then_some("True"));
        assert_eq!(condition(&status, "Reconciling"), None);
        assert_eq!(condition(&status, "Stalled"), (code != 0).then_some("True"));
    }
    world.end().await;
}

#[tokio::test]
async fn death_by_signal_is_not_an_exit_code() {
    let world = World::new("signals").await;
    for signal in [1, 6, 9, 11, 15] {
        world.submit_script(&format!("signal-{signal}"), &format!("kill -{signal} $$")).await;
    }
    for signal in [1, 6, 9, 11, 15] {
        let name = format!("signal-{signal}");
        let record = world.wait_for(&name, ProcStatus::Completed).await;
        assert_eq!((record.exit_code, record.exit_signal), (None, Some(signal)));
        assert_eq!(world.pinned(&name).await, ended(128 + signal));
        let because = world.wait_because(&name, "Signalled").await;
        assert!(because.ends_with(&format!("died by signal {signal}")), "{because}");
    }
    world.end().await;
}
