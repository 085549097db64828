// What the daemon says of its passes: one line an event, the same complaint once.

import type { Log } from '../host/host.ts';
import { isLibvirts } from '../owners/index.ts';
import type { Outcome, PassRequest } from '../pass/types.ts';
import { describeLeft, describeOutcome } from './outcome-text.ts';

/** Says what a pass did, and what it leaves to people. One for the life of the daemon: it remembers its last complaint. */
export function outcomeReporter(log: Log): (outcome: Outcome, request: PassRequest) => void {
  let lastComplaint = '';

  function report(outcome: Outcome, request: PassRequest): void {
    const text = describeOutcome(outcome);
    if (outcome.kind === 'mended') log.write('notice', text);
    else if (outcome.kind === 'failed' || outcome.kind === 'unreadable') complain('error', text);
    else if (outcome.kind === 'would-mend') complain('warning', text);
    else if (outcome.adopted !== undefined) log.write('notice', text);
    else log.write('debug', `${request.trigger}: ${text}`);
    if (request.burstOver && outcome.kind !== 'would-mend') complainOfDrift(outcome);
  }

  function complainOfDrift(outcome: Outcome): void {
    const left = outcome.drift.filter(
      (drift) =>
        drift.kind === 'waiting' ||
        drift.kind === 'replaced' ||
        drift.kind === 'stale' ||
        drift.kind === 'shadowed' ||
        (drift.kind.startsWith('foreign-') && !isLibvirts(drift.owner)),
    );
    if (left.length === 0) return;
    const held = left.some((drift) => drift.kind === 'waiting' && / -j (?:DROP|REJECT)/.test(drift.text));
    complain(held ? 'error' : 'warning', describeLeft({ ...outcome, drift: left }).join('; '));
  }

  function complain(level: 'warning' | 'error', text: string): void {
    const shape = text.replace(/ in \d+ ms|pid \d+/g, '');
    if (shape !== lastComplaint) log.write(level, text);
    lastComplaint = shape;
  }

  return report;
}
