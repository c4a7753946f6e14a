//! `top`: neighbours, tables, memory and the kernel's side, live.

mod screen;
mod snapshot;

use super::client::{AdminClient, ClientError};
use super::output::print_open;
use super::{Failure, ReadArgs};
use crate::daemon::advice::io_text;
use crate::daemon::human::colours_wanted;
use clap::Args;
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::{cursor, execute, queue, style, terminal};
use screen::Screen;
use snapshot::Snapshot;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

#[derive(Debug, Args)]
pub(super) struct TopArgs {
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    interval: u64,
    #[command(flatten)]
    read: ReadArgs,
}

/// Looks that wait to be shown.
const LOOKS_MAX: usize = 1;
/// Keys that wait to be acted upon.
const KEYS_MAX: usize = 64;

type Look = Result<Snapshot, ClientError>;

pub(super) async fn top(args: &TopArgs) -> Result<(), Failure> {
    let (sender, looks) = mpsc::channel(LOOKS_MAX);
    let client = args.read.daemon.client();
    tokio::spawn(look_again_and_again(client, Duration::from_secs(args.interval), sender));
    if args.read.json {
        return lines_of_json(looks).await;
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::Invalid(
            "top needs a terminal; for a program use --json, and for a moment `status` and `neighbors`"
                .to_owned(),
        ));
    }
    let mut terminal = Terminal::take().map_err(failed)?;
    let shown = show(&mut terminal, looks).await;
    drop(terminal);
    shown.map_err(failed)
}

fn failed(error: io::Error) -> Failure {
    Failure::Failed(format!("the terminal: {}", io_text(&error)))
}

/// An object a line, until the daemon or the reader is gone.
async fn lines_of_json(mut looks: mpsc::Receiver<Look>) -> Result<(), Failure> {
    let mut before = None;
    while let Some(look) = looks.recv().await {
        let snapshot = look?;
        let json = snapshot.json(before.as_ref()).to_string() + "\n";
        if !print_open(&json)? {
            break;
        }
        before = Some(snapshot);
    }
    Ok(())
}

async fn look_again_and_again(client: AdminClient, interval: Duration, looks: mpsc::Sender<Look>) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if looks.send(Snapshot::take(&client).await).await.is_err() {
            return;
        }
    }
}

/// Until somebody wants it to end.
async fn show(terminal: &mut Terminal, mut looks: mpsc::Receiver<Look>) -> io::Result<()> {
    let mut keys = keys();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut screen = Screen::new(colours_wanted());
    loop {
        terminal.draw(|width, height| screen.lines(width, height))?;
        tokio::select! {
            look = looks.recv() => match look {
                Some(Ok(snapshot)) => screen.update(snapshot),
                Some(Err(error)) => screen.trouble(error.to_string()),
                None => return Ok(()),
            },
            event = keys.recv() => match event.map(|event| action(&event)) {
                Some(Action::Quit) | None => return Ok(()),
                Some(Action::Scroll(lines)) => screen.scroll(lines),
                Some(Action::Home) => screen.scroll_home(),
                Some(Action::Sort) => screen.sort_by_next(),
                Some(Action::Redraw) => {}
            },
            _ = terminate.recv() => return Ok(()),
        }
    }
}

/// What the terminal says, read on a thread of its own since reading blocks. The thread ends with the process.
fn keys() -> mpsc::Receiver<Event> {
    let (sender, keys) = mpsc::channel(KEYS_MAX);
    std::thread::spawn(move || {
        while let Ok(event) = crossterm::event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Quit,
    Scroll(isize),
    Home,
    Sort,
    Redraw,
}

/// Lines of a page.
const PAGE: isize = 10;

fn action(event: &Event) -> Action {
    let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else { return Action::Redraw };
    if *kind == KeyEventKind::Release {
        return Action::Redraw;
    }
    match code {
        KeyCode::Char('c' | 'd') if modifiers.contains(KeyModifiers::CONTROL) => Action::Quit,
        KeyCode::Char('q') | KeyCode::Esc => Action::Quit,
        KeyCode::Up | KeyCode::Char('k') => Action::Scroll(-1),
        KeyCode::Down | KeyCode::Char('j') => Action::Scroll(1),
        KeyCode::PageUp => Action::Scroll(-PAGE),
        KeyCode::PageDown | KeyCode::Char(' ') => Action::Scroll(PAGE),
        KeyCode::Home => Action::Home,
        KeyCode::Char('s') => Action::Sort,
        _ => Action::Redraw,
    }
}

/// The whole terminal, given back as it was however this ends.
struct Terminal;

impl Terminal {
    fn take() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        // From here on the terminal is given back by dropping this.
        let terminal = Terminal;
        execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide)?;
        Ok(terminal)
    }

    fn draw(&mut self, lines: impl FnOnce(usize, usize) -> Vec<String>) -> io::Result<()> {
        let (width, height) = terminal::size()?;
        let lines = lines(width.into(), height.into());
        let mut out = io::stdout().lock();
        for (row, line) in (0..height).zip(lines.iter().map(String::as_str).chain(std::iter::repeat(""))) {
            queue!(
                out,
                cursor::MoveTo(0, row),
                style::Print(line),
                terminal::Clear(terminal::ClearType::UntilNewLine)
            )?;
        }
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        _ = execute!(io::stdout(), cursor::Show, terminal::LeaveAlternateScreen);
        _ = terminal::disable_raw_mode();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_what_the_last_line_says() {
        let press = |code, modifiers| action(&Event::Key(KeyEvent::new(code, modifiers)));
        for quit in [
            press(KeyCode::Char('q'), KeyModifiers::NONE),
            press(KeyCode::Esc, KeyModifiers::NONE),
            press(KeyCode::Char('c'), KeyModifiers::CONTROL),
        ] {
            assert_eq!(quit, Action::Quit);
        }
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::NONE), Action::Redraw);
        assert_eq!(press(KeyCode::Down, KeyModifiers::NONE), Action::Scroll(1));
        assert_eq!(press(KeyCode::Char('s'), KeyModifiers::NONE), Action::Sort);
        assert_eq!(action(&Event::Resize(80, 24)), Action::Redraw);
    }
}
