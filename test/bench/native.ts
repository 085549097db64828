// The user's native nft tables: how long `nft flush ruleset` lasts, seen by packets that a rule drops, and what the pure stages
// cost by size. The floor of the first is event, one `nft list ruleset` and one `nft -f` of the whole; it does not settle.

import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import { classifyNative, userNativeOf } from '../../src/classify/classify-native.ts';
import { decideNative } from '../../src/merge/decide-native.ts';
import { planNative } from '../../src/plan/native-plan.ts';
import { parseNft } from '../../src/ruleset/nft/parse.ts';
import { startFloor } from './floor.ts';
import { openPackets, type PacketStream } from './packets.ts';
import type { Reporter } from './report.ts';
import { median, quantile } from './stats.ts';
import { outage, settleMs } from './wipes.ts';
import { mendwall, run, startGuard } from './world.ts';

const FLUSH = { name: 'nft flush ruleset', file: 'nft', args: ['flush', 'ruleset'], input: '' } as const;
const FULL = '/tmp/bench-native.nft';

const SHAPES: readonly ((at: number) => string)[] = [
  (at) => `tcp dport ${1024 + (at % 60_000)} accept`,
  (at) => `iifname "eth${at % 8}" accept comment "web ${at}"`,
  (at) => `ip saddr ${address(at)} ct state new accept`,
  (at) => `ip daddr ${address(at)} tcp dport { 80, 443, ${1024 + (at % 60_000)} } accept`,
  (at) => `ip saddr ${address(at)} iifname "eth${at % 8}" oifname "virbr0" accept`,
  (at) => `ip saddr ${address(at)} udp dport ${at % 65_536} reject with icmp port-unreachable`,
];
const address = (at: number): string => `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`;

/** One table as nft lists it: the drop that packets tell by, and `count` rules, the last of which drops the rest. */
function tableOf(count: number): string {
  const rules = Array.from({ length: count - 1 }, (_, at) => `\t\t${SHAPES[at % SHAPES.length]?.(at) ?? ''}\n`);
  return [
    'table inet wall {\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n',
    '\t\tip saddr 192.168.122.66 iifname "virbr0" udp dport 53 drop\n\t}\n\n',
    '\tchain forward {\n\t\ttype filter hook forward priority filter; policy accept;\n',
    ...rules,
    '\t\tdrop\n\t}\n}\n',
  ].join('');
}

function put(count: number): void {
  run('nft', ['flush', 'ruleset']);
  run('nft', ['-f', '-'], tableOf(count));
}

export async function measureNativeWipes(report: Reporter, count: number, lives: number): Promise<void> {
  put(count);
  run('sh', ['-c', 'rm -rf /var/lib/mendwall/* /run/mendwall']);
  mendwall('init');
  writeFileSync(FULL, tableOf(count));
  const packets = await openPackets();
  const seen = { guard: [] as number[], floor: [] as number[] };
  for (let life = 1; life <= lives; life++) {
    for (const actor of ['guard', 'floor'] as const) seen[actor].push(await liveOnce(packets, actor, count));
    report.progress(`native wipes, ${count} rules: ${life} of ${lives} rounds`);
  }
  await packets.close();
  const [guard, floor] = [median(seen.guard), median(seen.floor)];
  const what = `nft flush ruleset, ${count} native rules`;
  const note = `the settle is ${settleMs(count)} ms of it: without it ${((guard - settleMs(count)) / floor).toFixed(2)}x`;
  const common = { unit: 'ms', aim: undefined, samples: lives };
  report.add({ ...common, what: `${what}, p50`, measured: guard, floor, note });
  report.add({ ...common, what: `${what}, worst`, measured: quantile(seen.guard, 1), floor: quantile(seen.floor, 1) });
}

async function liveOnce(packets: PacketStream, actor: 'guard' | 'floor', count: number): Promise<number> {
  put(count);
  const healer = actor === 'guard' ? await startGuard(count >= 5000 ? 2500 : 1000) : await startFloor('native', FULL);
  if (actor === 'floor') {
    healer.write('');
    await healer.waitFor('armed', 1);
  }
  const ms = await outage(packets, FLUSH).catch((error: Error) => {
    throw new Error(`${actor}, ${count} native rules: ${error.message}\n${healer.said()}`);
  });
  await sleep(500);
  await healer.stop();
  return ms;
}

/** Parse, classify, decide and plan: the table is gone, another stands, the whole text is written again. */
export function measureNativeStages(report: Reporter, count: number, times: number): void {
  const text = tableOf(count);
  const wish = userNativeOf(classifyNative(parseNft(text).tables));
  const runs = Array.from({ length: times }, () => {
    const fromMs = performance.now();
    const classified = classifyNative(parseNft(text.replace('table inet wall', 'table inet other')).tables);
    const live = userNativeOf(classified);
    const decisions = decideNative({
      wish,
      live,
      summaries: undefined,
      burstOver: true,
      onDelete: 'pending',
      onLoad: 'adopt',
      byHand: false,
    });
    const { input } = planNative(decisions, live, classified);
    if (!input.includes('create table inet wall')) throw new Error('the stages had nothing to do');
    return performance.now() - fromMs;
  });
  report.add({
    what: `native: parse, classify, decide, plan ${count} rules`,
    unit: 'ms',
    measured: median(runs),
    floor: undefined,
    aim: undefined,
    samples: times,
  });
}
