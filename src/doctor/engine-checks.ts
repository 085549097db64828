// Which engine holds the rules, and whether iptables can read its tables. Pure.

import { type Check, type EngineFact, fail, type Finding, IPTABLES, judged, pass, skip } from './types.ts';

/** Both engines at once: packets pass both, each command shows one half. */
export const engines: Check = {
  id: 'engines',
  judge: (facts) => judged(facts.engines, 'no engine', (all) => all.map(judgeEngine)),
};

function judgeEngine({ family, engine, version, other, mixed, evidence }: EngineFact): Finding {
  const command = IPTABLES[family];
  if (engine === 'unknown') return skip(`${evidence[0] ?? `${command} does not say which engine it drives`}`);
  if (mixed)
    return fail(
      `${family}: both iptables-nft and iptables-legacy hold rules; packets pass both, \`${command}\` shows one half, and mendwall only looks`,
      `bash -c 'diff <(${command}-nft-save) <(${command}-legacy-save)'`,
    );
  if (other === 'unreadable') return skip(`${family}: the other engine cannot be read: ${evidence.join('; ')}`);
  return pass(`${family}: ${engine}${version === undefined ? '' : ` ${version}`}, no rule in the other engine`);
}

/** `Table nat is incompatible, use 'nft' tool`: libvirt may refuse to start networks then. */
export const incompatibleTables: Check = {
  id: 'incompatible-tables',
  judge: ({ unreadable, rules }) => {
    const found = unreadable.filter(({ why }) => /incompatible|native nft rule/.test(why));
    if (found.length > 0)
      return found.map(({ family, why }) => fail(`${family}: ${why}`, `nft list table ${family} ${tableIn(why)}`));
    return judged(rules, 'iptables-save shows every table', () => []);
  },
};

/** ``table nat is incompatible, use 'nft' tool: chain ...`` */
const tableIn = (why: string): string => /\btable `?([\w-]+)/.exec(why)?.[1] ?? 'filter';
