//! Several servers under one load, in turn: A B C A B C. Ratios are of runs of
//! one round, which are neighbours in time; the table has the least, the median
//! and the most of each figure, and what each contestant guarantees.

use std::fmt::{self, Display, Formatter};

use serde_json::{Value, json};

use crate::report::{median, quantile};

/// The clock of `/proc`, in seconds: less than that is not told from nothing.
const TICK: f64 = 0.01;

/// One run of a contestant.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Messages put on it.
    pub messages: u64,
    /// Of these, at the end of it.
    pub arrived: u64,
    /// From the first publish until the last of these.
    pub seconds: f64,
    /// CPU seconds of its own processes.
    pub cpu: f64,
    /// CPU seconds of the broker before it; 0 where it has none.
    pub broker_cpu: f64,
    /// The most memory these had resident, MiB.
    pub peak_mib: f64,
    /// What else there is to say.
    pub beside: String,
}

impl Trial {
    fn rate(&self) -> f64 {
        self.arrived as f64 / self.seconds
    }

    fn per_cpu(&self) -> f64 {
        self.arrived as f64 / self.cpu.max(TICK)
    }

    fn per_cpu_with_broker(&self) -> f64 {
        self.arrived as f64 / (self.cpu + self.broker_cpu).max(TICK)
    }
}

impl Display for Trial {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>9.0} messages/s, {:>9.0} a CPU second, {:>6.1} MiB; {} of {} arrived in {:.2} s; {}",
            self.rate(),
            self.per_cpu(),
            self.peak_mib,
            self.arrived,
            self.messages,
            self.seconds,
            self.beside
        )
    }
}

/// A server and its runs.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// What it is called.
    pub name: &'static str,
    /// What it guarantees.
    pub guarantee: &'static str,
    /// One a round.
    pub trials: Vec<Trial>,
}

/// What a figure of the first must be, as a multiple of another's.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// Whose.
    pub peer: &'static str,
    /// At least.
    pub least: f64,
}

/// A row of the comparison: the first contestant is ours.
#[derive(Debug)]
pub struct Contest {
    /// What is compared.
    pub title: &'static str,
    /// In the order in which they ran.
    pub contestants: Vec<Contestant>,
    /// On the rates.
    pub rate_bars: &'static [Bar],
    /// On the messages per CPU second.
    pub cpu_bars: &'static [Bar],
}

/// A figure that is compared.
type Figure = fn(&Trial) -> f64;

impl Contest {
    /// Prints the table, the guarantees and the ratios.
    pub fn print(&self) {
        println!("\n== {}", self.title);
        println!(
            "{:<20} {:>26} {:>26} {:>20} {:>8}",
            "min, median, max of", "messages/s", "messages/CPU-s", "peak MiB", "missing"
        );
        for Contestant { name, trials, .. } in &self.contestants {
            let of = |figure: Figure| Spread::of(trials.iter().map(figure));
            let missing = trials.iter().map(|trial| trial.messages.saturating_sub(trial.arrived)).max();
            println!(
                "{name:<20} {:>26} {:>26} {:>20} {:>8}",
                of(Trial::rate).whole(),
                of(Trial::per_cpu).whole(),
                of(|trial| trial.peak_mib).whole(),
                missing.unwrap_or(0)
            );
        }
        println!("what each guarantees:");
        for Contestant { name, guarantee, .. } in &self.contestants {
            println!("  {name:<20} {guarantee}");
        }
        println!("{:<54} {:>8} {:>8} {:>8}", "ratios of one round", "min", "median", "max");
        for (what, bars, figure) in self.figures() {
            for (peer, spread) in self.ratios(figure) {
                let Spread { least, middle, most } = spread;
                println!(
                    "  {what:<28} ÷ {peer:<20} {least:>8.2} {middle:>8.2} {most:>8.2}{}",
                    verdict(bars, peer, middle)
                );
            }
        }
    }

    /// All of it, each trial included.
    pub fn to_json(&self) -> Value {
        let contestant = |contestant: &Contestant| {
            let trial = |trial: &Trial| {
                json!({
                    "messages": trial.messages, "arrived": trial.arrived, "seconds": trial.seconds,
                    "cpu_seconds": trial.cpu, "broker_cpu_seconds": trial.broker_cpu,
                    "messages_per_second": trial.rate(),
                    "messages_per_cpu_second": trial.per_cpu(), "peak_mib": trial.peak_mib,
                    "beside": trial.beside,
                })
            };
            json!({
                "name": contestant.name, "guarantee": contestant.guarantee,
                "trials": contestant.trials.iter().map(trial).collect::<Vec<_>>(),
            })
        };
        let ratios = self.figures().into_iter().flat_map(|(what, bars, figure)| {
            self.ratios(figure).into_iter().map(move |(peer, Spread { least, middle, most })| {
                let bar = bars.iter().find(|bar| bar.peer == peer).map(|bar| bar.least);
                json!({ "of": what, "peer": peer, "min": least, "median": middle, "max": most, "bar": bar })
            })
        });
        json!({
            "title": self.title,
            "contestants": self.contestants.iter().map(contestant).collect::<Vec<_>>(),
            "ratios": ratios.collect::<Vec<_>>(),
        })
    }

    fn figures(&self) -> Vec<(&'static str, &'static [Bar], Figure)> {
        let mut figures: Vec<(_, _, Figure)> = vec![
            ("messages/s", self.rate_bars, Trial::rate),
            ("messages/CPU-s", self.cpu_bars, Trial::per_cpu),
        ];
        // Where nobody has a broker before it, that is the same once more.
        if self.contestants.iter().flat_map(|one| &one.trials).any(|trial| trial.broker_cpu > 0.0) {
            figures.push(("messages/CPU-s, broker's too", &[], Trial::per_cpu_with_broker));
        }
        figures
    }

    /// The first contestant's figure ÷ each other's, of each round.
    fn ratios(&self, figure: Figure) -> Vec<(&'static str, Spread)> {
        let Some((ours, peers)) = self.contestants.split_first() else { return Vec::new() };
        let ratio = |peer: &Contestant| {
            let rounds = ours.trials.iter().zip(&peer.trials);
            (peer.name, Spread::of(rounds.map(|(ours, peer)| figure(ours) / figure(peer))))
        };
        peers.iter().map(ratio).collect()
    }
}

/// What a ratio must be, and whether it is; empty where nothing is asked.
fn verdict(bars: &[Bar], peer: &str, middle: f64) -> String {
    let Some(bar) = bars.iter().find(|bar| bar.peer == peer) else { return String::new() };
    let holds = if middle >= bar.least { "holds" } else { "MISSED" };
    format!("   bar ≥ {}: {holds}", bar.least)
}

/// The least, the median and the most.
#[derive(Clone, Copy, Debug)]
struct Spread {
    least: f64,
    middle: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        let middle = median(values.iter().copied());
        Self { least: quantile(&mut values, 0.0), middle, most: quantile(&mut values, 1.0) }
    }

    fn whole(self) -> String {
        format!("{:.0} {:.0} {:.0}", self.least, self.middle, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contestant(name: &'static str, seconds: &[f64]) -> Contestant {
        let trial = |&seconds: &f64| Trial {
            messages: 100,
            arrived: 100,
            seconds,
            cpu: 1.0,
            broker_cpu: 3.0,
            peak_mib: 1.0,
            beside: String::new(),
        };
        Contestant { name, guarantee: "none", trials: seconds.iter().map(trial).collect() }
    }

    #[test]
    fn ratios_are_of_runs_of_one_round() {
        let contest = Contest {
            title: "a test",
            // Both slow down over the rounds; each round says that ours is twice as fast.
            contestants: vec![contestant("ours", &[1.0, 2.0, 4.0]), contestant("peer", &[2.0, 4.0, 8.0])],
            rate_bars: &[Bar { peer: "peer", least: 2.5 }],
            cpu_bars: &[],
        };
        let [trial] = &contestant("ours", &[1.0]).trials[..] else { panic!("one trial") };
        assert_eq!((trial.per_cpu(), trial.per_cpu_with_broker()), (100.0, 25.0));
        let [(peer, spread)] = contest.ratios(Trial::rate).try_into().unwrap();
        assert_eq!((peer, spread.least, spread.middle, spread.most), ("peer", 2.0, 2.0, 2.0));
        assert_eq!(verdict(contest.rate_bars, peer, spread.middle), "   bar ≥ 2.5: MISSED");
        assert_eq!(verdict(contest.rate_bars, peer, 2.5), "   bar ≥ 2.5: holds");
        assert_eq!(verdict(contest.cpu_bars, peer, 2.5), "");
        assert_eq!(contest.to_json().pointer("/ratios/0/bar"), Some(&json!(2.5)));
    }
}
