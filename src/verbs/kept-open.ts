// The rules that mendwall keeps so that guests get what libvirt lets through (`[libvirt] open_guests`), for `status`: those that
// stand now, whoever asked for them. Pure.

import type { ClassifiedNative } from '../classify/classify-native.ts';
import type { Classified } from '../classify/classify.ts';
import { openedNetwork } from '../owners/mendwall.ts';
import { rulesOf } from '../ruleset/nft/native-part.ts';
import type { NftFamily } from '../ruleset/nft/types.ts';

export interface KeptOpen {
  /** Its name, or its uuid. */
  readonly network: string;
  readonly family: NftFamily;
  readonly table: string;
  readonly chain: string;
  readonly text: string;
}

export function keptOpenNow(live: readonly Classified[], native: ClassifiedNative): KeptOpen[] {
  const iptables = live.flatMap(({ ruleset: { family, tables } }) =>
    [...tables.values()].flatMap((table) =>
      [...table.chains.values()].flatMap(({ rules }) => rules.map((rule) => ({ family, table: table.name, ...rule }))),
    ),
  );
  const natives = [...native.values()].flatMap(({ table }) =>
    rulesOf(table).map((rule) => ({ family: table.family, table: table.name, ...rule })),
  );
  return [...iptables, ...natives].flatMap(({ family, table, chain, text }) => {
    const network = openedNetwork(text);
    return network === undefined ? [] : [{ network, family, table, chain, text }];
  });
}
