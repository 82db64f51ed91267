//! Small faults planted into copies of the kernels: each one must be caught, by a wrong result, a sanitizer or a deadlock.
//!
//! Every barrier is left out once, without being asked; other faults stand in a list, each found by its text. A text that is
//! no longer there fails the test: the list moves with the kernels. A fault that nothing catches shows a check that is
//! missing here, or code that is not needed there.

use std::fmt;

use rayon::prelude::*;
use sml::cuda::kernels::{HEADERS, KernelFile};

use crate::kernel_harness::{Failure, Order, Source};
use crate::probes::{Probe, probes};

/// One change to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// The kernel that is compiled with it.
    kernel: KernelFile,
    /// The file that is changed: its own or a header.
    file: String,
    /// What stands there, where, and what stands there instead.
    from: String,
    at: usize,
    to: String,
}

impl Mutation {
    /// Changes the source of its kernel, and of no other.
    pub fn apply(&self, source: &mut Source) {
        if source.name == self.kernel.name() {
            let text = source.files.get_mut(&self.file).unwrap();
            text.replace_range(self.at..self.at + self.from.len(), &self.to);
        }
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = 1 + text_of(&self.file)[..self.at].matches('\n').count();
        write!(f, "{}:{line}: {:?} -> {:?}", self.file, self.from, self.to)
    }
}

fn text_of(file: &str) -> &'static str {
    let header = HEADERS.iter().find(|(name, _)| *name == file).map(|&(_, text)| text);
    let kernel = || KernelFile::ALL.into_iter().find(|kernel| file == format!("{}.cu", kernel.name()));
    header
        .or_else(|| kernel().map(KernelFile::source))
        .unwrap_or_else(|| panic!("there is no kernels/{file}"))
}

/// A fault that is planted by hand.
struct Fault {
    kernel: KernelFile,
    /// Name of the probe that catches it.
    probe: &'static str,
    file: &'static str,
    /// Stands in the file exactly once.
    from: &'static str,
    to: &'static str,
}

const fn fault(
    kernel: KernelFile,
    probe: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
) -> Fault {
    Fault { kernel, probe, file, from, to }
}

use KernelFile::{Accumulate, Preprocess, Smooth, Standardize, Suppress};

const FAULTS: &[Fault] = &[
    // One pixel's prediction and score.
    fault(
        Standardize,
        "any strides, pinned",
        "pixel.cuh",
        "bool wins = held[c] > best;",
        "bool wins = held[c] >= best;",
    ),
    fault(
        Standardize,
        "any strides",
        "pixel.cuh",
        "if (v > best) best = v, prediction = c;",
        "if (v >= best) best = v, prediction = c;",
    ),
    fault(Standardize, "any strides, replaced", "pixel.cuh", "!(found && best >= v)", "!(found && best > v)"),
    fault(Standardize, "upsampling, broken", "pixel.cuh", "!is_nan(best) && ", ""),
    fault(
        Standardize,
        "any strides, replaced",
        "pixel.cuh",
        "bool found = is_finite(best);",
        "bool found = true;",
    ),
    fault(Standardize, "any strides, entropy", "pixel.cuh", "exponential == 0.0f ? 0.0f : ", ""),
    fault(Standardize, "one class, entropy", "pixel.cuh", "CLASSES == 1 ? 0.0f : ", ""),
    // Sampling positions.
    fault(
        Standardize,
        "upsampling",
        "sampling.cuh",
        "at.second = min(at.first + 1, input - 1);",
        "at.second = at.first + 1;",
    ),
    fault(
        Standardize,
        "upsampling",
        "sampling.cuh",
        "shifted - min(shifted, (u32)output)",
        "shifted - (u32)output",
    ),
    fault(
        Standardize,
        "fewer pixels, corners",
        "sampling.cuh",
        "(u32)max(output - 1, 1)",
        "(u32)(output - 1)",
    ),
    fault(Standardize, "many columns, corners", "sampling.cuh", "(u64)max(output - 1, 1)", "(u64)output"),
    fault(
        Standardize,
        "more columns than 16 bits count",
        "sampling.cuh",
        "output <= 32768 && input <= 32768",
        "output <= 65536 && input <= 65536",
    ),
    // Which classes can win in a cell.
    fault(
        Standardize,
        "upsampling",
        "upsample.cuh",
        "same = same && other == best;",
        "same = other == best;",
    ),
    fault(Standardize, "upsampling, broken", "upsample.cuh", "finite = finite && other >= 0;", ""),
    fault(Standardize, "upsampling", "upsample.cuh", "behind = behind && plane", "behind = plane"),
    fault(
        Standardize,
        "upsampling, many classes",
        "upsample.cuh",
        "words = (CLASSES + 31) / 32;",
        "words = CLASSES / 32 + (CLASSES < 32);",
    ),
    fault(
        Standardize,
        "upsampling, ties",
        "upsample.cuh",
        "pixel.prediction < 0 || v > best",
        "pixel.prediction < 0 || v >= best",
    ),
    // The entry points.
    fault(
        Standardize,
        "any strides",
        "standardize.cu",
        "if (column >= (u32)args.out_width) continue;",
        "if (column > (u32)args.out_width) continue;",
    ),
    fault(
        Standardize,
        "rows",
        "standardize.cu",
        "if (vector >= vectors) continue;",
        "if (vector > vectors) continue;",
    ),
    fault(
        Standardize,
        "rows",
        "standardize.cu",
        "if (first + i < CLASSES) raw[i]",
        "if (first + i <= CLASSES) raw[i]",
    ),
    fault(Standardize, "pixels", "standardize.cu", "% 16 == 0) {", "% 4 == 0) {"),
    fault(
        Standardize,
        "pixels",
        "standardize.cu",
        "if ((int)threadIdx.x < count) {",
        "if ((int)threadIdx.x <= count) {",
    ),
    fault(Standardize, "any strides", "standardize.cu", "args.tickets[n] = 0;", ""),
    fault(
        Standardize,
        "any strides",
        "standardize.cu",
        "atomicExch(&args.counts[n], 0ull)",
        "args.counts[n]",
    ),
    fault(Standardize, "rows, bfloat16", "standardize.cu", "u32 word = i < 2 ?", "u32 word = i <= 2 ?"),
    fault(
        Standardize,
        "rows, float16 scores",
        "standardize.cu",
        "float_to_half(-scores[i + 1])",
        "float_to_half(-scores[i])",
    ),
    fault(
        Standardize,
        "fewer columns",
        "standardize.cu",
        "args.out_height != args.height || ",
        "args.out_height != args.height && ",
    ),
    fault(Standardize, "pixels, float16, odd", "standardize.cu", "% 4 == 0;", "% 4 != 0;"),
    // Boundary suppression.
    fault(Suppress, "suppression", "suppress.cu", "interior - args.halo;", "interior - args.halo + 4;"),
    fault(
        Suppress,
        "suppression",
        "suppress.cu",
        "int first = region.top - region.reach - 1",
        "int first = region.top - region.reach",
    ),
    fault(
        Suppress,
        "suppression",
        "suppress.cu",
        "clamp(first + i / words, 0, args.height - 1)",
        "(first + i / words)",
    ),
    fault(Suppress, "suppression", "suppress.cu", "clamp(x + part, 0, args.width - 1)", "(x + part)"),
    fault(
        Suppress,
        "suppression",
        "suppress.cu",
        "if (x + part < 0 || x + part >= args.width) continue;",
        "if (x + part < 0) continue;",
    ),
    fault(Suppress, "suppression", "suppress.cu", "max(max(own_most, above), below)", "max(own_most, above)"),
    fault(Suppress, "suppression, odd", "suppress.cu", "own >= 2", "own > 2"),
    fault(
        Suppress,
        "suppression",
        "suppress.cu",
        "covered < distance; step *= 2",
        "covered + 1 < distance; step *= 2",
    ),
    fault(Suppress, "suppression", "suppress.cu", "dy <= radius", "dy < radius"),
    fault(Suppress, "suppression", "suppress.cu", "radius - (dy < 0 ? -dy : dy)", "radius"),
    fault(Suppress, "suppression", "suppress.cu", "x == args.width - 1 ? o : right", "right"),
    fault(Suppress, "suppression", "suppress.cu", "x == 0 ? o : left", "left"),
    fault(Suppress, "suppression", "suppress.cu", "y < args.height - 1 ? row + 1 : row", "row + 1"),
    fault(
        Suppress,
        "suppression",
        "suppress.cu",
        "int margin = ITERATIONS - 1 - iteration;",
        "int margin = max(ITERATIONS - 2 - iteration, 0);",
    ),
    fault(Suppress, "suppression", "suppress.cu", "if (count > 0)", "if (true)"),
    fault(Suppress, "suppression, broken", "suppress.cu", "if (spread) sum = not_a_number();", ""),
    fault(
        Suppress,
        "suppression",
        "suppress.cu",
        "if (y >= args.height || x >= args.width) continue;",
        "if (y > args.height || x >= args.width) continue;",
    ),
    fault(
        Suppress,
        "suppression, broken",
        "suppress.cu",
        "int column = 32 * (i % WORDS)",
        "int column = 31 * (i % WORDS)",
    ),
    fault(
        Suppress,
        "suppression, misaligned",
        "suppress.cu",
        "(args.suppressed) % 16 == 0",
        "(args.suppressed) % 4 == 0",
    ),
    // Smoothing.
    fault(
        Smooth,
        "smoothing, pinned, misaligned",
        "smooth.cu",
        "(args.smoothed) % 8 == 0",
        "(args.smoothed) % 4 == 0",
    ),
    fault(Smooth, "smoothing, pinned", "smooth.cu", "clamp(y, 0, args.height - 1)", "y"),
    fault(Smooth, "smoothing, pinned", "smooth.cu", "row[clamp(x, 0, args.width - 1)]", "row[x]"),
    fault(
        Smooth,
        "smoothing, pinned",
        "smooth.cu",
        "if (x >= args.width) break;",
        "if (x > args.width) break;",
    ),
    fault(Smooth, "smoothing, pinned, odd", "smooth.cu", "if (x + 1 < args.width)", ""),
    fault(Smooth, "smoothing, pinned", "smooth.cu", "row % 2 * region", "0"),
    fault(
        Smooth,
        "smoothing, pinned, chunks",
        "smooth.cu",
        "if (row + 1 < count) next",
        "if (row + 2 < count) next",
    ),
    fault(
        Smooth,
        "smoothing, pinned, chunks",
        "smooth.cu",
        "first % 2 == 0 && args.width % 2 == 0 && ",
        "args.width % 2 == 0 && ",
    ),
    // Calibration.
    fault(
        Accumulate,
        "calibration",
        "accumulate.cu",
        "if (pixel >= args.pixels) continue;",
        "if (pixel > args.pixels) continue;",
    ),
    fault(
        Accumulate,
        "calibration",
        "accumulate.cu",
        "c <= args.classes; c += THREADS",
        "c < args.classes; c += THREADS",
    ),
    fault(Accumulate, "calibration", "accumulate.cu", "warp < WARPS; ++warp", "warp < WARPS - 1; ++warp"),
    fault(
        Accumulate,
        "calibration",
        "accumulate.cu",
        "block < args.blocks; block += 32",
        "block + 1 < args.blocks; block += 32",
    ),
    fault(
        Accumulate,
        "calibration",
        "accumulate.cu",
        "deviation * deviation : 0.0",
        "deviation * deviation : deviation",
    ),
    // A picture's bytes.
    fault(Preprocess, "picture", "preprocess.cu", "int x = 4 * (int)(", "int x = 5 * (int)("),
    fault(Preprocess, "picture", "preprocess.cu", "int count = min(4, args.width - x);", "int count = 4;"),
    fault(Preprocess, "picture, odd address", "preprocess.cu", "(u64)from % 4 == 0) {", "true) {"),
    fault(
        Preprocess,
        "picture, 4 bytes, misaligned",
        "preprocess.cu",
        "(u64)from % 16 == 0",
        "(u64)from % 4 == 0",
    ),
    fault(Preprocess, "picture, 4 bytes", "preprocess.cu", "words[2] = all.z", "words[2] = all.w"),
    fault(Preprocess, "picture", "preprocess.cu", "if (i < count * bytes) words", "words"),
    fault(Preprocess, "picture", "preprocess.cu", "(u32)from[i] << i % 4 * 8", "(u32)from[i] << i % 4 * 4"),
    fault(
        Preprocess,
        "picture, 4 bytes",
        "preprocess.cu",
        "int at = i * bytes + channel;",
        "int at = i * 3 + channel;",
    ),
    fault(
        Preprocess,
        "picture, misaligned input",
        "preprocess.cu",
        " && (u64)to % (4 * sizeof(Element)) == 0",
        "",
    ),
    fault(Preprocess, "picture", "preprocess.cu", "count == values && ", ""),
    fault(Preprocess, "picture, pixels", "preprocess.cu", "values[2 - i % 3][i / 3]", "values[i % 3][i / 3]"),
    fault(Preprocess, "picture, pixels of float16", "preprocess.cu", "run, 3 * count);", "run, 12);"),
    fault(Preprocess, "picture", "preprocess.cu", "/ args.std[channel];", "/ args.std[0];"),
    fault(
        Preprocess,
        "picture, float16",
        "preprocess.cu",
        "narrowed(c) | (u32)narrowed(d) << 16",
        "narrowed(c)",
    ),
    fault(Preprocess, "picture, bfloat16", "common.cuh", "0x7fffu + (bits >> 16 & 1u)", "0x8000u"),
    fault(Preprocess, "picture, larger", "preprocess.cu", "(args.row_first[y] + row)", "row"),
    fault(
        Preprocess,
        "picture, smaller",
        "preprocess.cu",
        "tap < args.column_taps",
        "tap + 1 < args.column_taps",
    ),
    fault(Preprocess, "picture, smaller", "preprocess.cu", "row < args.row_taps", "row + 1 < args.row_taps"),
    fault(Preprocess, "picture, smaller", "preprocess.cu", "weight * along[channel]", "along[channel]"),
    fault(
        Preprocess,
        "picture, smaller, pixels",
        "preprocess.cu",
        "((i64)y * args.width + x) * 3 + plane",
        "((i64)y * args.width + x) * 3 + channel",
    ),
];

fn planted() -> Vec<Mutation> {
    let lost = |fault: &&Fault| text_of(fault.file).matches(fault.from).count() != 1;
    let lost: Vec<String> =
        FAULTS.iter().filter(lost).map(|fault| format!("{}: {:?}", fault.file, fault.from)).collect();
    assert!(
        lost.is_empty(),
        "not to be found exactly once, so mend the list of faults:\n{}",
        lost.join("\n")
    );
    let mutation = |fault: &Fault| Mutation {
        kernel: fault.kernel,
        file: fault.file.to_owned(),
        from: fault.from.to_owned(),
        at: text_of(fault.file).find(fault.from).unwrap(),
        to: fault.to.to_owned(),
    };
    FAULTS.iter().map(mutation).collect()
}

/// Every barrier left out: what it votes on stays.
fn without_barriers() -> Vec<Mutation> {
    let kernels = KernelFile::ALL.map(|kernel| (kernel, format!("{}.cu", kernel.name())));
    // Headers are those of `standardize`; what others take from them has no barrier.
    let headers = HEADERS.iter().map(|&(name, _)| (Standardize, name.to_owned()));
    let mut mutations = Vec::new();
    for (kernel, file) in kernels.into_iter().chain(headers) {
        let text = text_of(&file);
        for barrier in ["__syncthreads", "__syncwarp"] {
            for (at, _) in text.match_indices(barrier) {
                let rest = &text[at + barrier.len()..];
                let name_end = rest.find('(').unwrap();
                let to = if name_end == 0 { "(void)" } else { "" };
                let from = text[at..at + barrier.len() + name_end].to_owned();
                // `__syncthreads()` becomes `(void)0`, `__syncthreads_or(vote)` becomes `(vote)`.
                let (from, to) = if to.is_empty() { (from, to) } else { (format!("{from}()"), "(void)0") };
                mutations.push(Mutation { kernel, file: file.clone(), from, at, to: to.to_owned() });
            }
        }
    }
    mutations
}

/// In which orders a mutation is tried. A barrier that is missing shows in nearly all.
const ORDERS: [Order; 3] = [Order::Random(7), Order::Ascending, Order::Descending];

/// How a probe shows a mutation, if it does.
fn shown(mutation: &Mutation, probe: &Probe, order: Order) -> Option<String> {
    let wrong = match probe.wrong(order, Some(mutation)) {
        Ok(difference) => difference?,
        Err(Failure(report)) => report.lines().find(|line| !line.starts_with("===")).unwrap_or("").to_owned(),
    };
    let wrong: String = wrong.chars().take(150).collect();
    Some(format!("{mutation}\n    {}: {wrong}", probe.name()))
}

/// Fails with the names of mutations for which `caught` finds nothing.
fn assert_each_caught(mutations: &[Mutation], caught: impl Fn(&Mutation) -> Option<String> + Sync) {
    let missed = mutations.par_iter().filter_map(|mutation| match caught(mutation) {
        Some(by) => {
            println!("{by}");
            None
        }
        None => Some(mutation.to_string()),
    });
    let missed: Vec<String> = missed.collect();
    assert!(
        missed.is_empty(),
        "nothing caught {} of {}:\n{}",
        missed.len(),
        mutations.len(),
        missed.join("\n")
    );
}

#[test]
fn probes_find_nothing_in_the_kernels_as_they_are() {
    for (probe, order) in probes().iter().flat_map(|probe| ORDERS.map(|order| (probe, order))) {
        let name = probe.name();
        let wrong = probe.wrong(order, None).unwrap_or_else(|failure| panic!("{name}: {}", failure.0));
        assert!(wrong.is_none(), "{name}: {wrong:?}");
    }
}

#[test]
fn every_barrier_is_needed() {
    let (mutations, probes) = (without_barriers(), probes());
    assert!(mutations.len() >= 15, "{} barriers", mutations.len());
    assert_each_caught(&mutations, |mutation| {
        let changed = |probe: &&Probe| probe.kernel() == mutation.kernel && probe.is_mutated(mutation);
        let changed: Vec<&Probe> = probes.iter().filter(changed).collect();
        ORDERS.iter().find_map(|&order| changed.iter().find_map(|probe| shown(mutation, probe, order)))
    });
}

#[test]
fn planted_faults_are_caught() {
    let (mutations, probes) = (planted(), probes());
    assert_each_caught(&mutations, |mutation| {
        let fault = FAULTS.iter().find(|fault| fault.from == mutation.from && fault.file == mutation.file)?;
        let probe = probes.iter().find(|probe| probe.name() == fault.probe);
        let probe = probe.unwrap_or_else(|| panic!("there is no probe {:?}", fault.probe));
        shown(mutation, probe, ORDERS[0])
    });
}
