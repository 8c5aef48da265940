//! The areas of a transition, as SVG paths in a rectangle of 1000 by 100 that is stretched to its place.

use super::Transition;
use std::fmt::Write;

/// Two areas that fill the rectangle up to now, and the seam between them.
pub(super) struct Areas {
    pub(super) old: String,
    pub(super) new: String,
    pub(super) seam: String,
    /// Height of the old secret's area now, and of its remainder until the deadline.
    pub(super) now: f64,
}

/// Minimum height, so that any use is thick enough to be seen.
const LEAST: f64 = 4.0;

/// Returns the areas; `None` if no use is recorded.
pub(super) fn areas(transition: &Transition) -> Option<Areas> {
    let (start, end) = (0.0, transition.x(transition.now.min(transition.until())) * 10.0);
    let mut points: Vec<(f64, f64)> = Vec::new();
    for segment in transition.used() {
        let middle = segment.from.after(segment.to.since(segment.from) / 2);
        let all = (segment.old + segment.new) as f64;
        let share = segment.old as f64 / all * 100.0;
        let thick = match (segment.old, segment.new) {
            (0, _) => 0.0,
            (_, 0) => 100.0,
            _ => share.clamp(LEAST, 100.0 - LEAST),
        };
        points.push((transition.x(middle) * 10.0, thick));
    }
    let (first, last) = (points.first()?.1, points.last()?.1);
    points.insert(0, (start, first));
    points.push((end, last));
    let curve = curve(&points);
    Some(Areas {
        old: format!("M{start} 0L{start} {first:.1}{curve}L{end:.1} 0Z"),
        new: format!("M{start} 100L{start} {first:.1}{curve}L{end:.1} 100Z"),
        seam: format!("M{start} {first:.1}{curve}"),
        now: last,
    })
}

/// Returns a smooth line through the points that never leaves the range of two neighbours (Fritsch and Carlson, 1980):
/// a picture must not show a use that was not recorded.
fn curve(points: &[(f64, f64)]) -> String {
    let slope = |pair: &[(f64, f64)]| match pair[1].0 - pair[0].0 {
        width if width > 0.0 => (pair[1].1 - pair[0].1) / width,
        _ => 0.0,
    };
    let slopes: Vec<f64> = points.windows(2).map(slope).collect();
    let mut tangents = vec![0.0; points.len()];
    for (at, pair) in slopes.windows(2).enumerate() {
        // Level where the line turns, and else no steeper than the harmonic mean of both sides.
        if pair[0] * pair[1] > 0.0 {
            tangents[at + 1] = 2.0 * pair[0] * pair[1] / (pair[0] + pair[1]);
        }
    }
    let mut path = String::new();
    for (at, pair) in points.windows(2).enumerate() {
        let ((x, y), (to_x, to_y)) = (pair[0], pair[1]);
        let third = (to_x - x) / 3.0;
        let (leaving, arriving) = (y + tangents[at] * third, to_y - tangents[at + 1] * third);
        let (x1, x2) = (x + third, to_x - third);
        let _ = write!(path, "C{x1:.1} {leaving:.1} {x2:.1} {arriving:.1} {to_x:.1} {to_y:.1}");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The control points of a piece stay between its ends, and so does the piece.
    #[test]
    fn the_line_stays_between_what_was_recorded() {
        let points =
            [(0.0, 100.0), (10.0, 100.0), (20.0, 60.0), (30.0, 64.0), (40.0, 4.0), (40.0, 4.0), (90.0, 0.0)];
        let curve = curve(&points);
        let pieces: Vec<_> = curve.split('C').skip(1).collect();
        assert_eq!(pieces.len(), points.len() - 1);
        for (piece, ends) in pieces.iter().zip(points.windows(2)) {
            let numbers: Vec<f64> = piece.split(' ').map(|number| number.parse().unwrap()).collect();
            let (low, high) = (ends[0].1.min(ends[1].1), ends[0].1.max(ends[1].1));
            for y in [numbers[1], numbers[3], numbers[5]] {
                assert!((low - 0.1..=high + 0.1).contains(&y), "{piece} between {low} and {high}");
            }
        }
    }
}
