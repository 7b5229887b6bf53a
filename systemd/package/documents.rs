//! Writes what a package has beside the binary and can be told from it: the settings file with every
//! setting explained, man pages, shell completions.
//!
//! `cargo run --example documents -- DIR`

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use rigd::cli::Cli;
use rigd::config::Config;

const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("Name the folder that takes the documents.");
        return ExitCode::from(2);
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("The documents could not be written: {error}.");
            ExitCode::FAILURE
        }
    }
}

/// The program as a person meets it: what is hidden there is documented nowhere.
fn program() -> Command {
    let mut program = Cli::command();
    program.build();
    program
}

fn write(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("rigd.toml"), Config::documented())?;
    let man = folder.join("man");
    std::fs::create_dir_all(&man)?;
    clap_mangen::generate_to(Cli::command(), &man)?;
    for shell in SHELLS {
        let completions = folder.join("completions").join(shell.to_string());
        std::fs::create_dir_all(&completions)?;
        clap_complete::generate_to(shell, &mut program(), "rigd", &completions)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Every command that a person may give, as `["log", "query"]`, with its long options.
    fn commands(of: &Command, path: &[String], into: &mut Vec<(Vec<String>, Vec<String>)>) {
        let options = of.get_arguments().filter(|option| !option.is_hide_set());
        let options = options.filter_map(|option| option.get_long().map(str::to_owned));
        into.push((path.to_vec(), options.collect()));
        for below in of.get_subcommands().filter(|below| !below.is_hide_set()) {
            if below.get_name() != "help" {
                let path = [path, &[below.get_name().to_owned()]].concat();
                commands(below, &path, into);
            }
        }
    }

    #[test]
    fn every_command_option_and_setting_is_in_the_documents() {
        let folder = std::env::temp_dir().join(format!("rigd-documents-{}", std::process::id()));
        write(&folder).unwrap();
        let read = |name: &str| {
            fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        let mut all = Vec::new();
        commands(&program(), &[], &mut all);
        assert!(all.len() > 8, "{all:?}");
        let shells = [
            "completions/bash/rigd.bash",
            "completions/zsh/_rigd",
            "completions/fish/rigd.fish",
        ]
        .map(|name| (name, read(name)));
        for (path, options) in all {
            let page = format!(
                "man/{}.1",
                [&["rigd".to_owned()][..], &path].concat().join("-")
            );
            let text = read(&page).replace('\\', "");
            for option in options {
                assert!(text.contains(&format!("--{option}")), "{page}: --{option}");
                for (name, completion) in &shells {
                    let is_there = completion.contains(&format!("--{option}"))
                        || completion.contains(&format!("-l {option} "));
                    assert!(is_there || option == "help", "{name}: --{option}");
                }
            }
        }
        let settings = read("rigd.toml");
        let mut section = "";
        for field in Config::fields() {
            if section != field.section {
                section = field.section;
                assert!(settings.contains(&format!("\n[{section}]\n")), "{section}");
            }
            assert!(
                settings.contains(&format!("\n#{} = ", field.key)),
                "{}",
                field.key
            );
        }
        assert_eq!(
            Config::parse(&settings, &[], &|_| None).unwrap(),
            Config::parse("", &[], &|_| None).unwrap(),
            "as it is, it changes nothing"
        );
        fs::remove_dir_all(folder).unwrap();
    }
}
