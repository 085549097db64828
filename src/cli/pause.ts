import { DEFAULT_PAUSE_MS, type PauseResult, type ResumeResult } from '../verbs/pause.ts';
import { callVerb } from './call-verb.ts';
import { localTime, parseDuration } from './columns.ts';
import type { Register } from './commands.ts';
import { EXIT, exitOfOutcome, Stop } from './exit-codes.ts';
import { addTail } from './help.ts';
import { outcomeLines } from './outcome-view.ts';
import type { Session } from './session.ts';

const LONGEST_PAUSE_MS = 365 * 24 * 60 * 60 * 1000;

export const registerPause: Register = (command, run) => {
  command
    .description(
      'Maintenance: nothing is written until the time is over, `mendwall resume`, or a reboot. What you change meanwhile becomes pending; whole-table wipes are mended afterwards.',
    )
    .usage('[--for 30m]')
    .option('--for <time>', '90s, 30m, 2h, 1h30m, 1d (default 30m)')
    .option('-n, --dry-run', 'only say until when')
    .addOption(command.createOption('--yes', 'accepted for scripts; pause asks nothing').hideHelp());
  addTail(command, {
    examples: [
      ['mendwall pause --for 2h', ''],
      ['mendwall resume', 'end it, and list what changed'],
    ],
    exits: [
      ['0', 'paused'],
      ['2', '--for cannot be read'],
      ['4', 'another mendwall did not let go of the lock in time'],
    ],
  });
  command.action(
    run(async (session: Session, options: { readonly for?: string; readonly dryRun?: boolean }) => {
      const forMs = options.for === undefined ? DEFAULT_PAUSE_MS : parseDuration(options.for);
      if (forMs === undefined || forMs <= 0)
        throw new Stop(EXIT.usage, `--for: expected a time as in 90s, 30m, 2h, 1d, found "${options.for}"`);
      if (forMs > LONGEST_PAUSE_MS)
        throw new Stop(
          EXIT.usage,
          `--for: expected at most 365d, found "${options.for}"; \`systemctl disable --now mendwall\` turns it off for good`,
        );
      const result = await callVerb<PauseResult>(session, 'pause', { forMs, dryRun: options.dryRun === true });
      if (session.options.json === true) session.printJson({ ...result, changed: options.dryRun !== true });
      else session.print(`${options.dryRun === true ? 'would be paused' : 'paused'} until ${localTime(result.until)}`);
      return EXIT.ok;
    }),
  );
};

export const registerResume: Register = (command, run) => {
  command
    .description(
      'Ends the pause: looks at everything once, mends wipes, puts neighbours right, and lists what you changed meanwhile as pending (`mendwall snapshot` adopts it, `mendwall restore latest` undoes it).',
    )
    .usage('[OPTIONS]')
    .option('-n, --dry-run', 'only show what would be done')
    .addOption(command.createOption('--yes', 'accepted for scripts; resume asks nothing').hideHelp());
  addTail(command, {
    examples: [['mendwall resume', '']],
    exits: [
      ['0', 'no drift is left, or nothing was paused (`unchanged`)'],
      ['1', 'drift is left, pending changes among it'],
      ['4', 'another mendwall did not let go of the lock in time'],
    ],
  });
  command.action(
    run(async (session: Session, options: { readonly dryRun?: boolean }) => {
      const result = await resumeOrNothing(session, options.dryRun === true);
      if (session.options.json === true)
        session.printJson({
          kind: 'resume',
          changed: result !== undefined && options.dryRun !== true,
          outcomes: result?.outcomes ?? [],
        });
      else if (result === undefined) session.print('unchanged: nothing is paused');
      else
        for (const line of [
          options.dryRun === true ? 'would resume' : 'resumed',
          ...outcomeLines(result.outcomes, options.dryRun === true),
        ])
          session.print(line);
      return exitOfOutcome(result?.outcomes.at(-1));
    }),
  );
};

async function resumeOrNothing(session: Session, dryRun: boolean): Promise<ResumeResult | undefined> {
  try {
    return await callVerb<ResumeResult>(session, 'resume', { dryRun });
  } catch (error) {
    if (error instanceof Stop && error.exitCode === EXIT.ok) return undefined;
    throw error;
  }
}
