// The sentinel chains are ours: made ahead of need, and taken away by a clean stop, which changes nothing else.

import { isSentinel } from '../owners/mendwall.ts';
import { readFamily, RESTORE } from '../observe/rulesets.ts';
import type { PassContext } from '../pass/types.ts';
import { renderSentinelOnly } from '../plan/render.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import { ruleTexts, type UserPart } from '../ruleset/user-part.ts';

/**
 * Makes the sentinel of each table that holds rules of the user's and was last read without one. Without it the first mend
 * is two commits and two reads (measured, 10,000 rules: 467 ms instead of 233). Nothing is lost when it fails: the mend then
 * makes it. iptables-nft only: on the legacy engine a write rewrites the table.
 */
export async function armSentinels(context: PassContext): Promise<void> {
  const engines = context.engines.last();
  for (const family of FAMILIES) {
    const tables = tablesOf(context.memory.wish[family]).filter((table) => context.unlocked.has(`${family} ${table}`));
    if (tables.length === 0 || engines?.[family].engine !== 'nft' || engines[family].mixed) continue;
    await arm(context, family, tables);
  }
}

async function arm(
  { host, nonce, ownSentinels, unlocked }: PassContext,
  family: Family,
  tables: readonly string[],
): Promise<void> {
  const names = tables.map(() => `mw-${nonce()}`);
  for (const name of names) ownSentinels.add(name);
  const input = tables.map((table, at) => renderSentinelOnly(table, names[at] as string)).join('');
  const result = await host.exec({ file: RESTORE[family], args: ['--noflush', '-w', '5'], input });
  if (result.exitCode !== 0) host.log.write('debug', `no sentinel chain in ${family}: ${result.stderr.trim()}`);
  else for (const table of tables) unlocked.delete(`${family} ${table}`);
}

/** Tables that hold rules. */
function tablesOf(part: UserPart): string[] {
  const holds = [...part.tables.values()].filter((table) =>
    [...table.chains.values()].some((chain) => ruleTexts(chain.items).length > 0),
  );
  return holds.map((table) => table.name);
}

/** Deletes the empty sentinel chains of both families. What cannot be deleted stays, with a line in the log. */
export async function dropSentinels({ host }: PassContext): Promise<void> {
  for (const family of FAMILIES) {
    const read = await readFamily(host, family);
    if (read.kind === 'unreadable') continue;
    const blocks = [...read.ruleset.tables.values()].flatMap((table) => {
      const names = [...table.chains.values()].filter(isSentinel).map((chain) => chain.name);
      return names.length === 0 ? [] : [`*${table.name}\n${names.map((name) => `-X ${name}\n`).join('')}COMMIT\n`];
    });
    if (blocks.length === 0) continue;
    const result = await host.exec({ file: RESTORE[family], args: ['--noflush', '-w', '5'], input: blocks.join('') });
    if (result.exitCode !== 0) host.log.write('warning', `sentinel chains stay in ${family}: ${result.stderr.trim()}`);
  }
}
