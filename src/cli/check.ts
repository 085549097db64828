import { printFinding } from '../rules/types.ts';
import { checkResult, type CheckResult } from '../verbs/check.ts';
import { count } from './columns.ts';
import type { Register } from './commands.ts';
import { EXIT } from './exit-codes.ts';
import { addTail } from './help.ts';
import { startProgress } from './progress.ts';
import { openConfig, openHost, type Session } from './session.ts';

const NOTES = `FILES
  Without a FILE all rule files of the folder rules.d beside the configuration,
  in the order of their names: NN-name.v4 and .v6 (as iptables-save prints, whole
  or in part), .nft (nft syntax), each with .j2 behind it for a template. When
  there is none: /etc/iptables/rules.v4 and .v6, /etc/sysconfig/iptables and
  ip6tables, /etc/nftables.conf.

  iptables and nft themselves judge the rules, in a network namespace that ends
  with them. That needs root; without, only the form is looked at.

  One finding a line: FILE:LINE:COLUMN: code: message. docs/errors.md has each
  code. A problem keeps the rules from being used, a warning does not.`;

export const register: Register = (command, run) => {
  command
    .description(
      'Are the rule files right? Syntax and meaning, with the exact place and the nearest right word. Changes nothing.',
    )
    .usage('[OPTIONS] [FILE...]')
    .argument('[files...]');
  addTail(command, {
    notes: NOTES,
    examples: [
      ['mendwall check', 'the rule files of this host'],
      ['mendwall check rules.v4 rules.v6', 'before you load them'],
      ['mendwall check --json', ''],
    ],
    exits: [
      ['0', 'nothing found'],
      ['1', 'warnings only'],
      ['2', 'problems'],
    ],
  });
  command.action(run(check));
};

async function check(session: Session, files: readonly string[]): Promise<number> {
  const { config } = await openConfig(session);
  const host = openHost(session, config);
  const { loadRuleFiles } = await import('../verbs/load-rules.ts');
  const progress = startProgress(session, host.clock);
  try {
    const loaded = await loadRuleFiles(host, config, {
      ...(files.length === 0 ? {} : { files }),
      uid: session.terminal.uid,
      onRead: (lines) => progress.say(`checking ${lines} lines`),
    });
    const result = checkResult(loaded);
    if (session.options.json === true) session.printJson(result);
    else show(session, result);
    return result.problems.length > 0 ? EXIT.usage : result.warnings.length > 0 ? EXIT.drift : EXIT.ok;
  } finally {
    progress.stop();
    await host.close();
  }
}

function show(session: Session, { files, problems, warnings, rules }: CheckResult): void {
  for (const each of [...problems, ...warnings]) session.print(printFinding(each));
  const all = rules.ip + rules.ip6 + rules.native;
  const found = [count(problems.length, 'problem'), count(warnings.length, 'warning')].join(', ');
  session.say(
    `${count(files.length, 'file')}, ${count(all, 'rule')}: ${problems.length + warnings.length === 0 ? 'all right' : found}`,
  );
}
