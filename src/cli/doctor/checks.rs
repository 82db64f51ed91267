//! The verdicts: which of the facts are well, which are worth knowing, which are broken, and what to do about those.
//!
//! Facts about GPUs are problems only where a GPU is wanted: where one is there, or where one was asked for by name.
//! Only what the wanted device needs makes the program fail.

use serde::Serialize;

use super::facts::{Cuda, Facts, Finding, Libtorch, Processor, Program, Threads};
use super::gpu_checks::judge_cuda;
use crate::{DeviceRequest, Gpu};

/// Verdict on one fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// It works.
    Ok,
    /// Worth knowing, and nothing is wrong.
    Note,
    /// It is broken, or missing where it is wanted.
    Problem,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub name: String,
    pub status: Status,
    /// Whether the wanted device needs it: a problem here makes the program fail.
    pub needed: bool,
    pub text: String,
    pub remedy: Option<String>,
}

impl Check {
    /// Whether it keeps the wanted device from being used.
    pub fn is_fatal(&self) -> bool {
        self.status == Status::Problem && self.needed
    }

    pub fn ok(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Ok, needed: false, text: text.into(), remedy: None }
    }

    pub fn note(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { status: Status::Note, ..Self::ok(name, text) }
    }

    /// A problem of the CPU path, which every device needs.
    pub fn problem(name: impl Into<String>, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status: Status::Problem, needed: true, remedy: Some(remedy.into()), ..Self::ok(name, text) }
    }
}

/// How much GPUs matter on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GpuWish {
    /// There is none, or the CPU alone was asked for.
    None,
    /// There is one: what keeps it from being used is a problem, but the CPU path still works.
    Present,
    /// One was asked for by name.
    Demanded,
}

impl GpuWish {
    fn new(request: DeviceRequest, gpus: &[Gpu]) -> Self {
        match request {
            DeviceRequest::Cuda(_) => Self::Demanded,
            DeviceRequest::Auto if !gpus.is_empty() => Self::Present,
            DeviceRequest::Auto | DeviceRequest::Cpu => Self::None,
        }
    }

    /// A problem where GPUs matter, else a note.
    pub fn problem(
        self,
        name: impl Into<String>,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Check {
        match self {
            Self::None => Check::note(name, text),
            Self::Present => Check { needed: false, ..Check::problem(name, text, remedy) },
            Self::Demanded => Check::problem(name, text, remedy),
        }
    }
}

/// All verdicts, in the order of the report.
pub(super) fn judge(facts: &Facts, request: DeviceRequest) -> Vec<Check> {
    let gpus = facts.cuda.as_ref().map(Cuda::gpus).unwrap_or_default();
    let wish = GpuWish::new(request, gpus);
    let mut checks = vec![program(&facts.program), processor(&facts.processor), threads(&facts.threads)];
    match &facts.libtorch {
        Some(libtorch) => checks.extend(judge_libtorch(libtorch, wish)),
        None => {
            checks.push(Check::note("libtorch", "not compiled in (feature torch): no backbones, logits only"))
        }
    }
    let libtorch_gpus = facts.libtorch.as_ref().map_or(0, |libtorch| libtorch.gpus);
    match &facts.cuda {
        Some(cuda) => checks.extend(judge_cuda(cuda, wish, request)),
        None if libtorch_gpus > 0 => {
            let text =
                format!("libtorch can use {libtorch_gpus}; for more the feature cuda is not compiled in");
            checks.push(Check::note("GPU", text));
        }
        None => checks.push(wish.problem(
            "GPU",
            "not compiled in (feature cuda): driver, GPUs and NVRTC are not looked for",
            "build with the feature cuda",
        )),
    }
    checks
}

fn program(program: &Program) -> Check {
    let features = program.features.join(", ");
    let target = format!("{} {}", program.operating_system, program.architecture);
    Check::ok("program", format!("sml {}, features {features}, for {target}", program.version))
}

fn processor(processor: &Processor) -> Check {
    let name = processor.name.as_deref().unwrap_or("name not told by the system");
    let sets = match processor.instruction_sets.as_slice() {
        [] => "no vector instructions known here".into(),
        sets => sets.join(" "),
    };
    Check::ok("processor", format!("{name}: {sets}"))
}

fn threads(threads: &Threads) -> Check {
    let libtorch = threads.libtorch.map(|count| format!(", libtorch {count}")).unwrap_or_default();
    Check::ok("threads", format!("engine {}{libtorch}, available {}", threads.engine, threads.available))
}

fn judge_libtorch(libtorch: &Libtorch, wish: GpuWish) -> Vec<Check> {
    let path = libtorch
        .path
        .as_ref()
        .map_or("path not told by the system".into(), |path| path.display().to_string());
    let expected = libtorch.expected_version;
    let rebuild = format!("use libtorch {expected}: unset LIBTORCH, run scripts/setup.sh and build again");
    let version = match libtorch.version.as_deref() {
        // A wheel's version names its CUDA release behind a plus sign.
        Some(version) if version.split('+').next() == Some(expected) => {
            Check::ok("libtorch", format!("{version} ({path})"))
        }
        Some(version) => Check::problem(
            "libtorch",
            format!("{version} ({path}), but this program needs {expected}"),
            rebuild,
        ),
        None => {
            Check::note("libtorch", format!("of unknown version ({path}); this program needs {expected}"))
        }
    };
    let computes = match &libtorch.computation_error {
        None => Check::ok("libtorch computes", "a product of matrices on the CPU is right"),
        Some(error) => Check::problem(
            "libtorch computes",
            format!("a product of matrices on the CPU failed: {error}"),
            "install libtorch again: delete .libtorch, run scripts/setup.sh and build again",
        ),
    };
    let mut checks = vec![version, computes];
    checks.extend(libtorch.cuda_half.as_ref().map(|half| match half {
        Finding::Present(path) => Check::ok("libtorch CUDA half", format!("loaded ({})", path.display())),
        Finding::Absent(reason) => wish.problem(
            "libtorch CUDA half",
            format!("not in this set-up, backbones run on the CPU ({reason})"),
            cuda_half_remedy(expected),
        ),
        Finding::Broken(reason) => wish.problem(
            "libtorch CUDA half",
            format!("does not load, backbones run on the CPU ({reason})"),
            cuda_half_remedy(expected),
        ),
    }));
    if matches!(libtorch.cuda_half, Some(Finding::Present(_))) && wish != GpuWish::None {
        checks.push(match libtorch.gpus {
            0 => wish.problem(
                "libtorch GPUs",
                "libtorch sees none",
                "update the NVIDIA driver to 580 or newer and check CUDA_VISIBLE_DEVICES",
            ),
            count => Check::ok("libtorch GPUs", format!("libtorch can use {count}")),
        });
    }
    checks
}

fn cuda_half_remedy(version: &str) -> String {
    format!(
        "install the whole of libtorch (pip install torch=={version}) and build with LIBTORCH set to its folder \
         site-packages/torch"
    )
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::{gpu_machine, plain_machine};
    use super::*;
    use crate::ComputeCapability;

    fn find<'a>(checks: &'a [Check], name: &str) -> &'a Check {
        checks
            .iter()
            .find(|check| check.name == name)
            .unwrap_or_else(|| panic!("no check {name} in {checks:#?}"))
    }

    fn problems(checks: &[Check]) -> Vec<&str> {
        let problems = checks.iter().filter(|check| check.status == Status::Problem);
        problems
            .map(|check| {
                assert!(check.remedy.is_some(), "{check:?}");
                check.name.as_str()
            })
            .collect()
    }

    #[test]
    fn a_machine_without_gpu_has_no_problem() {
        for request in [DeviceRequest::Auto, DeviceRequest::Cpu] {
            let checks = judge(&plain_machine(), request);
            assert_eq!(problems(&checks), [""; 0], "{request}");
            let driver = find(&checks, "NVIDIA driver");
            assert_eq!(driver.status, Status::Note);
            assert!(driver.text.contains("the engine runs on the CPU"));
        }
    }

    #[test]
    fn a_gpu_that_was_asked_for_and_is_not_there_is_fatal() {
        let checks = judge(&plain_machine(), DeviceRequest::Cuda(0));
        assert_eq!(problems(&checks), ["libtorch CUDA half", "NVIDIA driver"]);
        assert!(checks.iter().any(Check::is_fatal));
    }

    #[test]
    fn a_whole_gpu_machine_is_well_for_its_own_ordinals() {
        for request in [DeviceRequest::Auto, DeviceRequest::Cpu, DeviceRequest::Cuda(0)] {
            assert_eq!(problems(&judge(&gpu_machine(), request)), [""; 0], "{request}");
        }
        let checks = judge(&gpu_machine(), DeviceRequest::Cuda(1));
        assert_eq!(problems(&checks), ["GPU cuda:1"]);
        assert!(find(&checks, "GPU cuda:1").text.contains("the driver shows 1 GPU(s)"));
        let gpu = find(&checks, "GPU cuda:0");
        assert!(gpu.text.contains("139.8 GiB, 132 multiprocessors, 50 MiB L2"), "{}", gpu.text);
    }

    #[test]
    fn what_keeps_a_gpu_idle_is_a_problem_but_not_for_the_cpu_path() {
        let mut facts = gpu_machine();
        if let Some(libtorch) = &mut facts.libtorch {
            libtorch.cuda_half =
                Some(Finding::Broken("libcudnn.so.9: cannot open shared object file".into()));
            libtorch.gpus = 0;
        }
        let checks = judge(&facts, DeviceRequest::Auto);
        assert_eq!(problems(&checks), ["libtorch CUDA half"]);
        assert!(!checks.iter().any(Check::is_fatal));
        assert!(judge(&facts, DeviceRequest::Cuda(0)).iter().any(Check::is_fatal));
    }

    #[test]
    fn an_old_driver_and_an_old_gpu_are_told_with_the_limit() {
        let mut facts = gpu_machine();
        if let Some(Cuda { driver: Finding::Present(driver), .. }) = &mut facts.cuda {
            driver.cuda = "12.4".into();
            driver.is_new_enough = false;
            driver.gpus[0].compute_capability = ComputeCapability { major: 7, minor: 0 };
        }
        let checks = judge(&facts, DeviceRequest::Auto);
        assert_eq!(problems(&checks), ["NVIDIA driver", "GPU cuda:0"]);
        assert!(find(&checks, "NVIDIA driver").text.contains("12.4, and 13.0 is needed"));
        assert!(find(&checks, "GPU cuda:0").text.contains("7.5 and newer"));
    }

    #[test]
    fn hidden_gpus_name_the_variable() {
        let mut facts = gpu_machine();
        if let Some(cuda) = &mut facts.cuda {
            cuda.visible_devices = Some(String::new());
            if let Finding::Present(driver) = &mut cuda.driver {
                driver.gpus.clear();
            }
        }
        let checks = judge(&facts, DeviceRequest::Auto);
        assert_eq!(find(&checks, "GPU").status, Status::Note);
        assert!(find(&checks, "GPU").text.contains("CUDA_VISIBLE_DEVICES is \"\""));
        assert!(problems(&judge(&facts, DeviceRequest::Cuda(0))).contains(&"GPU cuda:0"));
    }

    #[test]
    fn a_wrong_or_broken_libtorch_is_fatal_on_every_device() {
        for version in ["2.13.0", "2.1.0"] {
            let mut facts = plain_machine();
            if let Some(libtorch) = &mut facts.libtorch {
                libtorch.version = Some(version.into());
                libtorch.computation_error = Some("no kernel".into());
            }
            let checks = judge(&facts, DeviceRequest::Cpu);
            assert_eq!(problems(&checks), ["libtorch", "libtorch computes"]);
            assert!(checks.iter().any(Check::is_fatal));
        }
        let mut facts = plain_machine();
        if let Some(libtorch) = &mut facts.libtorch {
            libtorch.version = Some("2.11.0+cu130".into());
        }
        assert_eq!(problems(&judge(&facts, DeviceRequest::Cpu)), [""; 0]);
    }

    #[test]
    fn an_unwritable_cache_matters_only_with_a_gpu() {
        for (mut facts, status) in [(plain_machine(), Status::Note), (gpu_machine(), Status::Problem)] {
            if let Some(Cuda { kernel_cache: Some(cache), .. }) = &mut facts.cuda {
                cache.write_error = Some("Read-only file system".into());
            }
            let checks = judge(&facts, DeviceRequest::Auto);
            assert_eq!(find(&checks, "kernel cache").status, status);
            assert!(find(&checks, "kernel cache").text.contains("Read-only file system"));
        }
    }

    #[test]
    fn parts_that_were_not_compiled_in_are_said_so() {
        let facts = Facts { libtorch: None, cuda: None, ..plain_machine() };
        let checks = judge(&facts, DeviceRequest::Auto);
        assert_eq!(problems(&checks), [""; 0]);
        assert!(find(&checks, "libtorch").text.contains("not compiled in"));
        assert!(find(&checks, "GPU").text.contains("not compiled in"));
        assert_eq!(problems(&judge(&facts, DeviceRequest::Cuda(0))), ["GPU"]);
    }
}
