import { resolve } from 'node:path';
import type { ApplyResult } from '../verbs/apply.ts';
import type { ConfirmResult, RollbackResult } from '../verbs/rollback.ts';
import { callVerb } from './call-verb.ts';
import { count, parseDuration } from './columns.ts';
import type { Register } from './commands.ts';
import { EXIT, exitOfOutcome, Stop } from './exit-codes.ts';
import { addTail } from './help.ts';
import { outcomeLines } from './outcome-view.ts';
import { openConfig, requireRoot, type Session } from './session.ts';
import { startTrialClock } from './trial-clock.ts';

export interface ApplyOptions {
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly confirmWithin?: string;
  readonly keep?: boolean;
  /** commander's `--no-preflight`. */
  readonly preflight?: boolean;
}

const DEFAULT_TRIAL_MS = 60_000;
const OWN_DEATH_MS = 10_000;
const LONGEST_TRIAL_MS = 24 * 60 * 60_000;

export const register: Register = (command, run) => {
  command
    .description(
      'Makes the rules of your rule files, or of the files named, the live ones: checks them, shows the diff, and puts them in place at once, merged around the neighbours. They are on trial: unless confirmed in time, the rules before come back, whatever became of your terminal. Rules that would cut your session, or every way to sshd, are refused. Tables that no file speaks of stay, and so do policies that no file states.',
    )
    .usage('[OPTIONS] [FILE...]')
    .argument('[file...]', 'NAME.v4, NAME.v6, NAME.nft (or .j2 templates of those); default: the folder of rule files')
    .option('-n, --dry-run', 'check, and show the diff and the edits; write nothing')
    .option('--confirm-within <time>', 'roll back unless confirmed in this time (default 60s)')
    .option('--keep', 'no trial: keep them at once')
    .option('--no-preflight', 'do not look whether management flows are cut (somebody sits at the console)')
    .option('--yes', 'put them in place without asking; `mendwall confirm` keeps them');
  addTail(command, {
    examples: [
      ['mendwall apply', 'on a terminal: shows the diff, asks, then asks whether you are still there'],
      ['mendwall apply --yes --confirm-within 2m', 'in a script; `mendwall confirm` follows'],
      ['mendwall apply -n web.v4', 'what it would do'],
    ],
    exits: [
      ['0', 'applied (with --yes: on trial), or `unchanged`'],
      ['1', 'applied; drift is left'],
      ['2', 'a file cannot be used: FILE:LINE:COLUMN, and why'],
      ['5', 'it would cut the management of this host; nobody said yes; a trial is open'],
      ['6', 'rolled back: not confirmed, or not to be loaded whole'],
    ],
  });
  command.action(
    run((session: Session, files: readonly string[], options: ApplyOptions) =>
      applyFiles(session, { files: files.map((file) => resolve(file)), all: files.length === 0 }, options),
    ),
  );
};

export interface Files {
  readonly files: readonly string[];
  readonly all: boolean;
}

/** Checks, shows, asks, applies, and on a terminal asks again; the exit code. */
export async function applyFiles(session: Session, files: Files, options: ApplyOptions): Promise<number> {
  requireRoot(session, 'mendwall apply');
  const trialMs = trialTime(options);
  const args = {
    ...files,
    dryRun: options.dryRun === true,
    yes: false,
    trialMs,
    preflight: options.preflight !== false,
    session: session.terminal.env['SSH_CONNECTION'] ?? '',
  };
  const first = await callVerb<ApplyResult>(session, 'apply', args);
  if (first.kind !== 'asks') return report(session, first, args.dryRun);
  if (session.options.json !== true) await showChange(session, first);
  await mustSayYes(session, first, options);
  const { config } = await openConfig(session);
  // With --keep, too: if this process dies half-way, the rules before come back.
  if (!(await startTrialClock(session, config, trialMs === 0 ? OWN_DEATH_MS : trialMs)))
    session.say('the clock of the trial could not be started: only a running daemon will roll back');
  const done = await callVerb<ApplyResult>(session, 'apply', { ...args, yes: true });
  if (options.yes === true || done.trial === undefined || !session.terminal.isTerminal.in)
    return report(session, done, false);
  return askToKeep(session, done, done.trial.leftMs);
}

function trialTime({ keep, confirmWithin }: ApplyOptions): number {
  if (keep === true) return 0;
  const ms = confirmWithin === undefined ? DEFAULT_TRIAL_MS : parseDuration(confirmWithin);
  if (ms === undefined || ms < 1000 || ms > LONGEST_TRIAL_MS)
    throw new Stop(
      EXIT.usage,
      `--confirm-within: expected a time from 1s to 24h, as in 60s or 5m, found "${confirmWithin}"`,
    );
  return ms;
}

async function mustSayYes(session: Session, { what, dropped }: ApplyResult, { yes }: ApplyOptions): Promise<void> {
  if (yes === true) return;
  const takes = dropped.length === 0 ? '' : `, which takes out ${count(dropped.length, 'rule')}`;
  if (!(await session.terminal.confirm(`apply ${what}${takes}?`)))
    throw new Stop(EXIT.refused, 'nothing was changed; --yes applies without asking');
}

async function showChange(session: Session, { diff, warnings, leftOut }: ApplyResult): Promise<void> {
  for (const { file, line, column, code, message } of warnings)
    session.say(line === 0 ? `${file}: ${code}: ${message}` : `${file}:${line}:${column}: ${code}: ${message}`);
  if (leftOut.length > 0)
    session.say(`left out, as they belong to neighbours: ${count(leftOut.length, 'rule')}; see \`mendwall check\``);
  const { unifiedLines } = await import('./diff-view.ts');
  const lines = unifiedLines(diff, { color: session.color, clean: session.terminal.isTerminal.out });
  if (lines.length > 0) session.printPainted(lines.join('\n'));
}

/** On a terminal: whoever still can type is still there. */
async function askToKeep(session: Session, { what, outcome }: ApplyResult, leftMs: number): Promise<number> {
  if (outcome !== undefined) for (const line of outcomeLines([outcome], false)) session.print(line);
  const seconds = Math.floor(leftMs / 1000);
  const keep = await session.terminal.confirm(
    `applied. Keep it? Without a yes in ${seconds} s it is rolled back.`,
    leftMs,
  );
  if (keep) {
    const { snapshotId } = await callVerb<ConfirmResult>(session, 'confirm', { dryRun: false });
    session.print(`kept: ${what}, snapshot ${snapshotId}`);
    return exitOfOutcome(outcome);
  }
  try {
    await callVerb<RollbackResult>(session, 'rollback', { dryRun: false, due: false });
  } catch (error) {
    // The trial's clock was faster, or somebody confirmed elsewhere: `confirm` tells which.
    if (!(error instanceof Stop) || error.exitCode !== EXIT.ok) throw error;
    await callVerb<ConfirmResult>(session, 'confirm', { dryRun: true }).catch(throwUnlessNothing);
  }
  throw new Stop(EXIT.rolledBack, `rolled back: ${what} was not confirmed`);
}

function throwUnlessNothing(error: unknown): void {
  if (!(error instanceof Stop) || error.exitCode !== EXIT.ok) throw error;
}

async function report(session: Session, result: ApplyResult, dryRun: boolean): Promise<number> {
  const { what, trial, snapshotId, outcome } = result;
  if (session.options.json === true) session.printJson({ ...result, diff: undefined, same: result.diff.same });
  if (result.kind === 'rolled-back')
    throw new Stop(
      EXIT.rolledBack,
      `rolled back: ${what} could not be loaded whole: ${outcome?.why ?? outcome?.drift[0]?.evidence ?? ''}`,
    );
  if (session.options.json !== true) {
    if (result.diff.same) session.print(`unchanged: ${what} stands`);
    else if (dryRun) {
      await showChange(session, result);
      session.print(`would apply ${what}`);
    } else session.print(`applied ${what}: snapshot ${snapshotId}`);
    if (outcome !== undefined) for (const line of outcomeLines([outcome], dryRun)) session.print(line);
    if (trial !== undefined)
      session.print(
        `on trial: \`mendwall confirm\` within ${Math.floor(trial.leftMs / 1000)} s keeps it, or it is rolled back`,
      );
  }
  return dryRun ? EXIT.ok : exitOfOutcome(outcome);
}
