import type { ConfirmResult, RollbackResult } from '../verbs/rollback.ts';
import { callVerb } from './call-verb.ts';
import type { Register } from './commands.ts';
import { EXIT, exitOfOutcome, Stop } from './exit-codes.ts';
import { addTail } from './help.ts';
import { outcomeLines } from './outcome-view.ts';
import type { Session } from './session.ts';

export const registerConfirm: Register = (command, run) => {
  command
    .description('Keeps the rules that `apply` or `edit` put on trial.')
    .usage('[OPTIONS]')
    .option('-n, --dry-run', 'only say what is on trial')
    .addOption(command.createOption('--yes', 'accepted for scripts; confirm asks nothing').hideHelp());
  addTail(command, {
    examples: [
      ['mendwall apply --yes && ssh -o ConnectTimeout=5 host true && mendwall confirm', 'keep only what lets you in'],
    ],
    exits: [
      ['0', 'kept; or nothing was on trial (`unchanged`)'],
      ['4', 'another mendwall did not let go of the lock in time'],
      ['6', 'too late: it was rolled back'],
    ],
  });
  command.action(
    run(async (session: Session, options: { readonly dryRun?: boolean }) => {
      const dryRun = options.dryRun === true;
      const result = await orNothing(callVerb<ConfirmResult>(session, 'confirm', { dryRun }));
      if (session.options.json === true) session.printJson(result ?? { kind: 'confirm', changed: false });
      else if (result === undefined) session.print('unchanged: nothing is on trial');
      else session.print(dryRun ? `would keep ${result.what}` : `kept: ${result.what}, snapshot ${result.snapshotId}`);
      return EXIT.ok;
    }),
  );
};

export const registerRollback: Register = (command, run) => {
  command
    .description(
      'Puts back the rules from before the `apply` or `edit` that is on trial, what was pending then included. Makes a new snapshot; the rules that were tried stay in the history.',
    )
    .usage('[OPTIONS]')
    .option('-n, --dry-run', 'only say what would be rolled back')
    .addOption(command.createOption('--due', 'only when its time is over; waits for that').hideHelp())
    .addOption(command.createOption('--yes', 'accepted for scripts; rollback asks nothing').hideHelp());
  addTail(command, {
    examples: [
      ['mendwall rollback', 'do not wait for the time to be over'],
      ['mendwall restore latest~1', 'after `confirm`: back one snapshot'],
    ],
    exits: [
      ['0', 'rolled back; or nothing was on trial (`unchanged`)'],
      ['1', 'drift is left'],
      ['4', 'another mendwall did not let go of the lock in time'],
    ],
  });
  command.action(
    run(async (session: Session, options: { readonly dryRun?: boolean; readonly due?: boolean }) => {
      if (options.due === true) return whenDue(session);
      const dryRun = options.dryRun === true;
      const result = await orNothing(callVerb<RollbackResult>(session, 'rollback', { dryRun, due: false }));
      if (session.options.json === true) session.printJson(result ?? { kind: 'rollback', changed: false });
      else if (result === undefined) session.print('unchanged: nothing is on trial');
      else show(session, result, dryRun);
      return dryRun ? EXIT.ok : exitOfOutcome(result?.outcome);
    }),
  );
};

function show(session: Session, { what, snapshotId, outcome }: RollbackResult, dryRun: boolean): void {
  session.print(dryRun ? `would roll back ${what}` : `rolled back ${what}: snapshot ${snapshotId}`);
  if (outcome !== undefined)
    for (const line of outcomeLines([outcome], session.options.verbose === true)) session.print(line);
}

/** Nothing on trial is no failure: undefined. */
async function orNothing<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof Stop && error.exitCode === EXIT.ok) return undefined;
    throw error;
  }
}

const AGAIN_MS = 5_000;
const MOST_TRIES = 120;

/** What the trial's clock runs: waits out the rest, and does not give up at a lock or a full disk. */
async function whenDue(session: Session): Promise<number> {
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const result = await orNothing(tryDue(session));
    if (result === undefined || isDone(result)) {
      if (result?.outcome !== undefined) show(session, result, false);
      return EXIT.ok;
    }
    await new Promise((resolve) => setTimeout(resolve, result.leftMs > 0 ? result.leftMs + 20 : AGAIN_MS));
  }
  throw new Stop(EXIT.busy, 'the rules on trial could not be rolled back; see: mendwall status');
}

const isDone = ({ outcome }: RollbackResult): boolean =>
  outcome !== undefined && outcome.kind !== 'failed' && outcome.kind !== 'unreadable';

/** Somebody else's lock: later again. */
async function tryDue(session: Session): Promise<RollbackResult> {
  try {
    return await callVerb<RollbackResult>(session, 'rollback', { dryRun: false, due: true });
  } catch (error) {
    if (!(error instanceof Stop) || error.exitCode === EXIT.ok) throw error;
    session.say(error.message);
    return { kind: 'rollback', changed: false, what: '', leftMs: 0, snapshotId: undefined, outcome: undefined };
  }
}
