//! What a simulated container does: said by the words of its command line, for pods of either controller.
//!
//! `play run=2.5 exit=3` runs for 2.5 seconds and exits with 3. The words may stand anywhere after the last `--`, as the
//! starter's command line has it, or anywhere where there is none. With `fails=2` the first two attempts exit with 1.

use crate::slim::Container;
use std::time::Duration;

/// How long a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// So long.
    For(Duration),
    /// Until the bench tells all that wait for it.
    UntilTold,
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    /// How long it runs.
    pub run: Run,
    /// The code that it exits with.
    pub exit: i32,
    /// So many attempts exit with 1 first.
    pub fails: u32,
    /// The command is run by our starter, which leaves a record.
    pub starter: bool,
}

impl Script {
    /// Words for this script, for a command line.
    pub fn words(run: Run, exit: i32) -> Vec<String> {
        let run = match run {
            Run::For(time) => format!("run={}", time.as_secs_f64()),
            Run::UntilTold => "run=told".to_owned(),
        };
        vec![run, format!("exit={exit}")]
    }

    /// Reads it; what is not said is `run=0 exit=0`.
    pub fn of(container: &Container) -> Self {
        let words: Vec<&str> =
            container.command.iter().chain(&container.args).map(String::as_str).collect();
        let starter = words.contains(&"--");
        let own = words.rsplit(|word| *word == "--").next().unwrap_or_default();
        let mut script = Self { run: Run::For(Duration::ZERO), exit: 0, fails: 0, starter };
        for (key, value) in own.iter().filter_map(|word| word.split_once('=')) {
            match key {
                "run" if value == "told" => script.run = Run::UntilTold,
                "run" => {
                    let seconds = value.parse().unwrap_or_default();
                    script.run = Run::For(Duration::try_from_secs_f64(seconds).unwrap_or_default());
                }
                "fails" => script.fails = value.parse().unwrap_or_default(),
                "exit" => script.exit = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        script
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(words: &[&str]) -> Container {
        let args = words.iter().map(|&word| word.to_owned()).collect();
        Container { args, ..Container::default() }
    }

    #[test]
    fn a_script_is_read_behind_the_starters_own_words() {
        let script = Script::of(&container(&["run", "exit=9", "--", "play", "run=2.5", "exit=3"]));
        let run = Run::For(Duration::from_millis(2500));
        assert_eq!(script, Script { run, exit: 3, fails: 0, starter: true });
    }

    #[test]
    fn first_attempts_may_fail() {
        let script = Script::of(&container(&["play", "exit=4", "fails=2"]));
        assert_eq!((script.exit, script.fails), (4, 2));
    }

    #[test]
    fn what_is_written_is_read() {
        for run in [Run::UntilTold, Run::For(Duration::from_millis(1250)), Run::For(Duration::ZERO)]
        {
            let words = Script::words(run, 7);
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            assert_eq!(
                Script::of(&container(&words)),
                Script { run, exit: 7, fails: 0, starter: false }
            );
        }
    }

    #[test]
    fn a_command_that_says_nothing_ends_well_at_once() {
        let run = Run::For(Duration::ZERO);
        let expected = Script { run, exit: 0, fails: 0, starter: false };
        assert_eq!(Script::of(&container(&["true", "run", "exit"])), expected);
        assert_eq!(Script::of(&container(&["run=never", "exit=x"])), expected);
    }
}
