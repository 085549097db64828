// Rules from files laid over the user's rules as they are wanted now. Pure.
// Guarantees: a table that no file speaks of stays as it is, and so does a policy that no file states (iptables-restore keeps
// it, too): a fragment never opens what is closed. With `whole` the files are all there is: other tables of the user's go.

import type { NativePart } from '../ruleset/nft/native-part.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import type { UserChain, UserPart, UserTable } from '../ruleset/user-part.ts';
import type { RuleSource } from './types.ts';

interface Rules extends Readonly<Record<Family, UserPart>> {
  readonly native: NativePart;
}

export function overlay<T extends Rules>(
  now: T,
  files: Rules,
  sources: readonly Pick<RuleSource, 'kind' | 'text'>[],
  whole: boolean,
): Rules {
  const [ip, ip6] = FAMILIES.map((family) =>
    overlayFamily(now[family], files[family], statedIn(sources, family), whole),
  );
  const native = whole ? files.native : new Map([...now.native, ...files.native]);
  return { ip: ip ?? now.ip, ip6: ip6 ?? now.ip6, native };
}

/** Table -> the built-in chains whose policy is stated. */
type Stated = ReadonlyMap<string, ReadonlySet<string>>;

/** `*filter` */
const TABLE = /^\*(\w+)/;
/** `:INPUT DROP [0:0]`, `-P INPUT DROP`, `--policy INPUT DROP`; not `:web - [0:0]` */
const POLICY = /^(?::(\S+)\s+(?:ACCEPT|DROP)\b|(?:-P|--policy)\s+(\S+)\s)/;

function statedIn(sources: readonly Pick<RuleSource, 'kind' | 'text'>[], family: Family): Stated {
  const stated = new Map<string, Set<string>>();
  for (const { text } of sources.filter(({ kind }) => kind === family)) {
    let chains = new Set<string>();
    for (const line of text.split('\n').map((each) => each.trim())) {
      const [, table] = TABLE.exec(line) ?? [];
      if (table !== undefined) stated.set(table, (chains = stated.get(table) ?? new Set()));
      const [, declared, policy = declared] = POLICY.exec(line) ?? [];
      if (policy !== undefined) chains.add(policy);
    }
  }
  return stated;
}

function overlayFamily(now: UserPart, files: UserPart, stated: Stated, whole: boolean): UserPart {
  const names = new Set([...now.tables.keys(), ...files.tables.keys()]);
  const tables = [...names].flatMap((name): [string, UserTable][] => {
    const [before, after] = [now.tables.get(name), files.tables.get(name)];
    const spoken = stated.get(name);
    if (spoken === undefined && !whole) return before === undefined ? [] : [[name, before]];
    return [[name, withPolicies(after ?? { name, chains: new Map() }, before, spoken ?? new Set())]];
  });
  return { family: now.family, tables: new Map(tables) };
}

/** Built-in chains keep the policy they have where no file says another. */
function withPolicies(table: UserTable, before: UserTable | undefined, stated: ReadonlySet<string>): UserTable {
  const chains = new Map(table.chains);
  for (const { name, policy } of before?.chains.values() ?? []) {
    if (stated.has(name) || (policy !== 'DROP' && policy !== 'ACCEPT')) continue;
    const chain: UserChain = chains.get(name) ?? { name, policy, items: [] };
    chains.set(name, { ...chain, policy });
  }
  return { name: table.name, chains };
}
