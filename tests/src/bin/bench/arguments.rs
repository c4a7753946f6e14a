//! What the user asks for.

use std::time::Duration;

use bgp_lab::bench::daemons::{Contender, KNOWN};
use bgp_lab::bench::scenario::{DOUBLES, NAMES, Size};

pub(crate) const USAGE: &str = "\
usage: bench [SCENARIO..] [--quick] [--daemon NAME]... [--peer NAME=COMMAND]... [--runs N] [--limit SECONDS] [--json]

  SCENARIO..           full-table, paths, clients-cold, clients-warm, churn, flap, slow, mesh; all by default;
                       twice the size: full-table-double, clients-cold-double, clients-warm-double
  --quick              small sizes, one run, only ours and bird2: shows that everything works, measures nothing
  --daemon NAME        only these: ours, bird2, frr, frr-tuned, openbgpd, gobgpd; all that are installed by default
  --peer NAME=COMMAND  one more daemon
  --runs N             runs of each daemon, 5 by default, interleaved
  --limit SECONDS      how long one step may take before a daemon counts as not finished; 120, or 30 with --quick
  --json               the report as JSON on standard output

";

/// The command line.
pub(crate) struct Arguments {
    pub(crate) scenarios: Vec<&'static str>,
    pub(crate) contenders: Vec<Contender>,
    /// Whether the daemons were named one by one: then all of them must be there.
    pub(crate) is_selection: bool,
    pub(crate) size: Size,
    pub(crate) run_count: usize,
    pub(crate) limit: Duration,
    pub(crate) is_json: bool,
}

impl Arguments {
    pub(crate) fn parse(words: &[String]) -> Result<Arguments, String> {
        let mut scenarios = Vec::new();
        let mut selected = Vec::new();
        let mut peers = Vec::new();
        let mut size = Size::Full;
        let mut run_count = None;
        let mut limit = None;
        let mut is_json = false;
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word {
                "--quick" => size = Size::Quick,
                "--json" => is_json = true,
                "--runs" => run_count = Some(number(value()?)?),
                "--limit" => limit = Some(number(value()?)?),
                "--daemon" => {
                    let name = value()?;
                    selected.push(Contender::known(name).ok_or(format!("no daemon `{name}`"))?);
                }
                "--peer" => {
                    let (name, command) =
                        value()?.split_once('=').ok_or("--peer needs NAME=COMMAND".to_owned())?;
                    peers.push(Contender::other(name, command));
                }
                name => {
                    let known = NAMES.iter().chain(&DOUBLES).find(|known| **known == name);
                    scenarios.push(*known.ok_or(format!("no scenario or option `{name}`"))?);
                }
            }
        }
        if scenarios.is_empty() {
            scenarios.extend(NAMES);
        }
        let is_selection = !selected.is_empty();
        let default: &[&str] = size.pick(&["ours", "bird2"], &KNOWN);
        let mut contenders = if is_selection {
            selected
        } else {
            default.iter().filter_map(|name| Contender::known(name)).collect()
        };
        contenders.extend(peers);
        Ok(Arguments {
            scenarios,
            contenders,
            is_selection,
            size,
            run_count: run_count.unwrap_or(size.pick(1, 5)),
            limit: Duration::from_secs(limit.unwrap_or(size.pick(30, 120)) as u64),
            is_json,
        })
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or(format!("`{text}` is not a positive number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn quick_means_two_daemons_once_unless_told_otherwise() {
        let arguments = parse("full-table --quick --peer new=/tmp/new").unwrap();
        let names: Vec<&str> = arguments.contenders.iter().map(|contender| contender.name.as_str()).collect();
        assert_eq!((names, arguments.run_count), (vec!["ours", "bird2", "new"], 1));
        assert_eq!(arguments.scenarios, ["full-table"]);
        assert_eq!(parse("--daemon frr --runs 3").unwrap().run_count, 3);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for line in ["nonsense", "--daemon quagga", "--runs 0", "--peer x", "--limit"] {
            let word = line.split_whitespace().next_back().unwrap();
            let complaint = parse(line).err().unwrap();
            assert!(complaint.contains(word.trim_start_matches('x')), "{complaint}");
        }
    }
}
