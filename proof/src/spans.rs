//! Spans of time, put together: when anything was the case, and for how long within another span.

use crate::history::Span;

/// Spans in their order, none of which touches the next.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    spans: Vec<Span>,
    /// How long all those before each are together.
    before: Vec<u64>,
}

impl Spans {
    /// Puts spans together, in whichever order they come; one that ends before it begins is empty.
    pub(crate) fn union(spans: impl IntoIterator<Item = Span>) -> Self {
        let mut all: Vec<Span> =
            spans.into_iter().filter(|span| span.from_ms < span.to_ms).collect();
        all.sort_unstable_by_key(|span| span.from_ms);
        let mut union = Self::default();
        for span in all {
            match union.spans.last_mut() {
                Some(last) if span.from_ms <= last.to_ms => last.to_ms = last.to_ms.max(span.to_ms),
                _ => union.spans.push(span),
            }
        }
        let mut sum = 0;
        for span in &union.spans {
            union.before.push(sum);
            sum += span.to_ms - span.from_ms;
        }
        union
    }

    /// Gives those that have a part within `from` to `to`.
    pub(crate) fn within(&self, from: u64, to: u64) -> &[Span] {
        let [first, end] = self.range(from, to);
        &self.spans[first..end]
    }

    /// Sums up what of `from` to `to` they cover.
    pub(crate) fn covered(&self, from: u64, to: u64) -> u64 {
        let [first, end] = self.range(from, to);
        let Some(last) = self.spans[first..end].last() else { return 0 };
        let whole = self.before[end - 1] - self.before[first] + (last.to_ms - last.from_ms);
        let cut_off = from.saturating_sub(self.spans[first].from_ms);
        whole - cut_off - last.to_ms.saturating_sub(to)
    }

    /// Gives the gaps between them that have a part within `from` to `to`; the last one has no end.
    pub(crate) fn gaps(&self, from: u64, to: u64) -> impl Iterator<Item = Span> {
        let first = self.spans.partition_point(|span| span.from_ms <= from);
        let gap = move |nth: usize| Span {
            from_ms: nth.checked_sub(1).map_or(0, |before| self.spans[before].to_ms),
            to_ms: self.spans.get(nth).map_or(u64::MAX, |next| next.from_ms),
        };
        (first..=self.spans.len()).map(gap).take_while(move |gap| gap.from_ms < to)
    }

    fn range(&self, from: u64, to: u64) -> [usize; 2] {
        let first = self.spans.partition_point(|span| span.to_ms <= from);
        let end = self.spans.partition_point(|span| span.from_ms < to);
        [first, end.max(first)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span([from_ms, to_ms]: [u64; 2]) -> Span {
        Span { from_ms, to_ms }
    }

    fn union() -> Spans {
        Spans::union([[70, 80], [10, 20], [15, 30], [30, 40], [50, 50], [90, 60]].map(span))
    }

    #[test]
    fn what_overlaps_or_touches_is_one_and_counts_once() {
        assert_eq!(union().within(0, 100), [[10, 40], [70, 80]].map(span));
        assert_eq!(union().covered(0, 100), 40);
    }

    #[test]
    fn of_a_span_that_begins_or_ends_elsewhere_only_the_part_within_counts() {
        for from in 0..100 {
            for to in from..100 {
                let one_by_one = (from..to).filter(|at| {
                    [[10, 40], [70, 80]].iter().any(|[begin, end]| (begin..end).contains(&at))
                });
                assert_eq!(union().covered(from, to), one_by_one.count() as u64, "{from} to {to}");
            }
        }
    }

    #[test]
    fn gaps_are_what_is_left_between() {
        let gaps = |from, to| union().gaps(from, to).collect::<Vec<_>>();
        assert_eq!(gaps(0, 1_000), [[0, 10], [40, 70], [80, u64::MAX]].map(span));
        assert_eq!(gaps(20, 60), [span([40, 70])]);
        assert_eq!(gaps(10, 40), []);
        assert_eq!(Spans::default().gaps(5, 9).collect::<Vec<_>>(), [span([0, u64::MAX])]);
    }
}
