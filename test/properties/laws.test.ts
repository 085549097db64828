// The laws of docs/design.md, over generated rulesets.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { classify, userPartOf } from '../../src/classify/classify.ts';
import type { ChangeSummary } from '../../src/merge/decide.ts';
import type { FamilyWork, TableWork } from '../../src/plan/family-plan.ts';
import { countTexts } from '../../src/ruleset/multiset.ts';
import type { Ruleset } from '../../src/ruleset/types.ts';
import { type NeighbourPart, ruleTexts, type UserPart } from '../../src/ruleset/user-part.ts';
import { printRuleset } from '../../src/ruleset/iptables/print.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import { editedUserTables, foreign, NETWORKS, rulesetFrom, userTables } from './arbitraries.ts';
import { applied, asRuleset, middle, simpleTable, snapshotOf, texts } from './work.ts';

const RUNS = { numRuns: Number(process.env['PROPERTY_RUNS'] ?? 300) };

const summary = fc.record({
  replaced: fc.boolean(),
  wiped: fc.boolean(),
  addedAfterWipe: fc.boolean(),
  neighbour: fc.constantFrom(undefined, 'libvirt'),
  byNeighbour: fc.constantFrom(undefined, undefined, 'libvirt'),
  byOther: fc.boolean(),
  loader: fc.constantFrom(undefined, undefined, 'iptables.service'),
});
const summaries: fc.Arbitrary<ReadonlyMap<string, ChangeSummary> | undefined> = fc.option(
  fc.record({ filter: summary, nat: summary }).map((tables) => new Map(Object.entries(tables))),
  { nil: undefined },
);
/** Definitions can be had, or not: then the shape of whole sets decides. */
const definitions = fc.constantFrom(NETWORKS, undefined);

interface Scene {
  readonly live: Ruleset;
  readonly wish: UserPart;
  readonly known: NeighbourPart;
  readonly networks: typeof NETWORKS | undefined;
}

/** A host as snapshotted, and as it stands now: neighbours rearranged, the user's rules as they were. */
const displacedScene: fc.Arbitrary<Scene> = fc
  .tuple(userTables, foreign, foreign, definitions)
  .map(([users, before, now, networks]) => ({
    ...snapshotOf(rulesetFrom(users, before), networks),
    live: rulesetFrom(users, now),
    networks,
  }));

/** The same with anything the user may have done. */
const anyScene: fc.Arbitrary<Scene> = fc
  .tuple(userTables, foreign, foreign, definitions)
  .chain(([users, before, now, networks]) =>
    editedUserTables(users).map((edited) => ({
      ...snapshotOf(rulesetFrom(users, before), networks),
      live: rulesetFrom(edited, now),
      networks,
    })),
  );

function chainTexts(part: UserPart, table: string): Record<string, string[]> {
  return Object.fromEntries(
    [...(part.tables.get(table)?.chains.values() ?? [])].map((chain) => [chain.name, ruleTexts(chain.items)]),
  );
}

/** The live ruleset after the plans of a pass. */
function afterwards(live: Ruleset, work: FamilyWork): Ruleset {
  const tables = new Map([...live.tables.keys()].map((name) => [name, simpleTable(live, name)]));
  for (const { plan } of work.tables) tables.set(plan.table, applied(plan, tables.get(plan.table) ?? new Map()));
  return asRuleset(tables);
}

function allTexts(ruleset: Ruleset): Map<string, number> {
  return countTexts(
    [...ruleset.tables.values()].flatMap((table) =>
      [...table.chains.values()].flatMap((chain) => chain.rules.map((rule) => `${table.name} ${rule.text}`)),
    ),
  );
}

function targetTexts(work: TableWork): Record<string, string[]> {
  return Object.fromEntries(
    [...work.target.chains.values()].map((chain) => [chain.name, chain.rules.map((rule) => rule.text)]),
  );
}

describe('init, then a pass on the untouched host', () => {
  it('plans nothing, with and without events, with and without repair', () => {
    fc.assert(
      fc.property(
        userTables,
        foreign,
        fc.boolean(),
        fc.boolean(),
        fc.boolean(),
        (users, neighbours, defined, events, repair) => {
          const networks = defined ? neighbours.networks : undefined;
          const live = rulesetFrom(users, neighbours);
          const work = middle(live, {
            ...snapshotOf(live, networks),
            networks,
            summaries: events ? new Map() : undefined,
            input: { repair },
          });
          expect(work.tables.flatMap((table) => [...table.plan.edits, ...table.inverse.edits])).toEqual([]);
          expect(work.tables.map((table) => table.decision.kind)).toEqual(work.tables.map(() => 'kept'));
        },
      ),
      RUNS,
    );
  });
});

describe('a neighbour that rearranged itself', () => {
  it('loses nobody a rule, doubles none and alters none', () => {
    fc.assert(
      fc.property(displacedScene, ({ live, ...rest }) => {
        const work = middle(live, rest);
        expect(allTexts(afterwards(live, work))).toEqual(allTexts(live));
      }),
      RUNS,
    );
  });

  it('leaves the user rules once each, in their order', () => {
    fc.assert(
      fc.property(displacedScene, ({ live, ...rest }) => {
        const result = afterwards(live, middle(live, rest));
        const part = userPartOf(classify(result, rest.networks, rest.known));
        for (const table of ['filter', 'nat']) expect(chainTexts(part, table)).toEqual(chainTexts(rest.wish, table));
      }),
      RUNS,
    );
  });
});

describe('whatever happened', () => {
  it('the plan leads exactly to the target, and the inverse back to the live rules', () => {
    fc.assert(
      fc.property(anyScene, summaries, fc.boolean(), ({ live, ...rest }, heard, burstOver) => {
        for (const work of middle(live, { ...rest, summaries: heard, input: { burstOver } }).tables) {
          const before = simpleTable(live, work.table);
          const after = applied(work.plan, before);
          if (work.decision.kind === 'wait') expect(work.plan.edits).toEqual([]);
          else
            expect(
              Object.fromEntries(Object.entries(texts(after)).map(([name, [, ...rules]]) => [name, rules])),
            ).toEqual(targetTexts(work));
          expect(texts(applied(work.inverse, after))).toEqual(texts(before));
        }
      }),
      RUNS,
    );
  });

  it('the target holds the decided user rules once each, in order, and every rule of the neighbours', () => {
    fc.assert(
      fc.property(anyScene, summaries, ({ live, ...rest }, heard) => {
        for (const { target, decision, table } of middle(live, { ...rest, summaries: heard }).tables) {
          for (const chain of target.chains.values()) {
            const users = chain.rules.filter((rule) => rule.owner === 'user').map((rule) => rule.text);
            expect(users).toEqual(ruleTexts(decision.next.chains.get(chain.name)?.items ?? []));
          }
          const entry = classify(live, rest.networks, rest.known).tables.get(table);
          for (const chain of entry?.chains.values() ?? []) {
            const theirs = chain.chain.rules.filter(
              (_, index) => chain.claims[index]?.owner !== 'user' && chain.claims[index]?.stale !== true,
            );
            const kept = target.chains.get(chain.chain.name)?.rules.filter((rule) => rule.owner !== 'user') ?? [];
            expect(countTexts(kept.map((rule) => rule.text))).toEqual(countTexts(theirs.map((rule) => rule.text)));
          }
        }
      }),
      RUNS,
    );
  });

  it('a second pass is empty', () => {
    fc.assert(
      fc.property(anyScene, summaries, ({ live, ...rest }, heard) => {
        const work = middle(live, { ...rest, summaries: heard });
        const result = afterwards(live, work);
        const wish: UserPart = {
          family: 'ip',
          tables: new Map(work.tables.map((table) => [table.table, table.decision.next])),
        };
        const second = middle(result, { ...rest, wish });
        expect(second.tables.flatMap((table) => table.plan.edits)).toEqual([]);
        expect(second.tables.map((table) => table.decision.kind)).toEqual(second.tables.map(() => 'kept'));
      }),
      RUNS,
    );
  });

  it('a merged ruleset that is printed and parsed again is the same', () => {
    fc.assert(
      fc.property(anyScene, ({ live }) => {
        expect(printRuleset(parseRuleset(printRuleset(live), 'ip'))).toBe(printRuleset(live));
      }),
      { numRuns: 100 },
    );
  });
});
