// Native tables of known neighbours that a flush or a load took along: whose, and what puts them right. Pure.
// Guarantees: a neighbour that takes its own table away speaks for itself; a loss is said until the table is there again, or its
// program no longer runs. Does not: know what was in a table, or write one.

import { isLibvirts, ownerOfNativeTable } from '../owners/index.ts';
import { mendwall } from '../owners/mendwall.ts';
import type { OwnerId } from '../ruleset/user-part.ts';
import type { Drift } from './drift.ts';
import { remedyOf } from './foreign-lost.ts';
import { nativeDrift } from './native-drift.ts';

/** By `inet firewalld`. */
export type ForeignTables = ReadonlyMap<string, OwnerId>;

/** Neighbours' tables among `names` (`table inet firewalld {` on a line). libvirt's are judged by themselves. */
export function foreignTables(names: string): ForeignTables {
  const keys = [...names.matchAll(/^table (\S+ \S+) \{/gm)].map(([, key = '']) => key);
  return new Map(
    keys.flatMap((key): [string, OwnerId][] => {
      const owner = ownerOfNativeTable(key);
      return owner === undefined || owner === mendwall.id || isLibvirts(owner) ? [] : [[key, owner]];
    }),
  );
}

export interface LostTablesQuestion {
  /** What stood at the last look. */
  readonly known: ForeignTables;
  readonly lost: ForeignTables;
  readonly now: ForeignTables;
  /** Somebody flushed or loaded since. */
  readonly wiped: boolean;
  /** Who wrote meanwhile: what is gone of theirs, they took themselves. */
  readonly writers: ReadonlySet<OwnerId>;
  readonly isActive: (owner: OwnerId) => boolean;
}

/** What is lost now: what was lost before and is not there yet, and what went just now. */
export function lostTables({ known, lost, now, wiped, writers, isActive }: LostTablesQuestion): ForeignTables {
  const fresh = wiped ? [...known].filter(([, owner]) => !writers.has(owner)) : [];
  return new Map([...lost, ...fresh].filter(([key, owner]) => !now.has(key) && isActive(owner)));
}

/** One line an owner: `foreign-lost inet firewalld: firewalld lost table inet firewalld; puts it right: ...` */
export function lostTablesDrift(lost: ForeignTables): Drift[] {
  return [...new Set(lost.values())].map((owner) => {
    const keys = [...lost].filter(([, other]) => other === owner).map(([key]) => key);
    const what = keys.length === 1 ? `table ${keys[0]}` : `${keys.length} tables, ${keys.join(', ')}`;
    const evidence = `${owner} lost ${what}; ${remedyOf(owner)}`;
    return { ...nativeDrift('foreign-lost', keys[0] ?? '', '', '', evidence), owner };
  });
}
