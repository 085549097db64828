// Repair as a law: whatever a wipe took, a pass that may repair brings everybody's rules back once each, and then rests.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { countTexts } from '../../src/ruleset/multiset.ts';
import type { Ruleset } from '../../src/ruleset/types.ts';
import { foreign, NETWORKS, rulesetFrom, userTables } from './arbitraries.ts';
import { applied, asRuleset, middle, type SimpleTable, simpleTable, snapshotOf, texts } from './work.ts';

type Wipe = (table: SimpleTable, keep: (index: number) => boolean) => SimpleTable;

/** Rules of the user's that name a chain of libvirt's, see arbitraries.ts. */
const USERS_THERE = /decorated|\.10\/32|--dport 25/;

const emptied: Wipe = (table) => new Map([...table].map(([name, { policy }]) => [name, { policy, rules: [] }]));
const WIPES: Readonly<Record<string, Wipe>> = {
  'iptables -F': emptied,
  'iptables -F; -X': (table) =>
    new Map(
      [...table].filter(([, { policy }]) => policy !== '-').map(([name, { policy }]) => [name, { policy, rules: [] }]),
    ),
  'nft flush ruleset': () => new Map(),
  'half of the neighbours’ rules': (table, keep) =>
    new Map(
      [...table].map(([name, { policy, rules }]) => [
        name,
        {
          policy,
          rules: rules.filter(
            ({ text }, index) => !/LIBVIRT|libvirt-|vnet/.test(text) || USERS_THERE.test(text) || keep(index),
          ),
        },
      ]),
    ),
};

const wiped = (live: Ruleset, wipe: Wipe, keep: (index: number) => boolean): Ruleset =>
  asRuleset(new Map([...live.tables.keys()].map((name) => [name, wipe(simpleTable(live, name), keep)])));

const multiset = (table: SimpleTable): Map<string, number> =>
  countTexts([...table.values()].flatMap(({ rules }) => rules.map((rule) => rule.text)));

describe.each(Object.entries(WIPES))('after %s', (name, wipe) => {
  it('everybody’s rules come back once each, the user’s in order, and a second pass is empty', () => {
    fc.assert(
      fc.property(
        userTables,
        foreign,
        fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
        fc.boolean(),
        (users, neighbours, keys, defined) => {
          const before = rulesetFrom(users, neighbours);
          const networks = defined ? neighbours.networks : undefined;
          const { wish, known } = snapshotOf(before, networks);
          const live = wiped(before, wipe, (index) => keys[index % keys.length] === true);
          const summary = {
            replaced: false,
            wiped: !name.startsWith('half'),
            addedAfterWipe: false,
            neighbour: undefined,
            byNeighbour: undefined,
            byOther: true,
            loader: undefined,
          };
          const work = middle(live, {
            wish,
            known,
            networks,
            summaries: new Map([
              ['filter', summary],
              ['nat', summary],
            ]),
            input: { repair: true },
          });
          const after = asRuleset(
            new Map(work.tables.map(({ plan }) => [plan.table, applied(plan, simpleTable(live, plan.table))])),
          );
          for (const table of before.tables.keys())
            expect(multiset(simpleTable(after, table))).toEqual(multiset(simpleTable(before, table)));
          if (!name.startsWith('half'))
            for (const table of before.tables.keys())
              expect(nonEmpty(texts(simpleTable(after, table)))).toEqual(nonEmpty(texts(simpleTable(before, table))));
          const second = middle(after, { wish, known, networks, input: { repair: true } });
          expect(second.tables.flatMap((table) => table.plan.edits)).toEqual([]);
          expect(second.losses).toEqual([]);
        },
      ),
      { numRuns: 150 },
    );
  });
});

/**
 * Chains with a rule or a policy of their own: an empty built-in chain that accepts need not be in the kernel. nwfilter's jumps
 * are left out: they come back at the top, where nwfilter puts them.
 */
function nonEmpty(chains: Record<string, string[]>): Record<string, string[]> {
  const entries = Object.entries(chains).map(
    ([name, lines]) => [name, lines.filter((line) => !/ -j libvirt-/.test(line))] as const,
  );
  return Object.fromEntries(entries.filter(([, [policy, ...rules]]) => policy !== 'ACCEPT' || rules.length > 0));
}

describe('a network that is gone', () => {
  it('never comes back: only rules of bridges that exist are put back', () => {
    fc.assert(
      fc.property(
        userTables,
        foreign,
        fc.subarray(NETWORKS.map((network) => network.bridge)),
        (users, neighbours, up) => {
          const { wish, known } = snapshotOf(rulesetFrom(users, neighbours), neighbours.networks);
          const work = middle(
            { family: 'ip', tables: new Map() },
            { wish, known, input: { repair: true, exists: (name) => up.includes(name) } },
          );
          const rules = work.tables.flatMap(({ target }) =>
            [...target.chains.values()].flatMap((chain) =>
              chain.rules.filter((rule) => rule.owner === 'libvirt').map((rule) => rule.text),
            ),
          );
          for (const { bridge, addresses } of NETWORKS) {
            if (up.includes(bridge)) continue;
            expect(
              rules.filter((text) => text.includes(`${bridge} `) || addresses.some(({ cidr }) => text.includes(cidr))),
            ).toEqual([]);
          }
        },
      ),
      { numRuns: 100 },
    );
  });
});
