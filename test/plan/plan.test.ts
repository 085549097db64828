import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TargetTable } from '../../src/merge/merge.ts';
import { type Edit, planTable } from '../../src/plan/plan.ts';
import { renderEdit, renderSentinelOnly, renderTable } from '../../src/plan/render.ts';
import { parseDocument } from '../../src/ruleset/iptables/parse.ts';
import type { Table } from '../../src/ruleset/types.ts';
import { applied, simpleTable, texts } from '../properties/work.ts';

interface Chains {
  readonly [chain: string]: { readonly policy?: string; readonly rules: readonly string[] };
}

/** Rules are single letters; `a` with counters 5:97 when `counted`. */
function live(chains: Chains, counted = false): Table {
  const counters = (letter: string): string => (counted ? `[5:${letter.charCodeAt(0)}] ` : '');
  const lines = Object.entries(chains).flatMap(([name, { policy = 'ACCEPT' }]) => [`:${name} ${policy} [0:0]`]);
  const rules = Object.entries(chains).flatMap(([name, chain]) =>
    chain.rules.map((letter) => `${counters(letter)}${rule(name, letter)}`),
  );
  const { ruleset, problems } = parseDocument(['*filter', ...lines, ...rules, 'COMMIT', ''].join('\n'), 'ip');
  expect(problems).toEqual([]);
  return ruleset.tables.get('filter') as Table;
}

const rule = (chain: string, letter: string): string =>
  `-A ${chain} ${letter.length > 1 ? `-j ${letter}` : `-s ${letter} -j DROP`}`;

function target(chains: Chains): TargetTable {
  const entries = Object.entries(chains).map(([name, { policy, rules }]) => {
    return [
      name,
      { name, policy: policy ?? 'ACCEPT', rules: rules.map((letter) => ({ owner: 'user', text: rule(name, letter) })) },
    ] as const;
  });
  return { name: 'filter', chains: new Map(entries) };
}

/** The plan as lines of restore input. */
function lines(from: Chains, to: Chains, counted = false): string[] {
  return planTable('ip', live(from, counted), target(to)).plan.edits.map(renderEdit);
}

const forward = (letters: string): Chains => ({ FORWARD: { rules: [...letters] } });

describe('the lock chain', () => {
  it('is no part of a plan, but a chain of that name which the user wants is', () => {
    expect(lines({ 'mw-1234abcd': { policy: '-', rules: [] } }, {})).toEqual([]);
    const wanted = { 'mw-1234abcd': { policy: '-', rules: ['a'] } };
    expect(lines({ 'mw-1234abcd': { policy: '-', rules: [] } }, wanted)).toEqual(['-A mw-1234abcd -s a -j DROP']);
    expect(lines(wanted, wanted)).toEqual([]);
  });
});

describe('a plan', () => {
  it('is empty where nothing differs', () => {
    expect(
      lines({ FORWARD: { policy: 'DROP', rules: ['a', 'a'] } }, { FORWARD: { policy: 'DROP', rules: ['a', 'a'] } }),
    ).toEqual([]);
  });

  it('moves the few: three jumps below a thousand rules are six edits, and no user rule is touched', () => {
    const users = Array.from({ length: 1000 }, (_, index) => `10.0.${index >> 8}.${index & 255}/32`);
    const from = ['X', 'I', 'O', ...users];
    const to = [...users.slice(0, 990), 'X', 'I', 'O', ...users.slice(990)];
    const asText = (letter: string): string => `-A FORWARD -s ${letter} -j DROP`;
    const { ruleset } = parseDocument(
      ['*filter', ':FORWARD ACCEPT [0:0]', ...from.map(asText), 'COMMIT', ''].join('\n'),
      'ip',
    );
    const wanted = {
      name: 'filter',
      chains: new Map([
        [
          'FORWARD',
          { name: 'FORWARD', policy: 'ACCEPT', rules: to.map((letter) => ({ owner: 'user', text: asText(letter) })) },
        ],
      ]),
    };
    const { plan, inverse } = planTable('ip', ruleset.tables.get('filter'), wanted);
    expect(plan.edits.map(renderEdit)).toEqual([
      ...['X', 'I', 'O'].map((letter) => `-D FORWARD -s ${letter} -j DROP`),
      ...['X', 'I', 'O'].map((letter, index) => `-I FORWARD ${991 + index} -s ${letter} -j DROP`),
    ]);
    expect(inverse.edits).toHaveLength(6);
  });

  it('names the rule it deletes, and takes places after the edits before', () => {
    expect(lines(forward('abc'), forward('cxa'))).toEqual([
      '-D FORWARD -s b -j DROP',
      '-D FORWARD -s c -j DROP',
      '-I FORWARD 1 -s c -j DROP',
      '-I FORWARD 2 -s x -j DROP',
    ]);
    expect(lines(forward('abc'), forward('xaybc'))).toEqual(['-I FORWARD 1 -s x -j DROP', '-I FORWARD 3 -s y -j DROP']);
  });

  it('deletes the copy that is meant, by text alone', () => {
    // The lower copy goes: -D would take the upper one, so that one goes too and comes back.
    expect(lines(forward('axa'), forward('ax'))).toEqual([
      '-D FORWARD -s a -j DROP',
      '-D FORWARD -s a -j DROP',
      '-I FORWARD 1 -s a -j DROP',
    ]);
    expect(lines(forward('axa'), forward('xa'))).toEqual(['-D FORWARD -s a -j DROP']);
  });

  it('keeps the counters of a rule that moves, copy by copy', () => {
    expect(lines(forward('ab'), forward('ba'), true)).toEqual([
      '-D FORWARD -s b -j DROP',
      '[5:98] -I FORWARD 1 -s b -j DROP',
    ]);
    expect(lines(forward('a'), forward('ab'), true)).toEqual(['-A FORWARD -s b -j DROP']);
  });

  it('makes chains before the jumps into them, and deletes them when nothing points there', () => {
    const from: Chains = { FORWARD: { rules: ['old'] }, old: { policy: '-', rules: ['a'] } };
    const to: Chains = { FORWARD: { rules: ['web'] }, web: { policy: '-', rules: ['b'] } };
    expect(lines(from, to)).toEqual([
      '-N web',
      '-D FORWARD -j old',
      '-A FORWARD -j web',
      '-A web -s b -j DROP',
      '-D old -s a -j DROP',
      '-X old',
    ]);
  });

  it('closes a policy before the rules and opens it after them', () => {
    const from: Chains = { FORWARD: { policy: 'ACCEPT', rules: [] }, INPUT: { policy: 'DROP', rules: [] } };
    const to: Chains = { FORWARD: { policy: 'DROP', rules: ['a'] }, INPUT: { policy: 'ACCEPT', rules: ['b'] } };
    expect(lines(from, to)).toEqual([
      '-P FORWARD DROP',
      '-A FORWARD -s a -j DROP',
      '-A INPUT -s b -j DROP',
      '-P INPUT ACCEPT',
    ]);
    expect(lines(to, from)).toEqual([
      '-P INPUT DROP',
      '-D FORWARD -s a -j DROP',
      '-D INPUT -s b -j DROP',
      '-P FORWARD ACCEPT',
    ]);
  });

  it('fills a table that is not there', () => {
    const { plan } = planTable(
      'ip',
      undefined,
      target({ FORWARD: { policy: 'DROP', rules: ['a', 'web'] }, web: { policy: '-', rules: [] } }),
    );
    expect(plan.edits.map(renderEdit)).toEqual([
      '-N web',
      '-P FORWARD DROP',
      '-A FORWARD -s a -j DROP',
      '-A FORWARD -j web',
    ]);
  });

  it('leaves the sentinel chains alone', () => {
    expect(lines({ FORWARD: { rules: [] }, 'mw-0123abcd': { policy: '-', rules: [] } }, forward(''))).toEqual([]);
  });

  it('leads from any table to any other by what iptables-restore --noflush does, and back', () => {
    const letters = fc.array(fc.constantFrom(...'aabbcdef', 'web', 'old'), { maxLength: 9 });
    const chains = fc
      .record({
        FORWARD: letters,
        INPUT: letters,
        web: fc.option(fc.array(fc.constantFrom(...'abc'))),
        old: fc.option(fc.array(fc.constantFrom(...'abc'))),
        policy: fc.constantFrom('ACCEPT', 'DROP'),
      })
      .map(({ FORWARD, INPUT, web, old, policy }): Chains => {
        const loads = (letter: string): boolean =>
          letter === 'web' ? web !== null : letter === 'old' ? old !== null : true;
        return {
          FORWARD: { policy, rules: FORWARD.filter(loads) },
          INPUT: { policy: 'ACCEPT', rules: INPUT.filter(loads) },
          ...(web === null ? {} : { web: { policy: '-', rules: web } }),
          ...(old === null ? {} : { old: { policy: '-', rules: old } }),
        };
      });
    fc.assert(
      fc.property(chains, chains, (from, to) => {
        const table = live(from, true);
        const { plan, inverse } = planTable('ip', table, target(to));
        const before = simpleTable({ family: 'ip', tables: new Map([['filter', table]]) }, 'filter');
        const after = applied(plan, before);
        expect(texts(after)).toEqual(
          Object.fromEntries(
            Object.entries(to).map(([name, chain]) => [
              name,
              [chain.policy, ...chain.rules.map((letter) => rule(name, letter))],
            ]),
          ),
        );
        expect(texts(applied(inverse, after))).toEqual(texts(before));
        expect(deletions(plan.edits)).toBeLessThanOrEqual(
          [...before.values()].reduce((sum, chain) => sum + chain.rules.length, 0),
        );
      }),
      { numRuns: 1000 },
    );
  });
});

const deletions = (edits: readonly Edit[]): number => edits.filter((edit) => edit.kind === 'delete').length;

describe('restore input', () => {
  it('begins with the optimistic lock: the sentinel that was seen goes, a new one comes', () => {
    const { plan } = planTable('ip', live(forward('a')), target(forward('')));
    expect(renderTable(plan, { seen: 'mw-00000001', next: 'mw-00000002' })).toBe(
      '*filter\n-X mw-00000001\n-N mw-00000002\n-D FORWARD -s a -j DROP\nCOMMIT\n',
    );
    expect(renderSentinelOnly('filter', 'mw-00000002')).toBe('*filter\n-N mw-00000002\nCOMMIT\n');
  });

  it.each<[string, Edit]>([
    ['-I FORWARD 3 -j X', { kind: 'insert', chain: 'FORWARD', text: '-A FORWARD -j X', at: 3, counters: undefined }],
    ['[7:8] -I FORWARD 3', { kind: 'insert', chain: 'FORWARD', text: '-A FORWARD', at: 3, counters: '7:8' }],
    [
      '[7:8] -A FORWARD -m comment --comment "a -A b"',
      {
        kind: 'insert',
        chain: 'FORWARD',
        text: '-A FORWARD -m comment --comment "a -A b"',
        at: undefined,
        counters: '7:8',
      },
    ],
    ['-D FORWARD', { kind: 'delete', chain: 'FORWARD', text: '-A FORWARD' }],
    ['-P FORWARD DROP', { kind: 'policy', chain: 'FORWARD', policy: 'DROP' }],
  ])('says %s', (line, edit) => {
    expect(renderEdit(edit)).toBe(line);
  });
});
