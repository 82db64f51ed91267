//! Writes the kernels that usual frames need, as machine code for every architecture, into a folder:
//!
//! ```text
//! cargo run --release --example kernel_cubins -- FOLDER
//! ```
//!
//! Each is a `.cubin`, for NVIDIA's tools; `launches.json` says how each is launched. `make kernel-report` makes a table of
//! them. Needs NVRTC; neither a GPU nor a driver.

#[allow(dead_code)]
mod planned;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use planned::{PlannedLaunch, architecture_name, planned_launches};
use sml::cuda::compiled_kernels::KernelSupply;
use sml::{Error, Result};

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: kernel_cubins FOLDER");
        return ExitCode::from(2);
    };
    match write_all(&PathBuf::from(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write_all(folder: &PathBuf) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, "create the folder", error))?;
    let supply = KernelSupply { folder: None, compile: true };
    let mut files: HashMap<String, (String, u128)> = HashMap::new();
    let mut launches = Vec::new();
    for planned in planned_launches() {
        let kernel = format!("{} {}", planned.variant, architecture_name(&planned.multiprocessor));
        if !files.contains_key(&kernel) {
            let start = Instant::now();
            let code = supply.cubin(&planned.variant, planned.multiprocessor.gpu())?;
            let time = start.elapsed().as_millis();
            let file = format!("{:03}.cubin", files.len());
            let path = folder.join(&file);
            std::fs::write(&path, &code.bytes).map_err(|error| Error::io(&path, "write", error))?;
            files.insert(kernel.clone(), (file, time));
        }
        let (file, milliseconds) = &files[&kernel];
        launches.push(description(&planned, file, *milliseconds));
    }
    let path = folder.join("launches.json");
    let text = format!("{:#}\n", serde_json::Value::Array(launches));
    std::fs::write(&path, text).map_err(|error| Error::io(&path, "write", error))
}

fn description(planned: &PlannedLaunch, file: &str, milliseconds: u128) -> serde_json::Value {
    let PlannedLaunch { frame, variant, multiprocessor, launch } = planned;
    serde_json::json!({
        "file": file,
        "frame": frame,
        "compile_milliseconds": milliseconds as u64,
        "kernel": variant.to_string(),
        "entry": launch.entry,
        "architecture": architecture_name(multiprocessor),
        "threads": launch.block.iter().product::<u32>(),
        "dynamic_shared_bytes": launch.shared_bytes,
        "multiprocessor": {
            "threads": multiprocessor.threads,
            "blocks": multiprocessor.blocks,
            "shared_bytes": multiprocessor.shared_bytes,
            "reserved_bytes": multiprocessor.reserved_bytes,
        },
    })
}
