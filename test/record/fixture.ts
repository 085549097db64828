// A real Host on a folder of its own, with a wall clock that the test sets.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Host } from '../../src/host/host.ts';
import { realHost } from '../../src/host/real.ts';
import type { SnapshotContent } from '../../src/record/store.ts';

export interface Fixture {
  readonly dir: string;
  readonly host: Host;
  /** Moves the wall clock. */
  passMs(ms: number): void;
}

export function fixture(): Fixture {
  const dir = mkdtempSync(join(tmpdir(), 'mendwall-record-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const real = realHost({ ownFolders: [dir] });
  let aheadMs = 0;
  const wallMs = (): number => Date.now() + aheadMs;
  return { dir, host: { ...real, clock: { ...real.clock, wallMs } }, passMs: (ms) => (aheadMs += ms) };
}

/** Content with one user rule for `port`. */
export function content(port: number, more: Partial<SnapshotContent> = {}): SnapshotContent {
  return {
    user: { ip: filter(`-A INPUT -p tcp -m tcp --dport ${port} -j ACCEPT`), ip6: filter('') },
    neighbours: { ip: filter('-A FORWARD -j LIBVIRT_FWX'), ip6: '' },
    neighboursState: 'complete',
    ...more,
  };
}

export function filter(rules: string): string {
  const lines = [
    '*filter',
    ':INPUT DROP [3:180]',
    ':FORWARD ACCEPT [0:0]',
    ':OUTPUT ACCEPT [7:420]',
    rules,
    'COMMIT',
    '',
  ];
  return lines.filter((line, index) => line !== '' || index === lines.length - 1).join('\n');
}
