import { printFinding } from '../rules/types.ts';
import type { ImportResult } from '../verbs/import.ts';
import { count } from './columns.ts';
import type { Register } from './commands.ts';
import { EXIT, Stop } from './exit-codes.ts';
import { addTail } from './help.ts';
import { openConfig, openHost, requireRoot, type Session, unlessRefused } from './session.ts';

interface Options {
  readonly name?: string;
  readonly family?: string;
  readonly force?: boolean;
  readonly yes?: boolean;
  readonly dryRun?: boolean;
}

export const register: Register = (command, run) => {
  command
    .description(
      "Takes an old rules file (iptables-save form of any age, or nft) as a rule file: writes rules.d/NN-name.v4, .v6 or .nft. Spellings that today's iptables refuses are translated; what belongs to a neighbour (libvirt, Docker, ...) is left out, and each line left out is listed with its owner. Comments stay. Changes no live rule.",
    )
    .usage('[OPTIONS] FILE')
    .argument('<file>')
    .option('--name <name>', 'the new name without its end, as in 20-web\n(default: 50- and the name of FILE)')
    .option('--family <family>', 'ip or ip6 (default: by the name of FILE)')
    .option('--force', 'replace the file if it is there')
    .option('-n, --dry-run', 'print the new file, write nothing')
    .option('--yes', 'the same as --force, for scripts');
  addTail(command, {
    examples: [
      ['mendwall import /etc/sysconfig/iptables', ''],
      ['mendwall import -n old-rules.txt', 'see it first'],
      ['mendwall import --name 10-base rules.v4', ''],
    ],
    exits: [
      ['0', 'done'],
      ['2', 'there is no such file, or something in it is wrong; nothing was written'],
      ['5', 'the new file is there already'],
      ['7', 'needs root'],
    ],
  });
  command.action(run(importRules));
};

async function importRules(session: Session, file: string, options: Options): Promise<number> {
  const { family, name } = options;
  if (family !== undefined && family !== 'ip' && family !== 'ip6')
    throw new Stop(EXIT.usage, `--family: expected ip or ip6, found "${family}"`);
  if (name !== undefined && !/^\w[\w.-]*$/.test(name))
    throw new Stop(EXIT.usage, `--name: expected a file name as in 20-web, found "${name}"`);
  const dryRun = options.dryRun === true;
  if (!dryRun) requireRoot(session, 'mendwall import');
  const { config } = await openConfig(session);
  const host = openHost(session, config);
  const { importFile } = await import('../verbs/import.ts');
  try {
    const force = options.force === true || options.yes === true;
    const result = unlessRefused(
      await importFile(host, config, { file, name, family, force, dryRun, uid: session.terminal.uid }),
    );
    if (session.options.json === true) session.printJson(result);
    else show(session, result, dryRun);
    return EXIT.ok;
  } finally {
    await host.close();
  }
}

/** With a dry run the new file goes to standard output, so that it can be redirected; all else is messages. */
function show(session: Session, result: ImportResult, dryRun: boolean): void {
  const { from, to, rules, translated, leftOut, warnings } = result;
  const say = (text: string): void => (dryRun ? session.say(text) : session.print(text));
  if (dryRun) session.terminal.out(result.text);
  for (const { line, changes } of translated) say(`${from}:${line}: translated: ${changes.join('; ')}`);
  for (const { line, owner, text } of leftOut) say(`${from}:${line}: left out, ${owner}'s: ${text}`);
  for (const warning of warnings) say(printFinding(warning));
  const told = `${count(rules, 'rule')} of yours, ${count(translated.length, 'line')} translated, ${count(leftOut.length, 'rule')} left out`;
  say(dryRun ? `would write ${to}: ${told}` : `wrote ${to}: ${told}`);
}
