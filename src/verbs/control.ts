// What the daemon answers on its control socket: its own health at once, writing verbs between two passes.

import type { GuardApi } from '../guard.ts';
import { type ControlAnswer, type ControlHandler, type ControlRequest, refuse } from '../host/socket.ts';
import { isVerb, runVerb, wrongArgument } from './dispatch.ts';
import type { PauseResult } from './pause.ts';
import type { DaemonStatus } from './status.ts';
import type { TrialWatch } from './trial-watch.ts';
import type { World } from './types.ts';

/** What `status` says besides the guard's own. */
type More = () => Pick<DaemonStatus, 'namespaces'>;

/** The handler of a running daemon. `world.context` is the guard's own. */
export function controlHandler(
  world: World,
  guard: GuardApi,
  more: More = () => ({}),
  trials?: TrialWatch,
): ControlHandler {
  return (request) => handleControl(world, request, guard, more, trials);
}

export async function handleControl(
  world: World,
  request: ControlRequest,
  guard: GuardApi,
  more: More = () => ({}),
  trials?: TrialWatch,
): Promise<ControlAnswer> {
  const { verb, args } = request;
  if (verb === 'status') return done({ ...guard.status(), pid: process.pid, ...more() } satisfies DaemonStatus);
  if (!isVerb(verb)) return refuse('unknown-verb', `the daemon does not know "${verb}"; is it of another version?`);
  const wrong = wrongArgument(verb, args);
  if (wrong !== undefined) return refuse('bad-request', `${verb}: ${wrong}`);
  const result = await guard.exclusive((context) => runVerb({ ...world, context }, verb, args));
  tellGuard(guard, result, args);
  if (TRIAL_VERBS.has(verb)) await trials?.look();
  return done(result);
}

const TRIAL_VERBS: ReadonlySet<string> = new Set(['apply', 'confirm', 'rollback']);

function done(result: object): ControlAnswer {
  return { schema: 1, ok: true, result };
}

/** The pause is the guard's state, too: its timer ends it. */
function tellGuard(guard: GuardApi, result: object, args: Readonly<Record<string, unknown>>): void {
  if (args['dryRun'] === true || !('kind' in result)) return;
  if (result.kind === 'pause') guard.pause(Date.parse((result as PauseResult).until) - Date.now());
  if (result.kind === 'resume') guard.resume();
}
