//! Policies: what the job's owner and the installation want to happen by itself, in `HTCondor`'s order (§6.2 of the
//! semantics).
//!
//! Invariant: an expression that is undefined, an error or a text does nothing; the first one that fires wins; a person's
//! own hold is never released.

use crate::{
    classad::{ClassAd, Context, Expr, Value},
    fate::vacate,
    hold,
    more_memory::{self, Increase},
};
use duj_api::{
    DockerUniverseJobSpec,
    policy::{Expression, Policy},
    status::{Hold, ProcStatus},
};

/// What the installation decides for all jobs (`SYSTEM_PERIODIC_HOLD` and so on), as expressions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemPolicies {
    /// `SYSTEM_PERIODIC_HOLD`.
    pub hold: Option<String>,
    /// `SYSTEM_PERIODIC_RELEASE`.
    pub release: Option<String>,
    /// `SYSTEM_PERIODIC_REMOVE`.
    pub remove: Option<String>,
    /// `SYSTEM_PERIODIC_VACATE`.
    pub vacate: Option<String>,
}

/// What a policy wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Hold it.
    Hold(Hold),
    /// Release it, for this reason.
    Release(String),
    /// Remove it, for this reason.
    Remove(String),
    /// Back to Idle, with this vacate code and reason.
    Vacate(i32, String),
}

/// What becomes of a job that has ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AtExit {
    /// It has ended.
    Leave,
    /// It is held.
    Hold(Hold),
    /// It is run again, for this reason.
    Requeue(String),
}

/// One expression and what goes with it.
#[derive(Clone, Debug)]
struct Rule {
    /// `HTCondor`'s name: `PeriodicHold`, or `SYSTEM_PERIODIC_HOLD`.
    name: &'static str,
    /// Of the installation, not of the job.
    system: bool,
    condition: Expr,
    reason: Option<Expr>,
    subcode: Option<Expr>,
}

/// All of a job's policies, read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policies {
    hold: Vec<Rule>,
    release: Vec<Rule>,
    remove: Vec<Rule>,
    vacate: Vec<Rule>,
    on_exit_hold: Option<Rule>,
    on_exit_remove: Option<Expr>,
    allowed_job_duration: Option<i64>,
    allowed_execute_duration: Option<i64>,
    /// What follows an attempt that had too little memory.
    pub(crate) memory_increase: Option<Increase>,
    /// `spec.hold` is true: a person's word, which no policy takes back.
    held_by_spec: bool,
}

/// How long the current attempt has taken, in seconds; none where it has not begun.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Running {
    /// Since it was bound to its node (`ShadowBday`).
    pub(crate) attempt: Option<i64>,
    /// Since its process began.
    pub(crate) execution: Option<i64>,
}

impl Policies {
    /// Reads them. The error is the text for a person: which field, what is wrong, and a caret under the place.
    pub(crate) fn read(
        spec: &DockerUniverseJobSpec,
        system: &SystemPolicies,
    ) -> Result<Self, String> {
        let policy = &spec.policy;
        // A condition with its reason and its subcode, which are fields beside it.
        let own = |name, field: &str, [condition, reason, subcode]: [&Option<Expression>; 3]| {
            let Some(condition) = parse_optional(field, condition.as_ref())? else {
                return Ok(None);
            };
            let reason = parse_optional(&format!("{field}Reason"), reason.as_ref())?;
            let subcode = parse_optional(&format!("{field}Subcode"), subcode.as_ref())?;
            Ok(Some(Rule { name, system: false, condition, reason, subcode }))
        };
        let of_system = |name, value: &str, condition: &Option<String>| {
            let condition = condition.as_ref().map(|text| parse(value, text)).transpose()?;
            let rule =
                |condition| Rule { name, system: true, condition, reason: None, subcode: None };
            Ok(condition.map(rule))
        };
        let rules = |own: Result<Option<Rule>, String>, system: Result<Option<Rule>, String>| {
            Ok::<_, String>(own?.into_iter().chain(system?).collect::<Vec<_>>())
        };
        let none = &None;
        Ok(Self {
            hold: rules(
                own(
                    "PeriodicHold",
                    "periodicHold",
                    [
                        &policy.periodic_hold,
                        &policy.periodic_hold_reason,
                        &policy.periodic_hold_subcode,
                    ],
                ),
                of_system("SYSTEM_PERIODIC_HOLD", "systemPeriodicHold", &system.hold),
            )?,
            release: rules(
                own(
                    "PeriodicRelease",
                    "periodicRelease",
                    [&policy.periodic_release, &policy.periodic_release_reason, none],
                ),
                of_system("SYSTEM_PERIODIC_RELEASE", "systemPeriodicRelease", &system.release),
            )?,
            remove: rules(
                own(
                    "PeriodicRemove",
                    "periodicRemove",
                    [&policy.periodic_remove, &policy.periodic_remove_reason, none],
                ),
                of_system("SYSTEM_PERIODIC_REMOVE", "systemPeriodicRemove", &system.remove),
            )?,
            vacate: rules(
                own(
                    "PeriodicVacate",
                    "periodicVacate",
                    [&policy.periodic_vacate, &policy.periodic_vacate_reason, none],
                ),
                of_system("SYSTEM_PERIODIC_VACATE", "systemPeriodicVacate", &system.vacate),
            )?,
            on_exit_hold: own(
                "OnExitHold",
                "onExitHold",
                [&policy.on_exit_hold, &policy.on_exit_hold_reason, &policy.on_exit_hold_subcode],
            )?,
            on_exit_remove: on_exit_remove(policy)?,
            allowed_job_duration: policy.allowed_job_duration,
            allowed_execute_duration: policy.allowed_execute_duration,
            memory_increase: memory_increase(policy)?,
            held_by_spec: spec.hold,
        })
    }

    /// Whether anything has to be evaluated again and again.
    pub(crate) fn is_periodic(&self) -> bool {
        [&self.hold, &self.release, &self.remove, &self.vacate]
            .iter()
            .any(|rules| !rules.is_empty())
    }

    /// Whether there is anything to ask while the job has not ended.
    pub(crate) fn is_silent(&self) -> bool {
        !self.is_periodic()
            && self.allowed_job_duration.is_none()
            && self.allowed_execute_duration.is_none()
    }

    /// In how many seconds an attempt will have taken too long.
    pub(crate) fn due(&self, running: Running) -> Option<i64> {
        let left = |allowed: Option<i64>, taken: Option<i64>| Some(allowed?.saturating_sub(taken?));
        let job = left(self.allowed_job_duration, running.attempt);
        // The limit itself is allowed; one second more is not.
        let execution = left(self.allowed_execute_duration, running.execution).map(|left| left + 1);
        job.into_iter().chain(execution).min()
    }

    /// The first policy that fires for a job that has not just ended.
    pub(crate) fn periodic(
        &self,
        ad: &ClassAd,
        context: &Context,
        status: ProcStatus,
        hold: Option<&Hold>,
        running: Running,
    ) -> Option<Action> {
        let runs = matches!(status, ProcStatus::Running | ProcStatus::Suspended);
        if runs && let Some(hold) = self.too_long(running) {
            return Some(Action::Hold(hold));
        }
        if runs && let Some((rule, reason)) = first(&self.vacate, ad, context) {
            let code = if rule.system { vacate::SYSTEM_POLICY } else { vacate::JOB_POLICY };
            return Some(Action::Vacate(code, reason));
        }
        let may_hold =
            !matches!(status, ProcStatus::Held | ProcStatus::Completed | ProcStatus::Removed);
        if may_hold && let Some(hold) = self.to_hold(ad, context) {
            return Some(Action::Hold(hold));
        }
        let releasable = status == ProcStatus::Held
            && !self.held_by_spec
            && hold.is_some_and(|hold| !hold.stopping && hold.code != hold::USER_REQUEST);
        if releasable && let Some((_, reason)) = first(&self.release, ad, context) {
            return Some(Action::Release(reason));
        }
        let (_, reason) = first(&self.remove, ad, context)?;
        Some(Action::Remove(reason))
    }

    /// What becomes of a job that has ended by itself; its ad tells how.
    pub(crate) fn at_exit(&self, ad: &ClassAd, context: &Context, running: Running) -> AtExit {
        if let Some(hold) = self.too_long(running).or_else(|| self.to_hold(ad, context)) {
            return AtExit::Hold(hold);
        }
        // A removal and an end are the same to a job that has ended.
        if first(&self.remove, ad, context).is_some() {
            return AtExit::Leave;
        }
        if let Some(rule) = &self.on_exit_hold
            && let Some(hold) = rule.hold(ad, context)
        {
            return AtExit::Hold(hold);
        }
        match &self.on_exit_remove {
            Some(expr) if expr.evaluate(ad, context).as_condition() == Some(false) => {
                AtExit::Requeue(format!(
                    "The job attribute OnExitRemove expression '{expr}' evaluated to FALSE"
                ))
            }
            _ => AtExit::Leave,
        }
    }

    fn too_long(&self, running: Running) -> Option<Hold> {
        if let (Some(allowed), Some(taken)) = (self.allowed_job_duration, running.attempt)
            && taken >= allowed
        {
            return Some(hold::job_duration_exceeded(allowed));
        }
        if let (Some(allowed), Some(taken)) = (self.allowed_execute_duration, running.execution)
            && taken > allowed
        {
            return Some(hold::execute_duration_exceeded(allowed));
        }
        None
    }

    fn to_hold(&self, ad: &ClassAd, context: &Context) -> Option<Hold> {
        self.hold.iter().find_map(|rule| rule.hold(ad, context))
    }
}

impl Rule {
    fn fires(&self, ad: &ClassAd, context: &Context) -> bool {
        self.condition.evaluate(ad, context).as_condition() == Some(true)
    }

    fn hold(&self, ad: &ClassAd, context: &Context) -> Option<Hold> {
        if !self.fires(ad, context) {
            return None;
        }
        let subcode =
            self.subcode.as_ref().and_then(|expr| expr.evaluate(ad, context).as_integer());
        let subcode = subcode.and_then(|subcode| i32::try_from(subcode).ok()).unwrap_or(0);
        let code = if self.system { hold::SYSTEM_POLICY } else { hold::JOB_POLICY };
        Some(hold::hold(code, subcode, self.reason(ad, context)))
    }

    /// The reason that was asked for, or `HTCondor`'s own words.
    fn reason(&self, ad: &ClassAd, context: &Context) -> String {
        let wanted = self.reason.as_ref().map(|expr| expr.evaluate(ad, context));
        if let Some(Value::String(text)) = wanted
            && !text.is_empty()
        {
            return text.to_string();
        }
        let kind = if self.system { "system macro" } else { "job attribute" };
        format!("The {kind} {} expression '{}' evaluated to TRUE", self.name, self.condition)
    }
}

fn first<'a>(rules: &'a [Rule], ad: &ClassAd, context: &Context) -> Option<(&'a Rule, String)> {
    let rule = rules.iter().find(|rule| rule.fires(ad, context))?;
    Some((rule, rule.reason(ad, context)))
}

/// A size, or an expression.
fn memory_increase(policy: &Policy) -> Result<Option<Increase>, String> {
    let Some(Expression(text)) = &policy.retry_request_memory_increase else { return Ok(None) };
    if let Some(bytes) = more_memory::size(text) {
        return Ok(Some(Increase::By(bytes)));
    }
    parse("retryRequestMemoryIncrease", text).map(|to| Some(Increase::To(to)))
}

/// `OnExitRemove` as `condor_submit` makes it of the retries (§1.8 of the semantics).
fn on_exit_remove(policy: &Policy) -> Result<Option<Expr>, String> {
    let own = parse_optional("onExitRemove", policy.on_exit_remove.as_ref())?;
    let until = parse_optional("retryUntil", policy.retry_until.as_ref())?;
    let retries = policy.max_retries.is_some()
        || policy.success_exit_code.is_some()
        || policy.retry_until.is_some();
    if !retries {
        return Ok(own);
    }
    let success = if policy.success_exit_code.is_some() { "JobSuccessExitCode" } else { "0" };
    let mut text = format!("NumJobCompletions > JobMaxRetries || ExitCode =?= {success}");
    if let (Some(expr), Some(written)) = (&until, &policy.retry_until) {
        let is_code = matches!(expr.literal(), Some(Value::Integer(_)));
        text.push_str(if is_code { " || ExitCode =?= " } else { " || " });
        text.push_str(written.0.trim());
    }
    if let Some(written) = &policy.on_exit_remove {
        text.push_str(" || ");
        text.push_str(written.0.trim());
    }
    parse("the retries' expression", &text).map(Some)
}

fn parse_optional(field: &str, text: Option<&Expression>) -> Result<Option<Expr>, String> {
    text.map(|text| parse(field, &text.0)).transpose()
}

fn parse(field: &str, text: &str) -> Result<Expr, String> {
    Expr::parse(text)
        .map_err(|error| format!("{field} cannot be read: {error}\n{}", error.caret(text)))
}
