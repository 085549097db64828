// The admin's own firewall, used by every lab test: what an enterprise distribution installs, a port forward to the
// first guest, a chain of the admin's own. It knows nothing of libvirt, as it was written before libvirt came.

import type { Backend } from './libvirt.ts';

export interface RulesFiles {
  /** `iptables-restore` input. */
  readonly ip: string;
  /** `ip6tables-restore` input. */
  readonly ip6: string;
}

/** The guest behind the port forward: index 0 of the default network. */
export const FORWARD_TARGET = '192.168.122.10';

const FILTER_IP = `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:ADMIN - [0:0]
-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT
-A INPUT -j ADMIN
-A INPUT -j REJECT --reject-with icmp-host-prohibited
-A FORWARD -d ${FORWARD_TARGET}/32 -p tcp -m tcp --dport 22 -m comment --comment "ssh to the first guest" -j ACCEPT
-A FORWARD -m comment --comment "nobody else" -j REJECT --reject-with icmp-host-prohibited
-A ADMIN -s 198.51.100.77/32 -j DROP
-A ADMIN -s 203.0.113.0/24 -p tcp -m tcp --dport 9100 -j ACCEPT
COMMIT
`;

const NAT_IP = `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -i eth0 -p tcp -m tcp --dport 8022 -j DNAT --to-destination ${FORWARD_TARGET}:22
COMMIT
`;

const FILTER_IP6 = `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:ADMIN - [0:0]
-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p ipv6-icmp -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT
-A INPUT -j ADMIN
-A INPUT -j REJECT --reject-with icmp6-adm-prohibited
-A FORWARD -m comment --comment "nobody else" -j REJECT --reject-with icmp6-adm-prohibited
-A ADMIN -s 2001:db8:77::/64 -j DROP
COMMIT
`;

/** The rules file as it was from the start. */
export const USER_RULES: RulesFiles = { ip: FILTER_IP + NAT_IP, ip6: FILTER_IP6 };

/** A later edition: one service more, one comment other, one rule gone, all else the same. */
export const CHANGED_USER_RULES: RulesFiles = {
  ip: changed(FILTER_IP) + NAT_IP,
  ip6: changed(FILTER_IP6),
};

/** The editions of the file that deeds load. */
export interface Editions {
  readonly first: RulesFiles;
  readonly changed: RulesFiles;
  readonly empty: RulesFiles;
}

/**
 * Those of a host: with its nftables backend libvirt opens nothing in these chains, so the admin's file lets the guests by
 * itself. `virbr+` is no bridge of libvirt's, so these rules are the user's by every measure.
 */
export function editionsFor(backend: Backend): Editions {
  if (backend === 'iptables') return { first: USER_RULES, changed: CHANGED_USER_RULES, empty: EMPTY_RULES };
  return { first: withGuests(USER_RULES), changed: withGuests(CHANGED_USER_RULES), empty: EMPTY_RULES };
}

function withGuests({ ip, ip6 }: RulesFiles): RulesFiles {
  const opened = (text: string): string =>
    text
      .replace('-A INPUT -j REJECT', '-A INPUT -i virbr+ -p udp -m multiport --dports 53,67 -j ACCEPT\n$&')
      .replace(
        '-A FORWARD -m comment --comment "nobody',
        '-A FORWARD -i virbr+ -j ACCEPT\n-A FORWARD -o virbr+ -m state --state RELATED,ESTABLISHED -j ACCEPT\n$&',
      );
  return { ip: opened(ip), ip6: opened(ip6) };
}

function changed(text: string): string {
  return text
    .replace(
      '-A INPUT -j ADMIN\n',
      '-A INPUT -p tcp -m state --state NEW -m tcp --dport 443 -j ACCEPT\n-A INPUT -j ADMIN\n',
    )
    .replace('"nobody else"', '"nobody else, since the audit"')
    .replace(/-A ADMIN -s (198|2001).* -j DROP\n/, ''); // -A ADMIN -s 198.51.100.77/32 -j DROP
}

/** Tables with chains and policies, and no rule. */
export const EMPTY_RULES: RulesFiles = { ip: withoutRules(USER_RULES.ip), ip6: withoutRules(USER_RULES.ip6) };

function withoutRules(text: string): string {
  return text
    .split('\n')
    .filter((line) => !line.startsWith('-A'))
    .join('\n');
}

/** The `-A` lines of one chain of a rules file or of iptables-save text, in order; all chains when none is named. */
export function rulesOf(text: string, chain?: string): string[] {
  const start = chain === undefined ? '-A ' : `-A ${chain} `;
  return text.split('\n').filter((line) => line.startsWith(start));
}

/**
 * The user's part of iptables-save text of this lab: everything that names neither libvirt's chains nor its bridges.
 * Right only for these rules; it is the tests' own yardstick, independent of the guard's classification.
 */
export function userLines(saved: string): string[] {
  return rulesOf(saved).filter((line) => !/LIBVIRT_|libvirt-|virbr\d|[FH][IO]-vnet/.test(line)); // -A FORWARD -j LIBVIRT_FWX
}
