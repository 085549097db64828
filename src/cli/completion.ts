import type { Register } from './commands.ts';
import { COMMANDS } from './commands.ts';
import { EXIT, Stop } from './exit-codes.ts';
import { addTail } from './help.ts';

const SUBCOMMANDS: Readonly<Record<string, string>> = {
  snapshot: 'list show prune',
  hooks: 'install status remove',
  debug: 'parse classify merge plan',
  config: 'show',
  explain: 'tcp udp icmp from to in out state',
  completion: 'bash zsh fish',
};
const GLOBAL = '--config --state --netns --json --quiet --verbose --color --wait --help';
const OPTIONS: Readonly<Record<string, string>> = {
  init: '--from --place --force --dry-run --yes',
  diff: '--owner --all --stat',
  snapshot: '--message --dry-run --yes',
  restore: '--dry-run --yes',
  mend: '--dry-run --mode',
  run: '--mode',
  log: '--lines --follow',
  accept: '--dry-run',
  pause: '--for --dry-run',
  resume: '--dry-run',
  explain: '--proto --from --to --sport --dport --in --out --ctstate --type --mark --rules',
  hooks: '--folder --dry-run',
  debug: '--family --networks --snapshot --plan',
};

export const register: Register = (command, run) => {
  command
    .description('Prints a completion script: commands, options, and the ids of your snapshots.')
    .usage('bash | zsh | fish')
    .argument('<shell>', 'bash, zsh or fish');
  addTail(command, {
    examples: [
      ['mendwall completion bash > /etc/bash_completion.d/mendwall', ''],
      ['mendwall completion zsh > /usr/share/zsh/site-functions/_mendwall', ''],
      ['mendwall completion fish > /etc/fish/completions/mendwall.fish', ''],
    ],
    exits: [
      ['0', 'ok'],
      ['2', 'another shell'],
    ],
  });
  command.action(
    run((session, shell: string) => {
      const script = SCRIPTS[shell];
      if (script === undefined)
        return Promise.reject(new Stop(EXIT.usage, `expected bash, zsh or fish, found "${shell}"`));
      session.terminal.out(script());
      return Promise.resolve(EXIT.ok);
    }),
  );
};

const SCRIPTS: Readonly<Record<string, () => string>> = { bash, zsh, fish };

const names = (): string => COMMANDS.map(({ name }) => name).join(' ');
/** Snapshot ids, newest first; nothing when they cannot be read. */
const IDS = 'mendwall snapshot list 2>/dev/null | awk \'NR > 1 { print ($1 == "*") ? $2 : $1 }\'';

function bash(): string {
  const cases = [...new Set([...Object.keys(SUBCOMMANDS), ...Object.keys(OPTIONS)])].map(
    (name) => `    ${name}) words="${[SUBCOMMANDS[name], OPTIONS[name]].filter(Boolean).join(' ')}" ;;`,
  );
  return `# bash completion for mendwall
_mendwall() {
  local word=\${COMP_WORDS[COMP_CWORD]} command= words= each
  for each in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $each in -*) ;; *) command=$each; break ;; esac
  done
  case $command in
    '') words="${names()}" ;;
${cases.join('\n')}
  esac
  case $command in restore|diff) words="$words latest live $(${IDS})" ;; esac
  COMPREPLY=($(compgen -W "$words ${GLOBAL}" -- "$word"))
  [ \${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$word"))
}
complete -F _mendwall mendwall
`;
}

function zsh(): string {
  const rows = COMMANDS.map(({ name, summary }) => `    '${name}:${summary.replaceAll("'", "'\\''")}'`);
  const cases = [...new Set([...Object.keys(SUBCOMMANDS), ...Object.keys(OPTIONS)])].map(
    (name) => `    ${name}) compadd -- ${[SUBCOMMANDS[name], OPTIONS[name]].filter(Boolean).join(' ')} ;;`,
  );
  return `#compdef mendwall
_mendwall() {
  local -a commands
  commands=(
${rows.join('\n')}
  )
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  case $words[2] in
${cases.join('\n')}
  esac
  case $words[2] in restore|diff) compadd -- latest live $(${IDS}) ;; esac
  compadd -- ${GLOBAL}
  _files
}
_mendwall "$@"
`;
}

function fish(): string {
  const lines = ['# fish completion for mendwall'];
  for (const { name, summary } of COMMANDS)
    lines.push(`complete -c mendwall -n __fish_use_subcommand -f -a ${name} -d "${summary.replaceAll('"', '\\"')}"`);
  for (const [name, words] of Object.entries(SUBCOMMANDS))
    lines.push(`complete -c mendwall -n "__fish_seen_subcommand_from ${name}" -f -a "${words}"`);
  for (const [name, options] of Object.entries(OPTIONS))
    for (const option of options.split(' '))
      lines.push(`complete -c mendwall -n "__fish_seen_subcommand_from ${name}" -l ${option.slice(2)}`);
  for (const option of GLOBAL.split(' ')) lines.push(`complete -c mendwall -l ${option.slice(2)}`);
  lines.push(
    `complete -c mendwall -n "__fish_seen_subcommand_from restore diff" -a "latest live (${IDS.replaceAll('$1', '\\$1').replaceAll('$2', '\\$2')})"`,
  );
  return `${lines.join('\n')}\n`;
}
