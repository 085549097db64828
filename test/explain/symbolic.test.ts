// The symbolic answers against brute force: whatever the packet evaluator says of each packet of a small universe, the
// sets say, too.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileIptables } from '../../src/explain/iptables-rule.ts';
import { compileNft } from '../../src/explain/nft-ruleset.ts';
import { explain } from '../../src/explain/path.ts';
import { joinPrograms, type Program } from '../../src/explain/program.ts';
import { type Change, effect } from '../../src/explain/symbolic/effect.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import { type ExplainWorld, explainWorld, type SentPacket } from '../generate/explain.ts';
import { SEED } from '../generate/seed.ts';
import { fieldsOf, inRegion } from './symbolic-truth.ts';

const HOST = {
  addresses: [
    { address: '10.1.0.1', dev: 'in0' },
    { address: '10.2.0.1', dev: 'out0' },
    { address: 'fd01::1', dev: 'in0' },
    { address: 'fd02::1', dev: 'out0' },
    { address: '127.0.0.1', dev: 'lo' },
    { address: '::1', dev: 'lo' },
  ],
};
const FACTS = { localAddresses: HOST.addresses.map(({ address }) => address) };

type Texts = Pick<ExplainWorld, 'iptables' | 'native'>;

function programOf({ iptables, native }: Texts): Program {
  return joinPrograms([
    compileIptables(parseRuleset(iptables.ip, 'ip'), FACTS),
    compileIptables(parseRuleset(iptables.ip6, 'ip6'), FACTS),
    compileNft(native, FACTS),
  ]);
}

/** Takes a rule out, moves one, or turns a policy. */
function mutate(text: string, at: number, to: number): string {
  const lines = text.split('\n');
  const isRule = (line: string): boolean => line.startsWith('-A') || line.startsWith('    ');
  const rules = lines.flatMap((line, index) => (isRule(line) && !line.includes(' hook ') ? [index] : []));
  const index = rules[at % Math.max(1, rules.length)];
  if (index === undefined || to % 5 === 0) return text.replace(/^:FORWARD ACCEPT/m, ':FORWARD DROP');
  const [line = ''] = lines.splice(index, 1);
  const chain = line.split(' ')[1];
  const goal = to % 2 === 0 || !line.startsWith('-A') ? -1 : lines.findIndex((each) => each.startsWith(`-A ${chain} `));
  if (goal >= 0) lines.splice(goal, 0, line);
  return lines.join('\n');
}

const mutated = fc.record({ at: fc.nat(200), to: fc.nat(200), where: fc.constantFrom('ip', 'ip6', 'native') });

const pairOf = fc
  .record({ world: explainWorld(40), edits: fc.array(mutated, { minLength: 1, maxLength: 3 }) })
  .map(({ world, edits }) => {
    const after = edits.reduce<Texts>(
      ({ iptables, native }, { at, to, where }) =>
        where === 'native'
          ? { iptables, native: mutate(native, at, to) }
          : { iptables: { ...iptables, [where]: mutate(iptables[where as 'ip'], at, to) }, native },
      world,
    );
    return { before: world as Texts, after, packets: withLater(world.packets) };
  });

/** Later packets of flows, too. */
function withLater(packets: readonly SentPacket[]): SentPacket[] {
  return packets.flatMap((sent, at) => {
    const sport = sent.packet.dport === undefined ? {} : { sport: at % 2 === 0 ? 30_500 : 36_000 };
    const packet = { ...sent.packet, ...sport };
    return at % 4 === 0
      ? [
          { ...sent, packet },
          { ...sent, packet: { ...packet, ctState: 'established' as const } },
        ]
      : [{ ...sent, packet }];
  });
}

let compared = 0;
let changed = 0;

function check(before: Program, after: Program, changes: readonly Change[], { journey, packet }: SentPacket): void {
  const [was, is] = [before, after].map((program) => explain(program, { packet, journey }, HOST).verdict);
  const fields = fieldsOf(packet, journey);
  const near = changes
    .filter(({ family, fromHost }) => family === packet.family && fromHost === (journey === 'output'))
    .map((change) => ({ change, holds: inRegion(change.region, fields) }))
    .filter(({ holds }) => holds !== 'no');
  const asked = `${was} -> ${is}: ${journey} ${JSON.stringify(packet)}`;
  for (const { change, holds } of near) {
    if (holds !== 'yes') continue;
    if (was !== 'depends') expect(change.before.outcome, asked).toBe(was);
    if (is !== 'depends') expect(change.after.outcome, asked).toBe(is);
  }
  if (was === 'depends' || is === 'depends') return;
  compared++;
  if (was === is) return;
  changed++;
  expect(
    near.some(({ change }) => change.before.outcome === was && change.after.outcome === is),
    asked,
  ).toBe(true);
}

describe('effect', () => {
  it('agrees with the packet evaluator: small edits of random rulesets, both engines', { timeout: 600_000 }, () => {
    const numRuns = process.env['LAB_FULL'] === '1' ? 1000 : 20;
    fc.assert(
      fc.property(pairOf, ({ before, after, packets }) => {
        const [one, two] = [programOf(before), programOf(after)];
        const found = effect(one, two, ['ip', 'ip6'], HOST);
        expect(found.complete).toBe(true);
        for (const sent of packets) check(one, two, found.changes, sent);
      }),
      { numRuns, endOnFailure: true },
    );
    console.log(`symbolic: seed ${SEED}, ${compared} packets compared, ${changed} of them change`);
    expect(changed).toBeGreaterThan(numRuns / 2);
  });
});
