//! One plot per scenario: a panel per figure, a bar per daemon, the range as a line through its end.

use plotters::backend::{DrawingBackend, SVGBackend};
use plotters::drawing::IntoDrawingArea;
use plotters::element::{PathElement, Rectangle, Text};
use plotters::style::{Color, IntoFont, RGBColor, ShapeStyle, TextStyle, WHITE};

use bgp_lab::bench::scenario::Column;

use crate::campaign::{Campaign, ScenarioResult};
use crate::report::Spread;

const WIDTH: u32 = 720;
const BAR_HEIGHT: i32 = 18;
const ROW_HEIGHT: i32 = 24;
const PANEL_HEAD: i32 = 34;
const NAMES_WIDTH: i32 = 110;
const VALUES_WIDTH: i32 = 190;

const OURS: RGBColor = RGBColor(0x1b, 0x7f, 0x4b);
const OTHERS: RGBColor = RGBColor(0x8a, 0x97, 0xa8);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);

/// An SVG document.
pub(crate) fn plot(campaign: &Campaign, result: &ScenarioResult) -> String {
    let columns: Vec<&Column> = result.columns.iter().filter(|column| column.is_plotted).collect();
    let panel_height =
        PANEL_HEAD + ROW_HEIGHT * i32::try_from(result.rows.len()).expect("a few daemons") + 10;
    let height = panel_height * i32::try_from(columns.len()).expect("a few columns") + 10;
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, height.unsigned_abs())).into_drawing_area();
    let drawn = area.fill(&WHITE).and_then(|()| {
        columns.iter().zip(0..).try_for_each(|(column, index)| {
            let panel = area.clone().shrink((0, index * panel_height), (WIDTH, panel_height.unsigned_abs()));
            draw_panel(&panel, campaign, result, column)
        })
    });
    drawn.and_then(|()| area.present()).expect("drawing into memory does not fail");
    drop(area);
    svg
}

type Area<'a> = plotters::drawing::DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn<'a> =
    Result<(), plotters::drawing::DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn draw_panel<'a>(
    panel: &Area<'a>,
    campaign: &Campaign,
    result: &ScenarioResult,
    column: &Column,
) -> Drawn<'a> {
    let text = |size: i32| -> TextStyle<'_> { ("sans-serif", size).into_font().color(&INK) };
    let title = format!("{}: {}", result.name, column.title);
    panel.draw(&Text::new(title, (10, 10), text(15)))?;
    let spreads: Vec<Option<Spread>> = result.rows.iter().map(|row| Spread::of(row, column)).collect();
    let most = spreads.iter().flatten().map(|spread| spread.most).fold(f64::MIN_POSITIVE, f64::max);
    let room = f64::from(WIDTH) - f64::from(NAMES_WIDTH + VALUES_WIDTH);
    let x = |value: f64| NAMES_WIDTH + (value.max(0.0) / most * room).round() as i32;
    for ((entrant, spread), row) in campaign.contenders.iter().zip(&spreads).zip(0..) {
        let top = PANEL_HEAD + row * ROW_HEIGHT;
        panel.draw(&Text::new(entrant.contender.name.clone(), (10, top + 3), text(13)))?;
        let Some(spread) = spread else {
            panel.draw(&Text::new("not finished", (NAMES_WIDTH + 6, top + 3), text(13)))?;
            continue;
        };
        let colour = if entrant.contender.is_ours() { OURS } else { OTHERS };
        let bar = [(NAMES_WIDTH, top), (x(spread.median).max(NAMES_WIDTH + 1), top + BAR_HEIGHT)];
        panel.draw(&Rectangle::new(bar, colour.filled()))?;
        let middle = top + BAR_HEIGHT / 2;
        let range = vec![(x(spread.least), middle), (x(spread.most), middle)];
        panel.draw(&PathElement::new(range, ShapeStyle::from(&INK).stroke_width(1)))?;
        panel.draw(&Text::new(spread.text(column.decimals), (x(spread.most) + 6, top + 3), text(13)))?;
    }
    Ok(())
}
