// Asks a set of packets about one packet, in three values: some fields of an example are not known to the symbolic side
// (where NAT's target is routed, a rate), so the set may hold it or not.

import { packetOf, type PacketSpec } from '../../src/explain/packet.ts';
import type { Box } from '../../src/explain/symbolic/box.ts';
import type { Exclusions, Region } from '../../src/explain/symbolic/piece.ts';
import { setHolds } from '../../src/explain/symbolic/range-set.ts';

export type Maybe = 'yes' | 'no' | 'maybe';
export type Fields = Readonly<Record<string, number | bigint | string | undefined>>;

/** The packet as the symbolic side names its fields; what enters has no outgoing device yet, so the route's is meant. */
export function fieldsOf(spec: PacketSpec, journey: 'input' | 'forward' | 'output'): Fields {
  const { iif, oif, ...rest } = packetOf(spec) as unknown as Record<string, never>;
  const way = journey === 'input' ? 0 : 1;
  return {
    ...rest,
    ctState: packetOf(spec).flowState,
    way,
    ...(iif !== undefined && { iif }),
    ...(oif !== undefined && { oif }),
  };
}

function inBox(box: Box, fields: Fields): Maybe {
  let answer: Maybe = 'yes';
  for (const [dimension, set] of box) {
    const value = fields[dimension];
    if (value === undefined) answer = 'maybe';
    else if (!setHolds(set, value)) return 'no';
  }
  return answer;
}

export function inRegion({ box, but }: Region, fields: Fields): Maybe {
  return without(inBox(box, fields), but, undefined, fields);
}

function without(answer: Maybe, but: Exclusions | undefined, until: Exclusions | undefined, fields: Fields): Maybe {
  let left = answer;
  for (let at = but; at !== until && at !== undefined && left !== 'no'; at = at.before) {
    const hole = without(inBox(at.hole.box, fields), at.hole.but, at.hole.until, fields);
    if (hole === 'yes') return 'no';
    if (hole === 'maybe') left = 'maybe';
  }
  return left;
}
