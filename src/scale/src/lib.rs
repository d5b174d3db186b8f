//! What thousands of jobs and procs cost, beside batch/v1 Job on the same real control plane.
//!
//! The control plane and the operator are real; the nodes are simulated ([`fleet`]): they write what real kubelets write
//! ([`kubelet`]), at full speed. The sections ([`sections`]) submit work ([`work`]), watch its status ([`board`]) and read
//! what it cost: the API server's own counts ([`counts`]), the processes' processor time and memory ([`processes`]).
//!
//! On the same nodes [`chaos`] kills and overlaps operators, and [`witness`] counts what really ran.
//!
//! A program of its own, built as a release: nodes, submitter and watchers share the machine with what is measured, and
//! must not be what is measured.

pub mod bench;
pub mod board;
pub mod chaos;
pub mod counts;
pub mod fleet;
pub mod kubelet;
pub mod meter;
pub mod operator;
pub mod plan;
pub mod plots;
pub mod processes;
pub mod profile;
pub mod report;
pub mod script;
pub mod sections;
pub mod slim;
pub mod witness;
pub mod work;
