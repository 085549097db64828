// The little of `nft` that others use against iptables-nft's tables.

import type { Family } from '../../src/ruleset/types.ts';
import type { KernelState, Ran, Run } from './kernel.ts';
import { tableGone } from './nft-commit.ts';

const done: Ran = { exitCode: 0, stdout: '', stderr: '' };

/** The few nft commands that matter here: flush ruleset, delete table, add table, list tables. */
export function runNft(run: Run, args: readonly string[]): Ran {
  const [verb, what, family = 'ip', table = ''] = args.join(' ').split(' ');
  if (verb === 'flush' && what === 'ruleset') return flushRuleset(run);
  if (verb === 'list' && what === 'tables') return { ...done, stdout: listTables(run.state) };
  if (verb === 'list' && (what === 'flowtables' || what === 'chains'))
    return { ...done, stdout: listTables(run.state).replaceAll('\n', ' {\n}\n') };
  if (verb === 'add' && what === 'table') return addNative(run, `${family} ${table}`);
  if (verb === 'delete' && what === 'table') return deleteTable(run, family, table);
  return { exitCode: 1, stdout: '', stderr: `Error: the fake kernel does not know 'nft ${args.join(' ')}'\n` };
}

function flushRuleset(run: Run): Ran {
  const { stores, nativeTables } = run.state;
  const parts = (['ip', 'ip6'] as const).map((family) => {
    const effects = [...stores.nft[family].values()].flatMap(tableGone);
    stores.nft[family].clear();
    return [family, effects] as const;
  });
  const elsewhere = nativeTables.size > 0;
  nativeTables.clear();
  if (elsewhere || parts.some(([, effects]) => effects.length > 0)) run.state.emit(run.author, parts, elsewhere);
  return done;
}

function deleteTable(run: Run, family: string, name: string): Ran {
  const table = family === 'ip' || family === 'ip6' ? run.state.stores.nft[family].get(name) : undefined;
  if (table === undefined && !run.state.nativeTables.delete(`${family} ${name}`)) {
    return { exitCode: 1, stdout: '', stderr: 'Error: Could not process rule: No such file or directory\n' };
  }
  if (table === undefined) run.state.emit(run.author, [], true);
  else {
    run.state.stores.nft[family as Family].delete(name);
    run.state.emit(run.author, [[family as Family, tableGone(table)]], false);
  }
  return done;
}

function addNative(run: Run, table: string): Ran {
  if (run.state.nativeTables.has(table)) return done;
  run.state.nativeTables.add(table);
  run.state.emit(run.author, [], true);
  return done;
}

function listTables(state: KernelState): string {
  const own = (['ip', 'ip6'] as const).flatMap((family) =>
    [...state.stores.nft[family].keys()].map((name) => `${family} ${name}`),
  );
  return [...own, ...state.nativeTables].map((name) => `table ${name}\n`).join('');
}
