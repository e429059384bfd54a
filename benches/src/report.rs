//! Figures: one line per run, then medians and the ratios of the pairs.
//! Ratios are of neighbours in time; absolute figures are for reading only.

use crate::hub::Backlog;

/// Share of one core from which the generator, which has one thread, may be what bounds a run.
const GENERATOR_BUSY: f64 = 0.9;

/// One server under one load.
#[derive(Clone, Debug)]
pub struct Run {
    /// `hub`, `rumqttd`, …
    pub name: &'static str,
    /// Messages.
    pub messages: u64,
    /// From the first publish to the last PUBACK, seconds.
    pub acked_seconds: f64,
    /// From the first publish until the last message had reached its end, seconds.
    pub delivered_seconds: f64,
    /// CPU seconds of the server until the last PUBACK, and until the last delivery.
    pub server_cpu: (f64, f64),
    /// CPU seconds of the generator.
    pub generator_cpu: f64,
    /// Ack latency, µs: median, 99th percentile.
    pub ack_us: (u64, u64),
    /// Peak resident memory of the server, MiB.
    pub peak_mib: f64,
    /// What waited for the targets; a broker in memory has none.
    pub backlog: Option<Backlog>,
}

impl Run {
    /// Messages a second until the last PUBACK.
    pub fn w1a(&self) -> f64 {
        self.messages as f64 / self.acked_seconds
    }

    /// Messages a second until the last delivery.
    pub fn w1b(&self) -> f64 {
        self.messages as f64 / self.delivered_seconds
    }

    /// Messages per CPU second of the server, all its work included.
    pub fn per_cpu(&self) -> f64 {
        self.messages as f64 / self.server_cpu.1.max(0.01)
    }

    /// Prints the line.
    pub fn print(&self) {
        println!(
            "{:>9} {:>9.0} {:>9.0} {:>10.0} {:>8.2} {:>8.2} {:>7.2} {:>5.0}% {:>8} {:>8} {:>7.1}",
            self.name,
            self.w1a(),
            self.w1b(),
            self.per_cpu(),
            self.server_cpu.0,
            self.server_cpu.1,
            self.generator_cpu,
            100.0 * self.generator_cpu / self.acked_seconds,
            self.ack_us.0,
            self.ack_us.1,
            self.peak_mib,
        );
        if self.generator_cpu > GENERATOR_BUSY * self.acked_seconds {
            println!(
                "{:>9} the generator's thread was never idle: this is its rate, and the server's at least",
                ""
            );
        }
        if let Some(backlog) = &self.backlog {
            let behind = self.delivered_seconds - self.acked_seconds;
            println!(
                "{:>9} last delivery {behind:.3} s after the last PUBACK; pending in /metrics then {}, at most {} ({:.2} s of ingest); delivered {}",
                "",
                backlog.at_last_ack,
                backlog.most,
                backlog.most as f64 / self.w1a(),
                backlog.delivered,
            );
        }
    }
}

/// The head of the lines that [`Run::print`] prints.
pub fn print_head() {
    println!(
        "{:>9} {:>9} {:>9} {:>10} {:>8} {:>8} {:>7} {:>6} {:>8} {:>8} {:>7}",
        "", "W1a/s", "W1b/s", "msg/CPU-s", "CPU ack", "CPU all", "gen CPU", "gen", "p50 µs", "p99 µs", "MiB"
    );
}

/// Medians of each side, and the ratios of the pairs.
pub fn print_comparison(hub: &[Run], peer: &[Run]) {
    for side in [hub, peer] {
        let of = |figure: fn(&Run) -> f64| median(side.iter().map(figure));
        let name = side.first().map_or("", |run| run.name);
        println!(
            "{name:>9} median of {}: W1a {:.0}/s, W1b {:.0}/s, {:.0} messages per CPU-second, peak {:.1} MiB",
            side.len(),
            of(Run::w1a),
            of(Run::w1b),
            of(Run::per_cpu),
            of(|run| run.peak_mib)
        );
    }
    let name = peer.first().map_or("", |run| run.name);
    let ratios = |what: &str, bar: &str, of: fn(&Run, &Run) -> f64| {
        let mut ratios: Vec<f64> = hub.iter().zip(peer).map(|(hub, peer)| of(hub, peer)).collect();
        let (least, middle, most) =
            (quantile(&mut ratios, 0.0), quantile(&mut ratios, 0.5), quantile(&mut ratios, 1.0));
        println!("{what:>32} ÷ {name:<10} {least:>6.2} {middle:>6.2} {most:>6.2}   {bar}");
    };
    println!("{:>32}   {:<10} {:>6} {:>6} {:>6}", "ratios of the pairs", "", "min", "median", "max");
    let (w1a, w1b) = match name {
        "mosquitto" => ("bar ≥ 10", ""),
        _ => ("bar ≥ 1.5", "bar ≥ 1.0"),
    };
    ratios("hub W1a", w1a, |hub, peer| hub.w1a() / peer.w1a());
    ratios("hub W1b, peer W1a", w1b, |hub, peer| hub.w1b() / peer.w1a());
    ratios("messages per CPU-second", "", |hub, peer| hub.per_cpu() / peer.per_cpu());
    ratios("peak memory", "", |hub, peer| hub.peak_mib / peer.peak_mib);
}

/// The middle one.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    quantile(&mut values.collect::<Vec<_>>(), 0.5)
}

/// The value that a share (0 to 1) of the others does not exceed; of an even number, the middle two's mean.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = share * values.len().saturating_sub(1) as f64;
    let below = values.get(at.floor() as usize).copied().unwrap_or(f64::NAN);
    let above = values.get(at.ceil() as usize).copied().unwrap_or(f64::NAN);
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_between_neighbours() {
        assert_eq!(quantile(&mut [3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(quantile(&mut [4.0, 1.0, 2.0, 3.0], 0.5), 2.5);
        assert_eq!(quantile(&mut [2.0, 1.0], 1.0), 2.0);
        assert!(quantile(&mut [], 0.5).is_nan());
    }
}
