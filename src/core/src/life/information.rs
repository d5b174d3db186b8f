//! Event 028: what its owner wants to know of the job at each event (`job_ad_information_attrs`).
//!
//! Invariant: it follows each event of the proc, shows the ad as it is after the change that the event tells of, and says
//! only what has a value: what is undefined or an error is left out, as in `HTCondor`.

use super::Proc;
use crate::{
    classad::{ClassAd, Context, Value},
    userlog::{Attribute, Body, Event, Line},
};
use std::collections::BTreeMap;

impl Proc<'_> {
    /// Tells of the ad after each event that was written since it was told last.
    pub(crate) fn inform(&mut self) {
        let wanted = &self.job.spec.policy.job_ad_information_attrs;
        if wanted.is_empty() || !self.journal.has_news() {
            return;
        }
        let usage = self.pod.filter(|pod| pod.ended()).map(|pod| self.end_of(pod).usage());
        let ad = self.ad(usage.as_ref());
        let context = self.context();
        self.journal.inform(|event| information(event, wanted, &ad, &context));
    }
}

fn information(event: &Event, wanted: &[String], ad: &ClassAd, context: &Context) -> Body {
    let mut attributes = BTreeMap::new();
    let (trigger, kind) = event.body.names();
    let number = |number: i64| Line::new(&number.to_string());
    let time = event.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    // What the event's own ad has; what it says more stands in the event.
    for (name, value) in [
        ("Cluster", number(event.job.cluster.into())),
        ("EventTime", Line::quoted(&time)),
        ("EventTypeNumber", number(28)),
        ("MyType", Line::quoted(kind)),
        ("Proc", number(event.job.proc.into())),
        ("Subproc", number(0)),
    ] {
        attributes.insert(Attribute::new(name), value);
    }
    for name in wanted {
        let value = match ad.evaluate(name, context) {
            Value::String(text) => Line::quoted(&text),
            value @ (Value::Boolean(_) | Value::Integer(_) | Value::Real(_)) => {
                Line::new(&value.to_string())
            }
            _ => continue,
        };
        attributes.insert(Attribute::new(name), value);
    }
    attributes.insert(Attribute::new("TriggerEventTypeName"), Line::quoted(trigger));
    let trigger = number(event.body.number().into());
    attributes.insert(Attribute::new("TriggerEventTypeNumber"), trigger);
    Body::JobAdInformation { attributes }
}
