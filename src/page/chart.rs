//! Charts: drawn here, as SVG, with the same numbers as a table for whoever cannot see them.
//!
//! Pure. The drawing stretches with the page and holds no text, so that text has its size on every screen.

use std::fmt::Write as _;

use maud::{Markup, html};

/// Height of the drawing, in its own units.
const HEIGHT: u64 = 1_000;
/// Width of a piece of time.
const PIECE: u64 = 60;

/// How the numbers are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Side by side, for what is counted.
    Bars,
    /// Connected, for what is measured.
    Lines,
}

/// Numbers over time.
pub(super) struct Chart<'c> {
    /// Of its own on the page.
    pub(super) id: &'c str,
    pub(super) title: &'c str,
    pub(super) kind: Kind,
    /// The beginnings of the pieces of time, for people.
    pub(super) times: &'c [String],
    pub(super) series: Vec<Series<'c>>,
    /// A number for people.
    pub(super) shown: &'c dyn Fn(u64) -> String,
    /// Heads the times in the table, and what opens the table.
    pub(super) time: &'c str,
    pub(super) as_table: &'c str,
}

/// One row of numbers.
#[derive(Debug)]
pub(super) struct Series<'c> {
    pub(super) name: &'c str,
    /// One for each piece of time; `None`: there is nothing to measure.
    pub(super) values: Vec<Option<u64>>,
}

impl Chart<'_> {
    pub(super) fn draw(&self) -> Markup {
        let most = self.series.iter().flat_map(|series| &series.values).flatten().copied().max().unwrap_or(0);
        let top = ceiling(most);
        let n_pieces = self.times.len().max(1) as u64;
        let width = n_pieces * PIECE;
        let (title, text) = (format!("{}-title", self.id), format!("{}-text", self.id));
        html! {
            figure class="chart" {
                figcaption {
                    h2 id=(title) { (self.title) }
                    @if self.series.len() > 1 {
                        ul class="legend" { @for (n, series) in self.series.iter().enumerate() {
                            li { span class={ "swatch s" (n) } {} (series.name) }
                        } }
                    }
                }
                div class="plot" {
                    div class="scale" aria-hidden="true" { span { ((self.shown)(top)) } span { ((self.shown)(top / 2)) } span { ((self.shown)(0)) } }
                    svg viewBox=(format!("0 0 {width} {HEIGHT}")) preserveAspectRatio="none" role="img"
                        aria-labelledby=(title) aria-describedby=(text) {
                        desc id=(text) { (self.description()) }
                        path class="grid" d=(format!("M0 0H{width}M0 {}H{width}M0 {HEIGHT}H{width}", HEIGHT / 2)) {}
                        @for (n, series) in self.series.iter().enumerate() {
                            @match self.kind {
                                Kind::Bars => (self.bars(n, series, top)),
                                Kind::Lines => path class={ "line s" (n) } d=(line(&series.values, top)) {},
                            }
                        }
                    }
                    div class="times" aria-hidden="true" { @for time in self.ends() { span { (time) } } }
                }
                details {
                    summary { (self.as_table) }
                    (self.table())
                }
            }
        }
    }

    /// What somebody hears who cannot see it: the latest and the highest numbers.
    fn description(&self) -> String {
        let mut text = String::new();
        for series in &self.series {
            let numbered = self.times.iter().zip(&series.values).filter_map(|(time, value)| Some((time, (*value)?)));
            // The first of the highest.
            let highest = numbered.fold(None, |best: Option<(&String, u64)>, (time, value)| match best {
                Some((_, most)) if most >= value => best,
                _ => Some((time, value)),
            });
            if let Some((time, value)) = highest {
                let _ = write!(text, "{}: ≤ {} ({time}). ", series.name, (self.shown)(value));
            }
        }
        text.trim_end().to_owned()
    }

    fn bars(&self, n: usize, series: &Series<'_>, top: u64) -> Markup {
        let n_series = self.series.len().max(1) as u64;
        let bar = (PIECE - 12) / n_series;
        let bars = series.values.iter().zip(self.times).zip(0_u64..);
        html! {
            @for ((value, time), place) in bars {
                @if let Some(value) = value.filter(|value| *value > 0) {
                    @let height = height(value, top).max(8);
                    rect class={ "s" (n) } x=(place * PIECE + 6 + n as u64 * bar) y=(HEIGHT - height) width=(bar) height=(height) {
                        title { (time) ": " (series.name) " " ((self.shown)(value)) }
                    }
                }
            }
        }
    }

    /// The first, the middle and the last time.
    fn ends(&self) -> Vec<&String> {
        let mut ends: Vec<&String> = self.times.first().into_iter().collect();
        ends.extend(self.times.get(self.times.len() / 2).filter(|_| self.times.len() > 4));
        ends.extend(self.times.last().filter(|_| self.times.len() > 1));
        ends
    }

    fn table(&self) -> Markup {
        html! {
            div class="scroll" tabindex="0" role="group" aria-label=(self.title) {
                table {
                    thead { tr {
                        th scope="col" { (self.time) }
                        @for series in &self.series { th scope="col" class="number" { (series.name) } }
                    } }
                    tbody {
                        @for (place, time) in self.times.iter().enumerate() {
                            tr {
                                th scope="row" { (time) }
                                @for series in &self.series {
                                    td class="number" {
                                        @match series.values.get(place).copied().flatten() {
                                            Some(value) => ((self.shown)(value)),
                                            None => "–",
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How high a number stands below `top`.
fn height(value: u64, top: u64) -> u64 {
    let height = u128::from(value).saturating_mul(u128::from(HEIGHT)) / u128::from(top.max(1));
    u64::try_from(height).unwrap_or(HEIGHT).min(HEIGHT)
}

/// A line through the values that are there; one alone is a dot.
fn line(values: &[Option<u64>], top: u64) -> String {
    let (mut path, mut is_drawing) = (String::new(), false);
    for (place, value) in (0_u64..).zip(values) {
        let Some(value) = value else {
            is_drawing = false;
            continue;
        };
        let (x, y) = (place * PIECE + PIECE / 2, HEIGHT - height(*value, top));
        // With round ends, a line of no length is a dot.
        let _ = if is_drawing { write!(path, "L{x} {y}") } else { write!(path, "M{x} {y}h0") };
        is_drawing = true;
    }
    path
}

/// The least number of the form 2, 4, 6 or 10 × 10ⁿ that is not below `n`: its half is whole.
fn ceiling(n: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for step in [2, 4, 6, 10] {
            match unit.checked_mul(step) {
                Some(found) if found >= n => return found,
                Some(_) => {}
                None => return u64::MAX,
            }
        }
        unit = unit.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chart(kind: Kind, values: Vec<Option<u64>>) -> String {
        let times: Vec<String> = (0..values.len()).map(|n| format!("<{n}>")).collect();
        let series = vec![Series { name: "A & B", values: values.clone() }, Series { name: "B", values }];
        let shown = |n: u64| n.to_string();
        let chart = Chart {
            id: "c",
            title: "<T>",
            kind,
            times: &times,
            series,
            shown: &shown,
            time: "Time",
            as_table: "Table",
        };
        chart.draw().into_string()
    }

    proptest! {
        #[test]
        fn nothing_is_drawn_outside_and_every_number_is_in_the_table(
            values in proptest::collection::vec(proptest::option::of(any::<u64>()), 0..40),
            is_line: bool,
        ) {
            let drawn = chart(if is_line { Kind::Lines } else { Kind::Bars }, values.clone());
            let (svg, table) = drawn.split_once("</svg>").unwrap();
            for value in values.iter().flatten() {
                prop_assert!(table.contains(&format!("<td class=\"number\">{value}</td>")), "{value}");
            }
            let numbers = |name: &str| {
                svg.split(&format!(" {name}=\"")).skip(1).map(|rest| rest.split('"').next().unwrap().parse::<u64>().unwrap()).collect::<Vec<_>>()
            };
            for (y, height) in numbers("y").into_iter().zip(numbers("height")) {
                prop_assert!(y + height == HEIGHT);
            }
            let width = values.len().max(1) as u64 * PIECE;
            for (x, bar) in numbers("x").into_iter().zip(numbers("width")) {
                prop_assert!(x + bar <= width);
            }
            prop_assert!(!drawn.contains("<T>") && !drawn.contains("<0>") && !drawn.contains("A & B"), "{drawn}");
        }

        #[test]
        fn the_top_is_not_below_any_number_and_not_far_above(n in 0..u64::MAX / 16) {
            let top = ceiling(n);
            prop_assert!(top >= n && top % 2 == 0);
            prop_assert!(n < 2 || top <= n.saturating_mul(2));
        }
    }

    #[test]
    fn a_line_has_gaps_where_nothing_was_measured() {
        assert_eq!(line(&[Some(0), Some(5), None, Some(10)], 10), "M30 1000h0L90 500M210 0h0");
        assert_eq!(line(&[None], 10), "");
    }
}
