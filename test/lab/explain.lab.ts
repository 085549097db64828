// Does the evaluator lie? Random rulesets of all engines at once x random packets, through the real kernel: every rule
// must have counted as often as foretold, and as many packets must have come through.
//
// MENDWALL_EXPLAIN_PACKETS=10000 for a long run, MENDWALL_EXPLAIN_SEED=n for another one.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { explainWorld, type ExplainWorld } from '../generate/explain.ts';
import { aim, answerTo, loadWorld, shoot, type Shot } from './explain-check.ts';
import type { Program } from '../../src/explain/program.ts';
import { openPacketWorld, type PacketWorld } from './packet-world.ts';

const SEED = Number(process.env['MENDWALL_EXPLAIN_SEED'] ?? 20261121);
const PACKETS = Number(process.env['MENDWALL_EXPLAIN_PACKETS'] ?? 600);
const PACKETS_EACH = 30;

let world: PacketWorld;
beforeAll(async () => void (world = await openPacketWorld()));
afterAll(() => world.close());

interface Tally {
  packets: number;
  answers: number;
  readonly verdicts: Map<string, number>;
}

/** The same packet as a new flow. */
function aimAgain(program: Program, { from, journey, packet }: Shot): Shot {
  const { sport: _, ...unaimed } = packet;
  return aim(program, from, journey, unaimed);
}

/** The first shot that alone shows a difference, for the report. */
async function culprit(sketch: ExplainWorld, shots: readonly Shot[]): Promise<string> {
  const program = loadWorld(world, sketch);
  for (const shot of shots) {
    const again = aimAgain(program, shot.question ?? shot);
    if (shot.question !== undefined) await shoot(world, sketch.engine, [again]);
    const last = shot.question === undefined ? again : answerTo(program, again);
    if (last === undefined) continue;
    const differences = await shoot(world, sketch.engine, [last]);
    if (differences.length > 0) {
      const { verdict, trace, depends } = last.foretold;
      const seen = trace.map(({ hook, place, certain }) => ({ hook, certain, ...place }));
      return JSON.stringify(
        { packet: last.packet, journey: last.journey, differences, verdict, depends, seen },
        undefined,
        1,
      );
    }
  }
  return 'no packet alone shows it';
}

async function checkWorld(sketch: ExplainWorld, tally: Tally): Promise<void> {
  const program = loadWorld(world, sketch);
  const shots = sketch.packets.map(({ journey, packet }) =>
    aim(program, journey === 'output' ? 'router' : 'sender', journey, packet),
  );
  const answers = (): Shot[] => shots.flatMap((shot) => answerTo(program, shot) ?? []);
  for (const volley of [shots, answers()]) {
    const differences = await shoot(world, sketch.engine, volley);
    if (differences.length > 0) {
      const who = await culprit(sketch, volley);
      expect.fail(
        `${JSON.stringify(differences, undefined, 1)}\n${who}\n${sketch.engine}\n${sketch.iptables.ip}${sketch.iptables.ip6}${sketch.native}`,
      );
    }
    for (const { foretold } of volley)
      tally.verdicts.set(foretold.verdict, (tally.verdicts.get(foretold.verdict) ?? 0) + 1);
  }
  tally.packets += shots.length;
  tally.answers += answers().length;
}

describe('the evaluator and the kernel agree', () => {
  test(`on ${PACKETS} packets`, async () => {
    const tally: Tally = { packets: 0, answers: 0, verdicts: new Map() };
    const worlds = fc.sample(explainWorld(PACKETS_EACH), { seed: SEED, numRuns: Math.ceil(PACKETS / PACKETS_EACH) });
    for (const [at, sketch] of worlds.entries()) {
      try {
        await checkWorld(sketch, tally);
      } catch (error) {
        throw new Error(`seed ${SEED}, world ${at}: ${(error as Error).message}`, { cause: error });
      }
    }
    console.log(
      `explain: seed ${SEED}, ${tally.packets} packets and ${tally.answers} answers through ${worlds.length} rulesets:`,
      Object.fromEntries(tally.verdicts),
    );
    // A run in which nearly everything depends, or everything is dropped, shows nothing.
    const share = (verdict: string): number => (tally.verdicts.get(verdict) ?? 0) / (tally.packets + tally.answers);
    expect(share('accept')).toBeGreaterThan(0.1);
    expect(share('drop')).toBeGreaterThan(0.1);
    expect(share('depends')).toBeLessThan(0.4);
  }, 600_000);
});
