//! A section's figures as a picture: one bar a row on a logarithmic axis, with a line from the 10th to the 90th percentile.

use std::fmt::Write;

use serde::Serialize;

use super::report::three_digits;
use super::statistics::Spread;

/// Rows of bars.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plot {
    /// What the bars show, with its unit.
    pub axis: String,
    /// A label and its figure.
    pub rows: Vec<(String, Spread)>,
}

/// Sizes in pixels.
const LABELS: f64 = 330.0;
const BARS: f64 = 520.0;
const FIGURES: f64 = 90.0;
const ROW: f64 = 22.0;
const TOP: f64 = 54.0;

/// A bar's colour says whose it is.
const COLOURS: [(&str, &str); 4] = [("ours", "#2b6cb0"), ("floor", "#718096"), ("original", "#c05621"), ("plain", "#718096")];
const OTHER_COLOUR: &str = "#a0aec0";

impl Plot {
    /// A picture without rows.
    #[must_use]
    pub fn new(axis: &str) -> Self {
        Self { axis: axis.to_owned(), rows: Vec::new() }
    }

    /// As an SVG document (W3C, Scalable Vector Graphics 1.1).
    #[must_use]
    pub fn to_svg(&self, title: &str) -> String {
        let (low, high) = self.decades();
        let place = |figure: f64| LABELS + BARS * (figure.max(low).log10() - low.log10()) / (high.log10() - low.log10());
        let height = self.rows.iter().fold(TOP + ROW, |height, _| height + ROW);
        let width = LABELS + BARS + FIGURES;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"8\" y=\"18\" font-size=\"14\">{}</text>\n\
             <text x=\"{LABELS}\" y=\"36\">{}</text>\n",
            escaped(title),
            escaped(&self.axis)
        );
        let mut decade = low;
        while decade <= high * 1.001 {
            let x = place(decade);
            // Writing to a String cannot fail.
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#e2e8f0\"/><text x=\"{x:.1}\" y=\"50\" \
                 text-anchor=\"middle\" fill=\"#4a5568\">{}</text>",
                height - ROW / 2.0,
                three_digits(decade)
            );
            decade *= 10.0;
        }
        let mut y = TOP;
        for (label, spread) in &self.rows {
            let _ = writeln!(svg, "{}", row(label, spread, y, &place));
            y += ROW;
        }
        svg + "</svg>\n"
    }

    /// The powers of ten around all figures.
    fn decades(&self) -> (f64, f64) {
        let figures =
            || self.rows.iter().flat_map(|(_, spread)| [spread.p10, spread.median, spread.p90]).filter(|figure| *figure > 0.0);
        let smallest = figures().fold(f64::INFINITY, f64::min);
        let largest = figures().fold(f64::NEG_INFINITY, f64::max);
        if smallest > largest {
            return (1.0, 10.0);
        }
        let low = 10_f64.powf(smallest.log10().floor());
        (low, 10_f64.powf(largest.log10().ceil()).max(low * 10.0))
    }
}

fn row(label: &str, spread: &Spread, y: f64, place: &impl Fn(f64) -> f64) -> String {
    let middle = y + ROW / 2.0;
    let colour = COLOURS.into_iter().find(|(whose, _)| label.contains(whose)).map_or(OTHER_COLOUR, |(_, colour)| colour);
    let (begin, end) = (place(0.0), place(spread.median));
    format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><rect x=\"{begin:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
         fill=\"{colour}\"/><line x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\" stroke=\"#1a202c\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        LABELS - 8.0,
        middle + 4.0,
        escaped(label),
        y + 4.0,
        (end - begin).max(1.0),
        ROW - 8.0,
        place(spread.p10),
        place(spread.p90),
        place(spread.p90).max(end) + 6.0,
        middle + 4.0,
        three_digits(spread.median)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_figures_say() {
        let mut plot = Plot::new("ms");
        for (label, figure) in [("ours <1>", 1.0), ("original", 100.0), ("none", 0.0)] {
            plot.rows.extend(Spread::of([figure]).map(|spread| (label.to_owned(), spread)));
        }
        let svg = plot.to_svg("what & how");
        // One decade is half of the axis, which spans two.
        assert!(svg.contains("width=\"520.0\" height=\"14.0\" fill=\"#c05621\""), "{svg}");
        assert!(svg.contains("what &amp; how") && svg.contains("ours &lt;1&gt;"), "{svg}");
        assert_eq!(svg.matches("<rect ").count(), 4);
    }

    #[test]
    fn nothing_to_show_is_a_picture_too() {
        assert!(Plot::new("ms").to_svg("empty").ends_with("</svg>\n"));
    }
}
