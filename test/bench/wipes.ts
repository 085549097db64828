// How long a wipe lasts, seen by packets that a rule of the user's drops: settle (the guard waits for the end of the burst, as
// a script's next rules may come) and heal. The floor does not settle: it is event, save and restore alone.

import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import { filterFirst, startFloor } from './floor.ts';
import { openPackets, type PacketStream } from './packets.ts';
import type { Reporter } from './report.ts';
import { rulesetOf } from './rules.ts';
import { median, quantile } from './stats.ts';
import { forwardRules, load, put, runUntil, startGuard } from './world.ts';

const EMPTY = '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n';
const WIPES = [
  { name: 'iptables -F', file: 'iptables', args: ['-F'], input: '' },
  { name: 'nft flush ruleset', file: 'nft', args: ['flush', 'ruleset'], input: '' },
  { name: 'restore of an empty ruleset', file: 'iptables-restore', args: [], input: EMPTY },
] as const;

export interface Wipe {
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly input: string;
}

const FULL = '/tmp/bench-wipe.rules';
/** The quiet that ends a burst (docs/design.md, two speeds). */
export const settleMs = (count: number): number => (count >= 5000 ? 150 : 50);
/** No packet for so long: the rules are back. Longer than the gap between two packets on a busy machine. */
const BACK_MS = 400;

type Samples = Record<'guard' | 'floor', number[]>;

export async function measureWipes(report: Reporter, count: number, lives: number): Promise<void> {
  load(rulesetOf(count));
  writeFileSync(FULL, filterFirst());
  const packets = await openPackets();
  const seen = new Map<Wipe, Samples>(WIPES.map((wipe) => [wipe, { guard: [], floor: [] }]));
  for (let life = 1; life <= lives; life++) {
    for (const actor of ['guard', 'floor'] as const) await liveOnce(packets, actor, count, seen);
    report.progress(`wipes, ${count} rules: ${life} of ${lives} rounds`);
  }
  await packets.close();
  for (const [wipe, { guard, floor }] of seen) {
    const note = `the settle is ${settleMs(count)} ms of it: without it ${((median(guard) - settleMs(count)) / median(floor)).toFixed(2)}x`;
    const what = `${wipe.name}, ${count} rules`;
    report.add({
      what: `${what}, p50`,
      unit: 'ms',
      measured: median(guard),
      floor: median(floor),
      aim: undefined,
      samples: guard.length,
      note,
    });
    report.add({
      what: `${what}, worst`,
      unit: 'ms',
      measured: quantile(guard, 1),
      floor: quantile(floor, 1),
      aim: undefined,
      samples: guard.length,
    });
  }
}

/** Each wipe once in the life of one process: below the guard's budget for putting lost rules back at once. */
async function liveOnce(
  packets: PacketStream,
  actor: keyof Samples,
  count: number,
  seen: ReadonlyMap<Wipe, Samples>,
): Promise<void> {
  const restMs = count >= 5000 ? 2500 : 1000;
  put(rulesetOf(count));
  const healer = actor === 'guard' ? await startGuard(restMs) : await startFloor('full', FULL);
  let done = 0;
  for (const [wipe, samples] of seen) {
    if (actor === 'floor') {
      healer.write('');
      await healer.waitFor('armed', done + 1);
    }
    samples[actor].push(
      await outage(packets, wipe).catch((error: Error) => {
        throw new Error(
          `${actor}, ${count} rules: ${error.message}\n${forwardRules().slice(0, 5).join('\n')}\n${healer.said()}`,
        );
      }),
    );
    done++;
    if (actor === 'floor') await healer.waitFor('done', done);
    await sleep(restMs);
  }
  await healer.stop();
}

/** From the end of the command to the last packet that got through, ms. */
export async function outage(packets: PacketStream, wipe: Wipe): Promise<number> {
  const fromMs = performance.now();
  const endMs = await runUntil(wipe.file, wipe.args, wipe.input);
  for (;;) {
    await sleep(20);
    const nowMs = performance.now();
    const last = packets.since(fromMs).at(-1);
    if (last !== undefined && nowMs - last > BACK_MS) return Math.max(0, last - endMs);
    if (nowMs - fromMs > 30_000)
      throw new Error(
        `${wipe.name}: ${last === undefined ? 'no packet got through: it wiped nothing' : 'the rules are not back after 30 s'}`,
      );
  }
}
