// The law of pinned drops, on random rulesets and packets, by the packet evaluator: what the user's rules let by, the pins let
// by; what the pinned run drops stays dropped whatever is inserted on top.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { classify, userPartOf } from '../../src/classify/classify.ts';
import { compileIptables } from '../../src/explain/iptables-rule.ts';
import { explain } from '../../src/explain/path.ts';
import { joinPrograms, type Program } from '../../src/explain/program.ts';
import { planPins, type PinPlan } from '../../src/plan/pin.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import { FAMILIES, type Family, type Ruleset } from '../../src/ruleset/types.ts';
import { ruleTexts } from '../../src/ruleset/user-part.ts';
import { explainWorld, type SentPacket } from '../generate/explain.ts';

const PLACES = ['FORWARD', 'INPUT', 'OUTPUT'];

/** libvirt's jump somewhere in each chain, and what it leads to lets everything by: the user's run ends there. */
function withNeighbour(text: string, at: number): string {
  const lines = text.split('\n');
  const filter = lines.indexOf('*filter');
  const rules = PLACES.flatMap((chain) => {
    const own = lines.flatMap((line, index) => (index > filter && line.startsWith(`-A ${chain} `) ? [index] : []));
    return own.length === 0 ? [] : [{ before: own[Math.min(at, own.length - 1)] as number, chain }];
  });
  for (const { before, chain } of rules.sort((a, b) => b.before - a.before))
    lines.splice(before, 0, `-A ${chain} -j LIBVIRT_FWX`);
  const head = ['*filter', ':LIBVIRT_FWX - [0:0]'];
  lines.splice(filter, 1, ...head);
  const commit = lines.indexOf('COMMIT', filter);
  lines.splice(commit, 0, '-A LIBVIRT_FWX -j ACCEPT');
  return lines.join('\n');
}

/** The same, with the neighbour's ACCEPT on top of each chain. */
const opened = (text: string): string =>
  PLACES.reduce((all, chain) => {
    const filter = all.indexOf('*filter');
    const first = all.slice(filter).search(/^-A /m) + filter;
    return `${all.slice(0, first)}-A ${chain} -j LIBVIRT_FWX\n${all.slice(first)}`;
  }, text);

const VERDICTS = { accept: 'ACCEPT', drop: 'DROP', return: 'RETURN', reject: 'REJECT' } as const;

/** A plan's rules as iptables', at the pins' priority: the plan is judged here, its translation in the lab. */
function pinProgram({ family, chains }: PinPlan): Program {
  const own = chains.filter(({ hook }) => hook === undefined).map(({ name }) => `:${name} - [0:0]`);
  const rules = chains.flatMap(({ name, rules: list }) =>
    list.map(({ matches, verdict }) => {
      const target =
        verdict.kind === 'jump'
          ? `-j ${verdict.chain}`
          : verdict.kind === 'goto'
            ? `-g ${verdict.chain}`
            : `-j ${VERDICTS[verdict.kind]}`;
      return ['-A', name, matches, target].filter((word) => word !== '').join(' ');
    }),
  );
  const text = ['*filter', ...PLACES.map((name) => `:${name} ACCEPT [0:0]`), ...own, ...rules, 'COMMIT', ''].join('\n');
  const { baseChains } = compileIptables(parseRuleset(text, family));
  return { baseChains: baseChains.map((chain) => ({ ...chain, priority: -10, table: 'mendwall' })), unseen: [] };
}

function pinsOf(ruleset: Ruleset): PinPlan {
  const classified = classify(ruleset, undefined);
  const wish = userPartOf(classified).tables.get('filter');
  return planPins({ family: ruleset.family, wish, live: classified.tables.get('filter') });
}

/** The user's run alone: what is above libvirt's jump, as far as it was pinned, with policy ACCEPT. */
function runAlone(ruleset: Ruleset, plan: PinPlan): Program {
  const classified = classify(ruleset, undefined);
  const chains = userPartOf(classified).tables.get('filter')?.chains ?? new Map<string, never>();
  const lines = [...chains.values()].flatMap(({ name, items }) => {
    if (!PLACES.includes(name)) return ruleTexts(items);
    const run = plan.runs.find(({ chain }) => chain === name);
    const slot = items.findIndex((item) => item.kind === 'slot');
    const above = ruleTexts(slot === -1 ? items : items.slice(0, slot));
    const stop = run?.stopped === undefined ? -1 : above.indexOf(run.stopped.text);
    return stop === -1 ? above : above.slice(0, stop);
  });
  const own = [...chains.keys()].filter((name) => !PLACES.includes(name)).map((name) => `:${name} - [0:0]`);
  const text = ['*filter', ...PLACES.map((name) => `:${name} ACCEPT [0:0]`), ...own, ...lines, 'COMMIT', ''].join('\n');
  const before = compileIptables(ruleset).baseChains.filter(({ table }) => table !== 'filter');
  return joinPrograms([{ baseChains: before, unseen: [] }, compileIptables(parseRuleset(text, ruleset.family))]);
}

const stops = (program: Program, { packet, journey }: SentPacket): boolean =>
  ['drop', 'reject'].includes(explain(program, { packet, journey }).verdict);

describe('pinned drops', () => {
  const tally = { pinned: 0, held: 0, packets: 0 };

  it('drop nothing that the user’s rules let by, and hold what the run drops', () => {
    fc.assert(
      fc.property(explainWorld(12), fc.nat(5), ({ iptables, packets }, at) => {
        const texts = FAMILIES.map((family): [Family, string] => [family, withNeighbour(iptables[family], at)]);
        for (const [family, text] of texts) {
          const ruleset = parseRuleset(text, family);
          const plan = pinsOf(ruleset);
          const pins = pinProgram(plan);
          const user = compileIptables(ruleset);
          const rivalled = compileIptables(parseRuleset(opened(text), family));
          const alone = runAlone(ruleset, plan);
          for (const sent of packets.filter(({ packet }) => packet.family === family)) {
            tally.packets++;
            const together = stops(joinPrograms([pins, user]), sent);
            expect(together).toBe(stops(user, sent));
            const held = stops(alone, sent);
            if (held) expect(stops(joinPrograms([pins, rivalled]), sent)).toBe(true);
            tally.held += Number(held && !stops(rivalled, sent));
            tally.pinned += Number(plan.chains.length > 0);
          }
        }
      }),
      { numRuns: 150 },
    );
    // A run in which nothing is pinned, or a rival opens nothing, shows nothing.
    expect(tally.pinned).toBeGreaterThan(tally.packets / 20);
    expect(tally.held).toBeGreaterThan(5);
  });
});
