//! The flows: a drawing of source → level → target, and a table of the same.
//!
//! The drawing is SVG made here, without style or script, and hidden from
//! assistive technology and from narrow screens, where the table serves. Widths
//! follow the present rates, or the counts since the start when nothing flows.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::status::Flow;
use crate::words::{self, Lang};

/// Rows of the table; the rest is in the API.
const MAX_ROWS: usize = 60;
/// Sources of their own in the drawing; the rest is one.
const MAX_SOURCES: usize = 10;
const MAX_TARGETS: usize = 10;

const LEVELS: [&str; 5] = ["open", "internal", "personal", "sensitive", "restricted"];

// The drawing, in its own units.
const WIDTH: f64 = 1000.0;
const BAR: f64 = 10.0;
/// Left edge of each column's bars: sources, levels, targets.
const COLUMNS: [f64; 3] = [230.0, 500.0, 760.0];
/// Height of all flows together.
const FULL: f64 = 220.0;
const LEAST_SLOT: f64 = 26.0;
const GAP: f64 = 10.0;
const LEAST_BAND: f64 = 1.5;
/// Characters of a name that fit beside a bar.
const NAME: usize = 22;

pub(super) fn body(flows: &[Flow], lang: Lang) -> Markup {
    if flows.iter().all(|flow| flow.messages == 0 && flow.per_second <= 0.0) {
        return html! { p class="empty" { (words::NO_FLOW.in_(lang)) } };
    }
    html! { (drawing(flows, lang)) (table(flows, lang)) }
}

fn table(flows: &[Flow], lang: Lang) -> Markup {
    let mut rows: Vec<&Flow> = flows.iter().collect();
    rows.sort_by(|a, b| {
        let strongest = b.per_second.total_cmp(&a.per_second).then(b.messages.cmp(&a.messages));
        strongest.then_with(|| (&a.source, &a.level, &a.target).cmp(&(&b.source, &b.level, &b.target)))
    });
    html! {
        table class="flows" role="table" {
            caption class="unseen" { (words::FLOWS_CAPTION.in_(lang)) }
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" { (words::SOURCE.in_(lang)) }
                    th role="columnheader" scope="col" { (words::LEVEL.in_(lang)) }
                    th role="columnheader" scope="col" { (words::TARGET.in_(lang)) }
                    th role="columnheader" scope="col" class="n" { (words::RATE.in_(lang)) }
                    th role="columnheader" scope="col" class="n" { (words::SINCE_START.in_(lang)) }
                }
            }
            tbody role="rowgroup" {
                @for flow in rows.iter().take(MAX_ROWS) {
                    tr role="row" {
                        th role="rowheader" scope="row" {
                            span class="id" { (flow.source) }
                            small { (flow.producer) }
                        }
                        td role="cell" {
                            span class={ "level " (level_class(&flow.level)) } { (words::level(lang, &flow.level)) }
                        }
                        td role="cell" {
                            span class="id" { (words::destination(lang, &flow.target)) }
                            @if !flow.copy.is_empty() { small { (words::COPY.in_(lang)) " " (flow.copy) } }
                        }
                        td role="cell" class="n" data-label=(words::RATE.in_(lang))
                            { (words::per_second(lang, flow.per_second)) }
                        td role="cell" class="n" data-label=(words::SINCE_START.in_(lang))
                            { (words::count(lang, flow.messages)) }
                    }
                }
            }
        }
        @if rows.len() > MAX_ROWS { p class="note" { (words::more_rows(lang, rows.len() - MAX_ROWS)) } }
    }
}

/// Only names that the stylesheet knows become classes.
fn level_class(level: &str) -> &'static str {
    LEVELS.into_iter().find(|known| *known == level).unwrap_or("restricted")
}

/// A bar with its name: height, and how much of it bands have used on either side.
#[derive(Debug, Default)]
struct Node {
    name: String,
    weight: f64,
    top: f64,
    height: f64,
    left_used: f64,
    right_used: f64,
}

struct Band {
    path: String,
    level: &'static str,
    copy: bool,
    title: String,
}

struct Drawing {
    columns: [Vec<Node>; 3],
    bands: Vec<Band>,
    height: f64,
}

fn drawing(flows: &[Flow], lang: Lang) -> Markup {
    let drawing = Drawing::of(flows, lang);
    let rate = flows.iter().any(|flow| flow.per_second > 0.0);
    let amount = |weight: f64| amount(lang, weight, rate);
    html! {
        svg class="sankey" viewBox={ "0 0 " (WIDTH) " " (number(drawing.height)) } role="img"
            aria-label=(words::FLOWS_DRAWING.in_(lang)) focusable="false" {
            @for band in &drawing.bands {
                path class={ "band " (band.level) @if band.copy { " copy" } } d=(band.path) { title { (band.title) } }
            }
            @for (column, nodes) in drawing.columns.iter().enumerate() {
                @let x = COLUMNS.get(column).copied().unwrap_or_default();
                @for node in nodes {
                    @let class = if column == 1 { level_class(&node.name) } else { "end" };
                    rect class={ "bar " (class) } x=(number(x)) y=(number(node.top)) width=(BAR)
                        height=(number(node.height)) {}
                    @let middle = number(node.top + node.height / 2.0 + 4.5);
                    @let shown = if column == 1 { words::level(lang, &node.name) } else { words::destination(lang, &node.name) };
                    @if column == 0 {
                        text class="name" x=(number(x - 10.0)) y=(middle) text-anchor="end" {
                            title { (shown) }
                            (shortened(shown)) tspan class="amount" dx="8" { (amount(node.weight)) }
                        }
                    } @else {
                        text class="name" x=(number(x + BAR + 8.0)) y=(middle) {
                            title { (shown) }
                            (shortened(shown)) tspan class="amount" dx="8" { (amount(node.weight)) }
                        }
                    }
                }
            }
        }
    }
}

/// What flows, by position in the columns.
struct Gathered {
    sources: Vec<Node>,
    targets: Vec<Node>,
    /// From source to level: primary flows, since a message has one of them and any number of copies.
    into: BTreeMap<(usize, usize), f64>,
    /// From level to target, and whether as a copy.
    out: BTreeMap<(usize, usize, bool), f64>,
}

impl Gathered {
    fn of(flows: &[Flow], rate: bool, lang: Lang) -> Self {
        let weighted = |flow: &'_ Flow| if rate { flow.per_second.max(0.0) } else { count(flow.messages) };
        let flowing = || flows.iter().map(|flow| (flow, weighted(flow))).filter(|(_, weight)| *weight > 0.0);
        let primary = flowing().filter(|(flow, _)| flow.copy.is_empty());
        let sources = Names::of(primary.map(|(flow, weight)| (flow.source.as_str(), weight)), MAX_SOURCES);
        let targets = Names::of(flowing().map(|(flow, weight)| (flow.target.as_str(), weight)), MAX_TARGETS);
        let mut into = BTreeMap::<(usize, usize), f64>::new();
        let mut out = BTreeMap::<(usize, usize, bool), f64>::new();
        for (flow, weight) in flowing() {
            let level = LEVELS.iter().position(|level| *level == flow.level).unwrap_or(LEVELS.len() - 1);
            if flow.copy.is_empty() {
                *into.entry((sources.place(&flow.source), level)).or_default() += weight;
            }
            *out.entry((level, targets.place(&flow.target), !flow.copy.is_empty())).or_default() += weight;
        }
        Self { sources: sources.nodes(lang), targets: targets.nodes(lang), into, out }
    }
}

impl Drawing {
    fn of(flows: &[Flow], lang: Lang) -> Self {
        let rate = flows.iter().any(|flow| flow.per_second > 0.0);
        let Gathered { mut sources, mut targets, into, out } = Gathered::of(flows, rate, lang);
        let mut levels: Vec<Node> = LEVELS.iter().map(|name| Node::named((*name).to_owned())).collect();
        let mut level_out = [0.0; LEVELS.len()];
        for ((source, level), weight) in &into {
            add(&mut sources, *source, *weight);
            add(&mut levels, *level, *weight);
        }
        for ((level, target, _), weight) in &out {
            if let Some(sum) = level_out.get_mut(*level) {
                *sum += weight;
            }
            add(&mut targets, *target, *weight);
        }
        // What is written beside a level is what came in, not its copies; its bar has room for both.
        let came_in: Vec<f64> = levels.iter().map(|node| node.weight).collect();
        for (node, out) in levels.iter_mut().zip(level_out) {
            node.weight = node.weight.max(out);
        }
        let most: f64 = levels.iter().map(|node| node.weight).sum();
        let scale = FULL / most.max(f64::MIN_POSITIVE);
        let heights = [place(&mut sources, scale), place(&mut levels, scale), place(&mut targets, scale)];
        let height = heights.into_iter().fold(0.0, f64::max);
        for (nodes, own) in [&mut sources, &mut levels, &mut targets].into_iter().zip(heights) {
            for node in nodes {
                node.top += (height - own) / 2.0;
            }
        }
        for (node, weight) in levels.iter_mut().zip(came_in) {
            node.weight = weight;
        }
        let mut bands = Vec::new();
        for ((source, level), weight) in into {
            let (Some(from), Some(to)) = (sources.get_mut(source), levels.get_mut(level)) else { continue };
            let amount = amount(lang, weight, rate);
            bands.push(Band::between(
                from,
                to,
                weight * scale,
                lang,
                Look { columns: (0, 1), level, copy: false, amount },
            ));
        }
        for ((level, to, copy), weight) in out {
            let (Some(from), Some(to)) = (levels.get_mut(level), targets.get_mut(to)) else { continue };
            let amount = amount(lang, weight, rate);
            bands.push(Band::between(
                from,
                to,
                weight * scale,
                lang,
                Look { columns: (1, 2), level, copy, amount },
            ));
        }
        levels.retain(|node| node.height > 0.0);
        Self { columns: [sources, levels, targets], bands, height: height + 4.0 }
    }
}

impl Node {
    fn named(name: String) -> Self {
        Self { name, ..Self::default() }
    }
}

/// The heaviest names, and how many more there are.
struct Names<'a> {
    heaviest: Vec<&'a str>,
    more: usize,
}

impl<'a> Names<'a> {
    fn of(weighted: impl Iterator<Item = (&'a str, f64)>, most: usize) -> Self {
        let mut sums = BTreeMap::<&str, f64>::new();
        for (name, weight) in weighted {
            *sums.entry(name).or_default() += weight;
        }
        let more = sums.len().saturating_sub(most);
        let mut sums: Vec<(&str, f64)> = sums.into_iter().collect();
        sums.sort_by(|a, b| b.1.total_cmp(&a.1));
        sums.truncate(most);
        Self { heaviest: sums.into_iter().map(|(name, _)| name).collect(), more }
    }

    /// All that are not among the heaviest share the last place.
    fn place(&self, name: &str) -> usize {
        self.heaviest.iter().position(|known| *known == name).unwrap_or(self.heaviest.len())
    }

    fn nodes(&self, lang: Lang) -> Vec<Node> {
        let others = (self.more > 0).then(|| words::others(lang, self.more));
        self.heaviest.iter().map(|name| (*name).to_owned()).chain(others).map(Node::named).collect()
    }
}

fn add(nodes: &mut [Node], n: usize, weight: f64) {
    if let Some(node) = nodes.get_mut(n) {
        node.weight += weight;
    }
}

/// One under another, each with room for its name; the column's height.
fn place(nodes: &mut [Node], scale: f64) -> f64 {
    let mut top = 2.0;
    for node in nodes.iter_mut().filter(|node| node.weight > 0.0) {
        node.height = (node.weight * scale).max(LEAST_BAND);
        let slot = node.height.max(LEAST_SLOT);
        node.top = top + (slot - node.height) / 2.0;
        top += slot + GAP;
    }
    top
}

/// How a band looks and what it says.
struct Look {
    columns: (usize, usize),
    level: usize,
    copy: bool,
    amount: String,
}

impl Band {
    fn between(from: &mut Node, to: &mut Node, thickness: f64, lang: Lang, look: Look) -> Self {
        let Look { columns, level, copy, amount } = look;
        let x = |column: usize| COLUMNS.get(column).copied().unwrap_or_default();
        let (x0, x1) = (x(columns.0) + BAR, x(columns.1));
        let bend = f64::midpoint(x0, x1);
        let (y0, y1) = (from.top + from.right_used, to.top + to.left_used);
        from.right_used += thickness;
        to.left_used += thickness;
        let thick = thickness.max(LEAST_BAND);
        let [x0, x1, bend, top0, top1, low0, low1] =
            [x0, x1, bend, y0, y1, y0 + thick, y1 + thick].map(number);
        let shown = |name: &str| words::destination(lang, words::level(lang, name)).to_owned();
        Self {
            path: format!(
                "M{x0} {top0}C{bend} {top0} {bend} {top1} {x1} {top1}V{low1}C{bend} {low1} {bend} {low0} {x0} {low0}Z"
            ),
            level: LEVELS.get(level).copied().unwrap_or("restricted"),
            copy,
            title: format!("{} → {} : {amount}", shown(&from.name), shown(&to.name)),
        }
    }
}

fn amount(lang: Lang, weight: f64, rate: bool) -> String {
    if rate {
        return words::per_second(lang, weight);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a sum of counts; `as` saturates"
    )]
    let messages = weight as u64;
    words::count(lang, messages)
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME {
        return name.to_owned();
    }
    name.chars().take(NAME - 1).chain(['…']).collect()
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

#[expect(clippy::cast_precision_loss, reason = "a width on a screen")]
fn count(messages: u64) -> f64 {
    messages as f64
}
