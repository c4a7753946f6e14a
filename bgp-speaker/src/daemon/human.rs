//! Values as people read them: ages, tables of at most 100 columns, colours on a terminal.

use crate::view::HandoverView;
use std::fmt::Write as _;
use std::io::IsTerminal;

/// The width that every table fits.
pub(crate) const WIDTH: usize = 100;
/// Columns are not shortened below this.
const COLUMN_WIDTH_MIN: usize = 8;
/// Between two columns.
const GAP: &str = "  ";

/// A duration with its two largest units: `12s`, `3m12s`, `4h07m`, `2d03h`.
pub(crate) fn age(secs: u64) -> String {
    let (minutes, hours, days) = (secs / 60, secs / 3600, secs / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", secs % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// `1 route`, `2 routes`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// What stays until others have taken its place.
pub(crate) fn handover(view: &HandoverView) -> String {
    let sessions: Vec<&str> = view.sessions.iter().map(|session| &*session.neighbor).collect();
    format!(
        "{} held for at most {} ({}), waiting for {}",
        count(sessions.len(), "session"),
        age(view.at_most_secs),
        sessions.join(", "),
        view.waits_for.join(", ")
    )
}

/// How a cell looks on a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Colour {
    /// As everything else.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// On its way, or switched off.
    Pending,
    /// Not as it should be.
    Bad,
    /// Column titles.
    Title,
}

/// Whether standard output shows colours: a terminal, and the user did not object (<https://no-color.org>).
pub(crate) fn colours_wanted() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The text in its colour, if colours are wanted.
pub(crate) fn paint(text: &str, colour: Colour, wanted: bool) -> String {
    let code = match colour {
        Colour::Plain => return text.to_owned(),
        _ if !wanted || text.is_empty() => return text.to_owned(),
        Colour::Good => "32",
        Colour::Pending => "33",
        Colour::Bad => "31",
        Colour::Title => "1",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// The colour of a session state.
pub(crate) fn state_colour(state: &str) -> Colour {
    match state {
        "Established" => Colour::Good,
        "Connect" | "OpenSent" | "OpenConfirm" => Colour::Pending,
        _ => Colour::Bad,
    }
}

/// Which side a column keeps clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows under titles. A column without a title or a cell is left out. Columns are as wide as their widest cell; if
/// the whole is wider than [`WIDTH`], the widest columns are shortened and end in `…`.
#[derive(Debug)]
pub(crate) struct Table {
    titles: Vec<(&'static str, Align)>,
    rows: Vec<Vec<(String, Colour)>>,
    /// What went before was so wide.
    least: Vec<usize>,
}

impl Table {
    pub(crate) fn new(titles: Vec<(&'static str, Align)>) -> Self {
        Self { titles, rows: Vec::new(), least: Vec::new() }
    }

    /// More of a table whose titles have been shown: its columns are as wide, if not wider.
    pub(crate) fn continuing(self, least: Vec<usize>) -> Self {
        Self { least, ..self }
    }

    /// Adds a row; missing cells are empty.
    pub(crate) fn row(&mut self, cells: Vec<(String, Colour)>) {
        self.rows.push(cells);
    }

    /// All lines, titles first, each with its end.
    pub(crate) fn render(&self, colours: bool) -> String {
        let titles = self.titles.iter().map(|(title, _)| ((*title).to_owned(), Colour::Title)).collect();
        self.lines(std::iter::once(&titles).chain(&self.rows), colours)
    }

    /// The rows alone.
    pub(crate) fn render_rows(&self, colours: bool) -> String {
        self.lines(&self.rows, colours)
    }

    fn lines<'a>(&self, rows: impl IntoIterator<Item = &'a Vec<(String, Colour)>>, colours: bool) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for row in rows {
            let mut line = String::new();
            for (index, (width, (_, align))) in widths.iter().zip(&self.titles).enumerate() {
                let (cell, colour) =
                    row.get(index).map_or(("", Colour::Plain), |(cell, c)| (cell.as_str(), *c));
                let cell = shorten(cell, *width);
                let padding = " ".repeat(width - cell.chars().count());
                let painted = paint(&cell, colour, colours);
                let gap = if line.is_empty() || *width == 0 { "" } else { GAP };
                // Writing to a String cannot fail.
                let _ = match align {
                    Align::Left => write!(line, "{gap}{painted}{padding}"),
                    Align::Right => write!(line, "{gap}{padding}{painted}"),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// Of the columns, as shown.
    pub(crate) fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.titles.iter().map(|(title, _)| title.chars().count()).collect();
        for (width, least) in widths.iter_mut().zip(&self.least) {
            *width = (*width).max(*least);
        }
        for row in &self.rows {
            for (width, (cell, _)) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let gaps = GAP.len() * widths.iter().filter(|width| **width > 0).count().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > WIDTH {
            match widths.iter_mut().max() {
                Some(widest) if *widest > COLUMN_WIDTH_MIN => *widest -= 1,
                _ => break,
            }
        }
        widths
    }
}

fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units() {
        for (secs, text) in [
            (0, "0s"),
            (59, "59s"),
            (192, "3m12s"),
            (14_820, "4h07m"),
            (183_600, "2d03h"),
            (86_400 * 400, "400d00h"),
        ] {
            assert_eq!(age(secs), text);
        }
    }

    #[test]
    fn tables_align_and_end_without_blanks() {
        let mut table =
            Table::new(vec![("ADDRESS", Align::Left), ("AS", Align::Right), ("NOTE", Align::Left)]);
        table.row(vec![
            ("10.0.0.2".to_owned(), Colour::Plain),
            ("64512".to_owned(), Colour::Plain),
            (String::new(), Colour::Plain),
        ]);
        table.row(vec![("fd00::2".to_owned(), Colour::Plain), ("1".to_owned(), Colour::Plain)]);
        assert_eq!(table.render(false), "ADDRESS      AS  NOTE\n10.0.0.2  64512\nfd00::2       1\n");
    }

    #[test]
    fn no_line_is_wider_than_100_columns() {
        let mut table =
            Table::new(vec![("A", Align::Left), ("B", Align::Left), ("C", Align::Right), ("D", Align::Left)]);
        table.row(vec![
            ("x".repeat(43), Colour::Plain),
            ("é".repeat(39), Colour::Good),
            ("12345678".to_owned(), Colour::Plain),
            ("z".repeat(300), Colour::Plain),
        ]);
        let text = table.render(false);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.contains('…'));
        assert!(text.contains("12345678"));
    }

    #[test]
    fn colours_surround_the_cell_but_not_its_padding() {
        let mut table = Table::new(vec![("STATE", Align::Left), ("N", Align::Right)]);
        table.row(vec![("up".to_owned(), Colour::Good), ("1".to_owned(), Colour::Plain)]);
        assert_eq!(table.render(true), "\x1b[1mSTATE\x1b[0m  \x1b[1mN\x1b[0m\n\x1b[32mup\x1b[0m     1\n");
    }
}
