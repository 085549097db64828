// Help texts: the short help of `mendwall`, and the tail that each command's help ends with.

import type { Command } from 'commander';
import { columns } from './columns.ts';
import { COMMANDS } from './commands.ts';
import { VERSION } from './version.ts';

export function shortHelp(): string {
  const rows = COMMANDS.map(({ name, usage, summary }) => [`${name} ${usage}`.trim(), summary]);
  return `mendwall ${VERSION}: keeps your firewall rules and libvirt's standing side by side

USAGE
  mendwall COMMAND [OPTIONS]        mendwall help COMMAND

COMMANDS
${columns(rows, '  ')}

OPTIONS (of every command)
  --config FILE   instead of /etc/mendwall/mendwall.toml and its conf.d
  --state DIR     instead of /var/lib/mendwall
  --netns NAME    work in this network namespace (ip-netns)
  --json          one JSON document, "schema": 1 (streams: one a line)
  -q, -v          fewer, or more, messages
  --color WHEN    auto, always or never; NO_COLOR is respected
  --wait SECONDS  for another mendwall to finish (default 10)

EXIT STATUS
  0 ok, no drift  1 drift or differences  2 usage, configuration or input
  3 no daemon  4 locked or timed out  5 refused for safety  7 needs root
  8 contended; an unknown code means failure
`;
}

export interface HelpTail {
  /** Command line, and what it does. */
  readonly examples: readonly (readonly [string, string])[];
  /** Code, and when. */
  readonly exits: readonly (readonly [string, string])[];
  /** More to know, ready to print; optional. */
  readonly notes?: string;
}

export function addTail(command: Command, { examples, exits, notes }: HelpTail): void {
  const parts = [
    notes === undefined ? '' : `\n${notes}\n`,
    `\nEXAMPLES\n${exampleLines(examples).join('\n')}\n`,
    `\nEXIT STATUS\n${columns(exits, '  ')}`,
  ];
  command.addHelpText('after', parts.join(''));
}

const WIDTH = 80;

/** What an example does stands beside it, below it when the line would be too long. */
function exampleLines(examples: HelpTail['examples']): string[] {
  const fits = ([line, about]: readonly [string, string]): boolean => `  ${line}  ${about}`.length <= WIDTH;
  const lengths = examples.filter((each) => each[1] !== '' && fits(each)).map(([line]) => line.length);
  const column = Math.max(
    0,
    ...lengths.filter((length) =>
      examples.every(([line, about]) => line.length > length || length + about.length + 4 <= WIDTH),
    ),
  );
  return examples.flatMap((each) => {
    const [line, about] = each;
    if (about === '') return [`  ${line}`];
    return fits(each) ? [`  ${line.padEnd(column)}  ${about}`] : [`  ${line}`, `      ${about}`];
  });
}
