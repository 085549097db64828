import type { MendResult } from '../verbs/mend.ts';
import { callVerb } from './call-verb.ts';
import { localTime } from './columns.ts';
import type { Register } from './commands.ts';
import { EXIT, exitOfOutcome, Stop } from './exit-codes.ts';
import { addTail } from './help.ts';
import { outcomeLines } from './outcome-view.ts';
import { requireRoot, type Session } from './session.ts';

interface Options {
  readonly mode?: string;
  readonly trigger?: string;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

export const register: Register = (command, run) => {
  command
    .description(
      'One pass now: what a neighbour displaced or wiped of your rules goes back. What you changed by hand stays, as pending. Prints `unchanged`, or what it did. The hooks and the path unit run this.',
    )
    .usage('[OPTIONS]')
    .option('-n, --dry-run', 'show the edits, write nothing')
    .option('--mode <mode>', 'observe or merge; default: that of the configuration')
    .addOption(command.createOption('--trigger <what>', 'spool: take what the hooks left, then end').hideHelp())
    .addOption(command.createOption('--yes', 'accepted for scripts; mend asks nothing').hideHelp());
  addTail(command, {
    examples: [
      ['mendwall mend', 'put right what drifted'],
      ['mendwall mend -n', 'the same, as restore input to read'],
      ['mendwall mend --mode observe', 'only say what drifted'],
    ],
    exits: [
      ['0', 'no drift is left (a rule that stands shadowed as found is none)'],
      ['1', 'drift is left, or would be without --dry-run'],
      ['4', 'another mendwall, or the xtables lock, did not let go in time'],
      ['5', 'the rules cannot be read, or both engines hold rules'],
    ],
  });
  command.action(run(mend));
};

async function mend(session: Session, options: Options): Promise<number> {
  const mode = options.mode;
  if (mode !== undefined && mode !== 'observe' && mode !== 'merge')
    throw new Stop(EXIT.usage, `--mode: expected observe or merge, found "${mode}"`);
  if (options.trigger !== undefined) return fromSpool(session, options.trigger, mode);
  requireRoot(session, 'mendwall mend');
  const result = await callVerb<MendResult>(session, 'mend', {
    mode,
    dryRun: options.dryRun === true,
    trigger: 'hand',
    by: ['hand'],
  });
  show(session, result, options.dryRun === true || result.mode === 'observe');
  if (result.mode === 'observe' && mode === undefined && result.outcomes.some(({ kind }) => kind === 'would-mend'))
    session.say('the mode is observe, so nothing was written; `mendwall mend --mode merge` writes');
  return exitOfOutcome(result.outcomes.at(-1));
}

function show(session: Session, result: MendResult, edits: boolean): void {
  if (session.options.json === true)
    return session.printJson({ ...result, changed: result.outcomes.some(({ changed }) => changed) });
  for (const line of outcomeLines(result.outcomes, edits || session.options.verbose === true)) session.print(line);
  for (const line of result.repairs) session.print(edits || result.paused !== undefined ? `would ${line}` : line);
  if (result.paused !== undefined)
    session.say(
      `paused until ${localTime(new Date(result.paused.untilMs).toISOString())}: nothing is written; \`mendwall resume\` ends it`,
    );
}

async function fromSpool(session: Session, trigger: string, mode: string | undefined): Promise<number> {
  if (trigger !== 'spool') throw new Stop(EXIT.usage, `--trigger: expected spool, found "${trigger}"`);
  requireRoot(session, 'mendwall mend --trigger spool');
  const { mendSpool } = await import('./mend-spool.ts');
  return mendSpool(session, mode === 'merge' || mode === 'observe' ? mode : undefined);
}
