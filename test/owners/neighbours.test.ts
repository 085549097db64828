// Whose a rule is by the signatures of the neighbours that are described by data, line by line; and that the data is whole.

import { existsSync, readdirSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { classify, neighbourPartOf, userPartOf } from '../../src/classify/classify.ts';
import { parseOwner } from '../../src/config/owners.ts';
import {
  isLibvirts,
  isNeighbourChain,
  keepsSlot,
  NEIGHBOURS,
  ownerById,
  ownerOfChain,
  OWNERS,
  useConfiguredOwners,
} from '../../src/owners/index.ts';
import { parseDocument } from '../../src/ruleset/iptables/parse.ts';
import type { Ruleset } from '../../src/ruleset/types.ts';

/** Owners of the rules in live order; chains that are not built in are declared by themselves. */
function ownersOf(table: string, ...rules: string[]): string[] {
  const named = rules.flatMap((rule) => [
    rule.split(' ')[1] ?? '',
    / -[jg] ([a-z][\w-]*|[A-Z]+[-_][\w-]+|DOCKER|MINIUPNPD)(?: |$)/.exec(rule)?.[1] ?? '',
  ]);
  const chains = [...new Set(named)].filter((name) => name !== '');
  const builtin = /^(?:INPUT|OUTPUT|FORWARD|PREROUTING|POSTROUTING)$/;
  const lines = chains.map((name) => `:${name} ${builtin.test(name) ? 'ACCEPT' : '-'} [0:0]`);
  const { ruleset, problems } = parseDocument([`*${table}`, ...lines, ...rules, 'COMMIT', ''].join('\n'), 'ip');
  expect(problems).toEqual([]);
  const chainsOf = classify(ruleset, undefined).tables.get(table)?.chains;
  const next = new Map<string, number>();
  return rules.map((rule) => {
    const chain = rule.split(' ')[1] ?? '';
    const at = next.get(chain) ?? 0;
    next.set(chain, at + 1);
    return chainsOf?.get(chain)?.claims[at]?.owner ?? '?';
  });
}

/** `owner: rule`; all rules of one example stand in one table. */
const EXAMPLES: readonly (readonly [what: string, table: string, rules: readonly string[]])[] = [
  [
    'DOCKER-USER: its jump and RETURN are Docker’s, all else the user’s, also a decorated jump',
    'filter',
    [
      'docker: -A FORWARD -j DOCKER-USER',
      'user: -A FORWARD -i eth0 -j DOCKER-USER',
      'user: -A DOCKER-USER -s 203.0.113.66/32 -j DROP',
      'docker: -A DOCKER-USER -j RETURN',
      'fail2ban: -A DOCKER-USER -p tcp -j f2b-web',
      'user: -A DOCKER-USER -i eth0 -j RETURN',
    ],
  ],
  [
    'Docker’s bridges, not what the user says of them',
    'filter',
    [
      'docker: -A FORWARD -o docker0 -j DOCKER',
      'docker: -A FORWARD -i br-476be36c8451 ! -o br-476be36c8451 -j ACCEPT',
      'docker: -A FORWARD -i docker0 -o docker0 -j DROP',
      'user: -A FORWARD -i docker0 -o eth0 -j ACCEPT',
      'user: -A FORWARD -i br-lan -o br-lan -j ACCEPT',
      'user: -A FORWARD -i docker0 -o docker_gwbridge -j ACCEPT',
    ],
  ],
  [
    'a published port seen from its container, beside Docker’s chain',
    'nat',
    [
      'docker: -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER',
      'docker: -A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE',
      'user: -A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.3/32 -p tcp -m tcp --dport 80 -j MASQUERADE',
      'user: -A POSTROUTING -s 10.0.0.0/8 -o eth0 -j MASQUERADE',
    ],
  ],
  [
    'the same rule without Docker’s chain',
    'nat',
    ['user: -A POSTROUTING -s 10.0.0.2/32 -d 10.0.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE'],
  ],
  [
    'netavark and CNI',
    'filter',
    [
      'podman: -A FORWARD -m comment --comment "netavark firewall plugin rules" -j NETAVARK_FORWARD',
      'podman: -A NETAVARK_FORWARD -d 10.88.0.0/16 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      'cni: -A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD',
      'cni: -A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN',
      'cni: -A CNI-FORWARD -d 10.88.0.5/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      'user: -A CNI-ADMIN -s 10.88.0.5/32 -j DROP',
    ],
  ],
  [
    'an IN_web of the admin’s is his, where firewalld is not',
    'filter',
    ['user: -A INPUT -j IN_web', 'user: -A IN_web -p tcp -j ACCEPT', 'user: -A INPUT -i lo -j ACCEPT'],
  ],
  [
    'firewalld’s plain rules stand beside its jump; a further copy is the user’s',
    'filter',
    [
      'user: -A INPUT -i lo -j ACCEPT',
      'user: -A INPUT -s 192.0.2.1/32 -j ACCEPT',
      'firewalld: -A INPUT -i lo -j ACCEPT',
      'firewalld: -A INPUT -j INPUT_direct',
      'firewalld: -A INPUT -j REJECT --reject-with icmp-host-prohibited',
      'user: -A INPUT -j REJECT --reject-with icmp-host-prohibited',
    ],
  ],
  [
    'ufw: what carries another comment than ufw’s is the user’s',
    'filter',
    [
      'ufw: -A INPUT -j ufw-before-input',
      'ufw: -A ufw-before-input -i lo -j ACCEPT',
      'ufw: -A ufw-user-input -p tcp -m tcp --dport 22 -m comment --comment dapp_OpenSSH -j ACCEPT',
      'user: -A ufw-user-input -p tcp -m tcp --dport 22 -m comment --comment "by hand" -j ACCEPT',
    ],
  ],
  [
    'fail2ban’s chains and sets',
    'filter',
    [
      'fail2ban: -A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd',
      'fail2ban: -A f2b-sshd -s 192.0.2.9/32 -j REJECT --reject-with icmp-port-unreachable',
      'fail2ban: -A INPUT -p tcp -m multiport --dports 25 -m set --match-set f2b-smtp src -j REJECT --reject-with icmp-port-unreachable',
      'user: -A INPUT -m set --match-set mine src -j DROP',
    ],
  ],
  [
    'Xen’s n+1 identical rules, and a guest with a name of its own',
    'filter',
    [
      'xen: -A FORWARD -m physdev --physdev-out vif1.0 --physdev-is-bridged -j ACCEPT',
      'xen: -A FORWARD -m physdev --physdev-out vif1.0 --physdev-is-bridged -j ACCEPT',
      'xen: -A FORWARD -s 10.0.0.5/32 -m physdev --physdev-in vif1.0-emu --physdev-is-bridged -j ACCEPT',
      'xen: -A FORWARD -m physdev --physdev-in web0 --physdev-is-bridged -j ACCEPT',
      'xen: -A FORWARD -m physdev --physdev-out web0 --physdev-is-bridged -j ACCEPT',
      'user: -A FORWARD -m physdev --physdev-in alone --physdev-is-bridged -j ACCEPT',
      'user: -A FORWARD -m physdev --physdev-in eth1 --physdev-is-bridged -j ACCEPT',
      'user: -A FORWARD -m physdev --physdev-out eth1 --physdev-is-bridged -j ACCEPT',
      'user: -A FORWARD -m physdev --physdev-in vif1.0 --physdev-is-bridged -j DROP',
    ],
  ],
  [
    'neutron and nova, with the chains in which they keep others’ rules',
    'filter',
    [
      'openstack-neutron: -A FORWARD -j neutron-filter-top',
      'openstack-neutron: -A neutron-filter-top -j neutron-linuxbri-local',
      'user: -A neutron-filter-top -s 10.0.0.0/8 -j DROP',
      'openstack-nova: -A FORWARD -j nova-filter-top',
      'openstack-nova: -A nova-filter-top -j nova-compute-local',
      'user: -A nova-filter-top -s 10.0.0.0/8 -j DROP',
      'openstack-nova: -A INPUT -j nova-compute-INPUT',
    ],
  ],
  [
    'RackConnect',
    'filter',
    [
      'rackconnect: -A INPUT -j RS-RackConnect-INBOUND',
      'rackconnect: -A RS-RackConnect-INBOUND -i lo -m comment --comment Local-Loopback -j ACCEPT',
    ],
  ],
  [
    'clusters and clouds',
    'filter',
    [
      'kubernetes: -A INPUT -m comment --comment "kubernetes firewall" -j KUBE-FIREWALL',
      'calico: -A FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD',
      'calico: -A FORWARD -m comment --comment "cali:S93hcgKJrXEqnTfs" -m mark --mark 0x10000/0x10000 -j ACCEPT',
      'proxmox: -A FORWARD -j PVEFW-FORWARD',
      'proxmox: -A tap100i0-IN -j ACCEPT',
      'cloudstack: -A BF-cloudbr0 -m physdev --physdev-in vnet3 -j i-2-17-def',
      'opennebula: -A opennebula -m physdev --physdev-out one-17-0 -j one-17-0-i',
      'user: -A FORWARD -j one-way',
    ],
  ],
  [
    'tunnels',
    'filter',
    [
      'tailscale: -A INPUT -j ts-input',
      'strongswan: -A FORWARD -s 10.2.0.0/16 -d 10.1.0.0/16 -i eth0 -m policy --dir in --pol ipsec --reqid 1 --proto esp -j ACCEPT',
      'user: -A FORWARD -m policy --dir in --pol ipsec -j ACCEPT',
      'wg-quick: -A INPUT -m comment --comment "wg-quick(8) rule for wg0" -j DROP',
      'user: -A FORWARD -i wg0 -j ACCEPT',
    ],
  ],
  [
    'lxc-net’s lines are its own only together',
    'filter',
    [
      'lxc-net: -A FORWARD -i lxcbr0 -j ACCEPT',
      'lxc-net: -A FORWARD -o lxcbr0 -j ACCEPT',
      'user: -A FORWARD -o lxcbr0 -j ACCEPT',
      'user: -A INPUT -i lxcbr0 -p udp -m udp --dport 53 -j ACCEPT',
    ],
  ],
  [
    'who bans: sshguard’s hook is the admin’s',
    'filter',
    [
      'user: -A INPUT -j sshguard',
      'sshguard: -A sshguard -s 192.0.2.9/32 -j DROP',
      'crowdsec: -A INPUT -m set --match-set crowdsec-blacklists src -j DROP',
      'lxd: -A INPUT -i lxdbr0 -m comment --comment "generated for LXD network lxdbr0" -j ACCEPT',
      'incus: -A INPUT -i incusbr0 -m comment --comment "generated for Incus network incusbr0" -j ACCEPT',
      'miniupnpd: -A FORWARD -i eth0 -j MINIUPNPD',
    ],
  ],
  [
    'a table of Shorewall’s is its own, but for what others have in it',
    'filter',
    [
      'shorewall: -A INPUT -i eth0 -j net-fw',
      'shorewall: -A sha-lh-3f1b6a0c9d8e7f605142 -j RETURN',
      'libvirt: -A FORWARD -j LIBVIRT_FWX',
      'fail2ban: -A INPUT -j f2b-sshd',
    ],
  ],
];

describe('whose a rule is', () => {
  it.each(EXAMPLES)('%s', (_, table, rules) => {
    const texts = rules.map((rule) => rule.slice(rule.indexOf(': ') + 2));
    const owners = ownersOf(table, ...texts);
    expect(owners.map((owner, index) => `${owner}: ${texts[index]}`)).toEqual(rules);
  });

  it.each([
    [
      'lxc-net',
      '-A INPUT -i lxcbr0 -p udp -m udp --dport 53 -j ACCEPT',
      [
        '-A INPUT -i lxcbr0 -p udp -m udp --dport 67 -j ACCEPT',
        '-A INPUT -i lxcbr0 -p tcp -m tcp --dport 53 -j ACCEPT',
      ],
      ['-A INPUT -i lxcbr0 -p tcp -m tcp --dport 67 -j ACCEPT'],
    ],
    [
      'xen',
      '-A FORWARD -m physdev --physdev-in web.0 --physdev-is-bridged -j ACCEPT',
      ['-A FORWARD -m physdev --physdev-out web.0 --physdev-is-bridged -j ACCEPT'],
      [],
    ],
  ])(
    'of unmarked lines stays its own while %s takes them away one by one; a further copy is the user’s',
    (id, first, last, middle) => {
      const read = (rules: readonly string[]): Ruleset =>
        parseDocument(
          ['*filter', ':INPUT ACCEPT [0:0]', ':FORWARD ACCEPT [0:0]', ...rules, 'COMMIT', ''].join('\n'),
          'ip',
        ).ruleset;
      const known = neighbourPartOf(classify(read([first, ...last, ...middle]), []));
      const rules = [...last, last[0] ?? ''];
      const live = classify(read(rules), [], known).tables.get('filter');
      const owners = [...(live?.chains.values() ?? [])].flatMap(({ claims }) => claims.map(({ owner }) => owner));
      expect(owners).toEqual([...last.map(() => id), 'user']);
      const without = classify(read(last), []).tables.get('filter');
      expect([...(without?.chains.values() ?? [])].flatMap(({ claims }) => claims.map(({ owner }) => owner))).toEqual(
        last.map(() => 'user'),
      );
    },
  );

  it('is asked of the name alone for events; chains left to the user are nobody’s', () => {
    const names = ['f2b-sshd', 'DOCKER', 'LIBVIRT_FWI', 'FI-vnet0', 'neutron-linuxbri-INPUT', 'INPUT_ZONES'];
    expect(names.map(ownerOfChain)).toEqual([
      'fail2ban',
      'docker',
      'libvirt',
      'libvirt-nwfilter',
      'openstack-neutron',
      'firewalld',
    ]);
    for (const name of ['DOCKER-USER', 'CNI-ADMIN', 'neutron-filter-top', 'IN_web', 'INPUT', 'web', 'f2b-'])
      expect(isNeighbourChain(name), name).toBe(false);
    expect(['libvirt', 'libvirt-nwfilter', 'docker', undefined].map(isLibvirts)).toEqual([true, true, false, false]);
  });
});

describe('slots', () => {
  it('are kept for those who stay where they are, and in DOCKER-USER', () => {
    expect(['libvirt', 'ufw', 'xen'].map((id) => keepsSlot(id, 'FORWARD'))).toEqual([true, true, true]);
    expect(['docker', 'openstack-neutron', 'libvirt-nwfilter'].map((id) => keepsSlot(id, 'FORWARD'))).toEqual([
      false,
      false,
      false,
    ]);
    expect(keepsSlot('docker', 'DOCKER-USER')).toBe(true);
  });
});

describe('the data', () => {
  it('has one file an owner, named by its id', () => {
    const files = readdirSync(new URL('../../src/owners/', import.meta.url));
    expect(OWNERS.map(({ id }) => `${id}.ts`).filter((file) => !files.includes(file))).toEqual([]);
    expect(new Set(OWNERS.map(({ id }) => id)).size).toBe(OWNERS.length);
  });

  it.each(NEIGHBOURS)('of $id names a capture or says unverified, and can be told by something', (owner) => {
    if (owner.verified !== 'unverified')
      expect(existsSync(new URL(`../captures/${owner.verified}`, import.meta.url)), owner.verified).toBe(true);
    const signs = [owner.chains, owner.rules, owner.sets, owner.tables, owner.wholeTable].filter(
      (each) => each !== undefined,
    );
    expect(signs.length).toBeGreaterThan(0);
    expect(owner.byText).toBe(false);
    for (const rule of owner.rules ?? []) expect(rule.form.flags).toBe('');
  });
});

describe('an owner that the configuration describes', () => {
  afterEach(() => useConfiguredOwners([]));

  it('has no built-in chain, though its name’s beginning fits one', () => {
    const { owner } = parseOwner({ name: 'acme-agent', chains: ['IN*'] }, []);
    useConfiguredOwners(owner === undefined ? [] : [owner]);
    expect([ownerOfChain('INPUT'), ownerOfChain('INPUT2'), ownerOfChain('IN_ACME')]).toEqual([
      undefined,
      'acme-agent',
      'acme-agent',
    ]);
  });

  it('is known by its chains and comment like any other, and is gone with the configuration', () => {
    const { owner, problems } = parseOwner(
      {
        name: 'acme-agent',
        chains: ['ACME', 'ACME-*'],
        comment: 'acme:*',
        top: true,
        repair: 'systemctl restart acme',
      },
      [],
    );
    expect(problems).toEqual([]);
    useConfiguredOwners(owner === undefined ? [] : [owner]);
    const rules = [
      '-A INPUT -j ACME-IN',
      '-A ACME-IN -s 10.0.0.1/32 -j DROP',
      '-A INPUT -p tcp -m comment --comment acme:7 -j ACCEPT',
      '-A INPUT -p tcp -m comment --comment "acme:guest 7" -j ACCEPT',
      '-A INPUT -p tcp -m comment --comment "not acme" -j ACCEPT',
    ];
    expect(ownersOf('filter', ...rules)).toEqual(['acme-agent', 'acme-agent', 'acme-agent', 'acme-agent', 'user']);
    expect(ownerById('acme-agent')?.slot).toBe('none');
    expect(ownerOfChain('ACME-IN')).toBe('acme-agent');
    useConfiguredOwners([]);
    expect(ownersOf('filter', ...rules)).toEqual(['user', 'user', 'user', 'user', 'user']);
  });
});

describe('a snapshot', () => {
  it('of DOCKER-USER remembers that the user’s rules stand above Docker’s RETURN', () => {
    const text = [
      '*filter',
      ':DOCKER-USER - [0:0]',
      '-A DOCKER-USER -s 192.0.2.1/32 -j DROP',
      '-A DOCKER-USER -j RETURN',
      'COMMIT',
      '',
    ];
    const part = userPartOf(classify(parseDocument(text.join('\n'), 'ip').ruleset, undefined));
    expect(part.tables.get('filter')?.chains.get('DOCKER-USER')).toEqual({
      name: 'DOCKER-USER',
      policy: 'foreign',
      items: [
        { kind: 'rule', text: '-A DOCKER-USER -s 192.0.2.1/32 -j DROP' },
        { kind: 'slot', owner: 'docker', texts: ['-A DOCKER-USER -j RETURN'] },
      ],
    });
  });
});
