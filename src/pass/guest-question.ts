// The question that explain/blocked.ts answers, put together from the live rules of both engines, the host's addresses and
// routes. For `status`, and for the rules that keep guests open. Reads only.

import { withoutMarked } from '../classify/classify-native.ts';
import type { Classified } from '../classify/classify.ts';
import type { BlockedQuestion } from '../explain/blocked.ts';
import { compileIptables } from '../explain/iptables-rule.ts';
import { compileNft } from '../explain/nft-ruleset.ts';
import { joinPrograms } from '../explain/program.ts';
import type { Host } from '../host/host.ts';
import { readNativeTables } from '../observe/native-tables.ts';
import { defaultDevice, readInterfaces } from '../observe/routes.ts';
import { isMarked } from '../owners/mendwall.ts';
import { PIN_TABLE } from '../plan/pin-text.ts';
import type { Network } from '../ruleset/network.ts';
import { parseNft } from '../ruleset/nft/parse.ts';
import { printNftTable } from '../ruleset/nft/print.ts';
import { FAMILIES } from '../ruleset/types.ts';
import type { SeenRulesets } from './ending.ts';

export interface GuestQuestion extends BlockedQuestion {
  readonly classified: readonly Classified[];
  /** All native tables, as nft lists them. */
  readonly native: string;
}

type Seen = Pick<SeenRulesets, 'families' | 'networks' | 'engine' | 'mixed'>;

/**
 * `without: 'openings'` asks as if mendwall kept none of its own rules. Undefined where no network of libvirt's runs, or where not
 * all rules can be read.
 */
export async function guestQuestion(
  host: Host,
  live: Seen,
  without: 'openings' | 'nothing' = 'nothing',
): Promise<GuestQuestion | undefined> {
  const networks = runningNetworks(live.networks);
  if (networks.length === 0 || live.mixed !== undefined) return undefined;
  const [native, interfaces, uplink, bridged] = await Promise.all([
    readNativeTables(host, live.engine.ip),
    readInterfaces(host),
    defaultDevice(host),
    seesBridged(host),
  ]);
  if (native.kind === 'unreadable') return undefined;
  const facts = interfaces === undefined ? {} : { localAddresses: interfaces.addresses.map(({ address }) => address) };
  const all = live.families.map((family) => family.classified);
  const classified = without === 'openings' ? all.map(withoutOpenings) : all;
  const text = without === 'openings' ? withoutNativeOpenings(native.text) : native.text;
  return {
    program: joinPrograms([
      ...classified.map(({ ruleset }) => compileIptables(ruleset, facts)),
      compileNft(text, { without: new Set([...native.without, ...PINS]), ...facts }),
    ]),
    networks,
    classified,
    native: native.text,
    bridgeNetfilter: bridged,
    ...(uplink !== undefined && { uplink }),
    ...(interfaces !== undefined && { host: { addresses: interfaces.addresses } }),
  };
}

/** Those with a bridge that run now. */
export const runningNetworks = (networks: readonly Network[] | undefined): readonly Network[] =>
  (networks ?? []).filter(({ active, bridge }) => active && bridge !== undefined);

/** Copies of the user's drops: the rules themselves are told of. */
const PINS = FAMILIES.map((family) => `${family} ${PIN_TABLE}`);

/** Whether frames between two ports of a bridge see iptables' rules. Without the module there is no such file. */
async function seesBridged({ files }: Host): Promise<boolean> {
  const files4and6 = ['iptables', 'ip6tables'].map((name) => files.read(`/proc/sys/net/bridge/bridge-nf-call-${name}`));
  return (await Promise.all(files4and6)).some((text) => text?.trim() === '1');
}

/** The same rules and owners without the rules that mendwall keeps. */
export function withoutOpenings({ ruleset, tables }: Classified): Classified {
  const kept = new Map(
    [...tables].map(([name, table]) => {
      const chains = [...table.chains].map(([chainName, entry]) => {
        const stays = entry.chain.rules.map(({ text }) => !isMarked(text));
        if (stays.every(Boolean)) return [chainName, entry] as const;
        const rules = entry.chain.rules.filter((_, index) => stays[index]);
        const claims = entry.claims.filter((_, index) => stays[index]);
        return [chainName, { ...entry, chain: { ...entry.chain, rules }, claims }] as const;
      });
      return [name, { name, chains: new Map(chains) }] as const;
    }),
  );
  const bare = [...kept].map(([name, { chains }]) => {
    const plain = [...chains].map(([chainName, { chain }]) => [chainName, chain] as const);
    return [name, { name, chains: new Map(plain) }] as const;
  });
  return { ruleset: { family: ruleset.family, tables: new Map(bare) }, tables: kept };
}

const withoutNativeOpenings = (text: string): string =>
  text.includes('mendwall:')
    ? parseNft(text)
        .tables.map((table) => printNftTable(withoutMarked(table)))
        .join('')
    : text;
