// The pre-flight of new rules: the ruleset they would lead to, merged around today's neighbours, asked for every management flow.
// Guarantee: nothing is written; what cannot be asked (no route, no ss) leaves that question out, and is no refusal.

import type { ClassifiedNative } from '../classify/classify-native.ts';
import { compileIptables } from '../explain/iptables-rule.ts';
import { compileNft } from '../explain/nft-ruleset.ts';
import { type Cut, findCuts, type MustPass, packetsOfFlow, packetToPort } from '../explain/preflight.ts';
import { joinPrograms, type Program } from '../explain/program.ts';
import type { Host } from '../host/host.ts';
import { type Management, type ManagementFlow, readManagement } from '../observe/management.ts';
import { askRoute, defaultDevice, readInterfaces } from '../observe/routes.ts';
import type { PassContext } from '../pass/types.ts';
import { planFamily } from '../plan/family-plan.ts';
import { mergedRuleset } from '../plan/merged-ruleset.ts';
import type { UserRules } from '../record/memory.ts';
import { printNftTable } from '../ruleset/nft/print.ts';
import type { NftTable } from '../ruleset/nft/types.ts';
import type { Ruleset } from '../ruleset/types.ts';
import { USER } from '../ruleset/user-part.ts';
import type { SeenRulesets } from './hand.ts';

/** What `parts` would cut of the flows that manage this host. `session`: SSH_CONNECTION of the one who asks. */
export async function cutsOf(
  context: PassContext,
  live: SeenRulesets,
  native: ClassifiedNative,
  parts: UserRules,
  session: string | undefined,
): Promise<readonly Cut[]> {
  const { host } = context;
  const [interfaces, asked] = await Promise.all([readInterfaces(host), mustPass(host, session)]);
  const facts = interfaces === undefined ? {} : { localAddresses: interfaces.addresses.map(({ address }) => address) };
  const program = (rulesets: readonly Ruleset[], tables: readonly NftTable[]): Program =>
    joinPrograms([
      ...rulesets.map((ruleset) => compileIptables(ruleset, facts)),
      compileNft(tables.filter(isAwake).map(printNftTable).join(''), facts),
    ]);
  const standing = [...native.values()];
  const before = program(
    live.families.map(({ classified }) => classified.ruleset),
    standing.map(({ table }) => table),
  );
  const others = standing.filter(({ owner }) => owner !== USER).map(({ table }) => table);
  const after = program(mergedRulesets(context, live, parts), [...others, ...parts.native.values()]);
  return findCuts(before, after, asked, interfaces === undefined ? {} : { addresses: interfaces.addresses });
}

/** Both families as a pass by hand would leave them. */
export function mergedRulesets(context: PassContext, live: SeenRulesets, parts: UserRules): Ruleset[] {
  return live.families.map(({ family, classified }) => {
    const work = planFamily({
      classified,
      wish: parts[family],
      known: context.memory.known[family],
      networks: live.networks,
      exists: live.exists,
      tables: undefined,
      summaries: undefined,
      evidence: () => ({ wholeTableNew: false, bootFile: undefined }),
      burstOver: true,
      repair: false,
      waiting: [],
      held: [],
      settings: context.settings,
      spellings: context.spellings,
      byHand: true,
    });
    return mergedRuleset(classified.ruleset, work);
  });
}

/** The chains of a dormant table see no packet. */
const isAwake = ({ flags }: NftTable): boolean => !flags.includes('dormant');

async function mustPass(host: Host, session: string | undefined): Promise<MustPass[]> {
  const [management, uplink] = await Promise.all([readManagement(host, session), defaultDevice(host)]);
  const own = session?.split(' ')[0];
  const flows = await Promise.all(
    management.flows.map(async (flow) =>
      packetsOfFlow(
        { ...flow, ...(await deviceOf(host, flow)) },
        `${flow.client === own ? 'your session' : 'the ssh session'} from ${flow.client}`,
      ),
    ),
  );
  return [...flows.flat(), ...toListeners(management, uplink)];
}

const toListeners = ({ listening }: Management, uplink: string | undefined): MustPass[] =>
  listening.map(({ family, port }) => packetToPort(family, port, uplink));

/** The way to the client is the way it comes by, where routes are not asymmetric. */
async function deviceOf(host: Host, { family, client }: ManagementFlow): Promise<{ dev?: string }> {
  const route = await askRoute(host, { family, to: client });
  if (route.kind === 'here') return { dev: 'lo' };
  return route.kind === 'out' ? { dev: route.dev } : {};
}
