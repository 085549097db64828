import type { RestoreResult } from '../verbs/restore.ts';
import { callVerb } from './call-verb.ts';
import type { Register } from './commands.ts';
import { EXIT, exitOfOutcome, Stop } from './exit-codes.ts';
import { addTail } from './help.ts';
import { outcomeLines, ruleLines } from './outcome-view.ts';
import type { Session } from './session.ts';

interface Options {
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

export const register: Register = (command, run) => {
  command
    .description(
      "Puts your rules of a snapshot back into the live ruleset, exactly, merged around today's neighbours. Live rules of yours that are not in it are taken out: it lists them, and asks. Makes a new snapshot, ends pending.",
    )
    .usage('[OPTIONS] ID')
    .argument('<id>', 'an id or its first 4 digits, latest, latest~N')
    .option('-n, --dry-run', 'show the edits, write nothing')
    .option('--yes', 'take rules out without asking');
  addTail(command, {
    examples: [
      ['mendwall restore latest', 'undo what is pending'],
      ['mendwall restore latest~1 -n', 'what going back one snapshot would edit'],
    ],
    exits: [
      ['0', 'done, no drift is left (`unchanged` when nothing differed)'],
      ['1', 'drift is left'],
      ['2', 'there is no such snapshot'],
      ['4', 'another mendwall, or the xtables lock, did not let go in time'],
      ['5', 'it would take rules out and nobody said yes; damaged; two engines'],
    ],
  });
  command.action(run(restore));
};

async function restore(session: Session, ref: string, options: Options): Promise<number> {
  const args = { ref, dryRun: options.dryRun === true, yes: options.yes === true };
  let result = await callVerb<RestoreResult>(session, 'restore', args);
  if (result.kind === 'asks') {
    for (const line of ruleLines('it takes out', result.dropped)) session.say(line);
    if (!(await session.terminal.confirm(`restore ${result.id}?`)))
      throw new Stop(EXIT.refused, 'nothing was changed; --yes takes these rules out, `mendwall snapshot` adopts them');
    result = await callVerb<RestoreResult>(session, 'restore', { ...args, yes: true });
  }
  if (session.options.json === true) session.printJson(result);
  else show(session, result, args.dryRun);
  return args.dryRun ? EXIT.ok : exitOfOutcome(result.outcome);
}

function show(session: Session, result: RestoreResult, dryRun: boolean): void {
  const differs = result.dropped.length + result.returned.length > 0 || result.changed;
  session.print(
    dryRun
      ? `would restore snapshot ${result.id}`
      : differs
        ? `restored snapshot ${result.id}`
        : `unchanged: snapshot ${result.id} stands`,
  );
  for (const line of [...ruleLines('takes out', result.dropped), ...ruleLines('puts back', result.returned)])
    session.print(line);
  if (result.outcome !== undefined)
    for (const line of outcomeLines([result.outcome], dryRun || session.options.verbose === true)) session.print(line);
}
