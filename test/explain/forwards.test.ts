// Port forwards that libvirt's nftables backend refuses, and those it does not.

import { describe, expect, it } from 'vitest';
import { compileIptables } from '../../src/explain/iptables-rule.ts';
import { compileNft } from '../../src/explain/nft-ruleset.ts';
import { type RefusedForward, refusedForwards } from '../../src/explain/forwards.ts';
import { type Program } from '../../src/explain/program.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import { printNftTable } from '../../src/ruleset/nft/print.ts';
import type { NftTable } from '../../src/ruleset/nft/types.ts';
import type { Network } from '../../src/ruleset/network.ts';
import { captured, networkOf, tablesIn } from '../libvirt-nft.ts';

const NAT = await networkOf('nat');

const iptables = (rules: readonly string[], family: 'ip' | 'ip6' = 'ip'): Program =>
  compileIptables(
    parseRuleset(
      `*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:FWD - [0:0]\n${rules.join('\n')}\nCOMMIT\n`,
      family,
    ),
  );

const native = (rule: string, hook = 'prerouting', family = 'ip'): Program =>
  compileNft(
    `table ${family} mine {\n\tchain pre {\n\t\ttype nat hook ${hook} priority dstnat;\n\t\t${rule}\n\t}\n}\n`,
  );

interface Change {
  readonly tables?: readonly NftTable[];
  readonly networks?: readonly Network[];
}

const refused = (program: Program, { tables = captured('nat'), networks = [NAT] }: Change = {}): RefusedForward[] =>
  refusedForwards({ program, tables, networks, uplink: 'eth0' });

/** libvirt's table of the capture with a rule at the head of guest_input. */
const opened = (rule: string): NftTable[] =>
  captured('nat').flatMap((table) =>
    tablesIn(printNftTable(table).replace(/(\tchain guest_input \{.*\n)/, `$1\t\t${rule}\n`)),
  );

const DNAT = '-A PREROUTING -p tcp -m tcp --dport 8022 -j DNAT --to-destination 192.168.122.10:22';

describe('a port forward into a NAT network of the nftables backend', () => {
  it('is named with its rule, libvirt’s reject and handle, and what works instead', () => {
    const [told, ...more] = refused(iptables([DNAT]));
    expect(more).toEqual([]);
    expect(told).toMatchObject({
      address: '192.168.122.10',
      port: 22,
      rule: { engine: 'iptables', family: 'ip', table: 'nat', chain: 'PREROUTING', text: DNAT },
      reject: { chain: 'guest_input', text: 'oif "virbr0" counter reject', handle: 10 },
    });
    expect(told?.ways).toEqual([
      'socat TCP-LISTEN:8022,fork TCP:192.168.122.10:22',
      "virsh net-edit default: <forward mode='open'/> (or 'route'), then virsh net-destroy default && virsh net-start default, with rules of your own for forwarding and NAT",
      'firewall_backend = "iptables" in /etc/libvirt/network.conf, then systemctl restart libvirtd (or virtnetworkd)',
    ]);
  });

  it.each([
    ['in a chain of the user’s', iptables(['-A PREROUTING -i eth0 -j FWD', DNAT.replace('PREROUTING', 'FWD')])],
    ['without a port', iptables(['-A PREROUTING -d 198.51.100.1/32 -j DNAT --to-destination 192.168.122.10'])],
    ['by a native rule', native('tcp dport 8022 dnat to 192.168.122.10:22')],
    ['by a native rule of family inet', native('tcp dport 8022 dnat ip to 192.168.122.10:22', 'prerouting', 'inet')],
  ])('%s is found', (_, program) => {
    expect(refused(program)).toMatchObject([{ address: '192.168.122.10', reject: { handle: 10 } }]);
  });

  it('for UDP, and for IPv6, has a forwarder of that kind', async () => {
    const udp = refused(native('iifname "eth0" udp dport 53 dnat to 192.168.122.10'));
    expect(udp[0]?.ways[0]).toBe('socat UDP-LISTEN:53,fork UDP:192.168.122.10:53');
    const six = await networkOf('nat-ipv6-nat');
    const dnat = '-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination [fd00:123::9]:8080';
    const [told] = refused(iptables([dnat], 'ip6'), { tables: captured('nat-ipv6-nat'), networks: [six] });
    expect(told?.ways[0]).toBe('socat TCP6-LISTEN:80,fork TCP6:[fd00:123::9]:8080');
    expect(told?.reject).toMatchObject({ text: 'oif "virbr1" counter reject', handle: 10 });
  });

  it('with a forward device is refused, too: only answers come in', async () => {
    const network = await networkOf('nat-ports-addr');
    const dnat = DNAT.replace('192.168.122', '192.168.127');
    expect(refused(iptables([dnat]), { tables: captured('nat-ports-addr'), networks: [network] })).toHaveLength(1);
  });
});

describe('nothing is said of a forward', () => {
  it.each([
    ['to another host', iptables([DNAT.replace('192.168.122.10', '10.0.0.1')])],
    ['of the host’s own connections', iptables([DNAT.replace('PREROUTING', 'OUTPUT')])],
    ['in a chain that only those come by', iptables(['-A OUTPUT -j FWD', DNAT.replace('PREROUTING', 'FWD')])],
    ['of a native chain at another hook', native('tcp dport 8022 dnat to 192.168.122.10:22', 'output')],
    ['that is none', iptables(['-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080'])],
  ])('%s', (_, program) => {
    expect(refused(program)).toEqual([]);
  });

  it('on the iptables backend, whose table this is not', () => {
    expect(refused(iptables([DNAT]), { tables: [] })).toEqual([]);
  });

  it('into a routed network, or IPv6 that a NAT network routes: libvirt lets it in', async () => {
    const routed = await networkOf('routed');
    const dnat = DNAT.replace('192.168.122', '192.168.124');
    expect(refused(iptables([dnat]), { tables: captured('routed'), networks: [routed] })).toEqual([]);
    const mixed = await networkOf('nat-ipv6-routed');
    const six = '-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination [fd00:123::9]:80';
    expect(refused(iptables([six], 'ip6'), { tables: captured('nat-ipv6-routed'), networks: [mixed] })).toEqual([]);
  });

  it('that the user opened inside libvirt’s table, or that something unknown decides', () => {
    expect(refused(iptables([DNAT]), { tables: opened('oif "virbr0" tcp dport 22 accept') })).toEqual([]);
    expect(refused(iptables([DNAT]), { tables: opened('oif "virbr0" tcp dport 443 accept') })).toHaveLength(1);
    expect(refused(iptables([DNAT]), { tables: opened('limit rate 10/second accept') })).toEqual([]);
  });

  it('while libvirt’s reject is not there, or the network does not run', () => {
    const bare = captured('nat').flatMap((table) =>
      tablesIn(printNftTable(table).replace(/.*oif "virbr0" counter.*reject.*\n/, '')),
    );
    expect(refused(iptables([DNAT]), { tables: bare })).toEqual([]);
    expect(refused(iptables([DNAT]), { networks: [{ ...NAT, active: false }] })).toEqual([]);
  });
});
