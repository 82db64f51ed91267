//! Two versions measured in turns, so that whatever disturbs the machine disturbs both.

use std::time::{Duration, Instant};

/// Frames of one side in one turn. The first one only wakes threads and caches, and is not counted.
const FRAMES: usize = 3;

/// Turns at least, however long they take, and at most.
const LEAST: usize = 5;
const MOST: usize = 60;

/// When measuring ends.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    /// After so many turns.
    Turns(usize),
    /// After this time and five turns, or 60 turns.
    Time(Duration),
}

impl Limit {
    fn is_reached(self, turns: usize, start: Instant) -> bool {
        match self {
            Self::Turns(most) => turns >= most,
            Self::Time(longest) => turns >= MOST || turns >= LEAST && start.elapsed() >= longest,
        }
    }
}

/// Microseconds of both sides, as many of each for each turn.
#[derive(Default)]
pub(super) struct Turns {
    pub ours: Vec<f64>,
    pub theirs: Vec<f64>,
}

impl Turns {
    /// Measures until `limit`. Both sides are given the number of an input and tell the microseconds that it took; who comes first
    /// changes from turn to turn, and `rest` comes before each. The error is that of a side, with the turns that were whole before.
    pub fn measure<E>(
        limit: Limit,
        rest: impl Fn(),
        mut ours: impl FnMut(usize) -> Result<f64, E>,
        mut theirs: impl FnMut(usize) -> Result<f64, E>,
    ) -> (Self, Result<(), E>) {
        let start = Instant::now();
        let mut turns = Self::default();
        while !limit.is_reached(turns.number(), start) {
            let input = turns.number();
            let side = |run: &mut dyn FnMut(usize) -> Result<f64, E>| {
                rest();
                side(input, run)
            };
            let both = if input % 2 == 0 {
                side(&mut ours).and_then(|ours| Ok((ours, side(&mut theirs)?)))
            } else {
                side(&mut theirs).and_then(|theirs| Ok((side(&mut ours)?, theirs)))
            };
            match both {
                Ok((ours, theirs)) => {
                    turns.ours.extend(ours);
                    turns.theirs.extend(theirs);
                }
                Err(error) => return (turns, Err(error)),
            }
        }
        (turns, Ok(()))
    }

    /// Turns that are whole.
    pub fn number(&self) -> usize {
        self.ours.len() / (FRAMES - 1)
    }

    /// Their time over ours, of each turn.
    pub fn ratios(&self) -> Vec<f64> {
        let turn = |times: &[f64]| times.iter().sum::<f64>();
        let pairs = self.ours.chunks(FRAMES - 1).zip(self.theirs.chunks(FRAMES - 1));
        pairs.map(|(ours, theirs)| turn(theirs) / turn(ours)).collect()
    }
}

/// The counted frames of one side.
fn side<E>(input: usize, run: &mut dyn FnMut(usize) -> Result<f64, E>) -> Result<[f64; FRAMES - 1], E> {
    run(input)?;
    let mut times = [0.0; FRAMES - 1];
    for (frame, time) in times.iter_mut().enumerate() {
        *time = run(input + 1 + frame)?;
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_run_the_same_inputs_and_take_turns_in_being_first() {
        let order = std::cell::RefCell::new(Vec::new());
        let run = |who: char, time: f64| {
            let order = &order;
            move |input: usize| {
                order.borrow_mut().push((who, input));
                Ok::<f64, ()>(time)
            }
        };
        let (turns, ended) = Turns::measure(Limit::Turns(2), || (), run('o', 2.0), run('t', 6.0));
        assert_eq!((ended, turns.number(), turns.ratios()), (Ok(()), 2, vec![3.0, 3.0]));
        let want = [('o', 0), ('t', 0), ('t', 1), ('o', 1)];
        let want: Vec<(char, usize)> =
            want.iter().flat_map(|&(who, first)| (first..first + 3).map(move |input| (who, input))).collect();
        assert_eq!(*order.borrow(), want);
    }

    #[test]
    fn a_failure_keeps_the_whole_turns_before_it() {
        let mut left = 7;
        let theirs = |_| {
            left -= 1;
            if left == 0 { Err("gone") } else { Ok(4.0) }
        };
        let (turns, ended) = Turns::measure(Limit::Turns(9), || (), |_| Ok(2.0), theirs);
        assert_eq!((ended, turns.number(), turns.theirs.len()), (Err("gone"), 2, 4));
    }

    #[test]
    fn short_turns_end_by_their_number_and_long_ones_by_the_time() {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(5));
        let Some(start) = long_ago else { return };
        let limit = Limit::Time(Duration::from_secs(2));
        assert!(!limit.is_reached(LEAST - 1, start) && limit.is_reached(LEAST, start));
        let limit = Limit::Time(Duration::from_secs(3600));
        assert!(!limit.is_reached(MOST - 1, start) && limit.is_reached(MOST, start));
    }
}
