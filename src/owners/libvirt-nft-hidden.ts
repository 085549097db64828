// Rules of the user's in libvirt's table that never see a packet: a reject of libvirt's stands before them on the way and takes
// every packet they ask for. Pure.
// Guarantee: cautious. A rule is hidden only when its own interface or address says that all its packets are that network's.

import type { Network } from '../ruleset/network.ts';
import { statementsOf } from '../ruleset/nft/statements.ts';
import { subnetContains } from '../ruleset/subnet.ts';
import type { Family } from '../ruleset/types.ts';
import { LIBVIRT_JUMPS } from './libvirt-nft-rules.ts';
import type { ClaimedNftRule, Standing } from './libvirt-nft.ts';

const SIDES = {
  guest_input: { interfaces: ['oif', 'oifname'], field: 'daddr' },
  guest_output: { interfaces: ['iif', 'iifname'], field: 'saddr' },
} as const;

/** The reject of libvirt's that hides this rule, if one does. */
export function hiddenBy(
  place: Standing,
  claims: readonly ClaimedNftRule[],
  networks: readonly Network[],
): Standing | undefined {
  const way = forwardWay(claims);
  const at = way.findIndex(({ rule }) => rule === place.rule);
  return way.slice(0, Math.max(0, at)).find((above) => {
    const network = networks.find(({ name }) => name === above.claim.network);
    return above.claim.owner === 'libvirt' && network !== undefined && takesAll(above, network, place.rule.text);
  });
}

/** The rules in the order a forwarded packet meets them: libvirt's jumps have no condition. */
function forwardWay(claims: readonly ClaimedNftRule[]): ClaimedNftRule[] {
  return claims
    .filter(({ chain }) => chain === 'forward')
    .flatMap((each) => {
      const target = LIBVIRT_JUMPS.find(
        (name) => each.claim.owner === 'libvirt' && each.rule.text.endsWith(` jump ${name}`),
      );
      return target === undefined ? [each] : claims.filter(({ chain }) => chain === target);
    });
}

/** `oif "virbr0" counter reject`, and the rule asks for packets to virbr0 or to its subnet only. */
function takesAll({ chain, rule }: Standing, network: Network, text: string): boolean {
  const side = chain === 'guest_input' || chain === 'guest_output' ? SIDES[chain] : undefined;
  if (side === undefined || !/ counter(?: packets \d+ bytes \d+)? reject/.test(rule.text)) return false;
  return statementsOf(text).some((statement) => {
    if (statement.kind !== 'match' || !['implicit', '=='].includes(statement.operator)) return false;
    const { left, right } = statement;
    const value = right.kind === 'literal' ? right.text : right.kind === 'prefix' ? right.address : undefined;
    if (value === undefined) return false;
    if (left.kind === 'meta') return side.interfaces.some((key) => key === left.key) && value === network.bridge;
    if (left.kind !== 'payload' || left.field !== side.field) return false;
    const length = right.kind === 'prefix' ? right.length : undefined;
    return network.addresses.some(
      ({ family, cidr }) => left.protocol === family && isWithin(family, cidr, value, length),
    );
  });
}

function isWithin(family: Family, cidr: string, address: string, length: number | undefined): boolean {
  const subnetLength = Number(cidr.slice(cidr.lastIndexOf('/') + 1));
  return (length === undefined || length >= subnetLength) && subnetContains(family, cidr, address);
}
