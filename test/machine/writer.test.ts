// How the log and the journal name who wrote.

import { describe, expect, it } from 'vitest';
import type { Author, Commit } from '../../src/events/types.ts';
import { addCommit, openBurst } from '../../src/machine/burst.ts';
import { byOf } from '../../src/machine/passes.ts';
import { initialState } from '../../src/machine/types.ts';

const state = initialState({
  mode: 'merge',
  events: true,
  repair: true,
  contention: { budget: 5, windowMs: 60_000 },
});

function namedAs(author: Author): string[] {
  const change = {
    family: 'ip' as const,
    table: 'filter',
    addsTable: true,
    deletesTable: true,
    ruleChains: ['INPUT'],
    chainsAdded: [],
    chainsDeleted: [],
    rulesAdded: 3,
    rulesDeleted: 3,
  };
  const commit = { author, changes: [change], native: [] } as unknown as Commit;
  return byOf({ ...state, burst: addCommit(openBurst(0), commit, 0) });
}

const alone = { pid: 77, comm: 'iptables-restor', cmdline: undefined, parents: [] };

describe('a writer', () => {
  it('is named with pid, parents and unit; what its unit or program loads is said', () => {
    const parents = [{ pid: 60, comm: 'python3', cmdline: ['python3', '/usr/sbin/ufw', 'reload'] }];
    expect(namedAs({ ...alone, parents })).toEqual(['iptables-restor pid 77 <- python3 pid 60, ufw']);
    expect(namedAs({ ...alone, unit: 'ferm.service' })).toEqual([
      'iptables-restor pid 77 (parent unknown) in ferm.service',
    ]);
    expect(namedAs({ ...alone, cmdline: ['iptables-restore', '/etc/iptables/rules.v4'] })).toEqual([
      'iptables-restore pid 77 (parent unknown), a load by /etc/iptables/rules.v4',
    ]);
  });

  it('of which the kernel said nothing is unknown', () => {
    expect(namedAs({ pid: 0, comm: '', cmdline: undefined, parents: [] })).toEqual(['unknown process']);
  });
});
