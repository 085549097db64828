import type { AcceptResult } from '../verbs/accept.ts';
import { callVerb } from './call-verb.ts';
import type { Register } from './commands.ts';
import { EXIT, exitOfOutcome } from './exit-codes.ts';
import { addTail } from './help.ts';
import { outcomeLines } from './outcome-view.ts';
import type { Session } from './session.ts';

interface Options {
  readonly dryRun?: boolean;
}

export const register: Register = (command, run) => {
  command
    .description(
      'It was meant: the change of yours that a pass undid is made again, or the ruleset that was loaded and is shown as `replaced` stays. The result becomes the new snapshot.',
    )
    .usage('[OPTIONS] [PASS]')
    .argument(
      '[pass]',
      'its name in `mendwall log`; default: the replaced ruleset,\nelse the last pass that undid something',
    )
    .option('-n, --dry-run', 'show what would be accepted')
    .addOption(command.createOption('--yes', 'accepted for scripts; accept asks nothing').hideHelp());
  addTail(command, {
    examples: [
      ['mendwall accept -n', 'what it would be'],
      ['mendwall accept 3f0a91c', 'the change that this pass undid'],
    ],
    exits: [
      ['0', 'done, no drift is left'],
      ['1', 'drift is left'],
      ['2', 'there is nothing to accept, or no such pass'],
      ['4', 'another mendwall did not let go of the lock in time'],
    ],
  });
  command.action(run(accept));
};

async function accept(session: Session, pass: string | undefined, options: Options): Promise<number> {
  const dryRun = options.dryRun === true;
  const result = await callVerb<AcceptResult>(session, 'accept', { pass, dryRun });
  if (session.options.json === true) session.printJson(result);
  else {
    session.print(dryRun ? `would accept ${result.what}` : `accepted ${result.what}; snapshot ${result.id}`);
    for (const line of result.reversed) session.print(`  turned back: ${line}`);
    if (result.outcome !== undefined)
      for (const line of outcomeLines([result.outcome], session.options.verbose === true)) session.print(line);
  }
  return dryRun ? EXIT.ok : exitOfOutcome(result.outcome);
}
