// How long a displacement lasts: libvirt's jump goes in above the user's rules, until they stand above it again.
// Guard and floors take turns, a few samples each, in fresh processes: the guard stands down after five displacements a
// minute by the same rival (its budget, which is not touched here), and neither side runs warmer than the other.

import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import { filterFirst, startFloor } from './floor.ts';
import { openObserver, type Observer } from './observer.ts';
import type { Reporter } from './report.ts';
import { forwardRules, load, put, runUntil, startGuard } from './world.ts';
import { rulesetOf, userRules } from './rules.ts';
import { quantile } from './stats.ts';

/** Mends of one chain within the guard's budget. */
const PER_LIFE = 5;
/** libvirt takes its jump out and, when it has rebuilt the rest, puts it on top of the chain. */
const BEFORE = ['-D', 'FORWARD', '-j', 'LIBVIRT_FWX'];
const OFFENCE = ['-I', 'FORWARD', '1', '-j', 'LIBVIRT_FWX'];
const FULL = '/tmp/bench-full.rules';
const EDIT = '/tmp/bench-edit.rules';

interface Sample {
  /** From the end of the offending command to the effect, ms. */
  readonly fromEndMs: number;
  /** From its commit, ms: stricter, since the command's own way out counts. */
  readonly fromCommitMs: number;
}

type Actor = 'guard' | 'full' | 'edit';

export async function measureDisplacement(report: Reporter, count: number, samples: number): Promise<void> {
  load(rulesetOf(count));
  writeFileSync(FULL, filterFirst());
  // The least edit that puts the order right: the jump on top goes, and comes again below the user's rules.
  writeFileSync(EDIT, `*filter\n-D FORWARD 1\n-I FORWARD ${count} -j LIBVIRT_FWX\nCOMMIT\n`);
  const observer = await openObserver();
  const seen: Record<Actor, Sample[]> = { guard: [], full: [], edit: [] };
  const blocks = Math.ceil(samples / PER_LIFE);
  for (let block = 1; block <= blocks; block++) {
    for (const actor of ['full', 'guard', 'edit'] as const) seen[actor].push(...(await life(observer, actor, count)));
    report.progress(
      `displacement, ${count} rules: ${block} of ${blocks} rounds, guard p50 ${quantile(
        seen.guard.map((each) => each.fromEndMs),
        0.5,
      ).toFixed(1)} ms, floor ${quantile(
        seen.full.map((each) => each.fromEndMs),
        0.5,
      ).toFixed(1)} ms`,
    );
  }
  observer.close();
  addRows(report, count, seen);
}

/** One life of a guard or of a floor: a few displacements, each healed; the ruleset is as before at the end. */
async function life(observer: Observer, actor: Actor, count: number): Promise<Sample[]> {
  put(rulesetOf(count));
  await observer.quiet(200);
  const restMs = count >= 5000 ? 1500 : 800;
  const healer = actor === 'guard' ? await startGuard(restMs) : await startFloor(actor, actor === 'full' ? FULL : EDIT);
  const samples: Sample[] = [];
  for (let sample = 1; sample <= PER_LIFE; sample++) {
    await runUntil('iptables', BEFORE);
    if (actor === 'guard') await sleep(restMs);
    await observer.quiet(100);
    if (actor !== 'guard') {
      healer.write('');
      await healer.waitFor('armed', sample);
    }
    samples.push(
      await displace(observer, count).catch((error: Error) => {
        const [first, ...rest] = forwardRules();
        throw new Error(
          `${actor}, sample ${sample}: ${error.message}; FORWARD begins ${first}, ${rest[0]}\n${healer.said()}`,
        );
      }),
    );
    // The guard's own afterthoughts (the burst's end, libvirt's quiet of 500 ms) are over when the next one comes.
    if (actor === 'guard') await sleep(restMs);
    else await healer.waitFor('done', sample);
  }
  await healer.stop();
  return samples;
}

async function displace(observer: Observer, count: number): Promise<Sample> {
  const fromMs = performance.now();
  const endMs = await runUntil('iptables', OFFENCE);
  for (let waitedMs = 0; observer.since(fromMs).filter(({ forward }) => forward).length < 2; waitedMs += 5) {
    if (waitedMs > 15_000) throw new Error(`displaced, and not healed in 15 s, with ${count} rules`);
    await sleep(5);
  }
  await observer.quiet(100);
  const [offence, ...after] = observer.since(fromMs).filter(({ forward }) => forward);
  const effect = after.at(-1);
  if (offence === undefined || effect === undefined) throw new Error('no transaction was seen');
  checkOrder(count);
  return { fromEndMs: effect.atMs - endMs, fromCommitMs: effect.atMs - offence.atMs };
}

/** Above the user's last rule, its catch-all, stand all other rules of the user's, and above those nothing. */
function checkOrder(count: number): void {
  const rules = forwardRules();
  const users = userRules(count);
  const wrong = users.findIndex((rule, at) => (at < count - 1 ? rules[at] !== rule : rules.at(-1) !== rule));
  if (wrong !== -1) throw new Error(`rule ${wrong + 1} of FORWARD is\n${rules[wrong]}\nand must be\n${users[wrong]}`);
}

function addRows(report: Reporter, count: number, seen: Readonly<Record<Actor, readonly Sample[]>>): void {
  const of = (actor: Actor, key: keyof Sample, share: number): number =>
    quantile(
      seen[actor].map((sample) => sample[key]),
      share,
    );
  const samples = seen.guard.length;
  const what = `displaced, ${count} rules`;
  for (const [name, share, most] of [
    ['p50', 0.5, 1.5],
    ['p99', 0.99, 3],
  ] as const) {
    report.add({
      what: `${what}, ${name}`,
      unit: 'ms',
      measured: of('guard', 'fromEndMs', share),
      floor: of('full', 'fromEndMs', share),
      aim: { of: 'ratio', most },
      samples,
    });
  }
  report.add({
    what: `  from its commit, p50`,
    unit: 'ms',
    measured: of('guard', 'fromCommitMs', 0.5),
    floor: of('full', 'fromCommitMs', 0.5),
    aim: undefined,
    samples,
  });
  for (const [name, share] of [
    ['p50', 0.5],
    ['p99', 0.99],
  ] as const) {
    report.add({
      what: `  against save + least edit, ${name}`,
      unit: 'ms',
      measured: of('guard', 'fromEndMs', share),
      floor: of('edit', 'fromEndMs', share),
      aim: undefined,
      samples,
      note: 'a harder floor than the aim has',
    });
  }
}
