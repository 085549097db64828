// The laws with every kind of neighbour in one chain: those that keep a slot, those that insist on the top, identical rules.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { classify } from '../../src/classify/classify.ts';
import { keepsSlot } from '../../src/owners/index.ts';
import { parseDocument } from '../../src/ruleset/iptables/parse.ts';
import type { Ruleset } from '../../src/ruleset/types.ts';
import { ruleTexts } from '../../src/ruleset/user-part.ts';
import { applied, asRuleset, middle, simpleTable, snapshotOf } from './work.ts';

const RUNS = { seed: 20261121, numRuns: 300 };

const USERS = [
  '-A FORWARD -s 10.0.0.1/32 -j DROP',
  '-A FORWARD -s 10.0.0.2/32 -j ACCEPT',
  '-A FORWARD -i docker0 -o eth0 -j ACCEPT',
  '-A FORWARD -m physdev --physdev-in eth1 --physdev-is-bridged -j ACCEPT',
  '-A FORWARD -i eth0 -j DOCKER-USER',
  '-A FORWARD -j REJECT --reject-with icmp-host-prohibited',
];
const FOREIGN = [
  '-A FORWARD -j DOCKER-USER',
  '-A FORWARD -o docker0 -j DOCKER',
  '-A FORWARD -i docker0 ! -o docker0 -j ACCEPT',
  '-A FORWARD -j neutron-filter-top',
  '-A FORWARD -j ufw-before-forward',
  '-A FORWARD -j ufw-after-forward',
  '-A FORWARD -p tcp -j f2b-web',
  '-A FORWARD -m physdev --physdev-out vif1.0 --physdev-is-bridged -j ACCEPT',
  '-A FORWARD -m physdev --physdev-in vif1.0 --physdev-is-bridged -j ACCEPT',
  '-A FORWARD -j LIBVIRT_FWX',
  '-A FORWARD -j LIBVIRT_FWI',
];
const CHAINS = [
  'DOCKER',
  'DOCKER-USER',
  'neutron-filter-top',
  'ufw-before-forward',
  'ufw-after-forward',
  'f2b-web',
  'LIBVIRT_FWX',
  'LIBVIRT_FWI',
];

function read(rules: readonly string[]): Ruleset {
  const lines = [':INPUT ACCEPT [0:0]', ':FORWARD ACCEPT [0:0]', ...CHAINS.map((name) => `:${name} - [0:0]`), ...rules];
  const { ruleset, problems } = parseDocument(['*filter', ...lines, 'COMMIT', ''].join('\n'), 'ip');
  expect(problems).toEqual([]);
  return ruleset;
}

/** Two lists into one; a key for each rule of `extra` says where it goes. Both keep their order. */
function spread(rules: readonly string[], extra: readonly string[], keys: readonly number[]): string[] {
  const places = extra
    .map((_, index) => Math.round((keys[index % keys.length] ?? 0) * rules.length))
    .sort((a, b) => a - b);
  return [...rules, undefined].flatMap((rule, at) => [
    ...extra.filter((_, index) => places[index] === at),
    ...(rule === undefined ? [] : [rule]),
  ]);
}

const keys = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 12, maxLength: 12 });
const host = fc.record({
  users: fc.array(fc.constantFrom(...USERS), { maxLength: 7 }),
  foreign: fc.array(fc.constantFrom(...FOREIGN), { maxLength: 12 }),
  before: keys,
  after: keys,
});

const textsIn = (ruleset: Ruleset): string[] =>
  (ruleset.tables.get('filter')?.chains.get('FORWARD')?.rules ?? []).map((rule) => rule.text);

/** Rules of FORWARD in order, with their owners. */
function ownedIn(ruleset: Ruleset): { owner: string; text: string }[] {
  const entry = classify(ruleset, undefined).tables.get('filter')?.chains.get('FORWARD');
  return (entry?.chain.rules ?? []).map(({ text }, index) => ({ owner: entry?.claims[index]?.owner ?? '?', text }));
}

describe('a host with many neighbours', () => {
  it('is left as it is by init and a pass', () => {
    fc.assert(
      fc.property(host, ({ users, foreign, before }) => {
        const base = read(spread(users, foreign, before));
        const work = middle(base, { ...snapshotOf(base), summaries: new Map() });
        expect(work.tables.flatMap(({ plan }) => plan.edits)).toEqual([]);
        expect(ruleTexts(snapshotOf(base).wish.tables.get('filter')?.chains.get('FORWARD')?.items ?? [])).toEqual(
          users,
        );
      }),
      RUNS,
    );
  });

  it('after they moved among the user’s rules: each rule once, the user’s in order, those without a slot where they put themselves, a second pass empty', () => {
    fc.assert(
      fc.property(host, ({ users, foreign, before, after }) => {
        const { wish, known } = snapshotOf(read(spread(users, foreign, before)));
        const live = read(spread(users, foreign, after));
        const summary = {
          replaced: false,
          wiped: false,
          addedAfterWipe: false,
          neighbour: 'libvirt',
          byNeighbour: undefined,
          byOther: false,
          loader: undefined,
        };
        const work = middle(live, { wish, known, summaries: new Map([['filter', summary]]) });
        const done = asRuleset(
          new Map(work.tables.map(({ table, plan }) => [table, applied(plan, simpleTable(live, table))])),
        );
        expect([...textsIn(done)].sort()).toEqual([...textsIn(live)].sort());
        expect(
          ownedIn(done)
            .filter(({ owner }) => owner === 'user')
            .map(({ text }) => text),
        ).toEqual(users);
        const unmoved = (ruleset: Ruleset): string[] =>
          ownedIn(ruleset).flatMap(({ owner, text }) =>
            owner === 'user' || !keepsSlot(owner, 'FORWARD') ? [text] : [],
          );
        expect(unmoved(done)).toEqual(unmoved(live));
        // Whoever is named as rival keeps a slot: nobody else's order is ever put right.
        for (const { kind, owner } of work.tables.flatMap(({ drift }) => drift))
          if (kind === 'displaced') expect(keepsSlot(owner, 'FORWARD'), owner).toBe(true);
        const again = middle(done, { wish, known, summaries: new Map() });
        expect(again.tables.flatMap(({ plan }) => plan.edits)).toEqual([]);
      }),
      RUNS,
    );
  });
});
