//! `sml eval`: how well scores tell unexpected pixels from normal ones, on a labelled set.
//!
//! The set comes as pictures for a network, as saved logits or as saved scores (`source`, whose files are found by `pairs`).
//! `prepare` turns the options into a plan, `scorer` each image into score maps, `evaluate` puts them into the state folder
//! one after the other, and `output` writes what the state, or several (`merge`), amount to, with `pictures`; `export` writes score maps for the
//! benchmarks on the way.

mod evaluate;
mod export;
mod merge;
mod output;
mod pairs;
mod pictures;
mod prepare;
mod scorer;
mod source;

use clap::{Args, Subcommand};

use crate::Result;

/// Evaluate anomaly scores on a labelled set
///
/// Prints AUROC, AP and FPR95 of the network's plain scores (msp, max_logit, entropy, energy) and of the method after each of
/// its stages, all from one pass over the network; or of saved scores of any other method. With -o a run that was
/// interrupted goes on where it was when the same command is given again.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  sml eval --dataset fishyscapes-static --root Static/ --model dabnet --weights FILE -o out
  sml eval --logits logits/ --labels labels/ --stats cityscapes.json --layout nchw -o out
  sml eval --scores my_method/ other_method/ --labels labels/ --json
  sml eval ... --sweep dilation=3..9 width=0,4,8 iterations=1,2,4 -o ablation
  sml eval ... --shard 1/2 -o part1     (and 2/2 elsewhere; then: sml eval merge part1 part2 -o out)"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    evaluate: evaluate::EvaluateArgs,
}

#[derive(Subcommand)]
enum Action {
    Merge(merge::Arguments),
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// When the set, an option or the output is not usable, or a metric is not defined on the set.
    pub(super) fn run(&self) -> Result<()> {
        match &self.action {
            Some(Action::Merge(arguments)) => arguments.run(),
            None => self.evaluate.run(),
        }
    }
}
