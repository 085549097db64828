// Facts of a host on which nothing is wrong, for tests that break one of them. Rules are those of captures.

import { classify } from '../../src/classify/classify.ts';
import type { Facts, Finding, Read, Rules, Ways } from '../../src/doctor/types.ts';
import { examine } from '../../src/doctor/checks.ts';
import { compileIptables } from '../../src/explain/iptables-rule.ts';
import { compileNft } from '../../src/explain/nft-ruleset.ts';
import { joinPrograms } from '../../src/explain/program.ts';
import type { Network } from '../../src/ruleset/network.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import { capture, networksOf } from '../captures/captures.ts';

export const read = <T>(value: T): Read<T> => ({ kind: 'read', value });
export const unread = (why: string): Read<never> => ({ kind: 'unread', why });

const LIBVIRT = 'libvirt/libvirt-9.0-iptables-nft/nat';
/** The network of the captured rules, which runs. */
export const NETWORKS: readonly Network[] = (await networksOf(`${LIBVIRT}.iptables-save.txt`)) ?? [];

export const textOf = (name: string): string => capture(name).text;
export const V4 = textOf(`${LIBVIRT}.iptables-save.txt`);
export const V6 = textOf(`${LIBVIRT}.ip6tables-save.txt`);
/** What a writer's capture holds: `writer('ufw/01-enabled')`. */
export const writer = (name: string): readonly [string, string] => [
  textOf(`writers/${name}.iptables-nft.save`),
  textOf(`writers/${name}.ip6tables-nft.save`),
];

/** Both families' rules from text, with owners. */
export function rules(v4 = V4, v6 = V6, networks = NETWORKS): Rules {
  const families = [parseRuleset(v4, 'ip'), parseRuleset(v6, 'ip6')].map((each) => classify(each, networks));
  return { families, networks, libvirtNative: false };
}

export function ways(v4 = V4, v6 = V6, native = ''): Ways {
  const { families: classified } = rules(v4, v6);
  const programs = classified.map(({ ruleset }) => compileIptables(ruleset));
  const addresses = [
    { address: '198.51.100.1', dev: 'eth0' },
    { address: '2001:db8:51::1', dev: 'eth0' },
  ];
  return { program: joinPrograms([...programs, compileNft(native)]), classified, uplink: 'eth0', addresses };
}

const NOW = Date.UTC(2026, 10, 20, 20, 0, 0);

export function facts(change: Partial<Facts> = {}): Facts {
  return {
    nowMs: NOW,
    mode: 'merge',
    config: read('/etc/mendwall/mendwall.toml'),
    daemon: 'running',
    own: read({
      snapshot: { id: '3e2acbb50ffa5a15', at: '2026-11-20T19:00:00.000Z' },
      damaged: [],
      pausedUntil: undefined,
      trial: undefined,
      pendingSince: undefined,
    }),
    engines: read([
      { family: 'ip', engine: 'nft', version: '1.8.9', other: 'nothing', mixed: false, evidence: [] },
      { family: 'ip6', engine: 'nft', version: '1.8.9', other: 'nothing', mixed: false, evidence: [] },
    ]),
    unreadable: [],
    rules: read(rules()),
    drift: read([]),
    libvirtNative: read([]),
    blocked: read([]),
    ways: read(ways()),
    bridges: read({ filtered: { ip: false, ip6: false }, bridges: [] }),
    ipv6: read(true),
    bootRules: [],
    nftFiles: [{ path: '/etc/nftables.conf', text: read(undefined) }],
    files: new Map(),
    enabled: read(new Set<string>()),
    firewalld: read({ running: false, version: undefined }),
    hooks: read([]),
    bus: read({ kind: 'answers' } as const),
    ...change,
  };
}

/** What one check says; `FAIL evidence`, and the line to paste. */
export function said(id: string, change: Partial<Facts>): readonly Finding[] {
  return examine(facts(change)).filter(({ check }) => check === id);
}
