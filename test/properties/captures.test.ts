// init, then a pass on the untouched host, is empty: on every capture, with and without definitions, events and repair.

import { describe, expect, it } from 'vitest';
import { classify } from '../../src/classify/classify.ts';
import { parseUserPart, printUserPart } from '../../src/ruleset/part-text.ts';
import { ruleTexts, sameUserPart } from '../../src/ruleset/user-part.ts';
import { captures, networksOf, rulesetOf } from '../captures/captures.ts';
import { applied, asRuleset, middle, simpleTable, snapshotOf } from './work.ts';

const CAPTURES = captures();

describe('init, then a pass on the untouched host', () => {
  it.each(CAPTURES)('changes nothing: $name', async (each) => {
    const live = rulesetOf(each);
    for (const networks of [undefined, await networksOf(each.name)]) {
      const snapshot = snapshotOf(live, networks);
      for (const summaries of [undefined, new Map()]) {
        for (const input of [{}, { repair: true }, { burstOver: false }]) {
          const work = middle(live, { ...snapshot, networks, summaries, input });
          expect(work.tables.flatMap((table) => [...table.plan.edits, ...table.inverse.edits])).toEqual([]);
          expect(work.tables.filter((table) => table.decision.kind !== 'kept')).toEqual([]);
          expect(work.drift.filter((drift) => drift.kind !== 'shadowed')).toEqual([]);
        }
      }
    }
  });

  it.each(CAPTURES.filter(({ name }) => /^libvirt\/.*\/[a-z0-9-]+\.ip/.test(name)))(
    'finds nothing to repair where no complete read is known: $name',
    async (each) => {
      const networks = await networksOf(each.name);
      const live = rulesetOf(each);
      const { wish } = snapshotOf(live, networks);
      const work = middle(live, { wish, networks, input: { repair: true } });
      expect(work.losses).toEqual([]);
      expect(work.tables.flatMap((table) => table.plan.edits)).toEqual([]);
    },
  );
});

describe('a snapshot as text', () => {
  it.each(CAPTURES)('is read back as it was: $name', (each) => {
    const { wish } = snapshotOf(rulesetOf(each));
    const parsed = parseUserPart(printUserPart(wish, 'snapshot'), each.family, 'snapshot');
    expect(parsed.kind === 'part' && sameUserPart(parsed.part, wish)).toBe(true);
  });
});

describe('every capture, wiped by nft flush ruleset', () => {
  it.each(CAPTURES)('comes back with the user’s and libvirt’s, each rule once, in its order: $name', (each) => {
    const before = rulesetOf(each);
    const snapshot = snapshotOf(before);
    const work = middle({ family: each.family, tables: new Map() }, { ...snapshot, input: { repair: true } });
    const after = asRuleset(new Map(work.tables.map(({ plan }) => [plan.table, applied(plan, new Map())])));
    for (const [name, table] of classify(before, undefined).tables) {
      for (const { chain, claim, claims } of table.chains.values()) {
        const back = simpleTable(after, name).get(chain.name);
        // What others wrote is theirs to write again, and so are their chains: the user's rules in those wait.
        const theirs = isOthers(claim.owner);
        const wanted = chain.rules.filter((_, index) => !theirs && !isOthers(claims[index]?.owner ?? 'user'));
        expect(back?.rules.map((rule) => rule.text) ?? []).toEqual(wanted.map((rule) => rule.text));
        if (theirs) expect(back).toBeUndefined();
        else expect(back?.policy ?? 'ACCEPT').toBe(chain.policy);
      }
    }
    const inside = [...snapshot.wish.tables.values()].flatMap((table) =>
      [...table.chains.values()].flatMap((chain) =>
        chain.policy === 'foreign' && !chain.name.startsWith('LIBVIRT_') ? ruleTexts(chain.items) : [],
      ),
    );
    expect(work.homeless.map((rule) => rule.text)).toEqual(inside);
  });
});

const isOthers = (owner: string): boolean => !['user', 'mendwall', 'libvirt', 'libvirt-nwfilter'].includes(owner);
