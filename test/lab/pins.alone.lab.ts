// Pinned drops on the real kernel: what iptables' translation means, 640 flows with and without pins, and a flood while a
// rival opens the chain and closes it again without pause.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { translatePins } from '../../src/apply/pins.ts';
import { classify, userPartOf } from '../../src/classify/classify.ts';
import { compileIptables } from '../../src/explain/iptables-rule.ts';
import { compileNft } from '../../src/explain/nft-ruleset.ts';
import type { PacketSpec } from '../../src/explain/packet.ts';
import { explain } from '../../src/explain/path.ts';
import type { ExecResult, Host } from '../../src/host/host.ts';
import { dropPins, newPinState, pinDrops, type PinReport } from '../../src/pass/pin.ts';
import { pinFormOf } from '../../src/plan/pin-forms.ts';
import type { PinPlan, PinRule } from '../../src/plan/pin.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import { FAMILIES, type Family } from '../../src/ruleset/types.ts';
import { explainWorld } from '../generate/explain.ts';
import { addressIn, NEIGHBOURS, openPacketWorld, type PacketWorld } from './packet-world.ts';
import { report } from './netns-host.ts';
import { REPOSITORY } from './namespaces.ts';

let world: PacketWorld;
beforeAll(async () => void (world = await openPacketWorld()));
afterAll(() => world.close());

function run(file: string, args: readonly string[], input = ''): string {
  const { exitCode, stdout, stderr } = world.router.run(file, args, input);
  if (exitCode !== 0) throw new Error(`exit ${exitCode}: ${file} ${args.join(' ')}\n${stderr}\n${input}`);
  return stdout;
}

const sh = (script: string): string => run('sh', ['-ec', script]);

const LOG = { write: () => undefined } as unknown as Host['log'];

function contextHere(): Parameters<typeof pinDrops>[0] {
  let nonces = 0;
  const exec = ({ file, args = [], input = '' }: Parameters<Host['exec']>[0]): Promise<ExecResult> =>
    Promise.resolve(world.router.run(file, args, input) as ExecResult);
  return {
    host: { exec, log: LOG } as Host,
    memory: { replaced: [] } as unknown as Parameters<typeof pinDrops>[0]['memory'],
    nonce: () => (nonces++).toString(16).padStart(8, '0'),
    ownSentinels: new Set(),
    pins: { ...newPinState(), watched: true },
  };
}

const liveFamilies = (): { family: Family; classified: ReturnType<typeof classify> }[] =>
  FAMILIES.map((family) => {
    const text = run(family === 'ip' ? 'iptables-save' : 'ip6tables-save', []);
    return { family, classified: classify(parseRuleset(text, family), undefined) };
  });

type Wish = Parameters<typeof pinDrops>[1];

function wishFromLive(): Wish {
  const [ip, ip6] = liveFamilies().map(({ classified }) => userPartOf(classified));
  return { ip: ip!, ip6: ip6! };
}

/** What a pass does at its end. */
function pinLive(context = contextHere(), wish = wishFromLive()): Promise<PinReport> {
  const seen = { families: liveFamilies(), mixed: undefined };
  return pinDrops(context, wish, seen as unknown as Parameters<typeof pinDrops>[2]);
}

// ---- what the translation means

/** Matches of the random rules that a pin may copy, each as a rule of its own. */
function copied(family: Family, texts: readonly string[]): PinRule[] {
  const rules = new Map<string, PinRule>();
  for (const text of texts.filter((line) => line.startsWith('-A FORWARD'))) {
    const form = pinFormOf(text, family);
    if (form.kind === 'copy') rules.set(form.matches, { text, matches: form.matches, verdict: { kind: 'drop' } });
  }
  return [...rules.values()];
}

describe('the translation', () => {
  it('of every form that may be copied says the same of every packet', async () => {
    const worlds = fc.sample(explainWorld(8), { seed: 20261121, numRuns: 60 });
    let asked = 0;
    let matched = 0;
    for (const family of FAMILIES) {
      const typed = worlds.flatMap(({ iptables }) => iptables[family].split('*filter')[1]?.split('\n') ?? []);
      const forward = typed.filter((line) => line.startsWith('-A FORWARD')).join('\n');
      run(
        family === 'ip' ? 'iptables-restore' : 'ip6tables-restore',
        [],
        `*filter\n:FORWARD ACCEPT\n:filterA -\n:filterB -\n${forward}\nCOMMIT\n`,
      );
      const saved = run(family === 'ip' ? 'iptables-save' : 'ip6tables-save', ['-t', 'filter']).split('\n');
      const rules = copied(family, saved);
      const plan: PinPlan = { family, chains: [{ name: 'FORWARD', hook: 'forward', rules }], runs: [] };
      const result = await translatePins(contextHere().host, plan);
      if (result.kind !== 'translated') throw new Error(JSON.stringify([...result.rules]));
      expect(rules.length).toBeGreaterThan(30);
      const packets = worlds
        .flatMap((each) => each.packets)
        .filter(({ packet, journey }) => packet.family === family && journey === 'forward');
      for (const [at, { matches }] of rules.entries()) {
        const text = `table ${family} t {\nchain c {\ntype filter hook forward priority 0; policy accept;\n${result.lines[at]} counter drop\n}\n}\n`;
        run('nft', ['-c', '-f', '-'], text);
        const said = compileNft(text);
        const meant = compileIptables(
          parseRuleset(`*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD ${matches} -j DROP\nCOMMIT\n`, family),
        );
        for (const { packet } of packets) {
          const spec: PacketSpec = { sport: 31000, ...packet };
          const [one, two] = [said, meant].map(
            (program) => explain(program, { packet: spec, journey: 'forward' }).verdict,
          );
          expect([matches, result.lines[at], one]).toEqual([matches, result.lines[at], two]);
          expect(two).not.toBe('depends');
          matched += Number(two === 'drop');
          asked++;
        }
      }
    }
    report(`pins: ${asked} verdicts of translated rules, ${matched} of them matches: all the same`);
    expect(matched).toBeGreaterThan(asked / 50);
  });
});

// ---- 640 flows

const PORTS = Array.from({ length: 32 }, (_, at) => 1000 + at);

const SEEN = `table inet probe {
  set seen4 { type ipv4_addr . inet_proto . inet_service; size 4096; flags dynamic; }
  set seen6 { type ipv6_addr . inet_proto . inet_service; size 4096; flags dynamic; }
  chain own { type filter hook output priority -2000000; meta skuid 0 accept; drop; }
  chain left {
    type filter hook postrouting priority 2000000;
    oifname "out0" update @seen4 { ip saddr . meta l4proto . th dport }
    oifname "out0" update @seen6 { ip6 saddr . meta l4proto . th dport }
  }
}
`;

function userRules(family: Family): string {
  const from = (host: number): string => addressIn(1, family, host);
  const lines = [
    '-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    `-A FORWARD ! -s ${from(5)} -p tcp --dport 1001 -m comment --comment "not -j ACCEPT" -j DROP`,
    '-A FORWARD -p udp -m multiport --dports 1005:1008,1011 -j DROP',
    '-A FORWARD -p udp --dport 1000:1004 -j svc',
    `-A svc -s ${from(2)} -j RETURN`,
    `-A svc -s ${from(9)} -j ACCEPT`,
    '-A svc -j DROP',
    '-A FORWARD -p tcp --syn --dport 1020 -j REJECT --reject-with tcp-reset',
    `-A FORWARD -s ${from(9)} -p tcp --dport 1010:1019 -j REJECT`,
    '-A FORWARD -i in+ ! -o in0 -p udp --dport 1030 -m state --state NEW -j DROP',
    // What is IPv6's alone must not stop IPv4.
    ...(family === 'ip6' ? ['-A FORWARD -p udp --dport 1015 -j DROP'] : []),
    `-A FORWARD -m iprange --src-range ${from(5)}-${from(6)} -p tcp --dport 1025:1026 -j DROP`,
    '-A FORWARD -j LIBVIRT_FWX',
    '-A FORWARD -p udp --dport 1031 -j DROP',
  ];
  return ['*filter', ':FORWARD ACCEPT [0:0]', ':svc - [0:0]', ':LIBVIRT_FWX - [0:0]', ...lines, 'COMMIT', ''].join(
    '\n',
  );
}

const open = FAMILIES.map((family) => (family === 'ip' ? 'iptables' : 'ip6tables'));
const rivalOpens = (): string =>
  sh(open.map((tool) => `${tool} -I FORWARD -j LIBVIRT_FWX; ${tool} -I LIBVIRT_FWX -j ACCEPT`).join('\n'));

/** Sends every flow once; which came through. */
async function delivered(): Promise<Set<string>> {
  run('nft', ['flush', 'set', 'inet', 'probe', 'seen4']);
  run('nft', ['flush', 'set', 'inet', 'probe', 'seen6']);
  let sport = 20_000 + Math.floor(Math.random() * 20_000);
  for (const family of FAMILIES)
    for (const host of NEIGHBOURS)
      for (const protocol of ['tcp', 'udp'])
        for (const dport of PORTS) {
          const flags = protocol === 'tcp' ? { tcpFlags: ['syn'] } : {};
          const [src, dst] = [addressIn(1, family, host), addressIn(2, family, 5)];
          await world.send('sender', { family, src, dst, protocol, sport: sport++, dport, ...flags }, 1);
        }
  await new Promise((resolve) => setTimeout(resolve, 200));
  const sets = ['seen4', 'seen6'].map((name) => run('nft', ['list', 'set', 'inet', 'probe', name]));
  // 10.1.0.2 . tcp . 1000
  return new Set(sets.flatMap((text) => text.match(/[0-9a-f.:]+ \. (?:tcp|udp) \. \d+/g) ?? []));
}

const less = (a: ReadonlySet<string>, b: ReadonlySet<string>): string[] => [...a].filter((flow) => !b.has(flow));

describe('640 flows', () => {
  beforeEach(() => {
    run('nft', ['flush', 'ruleset']);
    for (const family of FAMILIES)
      run(family === 'ip' ? 'iptables-restore' : 'ip6tables-restore', [], userRules(family));
    run('nft', ['-f', '-'], SEEN);
  });

  it('pass with pins as without, and no ACCEPT on top opens those that are pinned', async () => {
    const alone = await delivered();
    const context = contextHere();
    const pins = await pinLive(context);
    expect(pins).toMatchObject({ kind: 'pinned', why: undefined });
    expect(pins.runs.filter(({ chain }) => chain === 'FORWARD').map(({ stopped }) => stopped)).toEqual([
      undefined,
      undefined,
    ]);
    const together = await delivered();
    rivalOpens();
    const held = await delivered();
    await dropPins(context);
    expect(run('nft', ['list', 'tables'])).not.toContain('mendwall');
    const opened = await delivered();
    report(
      `pins: of 640 flows ${alone.size} pass; with pins ${together.size}; ACCEPT on top: ${held.size}, without pins ${opened.size}`,
    );
    expect(opened.size).toBe(640);
    expect(alone.size).toBeLessThan(600);
    expect([less(alone, together), less(together, alone)]).toEqual([[], []]);
    // Port 1031 is dropped below the neighbour only: that is not pinned.
    expect(less(alone, held)).toEqual([]);
    expect(less(held, alone).filter((flow) => !flow.endsWith(' udp . 1031'))).toEqual([]);
  });

  it('writes nothing when all stands as it should, and puts back what another took away', async () => {
    const context = contextHere();
    await pinLive(context);
    const before = run('nft', ['-a', 'list', 'ruleset']).match(/table ip mendwall \{ # handle \d+/)?.[0];
    await pinLive(context);
    const list = (): string => run('nft', ['-a', 'list', 'ruleset']);
    expect(before).toBeDefined();
    expect(list()).toContain(before);
    run('nft', ['flush', 'chain', 'ip', 'mendwall', 'forward']);
    await pinLive(context);
    expect(run('nft', ['-s', 'list', 'table', 'ip', 'mendwall'])).toContain('tcp dport 1001 counter drop');
    run('nft', ['delete', 'table', 'ip6', 'mendwall']);
    await pinLive(context);
    expect(run('nft', ['list', 'tables'])).toContain('table ip6 mendwall');
    sh('iptables -F; ip6tables -F');
    expect(await pinLive(context)).toMatchObject({ kind: 'none' });
    expect(run('nft', ['list', 'tables'])).not.toContain('mendwall');
  });
});

// ---- a flood

const FLOOD_MS = 2000;

const COUNTERS = `table inet probe {
  counter good { }
  counter bad { }
  counter sent { }
  chain own { type filter hook output priority -2000000; meta skuid 0 accept; drop; }
  chain came { type filter hook prerouting priority -2000000; udp dport 2000 counter name sent; }
  chain left {
    type filter hook postrouting priority 2000000;
    oifname "out0" udp dport 2000 counter name good
    oifname "out0" udp dport 1001 counter name bad
  }
}
`;

/** Sends two datagrams a round until its standard input ends: one that is let by, one that is not. */
const SENDER = `use strict; use IO::Socket::INET;
my $good = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '10.2.0.5', PeerPort => 2000) or die;
my $bad = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '10.2.0.5', PeerPort => 1001) or die;
my $end = time + $ARGV[0];
while (time < $end) { for (1..10) { send $good, 'x', 0; send $bad, 'x', 0; } select undef, undef, undef, 0.001; }`;

const FLOOD_RULES = `*filter
:FORWARD ACCEPT [0:0]
:LIBVIRT_FWX - [0:0]
-A FORWARD -p udp --dport 1001 -j DROP
-A FORWARD -j LIBVIRT_FWX
-A LIBVIRT_FWX -j ACCEPT
COMMIT
`;

async function flood(
  meanwhile: (over: () => boolean) => Promise<void>,
): Promise<Record<'good' | 'bad' | 'sent', number>> {
  const endMs = performance.now() + FLOOD_MS;
  const args = ['-t', String(world.senderPid), '--net', 'perl', '-e', SENDER, String(FLOOD_MS / 1000)];
  const sender = spawn('nsenter', args, { stdio: 'ignore', cwd: REPOSITORY });
  const ended = once(sender, 'exit');
  await meanwhile(() => performance.now() > endMs);
  expect((await ended)[0]).toBe(0);
  const count = (name: string): number =>
    Number(/packets (\d+)/.exec(run('nft', ['list', 'counter', 'inet', 'probe', name]))?.[1]);
  return { good: count('good'), bad: count('bad'), sent: count('sent') };
}

/** Opens the chain and closes it again, about a hundred times a second. */
async function rival(over: () => boolean): Promise<void> {
  const loop =
    'while read -r go; do iptables -w -I FORWARD -j LIBVIRT_FWX; iptables -w -D FORWARD -j LIBVIRT_FWX; echo done; done';
  const child = spawn('nsenter', ['-t', String(world.router.pid), '--net', 'sh', '-c', loop]);
  while (!over()) {
    child.stdin.write('go\n');
    await once(child.stdout, 'data');
  }
  child.stdin.end();
  await once(child, 'exit');
}

describe('a flood', () => {
  beforeEach(() => {
    run('nft', ['flush', 'ruleset']);
    run('iptables-restore', [], FLOOD_RULES);
    run('nft', ['-f', '-'], COUNTERS);
  });

  it('comes through while a rival opens the chain, and not at all with pins', async () => {
    const open = await flood(rival);
    run('nft', ['reset', 'counters']);
    await pinLive();
    const pinned = await flood(rival);
    report(
      `pins: of a flood of ${open.sent} packets ${open.bad} came through, with pins ${pinned.bad} of ${pinned.sent}`,
    );
    expect(open.bad).toBeGreaterThan(0);
    expect(pinned).toMatchObject({ bad: 0, good: pinned.sent });
  });

  it('is stopped, and a flow that is let by loses nothing, while the pins are written anew', async () => {
    const context = contextHere();
    const wish = wishFromLive();
    let writes = 0;
    await pinLive(context, wish);
    sh('iptables -I FORWARD -j LIBVIRT_FWX');
    const counts = await flood(async (over) => {
      while (!over()) {
        context.pins.written = undefined;
        await pinLive(context, wish);
        writes++;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    });
    report(
      `pins: written ${writes} times under ${counts.sent} packets that are let by: ${counts.sent - counts.good} lost`,
    );
    expect(writes).toBeGreaterThan(10);
    expect(counts).toMatchObject({ bad: 0, good: counts.sent });
  });
});
