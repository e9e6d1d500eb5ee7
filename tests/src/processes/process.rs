//! One process: started, watched, and ended in any case.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, kill_process};

use super::waiting::{PATIENCE, wait_until};

pub use rustix::process::Signal;

/// The lines of its output that a failed test shows of a process.
const LINES_SHOWN: usize = 40;

/// Returns a command that sees nothing of this process's environment.
pub(crate) fn clean(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin");
    command
}

/// What became of a command that ended by itself.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its exit code; `None`: a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Outcome {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().expect("the program starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Returns what was printed.
    ///
    /// # Panics
    /// When it failed.
    #[track_caller]
    pub fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Returns what it complained about.
    ///
    /// # Panics
    /// When it did not end with this code.
    #[track_caller]
    pub fn failure(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self.stderr
    }
}

/// A running process. It is killed when this is dropped; when a test fails, its last words are shown.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts a process whose output goes to files in `folder`, named after it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(command: &mut Command, folder: &Path, name: &str) -> Self {
        let stdout = folder.join(format!("{name}.out"));
        let stderr = folder.join(format!("{name}.err"));
        let file = |path: &Path| File::create(path).expect("a file for the output");
        let child = command
            .stdin(Stdio::null())
            .stdout(file(&stdout))
            .stderr(file(&stderr))
            .spawn();
        Self {
            name: name.to_owned(),
            child: child.expect("the program starts"),
            ended: None,
            stdout,
            stderr,
        }
    }

    /// Returns the memory that it has resident, in bytes; 0 when it has ended.
    pub fn memory(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// Returns the most memory that it ever had resident, in bytes; 0 when it has ended.
    pub fn memory_peak(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// Lets the most memory count from now on.
    pub fn forget_memory_peak(&self) {
        // Where the kernel does not allow it, it counts from the start.
        drop(fs::write(
            format!("/proc/{}/clear_refs", self.child.id()),
            "5",
        ));
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let value = status.lines().find_map(|line| line.strip_prefix(field));
        let kibibytes =
            value.and_then(|value| value.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kibibytes.unwrap_or(0) * 1_024
    }

    /// Returns everything that it has said.
    pub fn output(&self) -> String {
        let text = |path| fs::read(path).unwrap_or_default();
        let said = [text(&self.stdout), text(&self.stderr)].concat();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Returns how it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("our own child");
        }
        self.ended
    }

    /// Waits until it has said `what`, and returns the line.
    ///
    /// # Panics
    /// When it does not, or ends before.
    #[track_caller]
    pub fn await_line(&mut self, what: &str) -> String {
        wait_until(PATIENCE, &format!("{} to say {what:?}", self.name), || {
            let ended = self.ended();
            let said = self.output();
            let line = said.lines().find(|line| line.contains(what));
            assert!(
                line.is_some() || ended.is_none(),
                "{} ended ({ended:?}) without saying {what:?}:\n{said}",
                self.name
            );
            line.map(str::to_owned)
        })
    }

    /// Waits until it has ended, and returns its exit code.
    ///
    /// # Panics
    /// When it does not end, or a signal ends it.
    #[track_caller]
    pub fn await_code(&mut self, within: Duration) -> i32 {
        let name = self.name.clone();
        let status = wait_until(within, &format!("{name} to end"), || self.ended());
        let code = status.code();
        code.unwrap_or_else(|| panic!("{name} ended by signal {:?}", status.signal()))
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let (None, Some(pid)) = (self.ended(), pid) {
            kill_process(pid, signal).expect("our own child takes signals");
        }
    }

    /// Ends it at once, by SIGKILL.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        if self.ended.is_none() {
            self.ended = Some(self.child.wait().expect("our own child"));
        }
    }

    /// Asks it to stop, by SIGINT, and returns its exit code.
    ///
    /// # Panics
    /// When it does not stop.
    #[track_caller]
    pub fn stop(&mut self) -> i32 {
        self.signal(Signal::INT);
        self.await_code(PATIENCE)
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "a failed test shows why")]
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let said = self.output();
            let lines: Vec<&str> = said.lines().collect();
            let last = lines.get(lines.len().saturating_sub(LINES_SHOWN)..);
            eprintln!("--- {} ({:?}):", self.name, self.ended);
            eprintln!("{}", last.unwrap_or_default().join("\n"));
        }
    }
}
