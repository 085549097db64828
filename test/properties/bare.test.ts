// The laws on hosts whose libvirt writes bare rules into the built-in chains (before 5.1): it inserts them again, one by one,
// at the top, at each start and each reload.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { classify, neighbourPartOf, userPartOf } from '../../src/classify/classify.ts';
import { countTexts } from '../../src/ruleset/multiset.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import type { Ruleset } from '../../src/ruleset/types.ts';
import { ruleTexts } from '../../src/ruleset/user-part.ts';
import { bareNetworkRules } from '../generate/libvirt-rules.ts';
import { applied, asRuleset, middle, simpleTable, snapshotOf } from './work.ts';

const NETS = [
  { name: 'default', bridge: 'virbr0', subnet: '192.168.122.0/24' },
  { name: 'second', bridge: 'virbr1', subnet: '192.168.123.0/24' },
];
const PLACES = ['filter/INPUT', 'filter/FORWARD', 'nat/POSTROUTING'] as const;

const USER = [
  '-s 10.0.0.1/32 -j DROP',
  '-p tcp -m tcp --dport 22 -j ACCEPT',
  '-d 192.168.122.10/32 -o virbr0 -j ACCEPT',
  '-j REJECT --reject-with icmp-host-prohibited',
  '-j LOG',
];
const users = fc.record({
  'filter/INPUT': someUsers(),
  'filter/FORWARD': someUsers(),
  'nat/POSTROUTING': fc.array(fc.constantFrom('-o eth0 -j MASQUERADE', '-s 10.0.0.0/8 -j ACCEPT'), { maxLength: 3 }),
});

function someUsers(): fc.Arbitrary<string[]> {
  return fc.array(fc.constantFrom(...USER), { maxLength: 6 });
}

/** The user's rules with each network's set as one block, `place` rules down (0: the top). */
function host(
  mine: Readonly<Record<(typeof PLACES)[number], readonly string[]>>,
  networks: readonly (typeof NETS)[number][],
  place: number,
): Ruleset {
  const chain = (key: (typeof PLACES)[number]): string[] => {
    const name = key.slice(key.indexOf('/') + 1);
    const own = mine[key].map((rule) => `-A ${name} ${rule}`);
    return own.toSpliced(
      Math.min(place, own.length),
      0,
      ...networks.flatMap((net) => bareNetworkRules(net).get(key) ?? []),
    );
  };
  const filter = [':INPUT ACCEPT [0:0]', ':FORWARD ACCEPT [0:0]', ...chain('filter/INPUT'), ...chain('filter/FORWARD')];
  return parseRuleset(
    [
      '*filter',
      ...filter,
      'COMMIT',
      '*nat',
      ':POSTROUTING ACCEPT [0:0]',
      ...chain('nat/POSTROUTING'),
      'COMMIT',
      '',
    ].join('\n'),
    'ip',
  );
}

const all = (ruleset: Ruleset): Map<string, number> =>
  countTexts(
    [...ruleset.tables.values()].flatMap((table) =>
      [...table.chains.values()].flatMap((chain) => chain.rules.map((rule) => rule.text)),
    ),
  );

describe('bare rules that libvirt put back at the top', () => {
  it('are all libvirt’s, and no rule of the user’s is', () => {
    fc.assert(
      fc.property(users, fc.subarray(NETS), fc.nat(6), (mine, networks, place) => {
        const classified = classify(host(mine, networks, place), undefined);
        const theirs = [...neighbourPartOf(classified).tables.values()].flatMap((chains) =>
          [...chains.values()].flatMap((chain) => chain.rules),
        );
        expect(theirs).toHaveLength(networks.length * 10);
      }),
      { numRuns: 200 },
    );
  });

  it('go back to their places: nobody’s rule is lost, the user’s order stands, and a second pass is empty', () => {
    fc.assert(
      fc.property(
        users,
        fc.shuffledSubarray(NETS),
        fc.shuffledSubarray(NETS),
        fc.nat(6),
        (mine, before, now, place) => {
          const { wish, known } = snapshotOf(host(mine, before, place));
          const live = host(mine, now, 0);
          const work = middle(live, { wish, known });
          const after = asRuleset(
            new Map(work.tables.map(({ plan }) => [plan.table, applied(plan, simpleTable(live, plan.table))])),
          );
          expect(all(after)).toEqual(all(live));
          for (const [table, part] of userPartOf(classify(after, undefined, known)).tables) {
            for (const chain of part.chains.values())
              expect(ruleTexts(chain.items)).toEqual(
                ruleTexts(wish.tables.get(table)?.chains.get(chain.name)?.items ?? []),
              );
          }
          expect(middle(after, { wish, known }).tables.flatMap((table) => table.plan.edits)).toEqual([]);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('stay libvirt’s half way through its rewrite, and nothing of the user’s is taken for lost', () => {
    fc.assert(
      fc.property(users, fc.nat(6), fc.nat(10), (mine, place, removed) => {
        const whole = host(mine, NETS.slice(0, 1), place);
        const { wish, known } = snapshotOf(whole);
        const gone = [...bareNetworkRules(NETS[0] as (typeof NETS)[number]).values()].flat().slice(0, removed);
        const half = asRuleset(
          new Map(
            [...whole.tables.keys()].map((name) => [
              name,
              new Map(
                [...simpleTable(whole, name)].map(([chain, { policy, rules }]) => [
                  chain,
                  { policy, rules: rules.filter(({ text }) => !gone.includes(text)) },
                ]),
              ),
            ]),
          ),
        );
        const work = middle(half, { wish, known });
        expect(work.tables.map((table) => table.decision.kind)).toEqual(['kept', 'kept']);
        expect(work.tables.flatMap((table) => table.plan.edits)).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });
});
