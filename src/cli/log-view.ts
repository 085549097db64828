// One journal entry as one line for people: when, its name, what, where, who, what was done, how long.

import { escapeControl } from '../host/text.ts';
import { describeOutcome } from '../guard/outcome-text.ts';
import type { Outcome } from '../pass/types.ts';
import type { LogEntry } from '../verbs/log.ts';
import { localTime } from './columns.ts';

/** `2026-11-20 20:41:05  3f0a91c  mended ip filter: 1 displaced; 2 edits in 7 ms; by iptables pid 12 <- libvirtd pid 3` */
export function logLine({ id, entry }: LogEntry): string {
  return `${localTime(entry.at)}  ${id}  ${whatOf(entry)}`;
}

function whatOf(entry: LogEntry['entry']): string {
  const text = (name: string): string => (typeof entry[name] === 'string' ? entry[name] : '');
  switch (entry['event']) {
    case 'pass':
      return passText(entry as unknown as Outcome);
    case 'snapshot':
      return `snapshot ${text('id')} (${text('trigger')})${text('message') === '' ? '' : `: ${escapeControl(text('message'))}`}`;
    case 'pause':
      return `paused until ${localTime(text('until'))}`;
    case 'resume':
      return 'resumed by hand';
    case 'confirm':
      return `kept: ${escapeControl(text('what'))}`;
    case 'rollback':
      return `rolled back ${escapeControl(text('what'))}: ${text('why')}`;
    default:
      return text('event') || 'an entry of another version';
  }
}

/** A journal line of a pass is its outcome; one that another version wrote may lack a list. */
function passText(entry: Outcome): string {
  const list = <T>(value: readonly T[] | undefined): readonly T[] => value ?? [];
  return describeOutcome({
    ...entry,
    tables: list(entry.tables),
    mended: list(entry.mended),
    drift: list(entry.drift),
    by: list(entry.by),
  });
}
