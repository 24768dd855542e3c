//! The report as a page: one file with its plots in it, that needs no network to be looked at.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use plotters::prelude::*;

use crate::run::document::{Document, Seen};
use crate::run::measured::{Measured, Second};

/// Bytes of a plot's picture do not matter; its size on the page does.
const SIZE: (u32, u32) = (900, 320);

/// One colour a server, told apart also by who does not see them all.
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 86, 86),
];

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#1b1b1b;background:#fff}table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
td,th{padding:.15rem .7rem;border-bottom:1px solid #ddd;text-align:right}\
td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto}\
.warning{background:#fff3cd;padding:.5rem 1rem}figure{margin:1.5rem 0}figcaption{color:#555}";

/// Writes the page.
pub fn write(document: &Document, path: &Path) -> Result<()> {
    let page = page(document)?.into_string();
    std::fs::write(path, page).with_context(|| format!("writing {}", path.display()))
}

/// Writes the first of its plots alone.
pub fn picture(document: &Document, path: &Path) -> Result<()> {
    let (_, svg) = plots(document)?.into_iter().next().context("nothing of it can be drawn")?;
    std::fs::write(path, svg).with_context(|| format!("writing {}", path.display()))
}

fn page(document: &Document) -> Result<Markup> {
    let (scenario, machine) = (&document.scenario, &document.machine);
    let table = document.table();
    let title = format!("{}: {} users", document.name, scenario.users);
    let plots = plots(document)?;
    Ok(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                p { (scenario.about) "." }
                p {
                    (machine.cores) " cores of " (machine.cpu) ", " (machine.memory_mib) " MiB, kernel "
                    (machine.kernel) ", data on " (machine.filesystem) ", load before "
                    (format!("{:.2}", machine.load_before)) ". rally-bench " (document.version)
                    @for seen in &document.subjects { ", " (seen.name) " " (seen.version) (seen.settings) }
                    "."
                }
                @if let Some(date) = &document.date { p { "Begun at " (date) "." } }
                @for said in document.doubts() { p.warning { (said) "." } }
                @for (caption, plot) in plots {
                    figure {
                        (PreEscaped(plot))
                        figcaption { (caption) }
                    }
                }
                h2 { "Figures" }
                table {
                    thead { tr { th { "figure" } th { "median" } th { "unit" } th { "least" } th { "most" } th { "runs" } } }
                    tbody {
                        @for figure in &table.figures {
                            tr {
                                td { (figure.name) }
                                td { (number(figure.median().unwrap_or(f64::NAN))) }
                                td { (figure.unit) }
                                td { (number(figure.values.iter().copied().fold(f64::NAN, f64::min))) }
                                td { (number(figure.values.iter().copied().fold(f64::NAN, f64::max))) }
                                td { (figure.values.len()) }
                            }
                        }
                    }
                }
                h2 { "Notes" }
                ul { @for note in &table.notes { li { (note) } } }
                h2 { "Scenario" }
                pre { (toml::to_string(scenario)?) }
            }
        }
    })
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// A server in a plot: its name, and the points of each of its runs.
type Curves = (String, Vec<Vec<(f64, f64)>>);

/// Draws everything, each with what it shows.
fn plots(document: &Document) -> Result<Vec<(String, String)>> {
    let seen = |of: &dyn Fn(&Measured) -> Vec<(f64, f64)>| -> Vec<Curves> {
        let lines = |seen: &Seen| {
            let runs = seen.runs.iter().map(of).filter(|points| !points.is_empty());
            (seen.name.clone(), runs.collect::<Vec<_>>())
        };
        document.subjects.iter().map(lines).filter(|(_, runs)| !runs.is_empty()).collect()
    };
    let over_time = |of: fn(&Second) -> Option<f64>| {
        move |run: &Measured| -> Vec<(f64, f64)> {
            let at = (1..).zip(&run.seconds);
            at.filter_map(|(s, second)| Some((f64::from(s), of(second)?))).collect()
        }
    };
    let quantiles = |name: &'static str| move |run: &Measured| quantiles(run, name);
    let wanted: [(&str, &str, &str, Vec<Curves>); 5] = [
        (
            "Delivery by percentile: from the intended time",
            "nines",
            "ms",
            seen(&quantiles("delivered")),
        ),
        (
            "Acknowledgement by percentile: from the intended time",
            "nines",
            "ms",
            seen(&quantiles("ack")),
        ),
        ("99 of 100 deliveries, second by second", "s", "ms", seen(&over_time(|s| s.p99_ms))),
        (
            "Messages acknowledged in each second",
            "s",
            "/s",
            seen(&over_time(|s| Some(s.acked as f64))),
        ),
        ("Connections that are open", "s", "", seen(&over_time(|s| Some(s.open as f64)))),
    ];
    let runs = document.subjects.iter().map(|seen| seen.runs.len()).max().unwrap_or(0);
    let of = if runs > 1 { format!(" (a line for each of {runs} runs)") } else { String::new() };
    let drawn = wanted.into_iter().filter(|(.., curves)| !curves.is_empty());
    drawn
        .map(|(caption, x, y, curves)| Ok((format!("{caption}{of}"), draw(x, y, &curves)?)))
        .collect()
}

/// Gives a histogram as HdrHistogram's plots show it: against the number of nines, so that the tail
/// has the room.
fn quantiles(run: &Measured, name: &str) -> Vec<(f64, f64)> {
    let Some(spans) = run.spans.get(name).filter(|spans| !spans.0.is_empty()) else {
        return Vec::new();
    };
    // To as many nines as there are samples for.
    let most = (spans.0.len() as f64).log10().max(0.3);
    let steps = 120;
    (0..=steps)
        .map(|step| {
            let nines = most * f64::from(step) / f64::from(steps);
            let ns = spans.0.value_at_quantile(1.0 - 10f64.powf(-nines));
            (nines, ns as f64 / 1e6)
        })
        .collect()
}

fn draw(x: &str, y: &str, curves: &[Curves]) -> Result<String> {
    let wrong = |error: &dyn std::fmt::Display| anyhow!("drawing a plot: {error}");
    let points = || curves.iter().flat_map(|(_, runs)| runs).flatten();
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(0.0, f64::max).max(1e-3);
    let (wide, high) = (most(|p| p.0), most(|p| p.1) * 1.1);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        // Wherever it is shown: its letters are black.
        area.fill(&WHITE).map_err(|error| wrong(&error))?;
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..wide, 0.0..high)
            .map_err(|error| wrong(&error))?;
        let nines = x == "nines";
        let percent = |at: &f64| match nines {
            true => format!(
                "{:.*} %",
                (at - 1.0).max(0.0).ceil() as usize,
                100.0 - 10f64.powf(2.0 - at)
            ),
            false => format!("{at:.0}"),
        };
        let value = |at: &f64| match high {
            high if high < 10.0 => format!("{at:.1} {y}"),
            _ => format!("{at:.0} {y}"),
        };
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc(if nines { "" } else { x })
            .x_label_formatter(&percent)
            .y_label_formatter(&value)
            .draw()
            .map_err(|error| wrong(&error))?;
        for ((name, runs), colour) in curves.iter().zip(COLOURS.iter().cycle()) {
            for (nth, points) in runs.iter().enumerate() {
                let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
                let drawn = chart.draw_series(line).map_err(|error| wrong(&error))?;
                if nth == 0 {
                    drawn.label(name).legend(move |(x, y)| {
                        PathElement::new(vec![(x, y), (x + 20, y)], colour.stroke_width(2))
                    });
                }
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .border_style(TRANSPARENT)
            .background_style(WHITE.mix(0.8))
            .draw()
            .map_err(|error| wrong(&error))?;
        area.present().map_err(|error| wrong(&error))?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::Machine;
    use crate::run::scenario::Scenario;

    #[test]
    fn a_page_has_its_plots_in_it_and_asks_for_nothing() {
        let mut run = Measured { messages: 100, window_ns: 1_000_000_000, ..Measured::default() };
        let spans = run.spans.entry("delivered".to_owned()).or_default();
        (1..=100u64).for_each(|ms| spans.0.record(ms * 1_000_000).unwrap());
        run.seconds = vec![Second { acked: 50, p99_ms: Some(3.0), ..Second::default() }; 3];
        let machine = Machine::look(Path::new("/"));
        let mut document = Document::new("pairs", &Scenario::default(), machine);
        let runs = vec![run];
        document.enter(Seen { name: "<rally>".to_owned(), runs: runs.clone(), ..Seen::default() });
        let page_of = |document: &Document| page(document).unwrap().into_string();
        let page = page_of(&document);
        assert!(!page.contains("class=\"warning\""));
        let mut broken = document.clone();
        broken.subjects[0].runs[0].balance.lost = 1;
        let warned = page_of(&broken);
        assert!(warned.find("broke a promise").unwrap() < warned.find("<svg").unwrap());
        assert_eq!(page.matches("<svg").count(), 4);
        assert!(!page.contains("<rally>") && page.contains("&lt;rally&gt;"));
        assert!(!page.contains("src=") && !page.contains("href=") && !page.contains("<script"));
        let lines = |page: &str| page.matches("<polyline").count();
        let of_one = lines(&page);
        assert!(!page.contains("a line for each"));
        document.enter(Seen { name: "<rally>".to_owned(), runs, ..Seen::default() });
        let page = page_of(&document);
        assert_eq!(page.matches("(a line for each of 2 runs)").count(), 4, "each plot says so");
        assert_eq!(lines(&page), of_one + 4, "each plot has the second run, too");
    }
}
