//! More memory for the attempt that follows one that had too little (`retry_request_memory` and its kin, §1.8 of the
//! semantics).
//!
//! Invariant: each attempt gets more than the one before, or there is none: the job is held, as without these fields.

use crate::{
    classad::{ClassAd, Context, Expr, Value},
    quantity::Amount,
};
use duj_api::{Quantity, policy::Policy};

/// What `retryRequestMemoryIncrease` says.
#[derive(Clone, Debug)]
pub(crate) enum Increase {
    /// So many bytes more.
    By(i64),
    /// So many MiB.
    To(Expr),
}

impl Increase {
    fn of(&self, bytes: i64, ad: &ClassAd, context: &Context) -> Option<i64> {
        match self {
            Self::By(more) => bytes.checked_add(*more),
            Self::To(expression) => match expression.evaluate(ad, context) {
                Value::Integer(mebibytes) => mebibytes.checked_mul(1 << 20),
                #[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
                Value::Real(mebibytes) => Some((mebibytes * 1_048_576.0) as i64),
                _ => None,
            },
        }
    }
}

/// A size, where a text is one.
pub(crate) fn size(text: &str) -> Option<i64> {
    Amount::parse(&Quantity(text.trim().to_owned())).ok().map(Amount::units)
}

/// MiB of the next attempt of a job that had `bytes`, and has got more `before` so many times; none where it has to do
/// without.
pub(crate) fn next(
    policy: &Policy,
    increase: Option<&Increase>,
    (bytes, before): (i64, u32),
    ad: &ClassAd,
    context: &Context,
) -> Option<i64> {
    let most = policy.retry_request_memory_max.as_ref().and_then(|most| size(&most.0));
    let wanted = match (increase, most) {
        (Some(increase), Some(most)) => increase.of(bytes, ad, context)?.min(most),
        (Some(increase), None) if before == 0 => increase.of(bytes, ad, context)?,
        (None, Some(most)) if before == 0 => most,
        _ => return None,
    };
    (bytes < wanted && wanted <= 1 << 50).then(|| (wanted + (1 << 20) - 1) >> 20)
}
