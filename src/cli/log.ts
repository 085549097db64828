import { lastEntries, named, type LogEntry } from '../verbs/log.ts';
import type { Register } from './commands.ts';
import { EXIT, Stop } from './exit-codes.ts';
import { addTail } from './help.ts';
import { logLine } from './log-view.ts';
import { outcomeLines } from './outcome-view.ts';
import { openWorld, type Session } from './session.ts';
import type { Outcome } from '../pass/types.ts';

interface Options {
  readonly lines?: string;
  readonly follow?: boolean;
}

const DEFAULT_LINES = 20;

export const register: Register = (command, run) => {
  command
    .description(
      'Who changed what, when, and what was done about it, one line an event, the newest last: when, its name (for `mendwall accept`), what, where, how many edits and ms, who. With -v the edits and what was left, too.',
    )
    .usage('[OPTIONS]')
    .option('-n, --lines <n>', `the newest n (default ${DEFAULT_LINES})`)
    .option('-f, --follow', 'then each new one as it comes, until Ctrl-C');
  addTail(command, {
    examples: [
      ['mendwall log -n 1 -v', 'the last event, in full'],
      ['mendwall log -f', 'watch'],
      ['mendwall log --json -n 100 | jq -r .by[0]', 'one JSON object a line'],
    ],
    exits: [
      ['0', 'ok, also when there is nothing yet'],
      ['7', 'not root'],
    ],
  });
  command.action(run(log));
};

async function log(session: Session, options: Options): Promise<number> {
  const count = options.lines ?? String(DEFAULT_LINES);
  if (!/^\d+$/.test(count)) throw new Stop(EXIT.usage, `-n: expected a whole number, found "${count}"`);
  const world = await openWorld(session);
  if (options.follow === true) return follow(session, world, Number(count));
  const entries = await lastEntries(world, Number(count));
  for (const entry of entries) show(session, entry);
  if (entries.length === 0) session.say('nothing has happened yet');
  return EXIT.ok;
}

function follow(session: Session, world: Awaited<ReturnType<typeof openWorld>>, count: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const following = world.context.journal.follow(count, {
      entry: (entry) => show(session, named(entry)),
      failed: (reason) => reject(new Stop(EXIT.drift, `the journal can no longer be read: ${reason}`)),
    });
    session.terminal.onSignals(['SIGINT', 'SIGTERM'], () => {
      following.close();
      resolve(EXIT.ok);
    });
  });
}

function show(session: Session, logged: LogEntry): void {
  if (session.options.json === true) return session.printJson({ ...logged.entry, ref: logged.id });
  session.print(logLine(logged));
  if (session.options.verbose !== true || logged.entry['event'] !== 'pass') return;
  const [, ...details] = outcomeLines([logged.entry as unknown as Outcome], true);
  for (const line of details) session.print(`    ${line}`);
}
