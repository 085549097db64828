import { describe, expect, it } from 'vitest';
import { classify } from '../../src/classify/classify.ts';
import { shadowedIn } from '../../src/merge/shadowed.ts';
import { parseDocument } from '../../src/ruleset/iptables/parse.ts';
import { capture } from '../captures/captures.ts';
import { NETWORKS } from '../properties/arbitraries.ts';

const NAT = capture('libvirt/libvirt-9.0-iptables-nft/nat.iptables-save.txt').text;

/** Evidence for each hidden rule, when `rules` stand below libvirt's jumps (or at the end of LIBVIRT_FWI). */
function hidden(...rules: string[]): string[] {
  const text = rules.reduce((all, rule) => {
    const above = rule.startsWith('-A FORWARD')
      ? '-A FORWARD -j LIBVIRT_FWO\n'
      : '-A LIBVIRT_FWI -o virbr0 -j REJECT --reject-with icmp-port-unreachable\n';
    return all.replace(above, `${above}${rule}\n`);
  }, NAT);
  const { ruleset, problems } = parseDocument(text, 'ip');
  expect(problems).toEqual([]);
  const table = classify(ruleset, NETWORKS).tables.get('filter');
  return table === undefined
    ? []
    : shadowedIn('ip', table, NETWORKS).map((drift) => `${drift.text} | ${drift.owner} | ${drift.evidence}`);
}

const REJECTED =
  'libvirt | hidden by LIBVIRT_FWI 2: -A LIBVIRT_FWI -o virbr0 -j REJECT --reject-with icmp-port-unreachable';

describe('a user rule that a neighbour hides', () => {
  it.each([
    '-A FORWARD -d 192.168.122.10/32 -p tcp -m tcp --dport 80 -j ACCEPT',
    '-A FORWARD -o virbr0 -p tcp -m tcp --dport 22 -j ACCEPT',
    '-A FORWARD -d 192.168.122.0/24 -j DROP',
    '-A FORWARD -d 192.168.122.10/32 -m comment --comment "web -s 1.2.3.4" -j ACCEPT',
    '-A FORWARD -d 192.168.122.10/32 -m string --string " -o eth0 x" --algo bm -j ACCEPT',
  ])('is told, with what hides it: %s', (rule) => {
    expect(hidden(rule)).toEqual([`${rule} | ${REJECTED}`]);
  });

  it.each([
    ['-A f2b-sshd -j RETURN', 1],
    ['-A f2b-sshd -m socket -j RETURN', 0],
    ['-A f2b-sshd -s 203.0.113.7/32 -j RETURN', 0],
  ])('is told below the end of a neighbour’s chain: %s', (end, count) => {
    const mine = '-A f2b-sshd -s 10.9.9.9/32 -m comment --comment mine -j ACCEPT';
    const text = `*filter\n:INPUT ACCEPT [0:0]\n:f2b-sshd - [0:0]\n-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd\n${end}\n${mine}\nCOMMIT\n`;
    const table = classify(parseDocument(text, 'ip').ruleset, []).tables.get('filter');
    const told = table === undefined ? [] : shadowedIn('ip', table, []);
    expect(told.map(({ text: rule, evidence }) => `${rule} | ${evidence}`)).toEqual(
      Array(count).fill(`${mine} | hidden by f2b-sshd 1: ${end}`),
    );
  });

  it('is told inside libvirt’s own chain, too', () => {
    const rule = '-A LIBVIRT_FWI -d 192.168.122.10/32 -j ACCEPT';
    expect(hidden(rule)).toEqual([
      `${rule} | libvirt | hidden by LIBVIRT_FWI 2: -A LIBVIRT_FWI -o virbr0 -j REJECT --reject-with icmp-port-unreachable`,
    ]);
  });

  it.each([
    '-A FORWARD -p tcp -m tcp --dport 80 -j ACCEPT',
    '-A FORWARD -d 10.1.1.1/32 -j ACCEPT',
    '-A FORWARD -d 192.168.0.0/16 -j ACCEPT',
    '-A FORWARD ! -d 192.168.122.10/32 -j ACCEPT',
    '-A FORWARD ! -o virbr0 -j ACCEPT',
    '-A FORWARD -o virbr1 -j ACCEPT',
    '-A FORWARD -d 192.168.122.10/32 -o eth0 -j ACCEPT',
    '-A FORWARD -m comment --comment "-o virbr0 x" -j ACCEPT',
    '-A FORWARD -j DROP',
  ])('is not claimed where it cannot be told: %s', (rule) => {
    expect(hidden(rule)).toEqual([]);
  });

  it('is none that stands above the jumps', () => {
    const text = NAT.replace(
      '-A FORWARD -j LIBVIRT_FWX\n',
      '-A FORWARD -d 192.168.122.10/32 -j ACCEPT\n-A FORWARD -j LIBVIRT_FWX\n',
    );
    const table = classify(parseDocument(text, 'ip').ruleset, NETWORKS).tables.get('filter');
    expect(table === undefined ? [] : shadowedIn('ip', table, NETWORKS)).toEqual([]);
  });
});
