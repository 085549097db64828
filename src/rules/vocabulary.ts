// Words of iptables rules, for finding the nearest right one, and what iptables' complaints are about. Pure.
// The lists only help messages: what a rule may say, iptables itself decides.

import { didYouMean, nearestWord } from '../nearest.ts';

const list = (text: string): readonly string[] => text.trim().split(/\s+/);

export const TARGETS =
  list(`ACCEPT DROP RETURN QUEUE REJECT LOG NFLOG ULOG MASQUERADE SNAT DNAT REDIRECT NETMAP MARK CONNMARK
  CONNSECMARK SECMARK CT CHECKSUM CLASSIFY CLUSTERIP DSCP ECN HL HMARK IDLETIMER LED NFQUEUE NOTRACK RATEEST SET SYNPROXY
  TCPMSS TCPOPTSTRIP TEE TOS TPROXY TRACE TTL AUDIT SNPT DNPT`);

export const MATCHES =
  list(`addrtype ah bpf cgroup cluster comment connbytes connlabel connlimit connmark conntrack cpu dccp
  devgroup dscp dst ecn esp eui64 frag hashlimit hbh helper hl icmp icmp6 icmpv6 iprange ipv6header ipvs length limit mac mark mh
  multiport nfacct osf owner physdev pkttype policy quota rateest realm recent rpfilter rt sctp set socket srh state statistic
  string tcp tcpmss time tos ttl u32 udp`);

const OPTIONS = list(`--source --destination --protocol --in-interface --out-interface --match --jump --goto --fragment
  --dport --sport --dports --sports --ports --destination-port --source-port --tcp-flags --syn --icmp-type --icmpv6-type --state
  --ctstate --ctorigdst --ctorigdstport --ctproto --ctdir --ctstatus --comment --limit --limit-burst --log-prefix --log-level
  --log-uid --log-ip-options --log-tcp-options --nflog-prefix --nflog-group --reject-with --to-destination --to-source --to-ports
  --random --random-fully --persistent --set-mark --set-xmark --save-mark --restore-mark --mark --mac-source --src-range
  --dst-range --match-set --add-set --del-set --uid-owner --gid-owner --physdev-in --physdev-out --physdev-is-bridged --src-type
  --dst-type --pkt-type --name --rcheck --update --set --remove --seconds --hitcount --rsource --rdest --hashlimit-above
  --hashlimit-upto --hashlimit-name --hashlimit-mode --connlimit-above --connlimit-upto --clamp-mss-to-pmtu --set-mss --tos --ttl-set
  --length --string --algo --datestart --timestart --timestop --weekdays --probability --mode --every --notrack --zone --helper
  --checksum-fill --rpfilter --loose --invert --validmark --pol --dir --queue-num --queue-bypass`);

const PROTOCOLS = list('tcp udp udplite icmp icmpv6 ipv6-icmp esp ah sctp dccp gre ipv6 ipip ospf vrrp igmp all mh');
const TABLES = list('filter nat mangle raw security');
const POLICIES = list('ACCEPT DROP');

/** Which word of a refused line is meant, and what it should have been. */
export interface Complaint {
  readonly word: string | undefined;
  readonly hint: string;
}

const ABOUT: readonly (readonly [RegExp, readonly string[]])[] = [
  [/unknown option "?(--?[\w-]+)"?/, OPTIONS], // unknown option "--dprot"
  [/unknown protocol [`"]?([^"`' ]+)["']? specified/, PROTOCOLS], // unknown protocol "tpc" specified
  [/Bad policy name/, POLICIES],
  [/(?:table|Table) [`'"]?(\w+)[`'"]?/, TABLES], // iptables v1.8.9: can't initialize table `fliter'
];

export function complaintOf(message: string, text: string): Complaint {
  for (const [pattern, known] of ABOUT) {
    const found = pattern.exec(message);
    if (found === null) continue;
    const word = found[1] ?? / (\S+) \[/.exec(text)?.[1] ?? ''; // :INPUT DORP [0:0]
    return { word, hint: didYouMean(word, known) };
  }
  const quoted = [...message.matchAll(/["'`]([^"'`]+)["'`]/g)].map(([, word = '']) => word);
  const word = quoted.find((each) => text.includes(each));
  return { word, hint: word?.startsWith('-') === true ? didYouMean(word, OPTIONS) : '' };
}

/** ` (did you mean "ACCEPT"?)`. Case is forgiven before letters are. */
export function targetHint(word: string, chains: readonly string[]): string {
  const upper = [...TARGETS, ...chains].find((each) => each.toLowerCase() === word.toLowerCase());
  return upper === undefined ? didYouMean(word, [...TARGETS, ...chains]) : ` (did you mean "${upper}"?)`;
}

export const matchHint = (word: string): string => didYouMean(word, MATCHES);
export const tableHint = (word: string): string =>
  nearestWord(word, TABLES) === undefined ? '' : didYouMean(word, TABLES);
