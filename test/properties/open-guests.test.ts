// The law of the rules that keep guests open, on random rulesets and packets, by the packet evaluator: what they are for is no
// longer stopped; nothing that passed is stopped; and what passes now is a guest's, and was stopped by a catch-all, not by a
// rule that asks for an address, a port, a state.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { classifyNative } from '../../src/classify/classify-native.ts';
import { classify } from '../../src/classify/classify.ts';
import { findBlocked, type Blocked } from '../../src/explain/blocked.ts';
import { compileIptables } from '../../src/explain/iptables-rule.ts';
import { keptOpenings, type KeptOpening } from '../../src/explain/kept-openings.ts';
import { compileNft } from '../../src/explain/nft-ruleset.ts';
import { explain } from '../../src/explain/path.ts';
import { joinPrograms, type Program } from '../../src/explain/program.ts';
import { nativeOpenings, openedTable, type OpeningAt } from '../../src/plan/openings.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import type { Network } from '../../src/ruleset/network.ts';
import { parseNft } from '../../src/ruleset/nft/parse.ts';
import { printNftTable } from '../../src/ruleset/nft/print.ts';
import { type NftTable, tableKey } from '../../src/ruleset/nft/types.ts';
import { FAMILIES, type Ruleset } from '../../src/ruleset/types.ts';
import { explainWorld } from '../generate/explain.ts';

const NETWORK: Network = {
  name: 'lan',
  uuid: '13e792b1-f457-4c15-91f9-d3683ddef2a8',
  bridge: 'in0',
  forwardMode: 'route',
  forwardDevs: [],
  natIpv6: false,
  guestIpv6: false,
  addresses: [
    { family: 'ip', cidr: '10.1.0.0/24', host: '10.1.0.1', dhcp: true, tftp: false },
    { family: 'ip6', cidr: 'fd01::/64', host: 'fd01::1', dhcp: false, tftp: false },
  ],
  active: true,
};

/** With a handle for each rule, as `nft -a` lists it. */
function withHandles(text: string): NftTable[] {
  let handle = 0;
  const lines = text.split('\n').map((line) => (/^    (?!type )\S/.test(line) ? `${line} # handle ${++handle}` : line)); // tcp dport 22 counter accept
  return [...parseNft(lines.join('\n')).tables];
}

/** What nft makes of the lines. */
function carriedOut(table: NftTable, lines: readonly string[]): string {
  let text = printNftTable(table);
  for (const line of lines) {
    const [, chain = '', handle, rule = ''] =
      /^(?:insert|add) rule \S+ \S+ (\S+)(?: handle (\d+))? (.*)$/.exec(line) ?? []; // insert rule inet one c1 handle 7 iifname "in0" accept
    if (handle === undefined)
      text = text.replace(new RegExp(`(chain ${chain} \\{[^]*?)\\n  \\}`), `$1\n    ${rule}\n  }`);
    else text = text.replace(new RegExp(`^(.* # handle ${handle})$`, 'm'), `    ${rule}\n$1`);
  }
  return text;
}

interface World {
  readonly rulesets: readonly Ruleset[];
  readonly tables: readonly NftTable[];
}

const programOf = ({ rulesets, tables }: World): Program =>
  joinPrograms([
    ...rulesets.map((ruleset) => compileIptables(ruleset)),
    compileNft(tables.map(printNftTable).join('')),
  ]);

function question(world: World): Parameters<typeof keptOpenings>[0] & Parameters<typeof findBlocked>[0] {
  const classified = world.rulesets.map((ruleset) => classify(ruleset, [NETWORK]));
  const usersTables = new Set([...classifyNative(world.tables).keys()]);
  const networks = [NETWORK];
  return { program: programOf(world), classified, networks, usersTables, uplink: 'out0', bridgeNetfilter: false };
}

function opened(world: World, wanted: readonly KeptOpening[]): World {
  const rulesets = world.rulesets.map((ruleset): Ruleset => {
    const openings = wanted.filter(({ engine, family }) => engine === 'iptables' && family === ruleset.family);
    const tables = [...ruleset.tables].map(([name, table]) => {
      const classified = classify(ruleset, [NETWORK]);
      const target = openedTable(
        classified,
        name,
        openings.filter((each) => each.table === name),
      );
      if (target === undefined) return [name, table] as const;
      const chains = [...target.chains.values()].map(({ name: chain, rules }) => {
        const bare = rules.map(({ text }) => ({ chain, text, counters: undefined }));
        return [chain, { ...table.chains.get(chain)!, rules: bare }] as const;
      });
      return [name, { name, chains: new Map(chains) }] as const;
    });
    return { family: ruleset.family, tables: new Map(tables) };
  });
  const tables = world.tables.map((table) => {
    const mine: OpeningAt[] = wanted.filter((each) => `${each.family} ${each.table}` === tableKey(table));
    const plan = nativeOpenings(table, mine);
    if (plan === 'stale') throw new Error('the table is the one that was asked about');
    expect(plan.lines).toHaveLength(mine.length);
    return parseNft(carriedOut(table, plan.lines)).tables[0]!;
  });
  return { rulesets, tables };
}

const placeOf = ({ baseChain: { engine, family, table, chain }, kind, packet }: Blocked): string =>
  [engine, family, table, chain, kind, packet.family, packet.protocol].join(' ');

const isFor = (opening: KeptOpening, { baseChain, opening: { rule } }: Blocked): boolean =>
  opening.engine === baseChain.engine &&
  opening.family === baseChain.family &&
  opening.table === baseChain.table &&
  opening.chain === baseChain.chain &&
  opening.text.replace(/(?: -m comment --| )comment "mendwall:open-guests lan"/, '') === rule;

const isPlain = (text: string): boolean =>
  / -[jg] (?:DROP|REJECT)/.test(text)
    ? !/ (?:-[sdp]|-m) /.test(text)
    : !/dport|sport|addr|state|mark|l4proto|nfproto|protocol|nexthdr|flags|length|@|vmap/.test(text);

it('opens what it is for, and nothing that the user closes by more than a catch-all', () => {
  const tally = { openings: 0, changed: 0 };
  fc.assert(
    fc.property(explainWorld(12), fc.boolean(), ({ iptables, native, packets }, closes) => {
      const texts = FAMILIES.map((family) =>
        closes ? iptables[family].replaceAll(/^:(INPUT|FORWARD|OUTPUT) ACCEPT/gm, ':$1 DROP') : iptables[family],
      );
      const before: World = {
        rulesets: FAMILIES.map((family, at) => parseRuleset(texts[at]!, family)),
        tables: withHandles(native),
      };
      const asked = question(before);
      const were = findBlocked(asked);
      const kept = keptOpenings(asked, were);
      const after = opened(before, kept);
      tally.openings += kept.length;
      // None is for nothing: what is still blocked is what was blocked, without that for which there is an opening.
      const still = new Set(
        findBlocked(question(after))
          .filter(({ certain }) => certain)
          .map(placeOf),
      );
      const each = were.filter((blocked) => kept.some((opening) => isFor(opening, blocked)));
      expect(each.map(placeOf).filter((place) => still.has(place))).toEqual([]);
      expect([...still].filter((place) => !were.map(placeOf).includes(place))).toEqual([]);
      const [one, two] = [programOf(before), programOf(after)];
      for (const { packet, journey } of packets) {
        const [was, is] = [explain(one, { packet, journey }), explain(two, { packet, journey })];
        if (was.verdict === is.verdict) continue;
        if (was.verdict === 'depends' || is.verdict === 'depends') continue;
        expect([was.verdict, is.verdict]).toEqual([
          expect.stringMatching(/drop|reject/),
          expect.stringMatching(/accept|drop|reject/),
        ]);
        expect([packet.iif, packet.oif]).toContain('in0');
        const text = was.deciding?.place.text;
        expect(text === undefined || isPlain(text), text).toBe(true);
        tally.changed++;
      }
    }),
    { numRuns: 30 },
  );
  // Worlds in which nothing is opened, or no packet is the wiser, show nothing.
  expect(tally.openings).toBeGreaterThan(40);
  expect(tally.changed).toBeGreaterThan(5);
});
