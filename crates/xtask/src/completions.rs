//! Shell completions: the commands, `NAME=` for every variable, and the options.
//!
//! Written by hand rather than by clap_complete, which knows nothing of words such as `bridge=`.

use std::fmt::Write as _;

use hotplug::program::{PROGRAMS, Program};

/// Every program's files for bash, zsh and fish, in folders named after the shell.
pub fn files() -> Vec<(String, String)> {
    PROGRAMS
        .iter()
        .flat_map(|program| {
            let name = program.name;
            [
                (format!("bash/{name}"), bash(program)),
                (format!("zsh/_{name}"), zsh(program)),
                (format!("fish/{name}.fish"), fish(program)),
            ]
        })
        .collect()
}

fn bash(program: &Program) -> String {
    let function = format!("_{}", program.name.replace('-', "_"));
    let commands: Vec<_> = program.commands.iter().map(|command| command.name).collect();
    let variables: Vec<_> = program.variables.iter().map(|variable| format!("{}=", variable.name)).collect();
    let options: Vec<_> = program.options.iter().map(|option| format!("--{}", option.long())).collect();
    format!(
        r#"# bash completion for {name}
{function}() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} given words='{variables}'
    # The command is the first word without "=", which bash may have made a word of its own.
    [[ $word != '=' && ${{COMP_WORDS[COMP_CWORD - 1]}} != '=' ]] || return
    local command=''
    for given in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $given in
        {cases}) command=$given ;;
        esac
    done
    [[ $command ]] || words+=' {commands}'
    [[ $word != -* ]] || words='{options}'
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    [[ ${{COMPREPLY[*]}} != *= ]] || compopt -o nospace
}}
complete -F {function} {name}
"#,
        name = program.name,
        variables = variables.join(" "),
        cases = commands.join(" | "),
        commands = commands.join(" "),
        options = options.join(" "),
    )
}

fn zsh(program: &Program) -> String {
    let described = |name: &str, text: &str| format!("'{name}:{}'", quoted(text));
    let commands: Vec<_> = program.commands.iter().map(|command| described(command.name, command.purpose)).collect();
    let variables: Vec<_> = program
        .variables
        .iter()
        .map(|variable| described(variable.name, variable.meaning.first().copied().unwrap_or_default()))
        .collect();
    let options: Vec<_> =
        program.options.iter().map(|option| format!("'--{}[{}]'", option.long(), quoted(&bracketed(option.purpose())))).collect();
    format!(
        "#compdef {name}\n_{function}_words() {{\n  local -a commands variables\n  commands=(\n    {commands}\n  )\n  variables=(\n    \
         {variables}\n  )\n  _describe command commands\n  _describe variable variables -S =\n}}\n_arguments \\\n  {options} \\\n  \
         '*:word:_{function}_words'\n",
        name = program.name,
        function = program.name.replace('-', "_"),
        commands = commands.join("\n    "),
        variables = variables.join("\n    "),
        options = options.join(" \\\n  "),
    )
}

fn fish(program: &Program) -> String {
    let name = program.name;
    let commands: Vec<_> = program.commands.iter().map(|command| command.name).collect();
    let unsaid = format!("not __fish_seen_subcommand_from {}", commands.join(" "));
    let mut text = format!("# fish completion for {name}\ncomplete -c {name} -f\n");
    for command in program.commands {
        let _ = writeln!(text, "complete -c {name} -n '{unsaid}' -a {} -d '{}'", command.name, fish_quoted(command.purpose));
    }
    for variable in program.variables {
        let meaning = fish_quoted(variable.meaning.first().copied().unwrap_or_default());
        let _ = writeln!(text, "complete -c {name} -a {}= -d '{meaning}'", variable.name);
    }
    for option in program.options {
        let short = option.short().map(|letter| format!(" -s {letter}")).unwrap_or_default();
        let _ = writeln!(text, "complete -c {name}{short} -l {} -d '{}'", option.long(), fish_quoted(option.purpose()));
    }
    text
}

/// For single quotes of bash and zsh.
fn quoted(text: &str) -> String {
    text.replace('\'', r"'\''")
}

/// For single quotes of fish.
fn fish_quoted(text: &str) -> String {
    text.replace('\\', r"\\").replace('\'', r"\'")
}

/// For the brackets of zsh's `_arguments`.
fn bracketed(text: &str) -> String {
    text.replace('[', r"\[").replace(']', r"\]")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What bash offers for the last of these words.
    fn offered(program: &Program, words: &[&str]) -> Vec<String> {
        let function = format!("_{}", program.name.replace('-', "_"));
        let script = format!(
            "compopt() {{ :; }}\n{}\nCOMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1))\n{function}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
            bash(program)
        );
        let output = Command::new("bash").args(["-c", &script, "bash", program.name]).args(words).output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn bash_offers_what_can_follow() {
        for program in PROGRAMS {
            let first = offered(program, &[""]);
            assert_eq!(first.len(), program.commands.len() + program.variables.len());
            for command in program.commands {
                assert!(first.contains(&command.name.to_owned()));
                assert_eq!(offered(program, &[command.name, ""]).len(), program.variables.len());
            }
            assert_eq!(offered(program, &["--"]).len(), program.options.len());
        }
    }

    #[test]
    fn bash_completes_the_word_that_was_begun() {
        let bridge = PROGRAMS[0];
        assert_eq!(offered(bridge, &["sta"]), ["start", "status"]);
        assert_eq!(offered(bridge, &["start", "netd"]), ["netdev="]);
        assert_eq!(offered(bridge, &["start", "netdev", "=", "eth"]), Vec::<String>::new());
        assert_eq!(offered(bridge, &["--dry"]), ["--dry-run"]);
    }

    #[test]
    fn every_shell_is_told_of_every_word() {
        for program in PROGRAMS {
            for text in [zsh(program), fish(program)] {
                program.commands.iter().for_each(|command| assert!(text.contains(command.name)));
                program.variables.iter().for_each(|variable| assert!(text.contains(variable.name)));
                program.options.iter().map(|option| option.long()).for_each(|long| assert!(text.contains(long)));
            }
        }
    }

    #[test]
    fn quotes_cannot_end_a_text() {
        assert_eq!(
            (quoted("a'b"), fish_quoted(r"a'\b"), bracketed("a[b]")),
            (r"a'\''b".into(), r"a\'\\b".into(), r"a\[b\]".into())
        );
    }
}
