// What packets meet: guests that are cut off, and by whom; frames between ports of a bridge; IPv6 beside IPv4. Pure.

import type { Classified } from '../classify/classify.ts';
import type { Ending, Explanation } from '../explain/explanation.ts';
import { ownerAt } from '../explain/owner.ts';
import { explain } from '../explain/path.ts';
import type { Network } from '../ruleset/network.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import { unreachable } from './chains.ts';
import { groupedBy } from './libvirt-checks.ts';
import {
  type BlockedFact,
  type Bridges,
  type Check,
  fail,
  type Finding,
  IPTABLES,
  judged,
  pass,
  skip,
  warn,
  type Ways,
} from './types.ts';

// ---- libvirt's guests

/** Docker sets FORWARD to policy DROP for everybody. */
export const dockerForward: Check = {
  id: 'docker-forward',
  judge: ({ rules, blocked }) =>
    judged(rules, 'Docker drops no guest’s traffic', ({ families, networks }) =>
      judged(blocked, 'Docker drops no guest’s traffic', (all) => {
        const his = all.filter((each) => isDockers(each, families));
        return [...groupedBy(his, (each) => `${each.family} ${bridgeOf(each, networks)}`)].map(([, [first]]) =>
          dockerFinding(first as BlockedFact, bridgeOf(first as BlockedFact, networks), families),
        );
      }),
    ),
};

function isDockers({ family, table, chain, text }: BlockedFact, families: readonly Classified[]): boolean {
  if (table !== 'filter' || chain !== 'FORWARD' || text !== '-P FORWARD DROP') return false;
  return claimsIn(families, family).some((owner) => owner === 'docker');
}

function claimsIn(families: readonly Classified[], family: string): readonly string[] {
  const filter = families.find(({ ruleset }) => ruleset.family === family)?.tables.get('filter');
  return [...(filter?.chains.values() ?? [])].map(({ claim }) => claim.owner);
}

/** `network default: drops ...` */
function bridgeOf({ evidence }: BlockedFact, networks: readonly Network[]): string {
  const name = /^network (.+?): /.exec(evidence)?.[1];
  return networks.find((network) => network.name === name)?.bridge ?? name ?? '';
}

/** DOCKER-USER is the one chain that Docker leaves alone; made before dockerd starts, it would be left unhooked. */
function dockerFinding({ family, opening }: BlockedFact, bridge: string, families: readonly Classified[]): Finding {
  const filter = families.find(({ ruleset }) => ruleset.family === family)?.tables.get('filter');
  const users = filter?.chains.get('DOCKER-USER');
  const isHooked = users !== undefined && !unreachable(filter as NonNullable<typeof filter>).has('DOCKER-USER');
  const command = IPTABLES[family as Family];
  const paste = `${command} -I DOCKER-USER -i ${bridge} -j ACCEPT; ${command} -I DOCKER-USER -o ${bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`;
  return fail(`forward drop for ${bridge} by ${family} filter FORWARD policy (docker)`, isHooked ? paste : opening);
}

export const guestsBlocked: Check = {
  id: 'guests-blocked',
  judge: ({ rules, blocked }) =>
    judged(rules, 'nothing stops what libvirt lets through for its guests', ({ families }) =>
      judged(blocked, 'nothing stops what libvirt lets through for its guests', (all) => {
        const others = all.filter((each) => !isDockers(each, families));
        return [...groupedBy(others, placeOf)].map(([, group]) => blockedFinding(group));
      }),
    ),
};

const placeOf = ({ family, table, chain, text, evidence }: BlockedFact): string =>
  [family, table, chain, text, /^network .+?: /.exec(evidence)?.[0]].join('\n');

function blockedFinding(group: readonly BlockedFact[]): Finding {
  const [{ family, table, chain, text, owner, evidence } = EMPTY] = group;
  const what = evidence.replace(/; (?:opened by|what works|an accept elsewhere).*$/s, '');
  const more = group.slice(1).map((each) => each.evidence.replace(/^network .+?: |; opened by.*$/gs, ''));
  const place = table.includes(' ') ? table : `${family} ${table}`;
  const by = owner === 'unknown' ? '' : ` (${owner})`;
  const openings = [...new Set(group.map(({ opening }) => opening))];
  return warn(`${place} ${chain} ${text}${by}: ${[what, ...more].join('; ')}`, openings.join('; '));
}

const EMPTY: BlockedFact = {
  kind: 'blocked',
  family: 'ip',
  table: '',
  chain: '',
  text: '',
  owner: '',
  evidence: '',
  opening: '',
};

// ---- guests on a bridge of the admin's own

/** br_netfilter sends frames between two ports of a bridge through FORWARD. */
export const bridgeNetfilter: Check = {
  id: 'bridge-netfilter',
  judge: (facts) =>
    judged(facts.bridges, '', ({ filtered, bridges }) => {
      const on = FAMILIES.filter((family) => filtered[family]);
      if (on.length === 0) return [pass('off: frames between guests on one bridge see no iptables rule')];
      if (bridges.length === 0) return [pass('on, and no bridge with guests but libvirt’s networks')];
      return judged(facts.ways, 'on, and FORWARD lets frames between guests through', (ways) =>
        on.flatMap((family) => bridges.flatMap((bridge) => bridgeFindings(ways, family, bridge))),
      );
    }),
};

function bridgeFindings(ways: Ways, family: Family, { name }: Bridges['bridges'][number]): Finding[] {
  const frame = { family, iif: name, oif: name, bridged: true, protocol: 'tcp', sport: 40000, dport: 443 } as const;
  const packet = { ...frame, tcpFlags: ['syn'] as const, ctState: 'new', mark: 0 } as const;
  const said = explain(ways.program, { packet, journey: 'forward' });
  if (said.verdict === 'accept') return [];
  const sysctl = `net.bridge.bridge-nf-call-${IPTABLES[family]}`;
  const cure = `sysctl -w ${sysctl}=0   # or: ${IPTABLES[family]} -I FORWARD -m physdev --physdev-is-bridged -j ACCEPT`;
  const by = stopText(said, ways.classified);
  if (said.verdict === 'depends')
    return [
      warn(`br_netfilter is on (${sysctl} = 1), and frames between guests on ${name} may be stopped: ${by}`, cure),
    ];
  return [fail(`br_netfilter is on (${sysctl} = 1), and ${by} stops frames between guests on ${name}`, cure)];
}

/** `ip filter FORWARD policy drop`, `ip filter INPUT -A INPUT -j DROP (user)`; of what depends, on what. */
function stopText({ deciding, depends, verdict }: Explanation, classified: readonly Classified[]): string {
  if (verdict === 'depends' || deciding === undefined) return depends[0]?.why ?? 'something that is not known';
  return endText(deciding, classified);
}

function endText({ place, kind }: Ending, classified: readonly Classified[]): string {
  const owner = ownerAt(classified, place);
  return `${place.family} ${place.table} ${place.chain} ${place.text ?? `policy ${kind}`}${owner === undefined ? '' : ` (${owner})`}`;
}

// ---- IPv6 beside IPv4

const OUTSIDE: Readonly<Record<Family, string>> = { ip: '198.41.0.4', ip6: '2001:503:ba3e::2:30' };
/** Where the host has no address of the family that others can reach; no rule is about these. */
const SOMEWHERE: Readonly<Record<Family, string>> = { ip: '192.0.2.1', ip6: '2001:db8::1' };
/** tcpmux: nobody offers it, so a rule for it is a rule for everything. */
const PORT = 1;

/** The host is closed in one family and open in the other. */
export const ipv6Open: Check = {
  id: 'ipv6-open',
  judge: ({ ipv6, ways }) =>
    judged(ipv6, '', (isOn) => {
      if (!isOn) return [pass('IPv6 is off, or no interface has an address of it')];
      return judged(ways, '', (known) => [judgeFamilies(known)]);
    }),
};

function judgeFamilies(ways: Ways): Finding {
  const [v4, v6] = [knock(ways, 'ip'), knock(ways, 'ip6')];
  for (const said of [v4, v6])
    if (said.verdict === 'depends') return skip(`it depends: ${stopText(said, ways.classified)}`);
  const [isOpen4, isOpen6] = [v4.verdict === 'accept', v6.verdict === 'accept'];
  if (isOpen4 === isOpen6) return pass(`INPUT is ${isOpen4 ? 'open' : 'closed'} for new connections in both families`);
  const [shut, open, family] = isOpen6 ? [v4, v6, 'ip6' as const] : [v6, v4, 'ip' as const];
  const evidence = `a new connection to this host is stopped in ${isOpen6 ? 'IPv4' : 'IPv6'} by ${stopText(shut, ways.classified)}, and let in by ${stopText(open, ways.classified)}`;
  return warn(evidence, closingOf(family));
}

function knock({ program, uplink, addresses }: Ways, family: Family): Explanation {
  const own = addresses.find(({ address, dev }) => dev !== 'lo' && address.includes(':') === (family === 'ip6'));
  const packet = {
    family,
    iif: uplink ?? 'eth0',
    physIn: '',
    bridged: false,
    src: OUTSIDE[family],
    dst: own?.address ?? SOMEWHERE[family],
    protocol: 'tcp',
    sport: 40000,
    dport: PORT,
    tcpFlags: ['syn'] as const,
    ctState: 'new' as const,
    mark: 0,
  };
  return explain(program, { packet, journey: 'input' });
}

/** What must stay open comes first: established flows, lo, ICMP (IPv6 does not work without), ssh. */
function closingOf(family: Family): string {
  const command = IPTABLES[family];
  const icmp = family === 'ip' ? 'icmp' : 'ipv6-icmp';
  const open = ['-m conntrack --ctstate RELATED,ESTABLISHED', '-i lo', `-p ${icmp}`, '-p tcp --dport 22'];
  return [...open.map((match) => `${command} -A INPUT ${match} -j ACCEPT`), `${command} -P INPUT DROP`].join('; ');
}
