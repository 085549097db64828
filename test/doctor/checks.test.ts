// Every check on real captures: what is fine passes, what is wrong is said with evidence and the line to paste, and what could
// not be read is never a PASS.

import { describe, expect, it } from 'vitest';
import { CHECKS, examine } from '../../src/doctor/checks.ts';
import type { BlockedFact, Facts } from '../../src/doctor/types.ts';
import type { Drift } from '../../src/merge/drift.ts';
import { useConfiguredOwners } from '../../src/owners/index.ts';
import { parseOwner } from '../../src/config/owners.ts';
import { facts, NETWORKS, read, rules, said, unread, V4, V6, ways, writer } from './facts.ts';

interface Case {
  readonly id: string;
  readonly what: string;
  readonly change: Partial<Facts>;
  readonly verdict: 'PASS' | 'WARN' | 'FAIL' | 'SKIP';
  readonly evidence?: RegExp;
  readonly paste?: RegExp | string;
}

const live = (pair: readonly [string, string], networks = NETWORKS): Partial<Facts> => ({
  rules: read(rules(pair[0], pair[1], networks)),
});

const drift = (kind: Drift['kind'], more: Partial<Drift> = {}): Drift => ({
  kind,
  family: 'ip',
  table: 'filter',
  chain: 'FORWARD',
  text: '',
  owner: 'user',
  evidence: 'as it is',
  ...more,
});

// ---- libvirt

/** `iptables -F; kill -HUP libvirtd`: the chains are filled again, the jumps are gone. */
const halfHealed = V4.replace(/^-A (?:INPUT|OUTPUT|FORWARD|POSTROUTING) -j LIBVIRT_\w+\n/gm, '');
const emptied = V4.replace(/^-A .*\n/gm, '');

// ---- Docker, guests

const byPolicy = (traffic: string, port = ''): BlockedFact => ({
  ...drift('blocked', { text: '-P FORWARD DROP', owner: 'unknown' }),
  evidence: `network ${NETWORKS[0]?.name}: drops ${traffic}; opened by: iptables -I FORWARD ${port}-j ACCEPT`,
  opening: `iptables -I FORWARD ${port}-j ACCEPT`,
});
const both = [
  byPolicy('guests to the outside', '-i virbr0 '),
  byPolicy('answers from outside to guests', '-o virbr0 '),
];
const docker = writer('docker/01-dockerd-started');

const bridged = (filtered: boolean): Partial<Facts> => ({
  bridges: read({ filtered: { ip: filtered, ip6: false }, bridges: [{ name: 'br0', ports: ['eth0', 'vnet0'] }] }),
});
const forwardDrop = V4.replace(/(\*filter\n(?::.*\n)*?:FORWARD )ACCEPT/, '$1DROP');

// ---- neighbours

const F2B_FLUSHED = writer('fail2ban-iptables-multiport/05-after-iptables-F');
/** A ban after the flush, as the capture before it has one. */
const f2bLost: readonly [string, string] = [
  F2B_FLUSHED[0].replace(
    /^COMMIT\n(?=# Completed.*\n# Generated.*\n\*nat)/m,
    '-A f2b-sshd -s 198.51.100.7/32 -j REJECT --reject-with icmp-port-unreachable\n$&',
  ),
  F2B_FLUSHED[1],
];

const ufwOn = new Map([['/etc/ufw/ufw.conf', read('# /etc/ufw/ufw.conf\nENABLED=yes\nLOGLEVEL=low\n')]]);

const rack = (input: string, end: string): readonly [string, string] => [
  `*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:RS-RackConnect-INBOUND - [0:0]\n${input}-A RS-RackConnect-INBOUND -s 10.1.2.3/32 -i eth1 -j ACCEPT\n${end}COMMIT\n`,
  V6,
];
const RACK_JUMP = '-A INPUT -j RS-RackConnect-INBOUND\n';
const RACK_RETURN = '-A RS-RackConnect-INBOUND -j RETURN\n';
const SSH = '-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n';

// ---- files

const nftConf = (text: string, enabled: readonly string[]): Partial<Facts> => ({
  nftFiles: [{ path: '/etc/nftables.conf', text: read(text) }],
  enabled: read(new Set(enabled)),
});
/** Debian's packaged file. */
const DEBIAN =
  '#!/usr/sbin/nft -f\n\nflush ruleset\n\ntable inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter;\n\t}\n}\n';

const saved = (text: string): Partial<Facts> => ({
  bootRules: [{ family: 'ip', path: '/etc/iptables/rules.v4', text: read(text) }],
});
const SAVED = writer('netfilter-persistent/00-before')[0];
const MINE = '*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\nCOMMIT\n';

const boot = (unit: string, daemon: Facts['daemon'], files: Readonly<Record<string, string>> = {}): Partial<Facts> => ({
  enabled: read(new Set([unit])),
  files: new Map(Object.entries(files).map(([path, text]) => [path, read(text)])),
  daemon,
});

const own = (change: object): Partial<Facts> => {
  const healthy = facts().own;
  return { own: read({ ...(healthy.kind === 'read' ? healthy.value : ({} as never)), ...change }) };
};

const hook = (state: 'current' | 'outdated', unaware: readonly { pid: number; name: string }[]): Partial<Facts> => ({
  hooks: read([{ object: 'network', state, unaware }]),
});

const engine = (change: object): Partial<Facts> => {
  const healthy = facts().engines;
  return { engines: read((healthy.kind === 'read' ? healthy.value : []).map((each) => ({ ...each, ...change }))) };
};

const CASES: readonly Case[] = [
  { id: 'engines', what: 'one engine', change: {}, verdict: 'PASS', evidence: /nft 1\.8\.9/ },
  {
    id: 'engines',
    what: 'rules in both',
    change: engine({ mixed: true }),
    verdict: 'FAIL',
    paste: /iptables-legacy-save/,
  },
  { id: 'engines', what: 'no iptables', change: engine({ engine: 'unknown' }), verdict: 'SKIP' },
  { id: 'engines', what: 'the other one unreadable', change: engine({ other: 'unreadable' }), verdict: 'SKIP' },

  { id: 'incompatible-tables', what: 'all shown', change: {}, verdict: 'PASS' },
  {
    id: 'incompatible-tables',
    what: 'a native rule in ip nat',
    change: {
      unreadable: [
        { family: 'ip', why: "table nat is incompatible, use 'nft' tool: chain X holds a native nft rule, masquerade" },
      ],
      rules: unread('the live rules cannot be read'),
    },
    verdict: 'FAIL',
    paste: 'nft list table ip nat',
  },
  { id: 'incompatible-tables', what: 'not root', change: { rules: unread('root only') }, verdict: 'SKIP' },

  { id: 'libvirt-chains', what: 'healthy', change: {}, verdict: 'PASS', evidence: /^1 network / },
  {
    id: 'libvirt-chains',
    what: 'flushed and reloaded: filled, nothing jumps there',
    change: live([halfHealed, V6]),
    verdict: 'FAIL',
    evidence: /LIBVIRT_FWI.* filled but not referenced/,
    paste: 'mendwall mend --mode merge',
  },
  {
    id: 'libvirt-chains',
    what: 'flushed, and no snapshot to mend by',
    change: { ...live([emptied, V6]), ...own({ snapshot: undefined }) },
    verdict: 'FAIL',
    evidence: /runs without .* and \d+ more/,
    paste: 'systemctl restart libvirtd',
  },
  {
    id: 'libvirt-chains',
    what: 'native rules lost',
    change: {
      libvirtNative: read([drift('foreign-lost', { owner: 'libvirt', table: 'ip libvirt_network', text: 'table' })]),
    },
    verdict: 'FAIL',
  },
  { id: 'libvirt-chains', what: 'unreadable', change: { libvirtNative: unread('nft ended with 1') }, verdict: 'SKIP' },

  { id: 'libvirt-stale', what: 'healthy', change: {}, verdict: 'PASS' },
  {
    id: 'libvirt-stale',
    what: 'the network does not run any more',
    change: live(
      [V4, V6],
      NETWORKS.map((network) => ({ ...network, active: false })),
    ),
    verdict: 'WARN',
    paste: /iptables -t filter -D LIBVIRT_/,
  },
  {
    id: 'libvirt-stale',
    what: 'a jump twice',
    change: live([V4.replace(/^-A FORWARD -j LIBVIRT_FWI\n/m, '$&$&'), V6]),
    verdict: 'WARN',
    evidence: /a further copy/,
    paste: 'iptables -t filter -D FORWARD -j LIBVIRT_FWI',
  },

  { id: 'docker-forward', what: 'Docker runs and stops nobody', change: live(docker), verdict: 'PASS' },
  {
    id: 'docker-forward',
    what: 'its policy stops the guests',
    change: { ...live(docker), blocked: read(both) },
    verdict: 'FAIL',
    evidence: /^forward drop for virbr0 by ip filter FORWARD policy \(docker\)$/,
    paste: /^iptables -I DOCKER-USER -i virbr0 -j ACCEPT; /,
  },
  { id: 'docker-forward', what: 'the policy is somebody else’s', change: { blocked: read(both) }, verdict: 'PASS' },
  { id: 'docker-forward', what: 'not known', change: { blocked: unread('both engines') }, verdict: 'SKIP' },

  { id: 'guests-blocked', what: 'nobody', change: {}, verdict: 'PASS' },
  {
    id: 'guests-blocked',
    what: 'by the policy: one line for both ways',
    change: { blocked: read(both) },
    verdict: 'WARN',
    evidence: /-P FORWARD DROP: network \w+: drops guests to the outside; drops answers from outside to guests$/,
    paste: 'iptables -I FORWARD -i virbr0 -j ACCEPT; iptables -I FORWARD -o virbr0 -j ACCEPT',
  },
  {
    id: 'guests-blocked',
    what: 'Docker’s are said elsewhere',
    change: { ...live(docker), blocked: read(both) },
    verdict: 'PASS',
  },
  { id: 'guests-blocked', what: 'not known', change: { blocked: unread('both engines') }, verdict: 'SKIP' },

  {
    id: 'bridge-netfilter',
    what: 'off',
    change: { ...bridged(false), ways: read(ways(forwardDrop)) },
    verdict: 'PASS',
  },
  { id: 'bridge-netfilter', what: 'on, and FORWARD is open', change: { ...bridged(true) }, verdict: 'PASS' },
  {
    id: 'bridge-netfilter',
    what: 'on, and FORWARD drops',
    change: { ...bridged(true), ways: read(ways(forwardDrop)) },
    verdict: 'FAIL',
    evidence: /bridge-nf-call-iptables = 1\), and ip filter FORWARD policy drop stops frames between guests on br0/,
    paste: /^sysctl -w net\.bridge\.bridge-nf-call-iptables=0 {3}# or: iptables -I FORWARD -m physdev/,
  },
  {
    id: 'bridge-netfilter',
    what: 'on, and it depends on addresses',
    change: {
      ...bridged(true),
      ways: read(ways(forwardDrop.replace(/^-A FORWARD/m, '-A FORWARD -s 10.0.0.0/8 -j ACCEPT\n$&'))),
    },
    verdict: 'WARN',
  },
  {
    id: 'bridge-netfilter',
    what: 'not known',
    change: { ...bridged(true), ways: unread('both engines') },
    verdict: 'SKIP',
  },

  { id: 'ipv6-open', what: 'both open', change: {}, verdict: 'PASS', evidence: /open/ },
  {
    id: 'ipv6-open',
    what: 'IPv4 closed alone',
    change: { ways: read(ways(V4.replaceAll(':INPUT ACCEPT', ':INPUT DROP'))) },
    verdict: 'WARN',
    evidence: /stopped in IPv4 by ip (?:filter|mangle|nat) INPUT policy drop/,
    paste: /^ip6tables -A INPUT -m conntrack .*--dport 22 -j ACCEPT; ip6tables -P INPUT DROP$/,
  },
  {
    id: 'ipv6-open',
    what: 'IPv6 closed by a native table',
    change: {
      ways: read(
        ways(
          writer('ufw/01-enabled')[0],
          V6,
          'table ip6 mine {\n\tchain input {\n\t\ttype filter hook input priority 0; policy drop;\n\t}\n}\n',
        ),
      ),
    },
    verdict: 'PASS',
  },
  {
    id: 'ipv6-open',
    what: 'no IPv6',
    change: { ipv6: read(false), ways: read(ways(V4.replaceAll(':INPUT ACCEPT', ':INPUT DROP'))) },
    verdict: 'PASS',
  },
  { id: 'ipv6-open', what: 'not known', change: { ways: unread('both engines') }, verdict: 'SKIP' },

  { id: 'your-rules', what: 'as wanted', change: { drift: read([drift('pending')]) }, verdict: 'PASS' },
  {
    id: 'your-rules',
    what: 'displaced',
    change: { drift: read([drift('displaced')]) },
    verdict: 'FAIL',
    paste: /mend/,
  },
  {
    id: 'your-rules',
    what: 'replaced',
    change: { drift: read([drift('replaced')]) },
    verdict: 'FAIL',
    paste: /accept/,
  },
  { id: 'your-rules', what: 'no snapshot', change: { drift: unread('no snapshot') }, verdict: 'SKIP' },

  { id: 'shadowed', what: 'none', change: {}, verdict: 'PASS' },
  {
    id: 'shadowed',
    what: 'an accept below libvirt’s REJECT',
    change: live([
      V4.replace(
        /^-A FORWARD -j LIBVIRT_FWO\n/m,
        '$&-A FORWARD -d 192.168.122.10/32 -o virbr0 -p tcp -m tcp --dport 22 -j ACCEPT\n',
      ),
      V6,
    ]),
    verdict: 'WARN',
    evidence: /dport 22/,
  },
  { id: 'shadowed', what: 'not root', change: { rules: unread('root only') }, verdict: 'SKIP' },

  { id: 'waiting', what: 'none', change: {}, verdict: 'PASS' },
  {
    id: 'waiting',
    what: 'one',
    change: { drift: read([drift('waiting', { evidence: 'set x is not there' })]) },
    verdict: 'WARN',
  },
  { id: 'waiting', what: 'no snapshot', change: { drift: unread('no snapshot') }, verdict: 'SKIP' },

  {
    id: 'pending-old',
    what: 'since this morning',
    change: { ...own({ pendingSince: '2026-11-20T08:00:00.000Z' }), drift: read([drift('pending')]) },
    verdict: 'PASS',
  },
  {
    id: 'pending-old',
    what: 'since the day before',
    change: { ...own({ pendingSince: '2026-11-19T08:00:00.000Z' }), drift: read([drift('pending')]) },
    verdict: 'WARN',
    paste: 'mendwall snapshot',
  },
  { id: 'pending-old', what: 'no snapshot', change: { drift: unread('no snapshot') }, verdict: 'SKIP' },

  { id: 'neighbours-lost', what: 'none', change: {}, verdict: 'PASS' },
  {
    id: 'neighbours-lost',
    what: 'fail2ban',
    change: { drift: read([drift('foreign-lost', { owner: 'fail2ban' })]) },
    verdict: 'FAIL',
    paste: 'fail2ban-client reload --restart',
  },
  {
    id: 'neighbours-lost',
    what: 'libvirt’s loss is said elsewhere',
    change: { drift: read([drift('foreign-lost', { owner: 'libvirt' })]) },
    verdict: 'PASS',
  },
  { id: 'neighbours-lost', what: 'no snapshot', change: { drift: unread('no snapshot') }, verdict: 'SKIP' },

  {
    id: 'fail2ban-unhooked',
    what: 'a ban',
    change: live(writer('fail2ban-iptables-multiport/02-banned')),
    verdict: 'PASS',
  },
  { id: 'fail2ban-unhooked', what: 'flushed, no ban yet', change: live(F2B_FLUSHED), verdict: 'PASS' },
  {
    id: 'fail2ban-unhooked',
    what: 'a ban after a flush',
    change: live(f2bLost),
    verdict: 'FAIL',
    evidence: /f2b-sshd: 1 ban, and nothing jumps there/,
    paste: 'fail2ban-client reload --restart',
  },
  { id: 'fail2ban-unhooked', what: 'not root', change: { rules: unread('root only') }, verdict: 'SKIP' },

  { id: 'ufw-lockout', what: 'not enabled', change: {}, verdict: 'PASS' },
  { id: 'ufw-lockout', what: 'enabled', change: { ...live(writer('ufw/01-enabled')), files: ufwOn }, verdict: 'PASS' },
  {
    id: 'ufw-lockout',
    what: 'after iptables -F',
    change: { ...live(writer('ufw/05-after-iptables-F')), files: ufwOn },
    verdict: 'FAIL',
    evidence: /ip filter INPUT is policy DROP/,
    paste: /^ufw --force disable; .*ufw --force enable$/,
  },
  {
    id: 'ufw-lockout',
    what: 'enabled, and all is open',
    change: { files: ufwOn },
    verdict: 'FAIL',
    evidence: /it filters nothing/,
  },
  { id: 'ufw-lockout', what: 'not root', change: { rules: unread('root only'), files: ufwOn }, verdict: 'SKIP' },

  { id: 'vendor-chain', what: 'first, with RETURN', change: live(rack(RACK_JUMP + SSH, RACK_RETURN)), verdict: 'PASS' },
  {
    id: 'vendor-chain',
    what: 'below a rule of yours',
    change: live(rack(SSH + RACK_JUMP, RACK_RETURN)),
    verdict: 'WARN',
    evidence: /rule 2, below -A INPUT -p tcp/,
    paste:
      'iptables -t filter -D INPUT -j RS-RackConnect-INBOUND; iptables -t filter -I INPUT 1 -j RS-RackConnect-INBOUND',
  },
  {
    id: 'vendor-chain',
    what: 'without RETURN',
    change: live(rack(RACK_JUMP, '')),
    verdict: 'WARN',
    paste: /-j RETURN$/,
  },
  {
    id: 'vendor-chain',
    what: 'ends in DROP',
    change: live(rack(RACK_JUMP + SSH, '-A RS-RackConnect-INBOUND -j DROP\n')),
    verdict: 'FAIL',
    evidence: /no rule below its jump is ever reached/,
  },
  { id: 'vendor-chain', what: 'unhooked', change: live(rack('', RACK_RETURN)), verdict: 'FAIL' },
  { id: 'vendor-chain', what: 'not root', change: { rules: unread('root only') }, verdict: 'SKIP' },

  { id: 'flush-ruleset', what: 'no file', change: {}, verdict: 'PASS' },
  {
    id: 'flush-ruleset',
    what: 'not loaded at boot',
    change: nftConf(DEBIAN, []),
    verdict: 'PASS',
    evidence: /nftables\.conf:3, but/,
  },
  {
    id: 'flush-ruleset',
    what: 'loaded at boot',
    change: nftConf(DEBIAN, ['nftables.service']),
    verdict: 'WARN',
    evidence: /^\/etc\/nftables\.conf:3: /,
    paste: `sed -i.bak 's/^[[:space:]]*flush ruleset.*/table inet filter; delete table inet filter/' /etc/nftables.conf`,
  },
  {
    id: 'flush-ruleset',
    what: 'commented out',
    change: nftConf('# flush ruleset\n', ['nftables.service']),
    verdict: 'PASS',
  },
  {
    id: 'flush-ruleset',
    what: 'unreadable',
    change: { nftFiles: [{ path: '/etc/nftables.conf', text: unread('permission denied') }] },
    verdict: 'SKIP',
  },

  { id: 'stale-boot-rules', what: 'no file', change: {}, verdict: 'PASS' },
  { id: 'stale-boot-rules', what: 'only mine', change: saved(MINE), verdict: 'PASS' },
  {
    id: 'stale-boot-rules',
    what: 'saved with libvirt’s rules',
    change: saved(SAVED),
    verdict: 'WARN',
    evidence: /rules\.v4 brings back .* libvirt’s lines /,
    paste: /^sed -i\.bak '[\d,d;]+' \/etc\/iptables\/rules\.v4$/,
  },
  {
    id: 'stale-boot-rules',
    what: 'saved with RackConnect’s',
    change: saved(rack(RACK_JUMP, RACK_RETURN)[0]),
    verdict: 'WARN',
    evidence: /rackconnect’s lines 5-8$/,
    paste: `sed -i.bak '5,8d' /etc/iptables/rules.v4`,
  },
  {
    id: 'stale-boot-rules',
    what: 'malformed',
    change: saved('*filter\nhello\n'),
    verdict: 'FAIL',
    evidence: /rules\.v4:2: /,
  },
  {
    id: 'stale-boot-rules',
    what: 'unreadable',
    change: { bootRules: [{ family: 'ip', path: '/etc/iptables/rules.v4', text: unread('permission denied') }] },
    verdict: 'SKIP',
  },

  { id: 'boot-loaders', what: 'none', change: {}, verdict: 'PASS' },
  {
    id: 'boot-loaders',
    what: 'netfilter-persistent',
    change: boot('netfilter-persistent.service', 'absent'),
    verdict: 'WARN',
    evidence: /replace every table/,
  },
  {
    id: 'boot-loaders',
    what: 'netfilter-persistent that appends',
    change: boot('netfilter-persistent.service', 'absent', {
      '/etc/default/netfilter-persistent': 'IPTABLES_RESTORE_NOFLUSH=yes\n',
    }),
    verdict: 'WARN',
    evidence: /appends the whole file again/,
  },
  {
    id: 'boot-loaders',
    what: 'with a daemon that mends',
    change: boot('netfilter-persistent.service', 'running'),
    verdict: 'PASS',
    evidence: /mendwall puts the others back/,
  },
  {
    id: 'boot-loaders',
    what: 'nftables.service',
    change: boot('nftables.service', 'absent'),
    verdict: 'WARN',
    evidence: /stop nftables/,
  },
  {
    id: 'boot-loaders',
    what: 'ferm, switched off',
    change: boot('ferm.service', 'absent', { '/etc/default/ferm': 'ENABLED="no"\n' }),
    verdict: 'PASS',
  },
  {
    id: 'boot-loaders',
    what: 'ferm',
    change: boot('ferm.service', 'absent', {
      '/etc/default/ferm': 'ENABLED="yes"\n',
      '/etc/ferm/ferm.conf': '@preserve;',
    }),
    verdict: 'WARN',
    evidence: /@preserve.*iptables-legacy/,
  },
  {
    id: 'boot-loaders',
    what: 'firehol',
    change: boot('firehol.service', 'absent', { '/etc/default/firehol': 'START_FIREHOL=YES\n' }),
    verdict: 'WARN',
  },
  {
    id: 'boot-loaders',
    what: 'shorewall',
    change: boot('shorewall.service', 'absent', {
      '/etc/shorewall/shorewall.conf': 'STARTUP_ENABLED=Yes\nDOCKER=Yes\n',
    }),
    verdict: 'WARN',
    evidence: /DOCKER=Yes keeps/,
  },
  { id: 'boot-loaders', what: 'arno', change: boot('arno-iptables-firewall.service', 'absent'), verdict: 'WARN' },
  { id: 'boot-loaders', what: 'unreadable', change: { enabled: unread('permission denied') }, verdict: 'SKIP' },

  { id: 'firewalld-reload', what: 'not there', change: {}, verdict: 'PASS' },
  {
    id: 'firewalld-reload',
    what: 'Debian 12’s',
    change: { firewalld: read({ running: true, version: '1.3.3' }), daemon: 'absent' },
    verdict: 'WARN',
    evidence: /FirewallBackend=nftables, FlushAllOnReload=yes, libvirt’s backend: iptables: .* flush everybody’s/,
  },
  {
    id: 'firewalld-reload',
    what: 'Debian 13’s',
    change: { firewalld: read({ running: true, version: '2.3.1' }), daemon: 'absent' },
    verdict: 'PASS',
  },
  {
    id: 'firewalld-reload',
    what: 'Debian 13’s with a direct rule',
    change: {
      firewalld: read({ running: true, version: '2.3.1' }),
      daemon: 'absent',
      files: new Map([
        [
          '/etc/firewalld/direct.xml',
          read('<direct>\n  <rule ipv="ipv4" table="filter" chain="INPUT" priority="0">-j ACCEPT</rule>\n</direct>\n'),
        ],
      ]),
    },
    verdict: 'WARN',
    evidence: /because it has direct rules/,
  },
  { id: 'firewalld-reload', what: 'not known', change: { firewalld: unread('hidepid') }, verdict: 'SKIP' },

  { id: 'hooks-unheard', what: 'none installed', change: {}, verdict: 'PASS', evidence: /no hook/ },
  { id: 'hooks-unheard', what: 'called', change: hook('current', []), verdict: 'PASS', evidence: /called/ },
  {
    id: 'hooks-unheard',
    what: 'libvirtd started before',
    change: hook('current', [{ pid: 76, name: 'libvirtd' }]),
    verdict: 'WARN',
    evidence: /libvirtd \(pid 76\) started before/,
    paste: 'systemctl restart libvirtd',
  },
  {
    id: 'hooks-unheard',
    what: 'outdated',
    change: hook('outdated', []),
    verdict: 'WARN',
    paste: 'mendwall hooks install',
  },
  { id: 'hooks-unheard', what: 'not root', change: { hooks: unread('permission denied') }, verdict: 'SKIP' },

  { id: 'libvirt-dbus', what: 'answers', change: {}, verdict: 'PASS' },
  { id: 'libvirt-dbus', what: 'no libvirt', change: { bus: read({ kind: 'no-libvirt' }) }, verdict: 'PASS' },
  { id: 'libvirt-dbus', what: 'started when called', change: { bus: read({ kind: 'on-demand' }) }, verdict: 'PASS' },
  {
    id: 'libvirt-dbus',
    what: 'missing',
    change: { bus: read({ kind: 'missing' }) },
    verdict: 'WARN',
    paste: /install libvirt-dbus/,
  },
  {
    id: 'libvirt-dbus',
    what: 'mute',
    change: { bus: read({ kind: 'mute', why: 'no answer in 5 s' }) },
    verdict: 'WARN',
    evidence: /no answer in 5 s/,
    paste: 'systemctl restart libvirt-dbus',
  },
  { id: 'libvirt-dbus', what: 'no bus', change: { bus: unread('no D-Bus system bus') }, verdict: 'SKIP' },

  { id: 'configuration', what: 'read', change: {}, verdict: 'PASS' },
  { id: 'configuration', what: 'not root', change: { config: unread('permission denied') }, verdict: 'SKIP' },

  { id: 'snapshot', what: 'there', change: {}, verdict: 'PASS', evidence: /3e2acbb50ffa5a15/ },
  { id: 'snapshot', what: 'none', change: own({ snapshot: undefined }), verdict: 'WARN', paste: 'mendwall init' },
  {
    id: 'snapshot',
    what: 'none whole',
    change: own({ snapshot: undefined, damaged: [{ id: '0011223344556677', reason: 'user.v4 was altered' }] }),
    verdict: 'FAIL',
    evidence: /user\.v4 was altered/,
  },
  {
    id: 'snapshot',
    what: 'the latest damaged',
    change: own({ damaged: [{ id: '0011223344556677', reason: 'user.v4 was altered' }] }),
    verdict: 'WARN',
    paste: 'mendwall snapshot',
  },
  { id: 'snapshot', what: 'not root', change: { own: unread('permission denied') }, verdict: 'SKIP' },

  { id: 'daemon', what: 'runs', change: {}, verdict: 'PASS' },
  { id: 'daemon', what: 'does not run', change: { daemon: 'absent' }, verdict: 'WARN' },
  { id: 'daemon', what: 'hangs', change: { daemon: 'silent' }, verdict: 'FAIL', paste: 'systemctl restart mendwall' },
  { id: 'daemon', what: 'not root', change: { daemon: 'forbidden' }, verdict: 'SKIP' },

  { id: 'mode', what: 'merge', change: {}, verdict: 'PASS' },
  {
    id: 'mode',
    what: 'not known',
    change: { mode: 'observe', daemon: 'forbidden', config: unread('permission denied') },
    verdict: 'SKIP',
  },
  { id: 'mode', what: 'observe', change: { mode: 'observe' }, verdict: 'WARN', paste: /mode = "merge"/ },

  { id: 'paused', what: 'no', change: {}, verdict: 'PASS' },
  {
    id: 'paused',
    what: 'yes',
    change: own({ pausedUntil: '2026-11-20T21:00:00.000Z' }),
    verdict: 'WARN',
    paste: 'mendwall resume',
  },
  { id: 'paused', what: 'not root', change: { own: unread('permission denied') }, verdict: 'SKIP' },

  { id: 'trial', what: 'none', change: {}, verdict: 'PASS' },
  {
    id: 'trial',
    what: 'open',
    change: own({ trial: { what: 'the rules of rules.d', leftMs: 12_300 } }),
    verdict: 'WARN',
    evidence: /rules\.d is on trial and goes in 13 s/,
    paste: 'mendwall confirm',
  },
  { id: 'trial', what: 'not root', change: { own: unread('permission denied') }, verdict: 'SKIP' },
];

describe('doctor', () => {
  it.each(CASES.map((each) => [each.id, each.what, each] as const))('%s: %s', (id, _, { change, ...wanted }) => {
    const found = said(id, change);
    const verdicts = [...new Set(found.map(({ verdict }) => verdict))];
    expect(verdicts, JSON.stringify(found)).toContain(wanted.verdict);
    expect(
      verdicts.filter((each) => each !== wanted.verdict && each !== 'PASS'),
      JSON.stringify(found),
    ).toEqual([]);
    const mine = found.filter(({ verdict }) => verdict === wanted.verdict);
    if (wanted.evidence !== undefined)
      expect(mine.map(({ evidence }) => evidence)).toContainEqual(expect.stringMatching(wanted.evidence));
    if (wanted.paste !== undefined) {
      const form = typeof wanted.paste === 'string' ? wanted.paste : expect.stringMatching(wanted.paste);
      expect(mine.map(({ paste }) => paste)).toContainEqual(form);
    }
  });

  it('says a PASS only where nothing is wrong: each check has a case that is fine and one that is not', () => {
    const bare = CHECKS.filter(({ id }) => {
      const verdicts = CASES.filter((each) => each.id === id).map(({ verdict }) => verdict);
      const isSaid = verdicts.includes('WARN') || verdicts.includes('FAIL');
      // A wrong configuration ends the command before.
      return !verdicts.includes('PASS') || (!isSaid && id !== 'configuration');
    });
    expect(bare.map(({ id }) => id)).toEqual([]);
  });

  it('finds nothing on a healthy host', () => {
    const odd = examine(facts()).filter(({ verdict }) => verdict !== 'PASS');
    expect(odd).toEqual([]);
  });

  it('gives a line to paste with each WARN and FAIL, and none with the others', () => {
    const all = CASES.flatMap(({ id, change }) => said(id, change));
    const wrong = all.filter(
      ({ verdict, paste }) => (verdict === 'WARN' || verdict === 'FAIL') === (paste === undefined || paste === ''),
    );
    expect(wrong).toEqual([]);
  });

  it('passes nothing that was not read', () => {
    const nothing = unread('not root');
    const blind = facts({
      config: nothing,
      daemon: 'forbidden',
      own: nothing,
      engines: nothing,
      rules: nothing,
      drift: nothing,
      libvirtNative: nothing,
      blocked: nothing,
      ways: nothing,
      bridges: nothing,
      ipv6: nothing,
      bootRules: [{ family: 'ip', path: '/etc/iptables/rules.v4', text: nothing }],
      nftFiles: [{ path: '/etc/nftables.conf', text: nothing }],
      files: new Map([['/etc/ufw/ufw.conf', nothing]]),
      enabled: nothing,
      firewalld: nothing,
      hooks: nothing,
      bus: nothing,
    });
    const passed = examine(blind).filter(({ verdict }) => verdict !== 'SKIP');
    expect(passed.map(({ check }) => check)).toEqual([]);
  });
});

describe('a chain of [[owners]] with top', () => {
  it('is a vendor’s, without top it is not', () => {
    const chain = `*filter\n:INPUT ACCEPT [0:0]\n:ACME - [0:0]\n-A INPUT -j ACME\n-A ACME -j DROP\nCOMMIT\n`;
    const findings = [true, false].map((top) => {
      const { owner } = parseOwner({ name: 'acme-agent', chains: ['ACME'], top }, []);
      useConfiguredOwners(owner === undefined ? [] : [owner]);
      return said('vendor-chain', live([chain, V6])).map(({ verdict }) => verdict);
    });
    useConfiguredOwners([]);
    expect(findings).toEqual([['FAIL'], ['PASS']]);
  });
});
