// The libvirt of 2010 (bare rules in the built-in chains) beside the admin's rules, under a guard in merge mode. No libvirtd
// of that age can run here: its commands are replayed, by a process named libvirtd, one process a command.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  flush,
  flushAndDeleteChains,
  iptables,
  nftFlushRuleset,
  raisePortForward,
  restoreFile,
  runFirewallScript,
} from './actors.ts';
import { initGuard, mendwall, startGuard } from './guard-process.ts';
import { cableBridge } from './guests.ts';
import { type Engine, upHypervisor } from './host.ts';
import {
  bridgeWithoutLibvirt,
  type OldLibvirt,
  oldLibvirtReload,
  oldLibvirtStart,
  oldLibvirtStop,
} from './old-libvirt.ts';
import type { Ending } from './deeds.ts';
import type { Stage } from './deed-check.ts';
import { ALL_TRAFFIC, trafficWithin } from './probes.ts';
import { CHANGED_USER_RULES, EMPTY_RULES, USER_RULES } from './user-rules.ts';
import { usersAfter, wallOf, type Wall } from './yardstick.ts';

const LATE_MS = 4_000;
/** `-A FORWARD -i virbr0 -j REJECT ...`, `-A POSTROUTING -s 192.168.122.0/24 ! -d 192.168.122.0/24 -j MASQUERADE` */
const LIBVIRTS = / (?:-i|-o) virbr0 | -j MASQUERADE/;

/** Runs the commands as children of a process whose name is libvirtd. */
async function asLibvirtd({ hypervisor }: Stage, commands: readonly string[]): Promise<void> {
  const result = await hypervisor.exec('/run/lab/libvirtd', ['-c', commands.join('\n')]);
  if (result.exitCode !== 0) throw new Error(result.stderr);
}

/** net-destroy: rules, then dnsmasq and bridge. */
async function stopNetwork(stage: Stage, kind: OldLibvirt): Promise<void> {
  await asLibvirtd(stage, oldLibvirtStop(kind));
  await stage.hypervisor.sh('kill $(cat /run/lab/dnsmasq.pid); ip link del virbr0');
}

async function startNetwork(stage: Stage, kind: OldLibvirt): Promise<void> {
  await bridgeWithoutLibvirt(stage.hypervisor);
  await cableBridge(stage.hypervisor, stage.hypervisor.guest);
  await asLibvirtd(stage, oldLibvirtStart(kind));
}

async function upOldStage(engine: Engine, kind: OldLibvirt): Promise<Stage> {
  const hypervisor = await upHypervisor({ name: `mwz-${kind}`, engine, libvirt: false });
  await hypervisor.sh('cp /bin/sh /run/lab/libvirtd');
  await bridgeWithoutLibvirt(hypervisor);
  await hypervisor.addGuest();
  await restoreFile(hypervisor);
  await hypervisor.sh(oldLibvirtStart(kind).join('\n'));
  await raisePortForward(hypervisor);
  await initGuard(hypervisor);
  return { hypervisor, guard: await startGuard(hypervisor) };
}

/** libvirt's bare rules, in the order in which its insertions end up, chain by chain. */
function libvirtsRules(kind: OldLibvirt): string[] {
  return oldLibvirtStart(kind)
    .toReversed()
    .map((command) => command.replace(/^iptables (?:-t nat )?-I/, '-A').replaceAll('/255.255.255.0', '/24'));
}

/** The chains of both: libvirt's block on top, but in FORWARD below the port forward. */
function faults(now: Wall, users: Wall, libvirts: readonly string[]): string[] {
  const found: string[] = [];
  for (const place of new Set([...now.rules.keys(), ...users.rules.keys()])) {
    const mine = users.rules.get(place) ?? [];
    const [family, table, chain] = place.split(' ');
    const own = family === 'ip' && table === (chain === 'POSTROUTING' ? 'nat' : 'filter');
    const theirs = own ? libvirts.filter((rule) => rule.startsWith(`-A ${chain} `)) : [];
    const must =
      chain === 'FORWARD' && theirs.length > 0 ? [mine[0], ...theirs, ...mine.slice(1)] : [...theirs, ...mine];
    const is = now.rules.get(place) ?? [];
    if (is.join('\n') !== must.join('\n'))
      found.push(`${place} is\n  ${is.join('\n  ')}\nand must be\n  ${must.join('\n  ')}`);
  }
  return found;
}

async function wallNow({ hypervisor }: Stage): Promise<Wall> {
  return wallOf(await hypervisor.save());
}

function usersOnly(wall: Wall): Wall {
  const rules = new Map([...wall.rules].map(([place, lines]) => [place, lines.filter((line) => !LIBVIRTS.test(line))]));
  return {
    rules: new Map([...rules].filter(([place, lines]) => lines.length > 0 || wall.policies.get(place) === '-')),
    policies: wall.policies,
  };
}

interface OldDeed {
  readonly name: string;
  readonly ending: Ending;
  run(stage: Stage, kind: OldLibvirt): Promise<void>;
}

const DEEDS: readonly OldDeed[] = [
  { name: 'libvirt reloads', ending: 'before', run: (stage, kind) => asLibvirtd(stage, oldLibvirtReload(kind)) },
  {
    name: 'libvirt stops its network and starts it',
    ending: 'before',
    run: async (stage, kind) => {
      await stopNetwork(stage, kind);
      await stage.guard.idle();
      await startNetwork(stage, kind);
    },
  },
  { name: 'iptables-restore of the same file', ending: 'user-rules', run: ({ hypervisor }) => restoreFile(hypervisor) },
  {
    name: 'iptables-restore of a changed file',
    ending: 'changed-user-rules',
    run: ({ hypervisor }) => restoreFile(hypervisor, CHANGED_USER_RULES),
  },
  {
    name: 'iptables-restore of an empty file',
    ending: 'before',
    run: ({ hypervisor }) => restoreFile(hypervisor, EMPTY_RULES),
  },
  { name: 'the firewall script', ending: 'user-rules', run: ({ hypervisor }) => runFirewallScript(hypervisor) },
  {
    name: 'the firewall script with pauses of 30 ms',
    ending: 'changed-user-rules',
    run: ({ hypervisor }) => runFirewallScript(hypervisor, CHANGED_USER_RULES, { pauseMs: 30 }),
  },
  {
    name: 'iptables-restore of the first file again',
    ending: 'user-rules',
    run: ({ hypervisor }) => restoreFile(hypervisor, USER_RULES),
  },
  { name: 'iptables -F', ending: 'before', run: ({ hypervisor }) => flush(hypervisor) },
  { name: 'iptables -F; iptables -X', ending: 'before', run: ({ hypervisor }) => flushAndDeleteChains(hypervisor) },
  {
    name: 'iptables -A',
    ending: 'as-left',
    run: ({ hypervisor }) => iptables(hypervisor, '-A ADMIN -s 203.0.113.9/32 -j DROP'),
  },
  {
    name: 'libvirt reloads beside a pending rule',
    ending: 'before',
    run: (stage, kind) => asLibvirtd(stage, oldLibvirtReload(kind)),
  },
];
const NFT_DEEDS: readonly OldDeed[] = [
  { name: 'nft flush ruleset', ending: 'before', run: ({ hypervisor }) => nftFlushRuleset(hypervisor) },
];

describe.each([
  ['nft', 'kvm-fedora13'],
  ['nft', 'xen-el5'],
  ['legacy', 'kvm-fedora13'],
  ['legacy', 'xen-el5'],
] as const)('on iptables-%s, the bare rules of %s', (engine, kind) => {
  let stage: Stage;
  beforeAll(async () => void (stage = await upOldStage(engine, kind)));
  afterAll(() => stage.hypervisor.down());

  it.each(engine === 'nft' ? [...DEEDS, ...NFT_DEEDS] : DEEDS)('$name: user rules $ending', async (deed) => {
    const before = usersOnly(await wallNow(stage));
    const { passes } = await stage.guard.status();
    await deed.run(stage, kind);
    const asLeft = usersOnly(await wallNow(stage));
    const noticedMs = performance.now() + (engine === 'legacy' ? 1_000 : 0);
    while (performance.now() < noticedMs && (await stage.guard.status()).passes === passes)
      await new Promise((resolve) => setTimeout(resolve, 30));
    await stage.guard.idle();
    const users =
      deed.ending === 'before' ? before : deed.ending === 'as-left' ? asLeft : usersAfter(deed.ending, before, asLeft);
    let wrong = faults(await wallNow(stage), users, libvirtsRules(kind));
    for (const endMs = performance.now() + LATE_MS; wrong.length > 0 && performance.now() < endMs;) {
      await stage.guard.idle();
      wrong = faults(await wallNow(stage), users, libvirtsRules(kind));
    }
    expect(
      wrong,
      `${wrong.join('\n')}\n${stage.guard.logSince(Math.max(0, stage.guard.logMark() - 12)).join('\n')}`,
    ).toEqual([]);
    expect(await trafficWithin(stage.hypervisor, 3_000)).toEqual(ALL_TRAFFIC);
  });

  it('and libvirt takes away its own rules and nothing else', async () => {
    const users = usersOnly(await wallNow(stage));
    await stopNetwork(stage, kind);
    await stage.guard.idle();
    expect(faults(await wallNow(stage), users, [])).toEqual([]);
  });

  it('and diff shows only what is pending', async () => {
    const { stdout } = await mendwall(stage.hypervisor, 'diff');
    expect(stdout.split('\n').filter((line) => /^[-+]-A/.test(line))).toEqual(['+-A ADMIN -s 203.0.113.9/32 -j DROP']);
  });
});
