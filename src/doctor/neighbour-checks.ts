// fail2ban and vendors' agents: chains that are filled and not reached, or that end what comes after them. Pure.

import type { ClassifiedTable } from '../classify/classify.ts';
import { isCatchAll } from '../merge/catch-all.ts';
import type { Drift } from '../merge/drift.ts';
import { isLibvirts, neighbourById } from '../owners/index.ts';
import { isBuiltin, type Chain, type Family } from '../ruleset/types.ts';
import { MENDWALL } from '../ruleset/user-part.ts';
import { tablesOf, targetOf, unreachable } from './chains.ts';
import { type Check, counted, fail, type Finding, IPTABLES, judged, warn } from './types.ts';

/** A ban after a flush goes into a chain that nothing jumps to; fail2ban reports success (measured, 1.0.2). */
export const fail2banUnhooked: Check = {
  id: 'fail2ban-unhooked',
  judge: ({ rules }) =>
    judged(rules, 'no ban of fail2ban’s stands in a chain that nothing jumps to', ({ families }) =>
      tablesOf(families).flatMap(({ family, table }) =>
        [...unreachable(table)].flatMap((name) => {
          const bans = name.startsWith('f2b-') ? bansIn(table.chains.get(name)?.chain) : 0;
          const evidence = `${family} ${table.name} ${name}: ${counted(bans, 'ban')}, and nothing jumps there: nobody is kept out`;
          return bans === 0 ? [] : [fail(evidence, 'fail2ban-client reload --restart')];
        }),
      ),
    ),
};

const bansIn = (chain: Chain | undefined): number =>
  (chain?.rules ?? []).filter(({ text }) => targetOf(text) !== 'RETURN').length;

/** What a flush or a load took from neighbours that mendwall does not put back. */
export const neighboursLost: Check = {
  id: 'neighbours-lost',
  judge: ({ drift }) =>
    judged(drift, 'no neighbour lost rules to somebody else’s flush', (all) =>
      all
        .filter(({ kind, owner }) => /^foreign-/.test(kind) && !isLibvirts(owner))
        .map(({ family, table, evidence, owner }: Drift) => fail(`${family} ${table}: ${evidence}`, commandOf(owner))),
    ),
};

/** The neighbour's own command; where there is none, what shows who flushed. */
const commandOf = (owner: string): string => neighbourById(owner)?.repair.command ?? 'mendwall log -n 20';

/** RackConnect, and those of `[[owners]]` with `top`: they insist on the top, so what they end nobody else sees. */
export const vendorChain: Check = {
  id: 'vendor-chain',
  judge: ({ rules, config }) =>
    judged(config, '', () =>
      judged(rules, 'no vendor’s chain stands wrong', ({ families }) =>
        tablesOf(families).flatMap(({ family, table }) => vendorFindings(family, table)),
      ),
    ),
};

const isVendor = (owner: string): boolean =>
  owner === 'rackconnect' ||
  (neighbourById(owner)?.source === 'the configuration' && neighbourById(owner)?.slot === 'none');

function vendorFindings(family: Family, table: ClassifiedTable): Finding[] {
  const lone = unreachable(table);
  return [...table.chains.values()].flatMap(({ chain, claim, claims }) => {
    if (isBuiltin(chain)) return jumpFindings(family, table, chain, claims);
    if (!isVendor(claim.owner)) return [];
    const seat = `${family} ${table.name} ${chain.name} (${claim.owner})`;
    const hook = `${IPTABLES[family]} -t ${table.name} -I INPUT -j ${chain.name}`;
    if (lone.has(chain.name)) return [fail(`${seat}: filled, and nothing jumps there`, hook)];
    return isEntry(table, chain.name) ? endFindings(family, table, chain, seat) : [];
  });
}

const isEntry = (table: ClassifiedTable, name: string): boolean =>
  [...table.chains.values()].some(
    ({ chain }) => isBuiltin(chain) && chain.rules.some(({ text }) => targetOf(text) === name),
  );

/** Without RETURN at its end the next rule that is appended decides; with a catch-all there nobody comes after it. */
function endFindings(family: Family, table: ClassifiedTable, chain: Chain, seat: string): Finding[] {
  const last = chain.rules.at(-1)?.text ?? '';
  const command = `${IPTABLES[family]} -t ${table.name}`;
  if (last === `-A ${chain.name} -j RETURN` || chain.rules.length === 0) return [];
  if (isCatchAll(last, () => false))
    return [
      fail(
        `${seat} ends in ${last}, not in RETURN: no rule below its jump is ever reached`,
        `${command} -R ${chain.name} ${chain.rules.length} -j RETURN`,
      ),
    ];
  return [warn(`${seat} does not end in RETURN`, `${command} -A ${chain.name} -j RETURN`)];
}

/** Its jump is not above everybody else's rules. */
function jumpFindings(
  family: Family,
  table: ClassifiedTable,
  chain: Chain,
  claims: readonly { readonly owner: string }[],
): Finding[] {
  const at = claims.findIndex(({ owner }) => isVendor(owner));
  const before = claims.slice(0, Math.max(0, at)).findIndex(({ owner }) => owner !== MENDWALL);
  if (at === -1 || before === -1) return [];
  const spec = (chain.rules[at]?.text ?? '').slice(3); // INPUT -j RS-RackConnect-INBOUND
  const body = spec.slice(chain.name.length + 1);
  const command = `${IPTABLES[family]} -t ${table.name}`;
  return [
    warn(
      `${family} ${table.name} ${chain.name}: ${claims[at]?.owner} expects to be first and is rule ${at + 1}, below ${chain.rules[before]?.text ?? ''}`,
      `${command} -D ${spec}; ${command} -I ${chain.name} 1 ${body}`,
    ),
  ];
}
