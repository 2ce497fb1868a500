import { type Command, Argument } from "commander";
import type { CliContext } from "../context.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;
type Shell = (typeof SHELLS)[number];

interface Described {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly string[];
  /** The names of its own commands. */
  readonly nested: readonly string[];
}

export function completionCommand(program: Command, { streams }: CliContext): void {
  program
    .command("completion")
    .summary("print a completion script for a shell")
    .description("Prints a script that makes a shell complete commands and options.")
    .addArgument(new Argument("<shell>").choices(SHELLS))
    .addHelpText("after", '\nExample, in ~/.bashrc:\n  eval "$(coppice completion bash)"')
    .action((shell: Shell) => {
      streams.out(SCRIPTS[shell](program.commands.map(describe)));
    });
}

function describe(command: Command): Described {
  const options = command.options.flatMap(({ long }) => (long === undefined ? [] : [long]));
  const nested = command.commands.map((child) => child.name());
  return { name: command.name(), summary: command.summary(), options: [...options, "--help"], nested };
}

const SCRIPTS: { readonly [Name in Shell]: (commands: readonly Described[]) => string } = {
  bash: (commands) => `_coppice() {
  local current="\${COMP_WORDS[COMP_CWORD]}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(" ")} --help --version" -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${commands.map(({ name, options, nested }) => `    ${name}) COMPREPLY=($(compgen -W "${[...nested, ...options].join(" ")}" -- "$current")) ;;\n`).join("")}  esac
}
complete -o default -F _coppice coppice
`,
  zsh: (commands) => `_coppice() {
  if (( CURRENT == 2 )); then
    local -a commands
    commands=(${commands.map(({ name, summary }) => `"${name}:${summary}"`).join(" ")})
    _describe command commands
    return
  fi
  case $words[2] in
${commands.map(({ name, options, nested }) => `    ${name}) compadd -- ${[...nested, ...options].join(" ")}; _files ;;\n`).join("")}  esac
}
compdef _coppice coppice
`,
  fish: (commands) =>
    commands
      .map(({ name, summary, options, nested }) => {
        const own = options.map(
          (option) => `complete -c coppice -n "__fish_seen_subcommand_from ${name}" -l ${option.slice(2)}\n`,
        );
        const inner = nested.map(
          (child) => `complete -c coppice -n "__fish_seen_subcommand_from ${name}" -a ${child}\n`,
        );
        const lines = [...inner, ...own].join("");
        return `complete -c coppice -n __fish_use_subcommand -a ${name} -d "${summary}"\n${lines}`;
      })
      .join(""),
};
