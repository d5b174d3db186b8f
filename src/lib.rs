//! The operator's shell: everything that touches the world, around the pure `duj_core`.
//!
//! A job's way through it: [`watch`] keeps [`index`] up to date and wakes [`reconcile`], which asks [`observe`] for the facts,
//! `duj_core::decide` for the decision, and [`perform`] to carry it out. Nothing but `perform` writes to jobs, commands and
//! pods. Beside them: [`cluster_ids`] hands out `ClusterId`s, [`orphans`] lets go of pods whose job is gone,
//! [`record`] tells people by Kubernetes Events, [`admin`] serves probes and metrics, and [`leadership`] sees to it that of
//! several operators one writes.

pub mod admin;
pub mod args;
pub mod clock;
pub mod cluster_ids;
pub mod command_answers;
pub mod constraint;
pub mod hearing;
pub mod index;
pub mod items;
pub mod leadership;
pub mod memory;
pub mod metrics;
pub mod observe;
pub mod orphans;
pub mod perform;
pub mod places;
pub mod reconcile;
pub mod record;
pub mod records_pages;
pub mod refusal;
pub mod run;
pub mod slim;
pub mod telemetry;
pub mod trouble;
pub mod userlog_pages;
pub mod watch;
pub mod workqueue;
