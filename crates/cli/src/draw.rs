//! A sheet as lines of text, fitted into a terminal.

use crate::sheet::{Align, Head, Line, Mark, Sheet, Tint};
use crate::text::{cut, width};

#[cfg(test)]
mod tests;

/// Columns between two columns.
const GAP: usize = 2;
/// A text column is not cut below this; before that others are left out.
const TEXT_MIN: usize = 12;

/// What is drawn on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Canvas {
    /// Columns there are; `None`: no end.
    pub(crate) columns: Option<usize>,
    /// Whether colours are wanted.
    pub(crate) colours: Colours,
    /// Whether there is a margin for marks.
    pub(crate) margin: Margin,
}

/// Whether colours are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    On,
    Off,
}

/// Whether rows have a mark before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Margin {
    Marks,
    None,
}

impl Canvas {
    /// Columns of the margin.
    pub(crate) fn margin_columns(self) -> usize {
        match self.margin {
            Margin::Marks => GAP,
            Margin::None => 0,
        }
    }

    /// A text in a colour.
    pub(crate) fn tinted(self, text: &str, tint: Tint) -> String {
        let code = match (self.colours, tint) {
            (Colours::Off, _) | (_, Tint::None) => return text.to_string(),
            (Colours::On, Tint::Yellow) => "33",
            (Colours::On, Tint::Red) => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// A text set off as a heading.
    pub(crate) fn bold(self, text: &str) -> String {
        match self.colours {
            Colours::On => format!("\x1b[1m{text}\x1b[0m"),
            Colours::Off => text.to_string(),
        }
    }
}

/// The lines, the heads first.
pub(crate) fn lines(sheet: &Sheet, canvas: Canvas) -> Vec<String> {
    let room = canvas.columns.map(|columns| columns.saturating_sub(canvas.margin_columns()));
    let plan = fit(sheet, room);
    let head: Vec<String> = plan
        .iter()
        .map(|(at, columns)| padded(&sheet.heads[*at].text, *columns, &sheet.heads[*at]))
        .collect();
    let head = head.join("  ");
    let margin = canvas.margin_columns();
    let mut lines = vec![canvas.bold(&format!("{:margin$}{}", "", head.trim_end()))];
    lines.extend(sheet.lines.iter().map(|line| one(line, sheet, &plan, canvas)));
    lines
}

fn one(line: &Line, sheet: &Sheet, plan: &[(usize, usize)], canvas: Canvas) -> String {
    let cells: Vec<String> = plan
        .iter()
        .map(|(at, columns)| {
            let (text, tint) = &line.cells[*at];
            canvas.tinted(&padded(text, *columns, &sheet.heads[*at]), *tint)
        })
        .collect();
    let mark = match (canvas.margin, line.mark) {
        (Margin::None, _) => "",
        (Margin::Marks, Mark::None) => "  ",
        (Margin::Marks, Mark::New) => "+ ",
        (Margin::Marks, Mark::Changed) => "~ ",
    };
    let text = format!("{mark}{}", cells.join("  "));
    match line.mark {
        Mark::None => text.trim_end().to_string(),
        Mark::New | Mark::Changed => canvas.bold(text.trim_end()),
    }
}

/// Text cut or filled up to a width.
fn padded(text: &str, columns: usize, head: &Head) -> String {
    let text = cut(text, columns);
    let blanks = columns.saturating_sub(width(&text));
    match head.align {
        Align::Left => format!("{text}{:blanks$}", ""),
        Align::Right => format!("{:blanks$}{text}", ""),
    }
}

/// Which columns are shown, and how wide: as wide as they are if there is room, else long text is cut, and when that
/// is not enough, columns are left out.
fn fit(sheet: &Sheet, room: Option<usize>) -> Vec<(usize, usize)> {
    let natural = |at: usize, head: &Head| {
        let cells = sheet.lines.iter().map(|line| width(&line.cells[at].0));
        cells.max().unwrap_or(0).max(width(&head.text))
    };
    let mut plan: Vec<(usize, usize)> =
        sheet.heads.iter().enumerate().map(|(at, head)| (at, natural(at, head))).collect();
    let Some(room) = room else { return plan };
    while squeeze(&mut plan, sheet, room).is_none() && plan.len() > 1 {
        // The last of those that matter least.
        let least = (0..plan.len()).max_by_key(|place| sheet.heads[plan[*place].0].rank).unwrap_or(0);
        plan.remove(least);
        for (at, columns) in &mut plan {
            *columns = natural(*at, &sheet.heads[*at]);
        }
    }
    if let [(_, columns)] = plan.as_mut_slice() {
        *columns = (*columns).min(room.max(1));
    }
    plan
}

/// Cuts the widest columns of text until everything fits; `None` if it cannot.
fn squeeze(plan: &mut [(usize, usize)], sheet: &Sheet, room: usize) -> Option<()> {
    loop {
        let total =
            plan.iter().map(|(_, columns)| columns).sum::<usize>() + GAP * plan.len().saturating_sub(1);
        let excess = total.saturating_sub(room);
        if excess == 0 {
            return Some(());
        }
        let is_text = |at: usize| sheet.heads[at].align == Align::Left;
        let mut texts: Vec<&mut (usize, usize)> =
            plan.iter_mut().filter(|(at, columns)| is_text(*at) && *columns > TEXT_MIN).collect();
        texts.sort_by_key(|(_, columns)| std::cmp::Reverse(*columns));
        let second = texts.get(1).map_or(TEXT_MIN, |text| text.1);
        let widest = texts.first_mut()?;
        // Down to the next one, then both together.
        let target = if second < widest.1 { second } else { widest.1 - 1 };
        widest.1 = target.max(widest.1.saturating_sub(excess)).max(TEXT_MIN);
    }
}
