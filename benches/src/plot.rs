//! Small plots in SVG: how two figures, a rate and a memory, grow with a third.
//! The third is on a logarithmic scale, the figures on linear ones from zero;
//! a point is the median, its bar the least and the most.

use std::fmt::Write as _;

use crate::Outcome;

const WIDTH: f64 = 560.0;
const PANEL: f64 = 170.0;
const GAP: f64 = 40.0;
const LEFT: f64 = 80.0;
/// The width of one of a name's characters.
const CHARACTER: f64 = 7.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 50.0;

/// One figure over all points.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What it shows, with its unit.
    pub label: String,
    /// The least, the median and the most, a point each.
    pub values: Vec<(f64, f64, f64)>,
}

/// Draws panels below each other over the same `at`, with the name of each point.
///
/// # Errors
/// None: the text only grows.
pub fn svg(title: &str, axis: &str, at: &[(f64, String)], panels: &[Panel]) -> Outcome<String> {
    let height = TOP + panels.len() as f64 * (PANEL + GAP) - GAP + BOTTOM;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>\n",
        escaped(title)
    );
    let places = places(at);
    for (number, panel) in panels.iter().enumerate() {
        let top = TOP + number as f64 * (PANEL + GAP);
        draw(&mut text, panel, top, &places)?;
    }
    let foot = height - BOTTOM;
    let after = places.iter().zip(at).skip(1).map(Some).chain([None]);
    for ((x, (_, name)), after) in places.iter().zip(at).zip(after) {
        // The last name is wanted most: one that would stand in the next is left out.
        let stands_in_it = |(next, (_, its)): (&f64, &(f64, String))| {
            next - x < CHARACTER * (name.len() + its.len()) as f64 / 2.0
        };
        if after.is_some_and(stands_in_it) {
            continue;
        }
        writeln!(
            text,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            foot + 16.0,
            escaped(name)
        )?;
    }
    let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
    writeln!(
        text,
        "<text x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n</svg>",
        foot + 36.0,
        escaped(axis)
    )?;
    Ok(text)
}

fn draw(text: &mut String, panel: &Panel, top: f64, places: &[f64]) -> Outcome<()> {
    let most = panel.values.iter().map(|value| value.2).fold(0.0, f64::max);
    let (step, ticks) = ticks(most);
    let height = |value: f64| top + PANEL * (1.0 - value / (step * f64::from(ticks)));
    writeln!(
        text,
        "<text x=\"{LEFT}\" y=\"{:.1}\" fill=\"#444\">{}</text>",
        top - 6.0,
        escaped(&panel.label)
    )?;
    for tick in 0..=ticks {
        let value = step * f64::from(tick);
        let y = height(value);
        writeln!(
            text,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>",
            WIDTH - RIGHT
        )?;
        writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            number(value)
        )?;
    }
    let mut line = String::new();
    for (x, (least, middle, most)) in places.iter().zip(&panel.values) {
        let (y1, y, y2) = (height(*least), height(*middle), height(*most));
        writeln!(
            text,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{y1:.1}\" y2=\"{y2:.1}\" stroke=\"#1f5fa8\"/>"
        )?;
        writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#1f5fa8\"/>")?;
        write!(line, "{x:.1},{y:.1} ")?;
    }
    writeln!(text, "<polyline points=\"{}\" fill=\"none\" stroke=\"#1f5fa8\"/>", line.trim_end())?;
    Ok(())
}

/// Where the points stand: by their logarithm; zero, which has none, a step before the next.
fn places(at: &[(f64, String)]) -> Vec<f64> {
    let least = at.iter().map(|point| point.0).filter(|at| *at > 0.0).fold(f64::INFINITY, f64::min);
    let logarithm = |at: f64| if at > 0.0 { at.log2() } else { least.log2() - 1.0 };
    let logarithms: Vec<f64> = at.iter().map(|point| logarithm(point.0)).collect();
    let first = logarithms.iter().copied().fold(f64::INFINITY, f64::min);
    let last = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let width = WIDTH - LEFT - RIGHT - 40.0;
    let share = |at: f64| if last > first { (at - first) / (last - first) } else { 0.5 };
    logarithms.into_iter().map(|at| LEFT + 20.0 + width * share(at)).collect()
}

/// Between two lines, a round number, and how many lines it takes to reach `most`.
fn ticks(most: f64) -> (f64, u32) {
    let most = if most > 0.0 { most } else { 1.0 };
    let decade = 10_f64.powf((most / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|by| by * decade).into_iter().find(|step| most / step <= 5.0);
    let step = step.unwrap_or(10.0 * decade);
    (step, (1..=5).find(|ticks| step * f64::from(*ticks) >= most).unwrap_or(5))
}

fn number(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", value / 1e6),
        value if value >= 1e4 => format!("{}k", value / 1e3),
        value => format!("{value}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_round_numbers_and_reach_the_most() {
        assert_eq!(ticks(97.0), (20.0, 5));
        assert_eq!(ticks(10.0), (2.0, 5));
        assert_eq!(ticks(0.0), (0.2, 5));
        for most in [1.0, 3.3, 21.0, 99.9, 123_456.0] {
            let (step, ticks) = ticks(most);
            assert!((1..=5).contains(&ticks) && step * f64::from(ticks) >= most, "{most}");
        }
    }

    #[test]
    fn points_stand_by_their_logarithm_and_zero_before_them() {
        let at = [0.0, 1.0, 2.0, 8.0].map(|at| (at, String::new()));
        let places = places(&at);
        let steps: Vec<f64> = places.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!((steps[0] - steps[1]).abs() < 1e-9 && (steps[2] - 2.0 * steps[1]).abs() < 1e-9, "{steps:?}");
    }

    #[test]
    fn a_name_that_would_stand_in_the_next_is_left_out() {
        let panel = Panel { label: "rate".to_owned(), values: vec![(1.0, 2.0, 3.0); 3] };
        let at = [1.0, 16_384.0, 20_480.0].map(|at| (at, format!("{at}")));
        let text = svg("rate", "MiB", &at, &[panel]).unwrap();
        assert!(text.contains(">1<") && text.contains(">20480<") && !text.contains(">16384<"));
    }

    #[test]
    fn a_plot_has_a_point_for_each_value_and_escapes_its_words() {
        let panel = Panel { label: "rate".to_owned(), values: vec![(1.0, 2.0, 3.0), (2.0, 3.0, 4.0)] };
        let at = [(1.0, "1".to_owned()), (10.0, "10".to_owned())];
        let text = svg("a < b", "connections", &at, &[panel]).unwrap();
        assert_eq!(text.matches("<circle").count(), 2);
        assert!(text.contains("a &lt; b") && text.ends_with("</svg>\n"));
    }
}
