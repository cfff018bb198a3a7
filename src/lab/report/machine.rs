//! The machine that was measured on; what cannot be found out is left out.
//!
//! Note: `notes/README.md`.

use std::fs;
use std::process::Command;
use std::thread;

/// Name and value of each thing that is known.
#[derive(Debug)]
pub struct Machine {
    /// Cores that we may use.
    pub cores: usize,
    /// The system's kernel and its version.
    pub kernel: String,
    /// The processor's name for itself.
    pub cpu: Option<String>,
    /// Memory in MiB.
    pub memory: Option<u64>,
    /// The compiler.
    pub rustc: Option<String>,
}

impl Machine {
    /// This machine.
    pub fn look() -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let value = |text: &str, names: &[&str]| {
            text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                names.contains(&name.trim()).then(|| value.trim().to_owned())
            })
        };
        let memory = value(&meminfo, &["MemTotal"]);
        let kib = memory.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        let kernel = output("uname", &["-srm"]).unwrap_or_else(|| std::env::consts::OS.to_owned());
        Machine {
            cores: thread::available_parallelism().map_or(1, usize::from),
            kernel,
            cpu: value(&cpuinfo, &["model name", "Model", "cpu model"])
                .or_else(|| output("sysctl", &["-n", "machdep.cpu.brand_string"])),
            memory: kib.map(|kib| kib / 1024),
            rustc: output("rustc", &["--version"]),
        }
    }

    /// The same as rows: name and value.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = Vec::new();
        rows.extend(self.cpu.clone().map(|cpu| ("CPU", cpu)));
        rows.push(("Cores", self.cores.to_string()));
        rows.extend(self.memory.map(|mib| ("Memory", format!("{mib} MiB"))));
        rows.push(("Kernel", self.kernel.clone()));
        let version = format!("progjar {}", env!("CARGO_PKG_VERSION"));
        rows.push(("Programs", version));
        rows.extend(self.rustc.clone().map(|rustc| ("Compiler", rustc)));
        rows
    }
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    Some(text).filter(|text| output.status.success() && !text.is_empty())
}
