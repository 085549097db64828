// Which kind an address is to the host: local, broadcast, multicast. The kernel asks its routes; what is certain without
// them is said here, the rest depends. Pure. Source: net/ipv4/fib_frontend.c, __inet_dev_addr_type.

import type { Family } from '../ruleset/types.ts';
import { all, any, inField, NEVER, not, unknown, type Predicate } from './expression.ts';
import type { AddressField } from './packet.ts';
import { addressRange, addressValue, type Range } from './values.ts';

const ranges = (family: Family, ...texts: readonly string[]): Range[] =>
  texts.map((text) => addressRange(family, text) as Range);

const MULTICAST: Readonly<Record<Family, readonly Range[]>> = {
  ip: ranges('ip', '224.0.0.0/4'),
  ip6: ranges('ip6', 'ff00::/8'),
};
const LOOPBACK: Readonly<Record<Family, readonly Range[]>> = {
  ip: ranges('ip', '127.0.0.0/8'),
  ip6: ranges('ip6', '::1'),
};
/** 0.0.0.0/8 and the limited broadcast are broadcast; a subnet's own broadcast is known to the routes only. */
const BROADCAST: Readonly<Record<Family, readonly Range[]>> = {
  ip: ranges('ip', '0.0.0.0/8', '255.255.255.255'),
  ip6: [],
};

/** The address is of one of the types (`LOCAL`, `BROADCAST`, ...). `local`: the host's addresses, when known. */
export function addressTypes(
  field: AddressField,
  family: Family,
  types: readonly string[],
  local: readonly string[] | undefined,
): Predicate {
  return any(types.map((type) => addressType(field, family, type.toUpperCase(), local)));
}

function addressType(
  field: AddressField,
  family: Family,
  type: string,
  local: readonly string[] | undefined,
): Predicate {
  const inRange = (list: readonly Range[]): Predicate => inField(field, list);
  const otherwise = (sure: readonly Range[], never: readonly Range[]): Predicate =>
    any([inRange(sure), all([not(inRange(never)), unknown(`whether the address is of type ${type}`)])]);
  switch (type) {
    case 'LOCAL': {
      if (local === undefined) return otherwise(LOOPBACK[family], [...MULTICAST[family], ...BROADCAST[family]]);
      const values = local.map((address) => addressValue(family, address)).filter((value) => value !== undefined);
      return inRange([...LOOPBACK[family], ...values.map((value) => ({ first: value, last: value }))]);
    }
    case 'MULTICAST':
      return family === 'ip' ? inRange(MULTICAST.ip) : otherwise(MULTICAST.ip6, []);
    case 'BROADCAST':
      return family === 'ip' ? otherwise(BROADCAST.ip, [...LOOPBACK.ip, ...MULTICAST.ip]) : NEVER;
    default:
      return unknown(`whether the address is of type ${type}`);
  }
}
