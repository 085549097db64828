import type { BootResult } from '../verbs/boot.ts';
import { callVerb } from './call-verb.ts';
import { count } from './columns.ts';
import type { Register } from './commands.ts';
import { EXIT, exitOfOutcome } from './exit-codes.ts';
import { addTail } from './help.ts';
import { outcomeLines } from './outcome-view.ts';
import type { Session } from './session.ts';

export const register: Register = (command, run) => {
  command
    .description(
      'Loads the last good rules, as mendwall-boot.service does before the network comes up: those of the latest snapshot, or of your rule files with [user] source = "files". The ipsets that they name come first. What cannot be loaded is left out and named; rule files with an error, a damaged snapshot, and rules that were on trial at the reboot give way to the last good ones. Live rules of yours that are not among them are taken out.',
    )
    .usage('[OPTIONS]')
    .option('-n, --dry-run', 'show the edits, write nothing')
    .addOption(command.createOption('--yes', 'accepted for scripts; boot asks nothing').hideHelp());
  addTail(command, {
    examples: [
      ['systemctl enable mendwall-boot.service', 'at each boot, before the network'],
      ['mendwall boot -n', 'what it would do now'],
    ],
    exits: [
      ['0', 'all rules stand (`unchanged` when they stood already)'],
      ['1', 'something was left out, or older rules loaded; stderr says what and where'],
      ['2', 'there is no snapshot'],
      ['4', 'another mendwall, or the xtables lock, did not let go in time'],
      ['5', 'no snapshot is whole; rules are on trial; two engines'],
    ],
  });
  command.action(run((session, options: { readonly dryRun?: boolean }) => load(session, options.dryRun === true)));
};

async function load(session: Session, dryRun: boolean): Promise<number> {
  const result = await callVerb<BootResult>(session, 'boot', { dryRun });
  const { what, sets, faults, outcome } = result;
  for (const fault of faults) session.say(fault);
  if (session.options.json === true) session.printJson(result);
  else {
    for (const line of outcomeLines([outcome], dryRun)) session.print(line);
    if (sets.length > 0) session.print(`${count(sets.length, 'ipset')} made: ${sets.join(' ')}`);
    session.print(`${dryRun ? 'would load' : result.changed ? 'loaded' : 'unchanged:'} ${what}`);
  }
  if (dryRun) return EXIT.ok;
  // What is a neighbour's comes when the neighbour starts: only faults count.
  return faults.length === 0 ? EXIT.ok : Math.max(EXIT.drift, exitOfOutcome(outcome));
}
