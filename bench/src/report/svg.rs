//! Line and bar plots as SVG text, to stand inside a page.

use std::fmt::Write;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 42.0;
/// Colours that people with any kind of colour vision can tell apart (Okabe and Ito).
const COLOURS: &[&str] = &["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// A named line.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// Its name in the legend; lines of one name share a colour.
    pub(crate) name: String,
    /// Its points, in the order of x.
    pub(crate) points: Vec<(f64, f64)>,
}

/// What stands around the lines.
#[derive(Debug, Clone)]
pub(crate) struct Plot<'a> {
    /// Above the plot.
    pub(crate) title: &'a str,
    /// Below it.
    pub(crate) x_label: &'a str,
    /// Marks on the x axis: position and text. Without any, round numbers are marked.
    pub(crate) x_marks: Vec<(f64, String)>,
    /// Whether the y axis counts powers of ten.
    pub(crate) is_log: bool,
}

/// A plot of lines.
pub(crate) fn lines(plot: &Plot<'_>, series: &[Series]) -> String {
    let points = || series.iter().flat_map(|series| &series.points);
    let x = Scale::linear(bounds(points().map(|point| point.0)), LEFT, WIDTH - RIGHT);
    let (low, high) = bounds(points().map(|point| point.1));
    let bottom = HEIGHT - BOTTOM;
    let y = if plot.is_log { Scale::log(low, high, bottom, TOP) } else { Scale::linear((0.0, high), bottom, TOP) };
    let mut out = open(plot.title);
    let x_marks = if plot.x_marks.is_empty() { x.marks() } else { plot.x_marks.clone() };
    for (value, text) in x_marks {
        let at = x.place(value);
        put(
            &mut out,
            format_args!(r#"<text x="{at:.1}" y="{:.1}" text-anchor="middle">{}</text>"#, bottom + 16.0, escape(&text)),
        );
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    put(
        &mut out,
        format_args!(
            r#"<text x="{middle:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            HEIGHT - 6.0,
            escape(plot.x_label)
        ),
    );
    grid(&mut out, &y);
    let names = names(series);
    for line in series {
        let path: Vec<String> =
            line.points.iter().map(|point| format!("{:.1},{:.1}", x.place(point.0), y.place(point.1))).collect();
        let colour = colour(&names, &line.name);
        put(
            &mut out,
            format_args!(r#"<polyline fill="none" stroke="{colour}" stroke-width="1.8" points="{}"/>"#, path.join(" ")),
        );
    }
    legend(&mut out, &names);
    out.push_str("</svg>");
    out
}

/// Horizontal bars with the spread of each as a line: name, median, lowest, highest.
pub(crate) fn bars(title: &str, rows: &[(String, f64, f64, f64)]) -> String {
    let high = rows.iter().map(|row| row.3).fold(0.0, f64::max);
    let x = Scale::linear((0.0, high), LEFT + 40.0, WIDTH - RIGHT - 70.0);
    let height = TOP + 30.0 * rows.len() as f64;
    let mut out = open_sized(title, height + 8.0);
    let names: Vec<String> = rows.iter().map(|row| row.0.clone()).collect();
    for (index, (name, median, low, high)) in rows.iter().enumerate() {
        let top = TOP + 30.0 * index as f64;
        let middle = top + 10.0;
        let width = x.place(*median) - x.place(0.0);
        let colour = colour(&names, name);
        put(
            &mut out,
            format_args!(
                r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                x.place(0.0) - 6.0,
                middle + 4.0,
                escape(name)
            ),
        );
        put(
            &mut out,
            format_args!(
                r#"<rect x="{:.1}" y="{top:.1}" width="{width:.1}" height="20" fill="{colour}"/>"#,
                x.place(0.0)
            ),
        );
        put(
            &mut out,
            format_args!(
                r##"<path d="M{:.1} {middle:.1}H{:.1}" stroke="#222" stroke-width="2"/>"##,
                x.place(*low),
                x.place(*high)
            ),
        );
        put(
            &mut out,
            format_args!(r#"<text x="{:.1}" y="{:.1}">{}</text>"#, x.place(*high) + 6.0, middle + 4.0, number(*median)),
        );
    }
    out.push_str("</svg>");
    out
}

/// Where values stand between two edges.
#[derive(Debug, Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    is_log: bool,
}

impl Scale {
    fn linear((low, high): (f64, f64), from: f64, to: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, from, to, is_log: false }
    }

    /// From the power of ten at or below `low` to the one at or above `high`.
    fn log(low: f64, high: f64, from: f64, to: f64) -> Self {
        let low = low.max(1e-3).log10().floor();
        let high = high.max(1e-3).log10().ceil().max(low + 1.0);
        Self { low, high, from, to, is_log: true }
    }

    fn place(&self, value: f64) -> f64 {
        let value = if self.is_log { value.max(1e-3).log10() } else { value };
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.from + share * (self.to - self.from)
    }

    /// Round values between the bounds, with their texts.
    fn marks(&self) -> Vec<(f64, String)> {
        if self.is_log {
            let powers = (self.low as i32)..=(self.high as i32);
            return powers.map(|power| 10f64.powi(power)).map(|value| (value, number(value))).collect();
        }
        let step = step(self.high - self.low);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|count| count as f64 * step).map(|value| (value, number(value))).collect()
    }
}

/// The round distance of about five marks over `range`: 1, 2 or 5 times a power of ten.
fn step(range: f64) -> f64 {
    let rough = range / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough * 0.999).unwrap_or(10.0);
    factor * power
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

/// A number with about three digits.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.3}M", value / 1e6).replace(".000M", "M"),
        size if size >= 1e4 => format!("{:.0}k", value / 1e3),
        size if size >= 100.0 || value == value.trunc() => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

fn names(series: &[Series]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in series {
        if !names.contains(&line.name) {
            names.push(line.name.clone());
        }
    }
    names
}

fn colour(names: &[String], name: &str) -> &'static str {
    let at = names.iter().position(|other| other == name).unwrap_or(0) % COLOURS.len();
    COLOURS.get(at).copied().unwrap_or("#000000")
}

fn open(title: &str) -> String {
    open_sized(title, HEIGHT)
}

fn open_sized(title: &str, height: f64) -> String {
    let title = escape(title);
    let box_ = format!(r#"viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}""#);
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" {box_} role="img"><title>{title}</title><text x="{LEFT}" y="16" class="t">{title}</text>"#
    )
}

fn grid(out: &mut String, y: &Scale) {
    for (value, text) in y.marks() {
        let at = y.place(value);
        put(out, format_args!(r#"<path class="g" d="M{LEFT} {at:.1}H{:.1}"/>"#, WIDTH - RIGHT));
        put(out, format_args!(r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{text}</text>"#, LEFT - 6.0, at + 4.0));
    }
}

fn legend(out: &mut String, names: &[String]) {
    let mut right = WIDTH - RIGHT;
    for name in names.iter().rev() {
        let colour = colour(names, name);
        put(
            out,
            format_args!(r#"<text x="{right:.1}" y="16" text-anchor="end" fill="{colour}">{}</text>"#, escape(name)),
        );
        right -= 8.0 * name.chars().count() as f64 + 16.0;
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string has no error.
    let _ = out.write_fmt(text);
}

/// Text that means nothing to a parser of SVG or HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (range, expected) in [(10.0, 2.0), (12.0, 5.0), (100.0, 20.0), (0.4, 0.1), (3.0, 1.0), (4.9, 1.0)] {
            assert!((step(range) - expected).abs() < 1e-9, "{range}: {}", step(range));
        }
    }

    #[test]
    fn values_stand_between_the_edges() {
        let scale = Scale::linear((0.0, 10.0), 100.0, 0.0);
        assert_eq!((scale.place(0.0), scale.place(5.0), scale.place(10.0), scale.place(99.0)), (100.0, 50.0, 0.0, 0.0));
        let scale = Scale::log(0.2, 50.0, 0.0, 300.0);
        assert_eq!((scale.place(0.1), scale.place(1.0), scale.place(100.0)), (0.0, 100.0, 300.0));
        assert_eq!(scale.marks().into_iter().map(|mark| mark.1).collect::<Vec<_>>(), ["0.100", "1", "10", "100"]);
    }

    #[test]
    fn a_plot_holds_one_line_per_series_inside_its_box() {
        let series = ["A", "B", "A"].map(|name| Series { name: name.to_owned(), points: vec![(0.0, 1.0), (9.0, 7.0)] });
        let plot = Plot { title: "T & t", x_label: "s", x_marks: Vec::new(), is_log: false };
        let svg = lines(&plot, &series);
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert!(svg.contains("64.0,226.0 624.0,34.0") && svg.contains("T &amp; t") && svg.ends_with("</svg>"));
        assert_eq!(svg.matches(COLOURS[0]).count(), 3, "two lines and the legend");
    }

    #[test]
    fn nothing_to_plot_is_no_fault() {
        let plot = Plot { title: "t", x_label: "", x_marks: Vec::new(), is_log: true };
        assert!(!lines(&plot, &[]).contains("NaN"));
        assert!(!lines(&plot, &[Series { name: "A".to_owned(), points: vec![(0.0, 0.0)] }]).contains("NaN"));
        assert!(!bars("t", &[("A".to_owned(), 0.0, 0.0, 0.0)]).contains("NaN"));
    }

    #[test]
    fn numbers_are_short() {
        let texts = [1_500_000.0, 2_000_000.0, 12_345.0, 123.4, 3.0, 1.25, 0.5].map(number);
        assert_eq!(texts, ["1.500M", "2M", "12k", "123", "3", "1.2", "0.500"]);
    }
}
