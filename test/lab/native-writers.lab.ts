// Several writers at once, in native tables and in iptables', while the guard mends: nobody's rule is lost or doubled.

import { afterAll, beforeAll, expect, it } from 'vitest';

import { debian13Root, DEBIAN_13_TIMEOUT_MS } from './debian-13.ts';
import { mendwall } from './guard-process.ts';
import {
  driftOf,
  expectStands,
  libvirtRules,
  type NativeStage,
  standing,
  upNativeStage,
  verb,
} from './native-stage.ts';
import { report } from './netns-host.ts';
import { DEFAULT_NETWORK } from './networks.ts';

const SECONDS = process.env['LAB_FULL'] === '1' ? 30 : 5;

let stage: NativeStage;
beforeAll(() => debian13Root(), DEBIAN_13_TIMEOUT_MS);
beforeAll(async () => void (stage = await upNativeStage([DEFAULT_NETWORK])));
afterAll(() => stage?.hypervisor.down());

/** Each adds rules of its own, numbered from 1; it prints nothing unless one is refused. */
const WRITERS = {
  // One process for many commits: nft itself takes some 10 ms to start.
  native: `n=0; while :; do n=$((n + 1)); echo "add rule inet rival c tcp dport $n accept"; sleep 0.01; done | nft -i >/dev/null 2>&1`,
  users: `while :; do n=$((n + 1)); nft add rule inet filter admin udp dport $n accept || echo failed; done`,
  iptables: `while :; do n=$((n + 1)); iptables -w -A RIVAL -p tcp --dport $n -j ACCEPT || echo failed; done`,
};

it(`${SECONDS} s of nft and iptables beside flushed chains: no rule of theirs lost or doubled, and at the end no drift but theirs`, async () => {
  const { hypervisor, guard } = stage;
  await hypervisor.sh('nft add table inet rival; nft add chain inet rival c; iptables -N RIVAL');
  await verb(hypervisor, 'snapshot', '--yes', '-m', 'with the rivals');
  const [before, libvirt] = [await standing(hypervisor), await libvirtRules(hypervisor)];
  const writers = Object.values(WRITERS).map((script) =>
    hypervisor.spawn('timeout', [String(SECONDS), 'sh', '-c', script]),
  );
  // Meanwhile the user's chain is flushed again and again: the guard has something to put back.
  const flushes = hypervisor.sh(
    `end=$(($(date +%s) + ${SECONDS})); while [ $(date +%s) -lt $end ]; do nft flush chain inet filter input; sleep 0.7; done`,
  );
  await Promise.all([flushes, ...writers.map(({ ended }) => ended)]);
  await guard.idle(30_000);
  const now = await standing(hypervisor);
  const counts = [
    expectRun(portsIn(now.native['inet rival']!, /tcp dport (\d+) accept/g), 'nft in a table of its own'),
    expectRun(portsIn(now.native['inet filter']!, /udp dport (\d+) accept/g), 'nft in the chain of the user'),
    expectRun(portsIn(now.iptables.join('\n'), /-A RIVAL .*--dport (\d+) -j/g), 'iptables'),
  ];
  const rate = Math.round(counts.reduce((sum, count) => sum + count, 0) / SECONDS);
  report(`native: writers made ${counts.join(' + ')} commits, ${rate} a second`);
  expect(writers.flatMap(({ lines }) => lines)).toEqual([]);
  const without = (text: string): string => text.replaceAll(/\t\tudp dport \d+ accept\n/g, '');
  expect(without(now.native['inet filter']!)).toBe(before.native['inet filter']);
  expect((await driftOf(stage)).filter((each) => !each.startsWith('pending'))).toEqual([]);
  await verb(hypervisor, 'snapshot', '--yes', '-m', 'with what they wrote');
  expect((await mendwall(hypervisor, 'diff')).exitCode).toBe(0);
  await expectStands(stage, now, libvirt, 'many writers');
}, 240_000);

const portsIn = (text: string, pattern: RegExp): number[] =>
  [...text.matchAll(pattern)].map(([, port]) => Number(port)); // tcp dport 7 accept

/** 1, 2, 3 ... in order, nothing missing, nothing twice; the last one may have been cut short. */
function expectRun(ports: readonly number[], what: string): number {
  expect(ports, what).toEqual(ports.map((_, index) => index + 1));
  return ports.length;
}
