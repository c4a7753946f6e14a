//! `malformed`: messages that could not be read or used, octet by octet.

use super::client::with_query;
use super::output::{print, print_json};
use super::{Failure, ReadArgs};
use crate::config::NeighborRef;
use crate::daemon::admin::MalformedAnswer;
use crate::daemon::human::{Colour, age, colours_wanted, paint};
use clap::Args;

/// Octets of a line.
const LINE_OCTETS: usize = 16;

#[derive(Debug, Args)]
pub(super) struct MalformedArgs {
    /// Only those of this neighbour; of several with one address, ADDRESS:PORT names one
    #[arg(value_name = "ADDRESS")]
    neighbor: Option<NeighborRef>,
    #[command(flatten)]
    read: ReadArgs,
}

pub(super) async fn malformed(args: &MalformedArgs) -> Result<(), Failure> {
    let wanted = args.neighbor.map(|wanted| ("neighbor", wanted.to_string()));
    let target = with_query("/v1/malformed", wanted);
    let messages: Vec<MalformedAnswer> = args.read.daemon.client().get(&target).await?;
    if args.read.json {
        return print_json(&messages);
    }
    if messages.is_empty() {
        return print("no malformed messages since the start\n");
    }
    let colours = colours_wanted();
    print(&messages.iter().map(|message| render(message, colours)).collect::<Vec<_>>().join("\n"))
}

fn render(answer: &MalformedAnswer, colours: bool) -> String {
    let MalformedAnswer { time, message } = answer;
    let kind = if message.message == "none" { "not a message" } else { message.message.as_str() };
    let title = format!("{kind} from {}", message.neighbor);
    let ago = age(message.age_ms / 1000);
    let mut text =
        format!("{}, {time}, {ago} ago, {} octets\n", paint(&title, Colour::Title, colours), message.length);
    for error in &message.errors {
        text.push_str(&format!("  {}: {}\n", paint(&error.action, Colour::Bad, colours), error.error));
    }
    for line in &message.decoded {
        text.push_str(&format!("  {line}\n"));
    }
    for (index, line) in message.octets.as_bytes().chunks(2 * LINE_OCTETS).enumerate() {
        let octets: Vec<_> = line.chunks(2).map(String::from_utf8_lossy).collect();
        text.push_str(&format!("  {:04x}  {}\n", index * LINE_OCTETS, octets.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{MalformedError, MalformedView};

    #[test]
    fn a_message_is_told_with_its_errors_its_parts_and_its_octets() {
        let error = "LOCAL_PREF: wrong length".to_owned();
        let message = MalformedView {
            neighbor: "10.0.0.2".to_owned(),
            age_ms: 61_500,
            message: "UPDATE".to_owned(),
            errors: vec![MalformedError { error, action: "treat-as-withdraw".to_owned() }],
            length: 19,
            octets: "ff".repeat(16) + "001302",
            decoded: vec!["announced 10.1.0.0/16".to_owned()],
        };
        let answer = MalformedAnswer { time: "2026-03-01T12:00:05.007Z".to_owned(), message };
        assert_eq!(
            render(&answer, false),
            "UPDATE from 10.0.0.2, 2026-03-01T12:00:05.007Z, 1m01s ago, 19 octets\n\
             \x20 treat-as-withdraw: LOCAL_PREF: wrong length\n\
             \x20 announced 10.1.0.0/16\n\
             \x20 0000  ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff\n\
             \x20 0010  00 13 02\n"
        );
    }
}
