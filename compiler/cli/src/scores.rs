//! What a vector of scores says: the best classes and their probabilities.

use serde::Serialize;

/// A class and its share of the softmax.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Guess {
    /// Index of the class.
    pub(crate) class: usize,
    /// Its name, if the spec has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    /// Its softmax.
    pub(crate) probability: f64,
}

/// The best classes, the best first; of equals, the first.
pub(crate) fn best(scores: &[f32], count: usize, labels: &[String]) -> Vec<Guess> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let score = |i: usize| scores.get(i).copied().map_or(f64::NAN, f64::from);
    // A score that is no number comes last.
    let key = |i: usize| if score(i).is_nan() { f64::NEG_INFINITY } else { score(i) };
    order.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
    let largest = order.first().map_or(0.0, |&i| score(i));
    let sum: f64 = scores.iter().map(|&s| (f64::from(s) - largest).exp()).sum();
    let guess = |&class: &usize| Guess {
        class,
        label: labels.get(class).cloned(),
        probability: (score(class) - largest).exp() / sum,
    };
    order.iter().take(count).map(guess).collect()
}

/// How many classes score better than `class`: 0 if it is the best. `None` if a score is no number.
pub(crate) fn rank(scores: &[f32], class: usize) -> Option<usize> {
    let own = *scores.get(class)?;
    if scores.iter().any(|s| s.is_nan()) {
        return None;
    }
    Some(scores.iter().enumerate().filter(|&(i, &s)| s > own || (s == own && i < class)).count())
}
