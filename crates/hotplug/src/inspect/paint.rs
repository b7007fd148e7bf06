//! Colours, signs and columns of what is printed.

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// On a terminal, unless NO_COLOR says otherwise (<https://no-color.org>).
    On,
    /// Elsewhere.
    Off,
}

/// Which signs the output may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signs {
    /// Lines and marks of Unicode, where the locale has them.
    Unicode,
    /// ASCII alone.
    Ascii,
}

/// How output looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Colours.
    pub colours: Colours,
    /// Signs.
    pub signs: Signs,
}

/// What a colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hue {
    /// A name.
    Name,
    /// All is well.
    Good,
    /// Worth a look.
    Doubt,
    /// Something is wrong.
    Bad,
    /// Of less account.
    Faint,
}

/// A line of a tree, or a mark before a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A branch with others below.
    Branch,
    /// The last branch.
    LastBranch,
    /// All is well.
    Good,
    /// Something to know.
    Note,
    /// Something is wrong.
    Bad,
    /// It could not be found out.
    Unknown,
}

impl Style {
    /// Neither colours nor signs beyond ASCII.
    pub const PLAIN: Self = Self { colours: Colours::Off, signs: Signs::Ascii };

    /// By what the environment says: `NO_COLOR` and `TERM`, and the locale's character set (locale(7)).
    #[must_use]
    pub fn of_environment<'a>(is_terminal: bool, variable: impl Fn(&str) -> Option<&'a str>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let wanted = is_terminal && given("NO_COLOR").is_none() && given("TERM") != Some("dumb");
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(given).unwrap_or_default().to_ascii_lowercase();
        Self {
            colours: if wanted { Colours::On } else { Colours::Off },
            signs: if locale.contains("utf-8") || locale.contains("utf8") { Signs::Unicode } else { Signs::Ascii },
        }
    }

    /// A text in its colour.
    #[must_use]
    pub fn paint(self, hue: Hue, text: &str) -> String {
        let code = match hue {
            Hue::Name => "1",
            Hue::Good => "32",
            Hue::Doubt => "33",
            Hue::Bad => "31",
            Hue::Faint => "2",
        };
        match self.colours {
            Colours::On if !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }

    /// A sign.
    #[must_use]
    pub fn sign(self, sign: Sign) -> &'static str {
        match (self.signs, sign) {
            (Signs::Unicode, Sign::Branch) => "├─ ",
            (Signs::Unicode, Sign::LastBranch) => "└─ ",
            (Signs::Unicode, Sign::Good) => "✓",
            (Signs::Unicode, Sign::Note) => "•",
            (Signs::Unicode, Sign::Bad) => "✗",
            (Signs::Ascii, Sign::Branch) => "|- ",
            (Signs::Ascii, Sign::LastBranch) => "`- ",
            (Signs::Ascii, Sign::Good) => "+",
            (Signs::Ascii, Sign::Note) => "*",
            (Signs::Ascii, Sign::Bad) => "x",
            (_, Sign::Unknown) => "?",
        }
    }
}

/// A text and its colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The text.
    pub text: String,
    /// Its colour.
    pub hue: Option<Hue>,
}

impl Cell {
    /// Without a colour.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), hue: None }
    }

    /// In a colour.
    #[must_use]
    pub fn painted(hue: Hue, text: impl Into<String>) -> Self {
        Self { text: text.into(), hue: Some(hue) }
    }
}

/// Rows of cells as lines whose columns are in line. A column without any text takes no room.
#[must_use]
pub fn columns(style: Style, rows: &[Vec<Cell>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let length = |cell: &Cell| cell.text.chars().count();
    let widths: Vec<usize> =
        (0..count).map(|column| rows.iter().filter_map(|row| row.get(column)).map(length).max().unwrap_or_default()).collect();
    let line = |row: &Vec<Cell>| {
        let mut line = String::new();
        let mut room = 0;
        for (cell, width) in row.iter().zip(&widths).filter(|(_, width)| **width > 0) {
            if !cell.text.is_empty() {
                line.extend(std::iter::repeat_n(' ', room));
                line += &cell.hue.map_or_else(|| cell.text.clone(), |hue| style.paint(hue, &cell.text));
                room = 0;
            }
            room += width - length(cell) + 2;
        }
        line
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(is_terminal: bool, variables: &[(&str, &'static str)]) -> Style {
        Style::of_environment(is_terminal, |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
    }

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        assert_eq!(style(true, &[]).colours, Colours::On);
        assert_eq!(style(false, &[]).colours, Colours::Off);
        assert_eq!(style(true, &[("NO_COLOR", "1")]).colours, Colours::Off);
        assert_eq!(style(true, &[("NO_COLOR", "")]).colours, Colours::On);
        assert_eq!(style(true, &[("TERM", "dumb")]).colours, Colours::Off);
    }

    #[test]
    fn signs_follow_the_locale() {
        assert_eq!(style(true, &[("LANG", "C.UTF-8")]).signs, Signs::Unicode);
        assert_eq!(style(true, &[("LC_ALL", "C"), ("LANG", "de_DE.utf8")]).signs, Signs::Ascii);
        assert_eq!(style(false, &[]).signs, Signs::Ascii);
    }

    #[test]
    fn columns_are_in_line_and_empty_ones_take_no_room() {
        let row = |cells: [&str; 4]| cells.map(Cell::plain).to_vec();
        let lines = columns(Style::PLAIN, &[row(["a", "", "x", "1"]), row(["bbb", "", "", "2"]), row(["c", "", "y", ""])]);
        assert_eq!(lines, ["a    x  1", "bbb     2", "c    y"]);
    }

    #[test]
    fn colours_do_not_count_for_the_width() {
        let style = Style { colours: Colours::On, signs: Signs::Ascii };
        let rows = [vec![Cell::painted(Hue::Name, "a"), Cell::plain("1")], vec![Cell::plain("bb"), Cell::plain("2")]];
        assert_eq!(columns(style, &rows), ["\x1b[1ma\x1b[0m   1", "bb  2"]);
    }
}
