// Commits on the fake kernel: what is told apart when one is refused, and that a failed apply leaves exactly the text from before.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applyFamily, type TableCommit } from '../../src/apply/apply.ts';
import type { Edit } from '../../src/plan/plan.ts';
import { runPass } from '../../src/pass.ts';
import { handRequest } from '../../src/verbs/hand.ts';
import { createFakeHost, type FakeHost } from '../fake/host.ts';
import { loadText, openRoom } from '../guard/machine-room.ts';

const LOCKED = `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:mw-00000001 - [0:0]
-A INPUT -s 10.0.0.1/32 -j DROP
COMMIT
`;

function locked(engine: 'nft' | 'legacy' = 'nft'): FakeHost {
  const host = createFakeHost({ engine });
  loadText(host, 'iptables-restore', LOCKED);
  return host;
}

const insert = (text: string, at?: number): Edit => ({ kind: 'insert', chain: 'INPUT', text, at, counters: undefined });
const remove = (text: string): Edit => ({ kind: 'delete', chain: 'INPUT', text });
const commit = (edits: readonly Edit[], seen: string | undefined = 'mw-00000001'): TableCommit => ({
  plan: { family: 'ip', table: 'filter', edits },
  inverse: { family: 'ip', table: 'filter', edits: [] },
  sentinel: { seen, next: 'mw-00000002' },
});
const A = '-A INPUT -s 10.0.0.1/32 -j DROP';
const B = '-A INPUT -s 10.0.0.2/32 -j DROP';

describe('a commit', () => {
  it('replaces the lock chain by the next one, in the transaction that writes', async () => {
    const host = locked();
    expect(await applyFamily(host, 'ip', 'nft', [commit([insert(B)])])).toMatchObject({ kind: 'committed' });
    expect(host.kernel.save()).toContain(':mw-00000002 -');
    expect(host.kernel.save()).not.toContain('mw-00000001');
    expect(
      host.kernel
        .save()
        .split('\n')
        .filter((line) => line.startsWith('-A')),
    ).toEqual([A, B]);
  });

  it('makes only the lock where the read saw none, and asks to read again', async () => {
    const host = locked();
    const before = host.kernel.save();
    const outcome = await applyFamily(host, 'ip', 'nft', [
      { ...commit([insert(B)]), sentinel: { seen: undefined, next: 'mw-00000009' } },
    ]);
    expect(outcome).toEqual({ kind: 'again', why: 'lock-made', done: [] });
    expect(host.kernel.save()).toBe(
      before.replace(':mw-00000001 - [0:0]\n', ':mw-00000001 - [0:0]\n:mw-00000009 - [0:0]\n'),
    );
  });

  it.each([
    ['the lock chain is gone', commit([insert(B)], 'mw-0000000f'), { kind: 'again', why: 'lost-race' }],
    ['a rule to delete is gone', commit([remove(B)]), { kind: 'again', why: 'lost-race' }],
    ['a place is beyond the end', commit([insert(B, 7)]), { kind: 'again', why: 'lost-race' }],
    [
      'a set is missing',
      commit([insert(B), insert('-A INPUT -m set --match-set none src -j DROP')]),
      { kind: 'refused', table: 'filter', edit: { text: '-A INPUT -m set --match-set none src -j DROP' } },
    ],
    [
      'a chain is missing',
      commit([insert('-A INPUT -j nowhere')]),
      { kind: 'refused', edit: { text: '-A INPUT -j nowhere' } },
    ],
    ['a match cannot be loaded', commit([insert('-A INPUT -m geoip -j DROP')]), { kind: 'refused' }],
  ])('changes nothing and tells why when %s', async (_, planned, expected) => {
    const host = locked();
    const before = host.kernel.save();
    expect(await applyFamily(host, 'ip', 'nft', [planned])).toMatchObject(expected);
    expect(host.kernel.save()).toBe(before);
  });

  it('on the legacy engine waits for the lock no longer than it is told', async () => {
    const host = locked('legacy');
    const said = 'Another app is currently holding the xtables lock. Stopped waiting after 5s.\n';
    host.answer('iptables-restore', ({ args }) => (args.includes('-w') ? { exitCode: 4, stderr: said } : undefined));
    expect(await applyFamily(host, 'ip', 'legacy', [commit([insert(B)])])).toEqual({ kind: 'locked', done: [] });
  });
});

const RULES = {
  filter: [
    '-A INPUT -s 10.0.0.1/32 -j DROP',
    '-A INPUT -j own',
    '-A FORWARD -j REJECT --reject-with icmp-port-unreachable',
    '-A own -j RETURN',
  ],
  nat: ['-A POSTROUTING -o eth0 -j MASQUERADE', '-A PREROUTING -i eth0 -j own', '-A own -j ACCEPT'],
  mangle: ['-A FORWARD -j own', '-A own -p tcp -j ACCEPT'],
};
type TableName = keyof typeof RULES;
const BUILTIN: Readonly<Record<TableName, readonly string[]>> = {
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
};
const TABLES = ['filter', 'nat', 'mangle'] as const;

const tableText = (table: TableName): fc.Arbitrary<string> =>
  fc
    .tuple(fc.array(fc.constantFrom(...RULES[table]), { maxLength: 8 }), fc.constantFrom('ACCEPT', 'DROP'))
    .map(([rules, policy]) =>
      [
        `*${table}`,
        ...BUILTIN[table].map((chain) => `:${chain} ${policy} [0:0]`),
        ':own - [0:0]',
        ...rules,
        'COMMIT',
        '',
      ].join('\n'),
    );
const ruleset = fc.tuple(...TABLES.map(tableText)).map((tables) => tables.join(''));

describe('a failed apply', () => {
  it('leaves exactly the text from before, whichever transaction dies', async () => {
    let failures = 0;
    const property = fc.asyncProperty(ruleset, ruleset, fc.nat(2), async (wanted, live, dies) => {
      const room = await openRoom({ user: wanted });
      const { kernel } = room.machine;
      await runPass(room.context(), handRequest('merge', { authority: 'snapshot' }));
      loadText(room.machine, 'iptables-restore', live);
      const text = (): string => kernel.save().replace(/^:mw-.*\n/gm, '');
      const before = text();
      // The lock chains first, so that the transactions that are counted are those of the plan.
      room.machine.kernel.run(
        'iptables-restore',
        ['--noflush'],
        TABLES.map((table, index) => `*${table}\n-N mw-aaaaaaa${index}\nCOMMIT\n`).join(''),
      );
      for (let count = 0; count < dies; count++) kernel.beforeCommit(() => undefined);
      kernel.beforeCommit(() => kernel.failNextCommit('killed'));
      const outcome = await runPass(room.context(), handRequest('merge', { authority: 'snapshot' }));
      // Fewer tables may differ than transactions were counted.
      if (outcome.kind !== 'failed') return;
      failures++;
      expect(text()).toBe(before);
    });
    await fc.assert(property, { numRuns: 60 });
    expect(failures).toBeGreaterThan(20);
  });
});
