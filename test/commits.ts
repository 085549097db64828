// Commits as the kernel monitor gives them, in short hand.

import type { Commit } from '../src/events/types.ts';

/** What one commit did; what is not named did not happen. */
export interface Act {
  /** The command line, when it could be read. */
  readonly run?: string;
  readonly unit?: string;
  /** Names of the parents, nearest first, when they could be read. */
  readonly parents?: readonly string[];
  readonly table?: string;
  readonly deletesTable?: boolean;
  readonly addsTable?: boolean;
  readonly added?: number;
  readonly deleted?: number;
  /** Chains whose rules changed; default FORWARD. */
  readonly chains?: readonly string[];
  readonly chainsAdded?: readonly string[];
  readonly chainsDeleted?: readonly string[];
}

export const LIBVIRTD = '/usr/sbin/libvirtd';

/** Shapes as in nft monitor's output for iptables-nft 1.8.9: comm is cut to 15 characters. */
export function commit(act: Act): Commit {
  const cmdline = act.run?.split(' ');
  const parents = (act.parents ?? []).map((name, index) => ({
    pid: 100 + index,
    comm: name.slice(name.lastIndexOf('/') + 1).slice(0, 15),
    cmdline: [name],
  }));
  const author = { pid: 4711, comm: (cmdline?.[0] ?? 'iptables').slice(0, 15), cmdline, parents };
  return {
    generation: 1,
    author: act.unit === undefined ? author : { ...author, unit: act.unit },
    changes: [
      {
        family: 'ip',
        table: act.table ?? 'filter',
        deletesTable: act.deletesTable ?? false,
        addsTable: act.addsTable ?? false,
        rulesAdded: act.added ?? 0,
        rulesDeleted: act.deleted ?? 0,
        ruleChains: act.chains ?? (act.added === undefined && act.deleted === undefined ? [] : ['FORWARD']),
        chainsAdded: act.chainsAdded ?? [],
        chainsDeleted: act.chainsDeleted ?? [],
      },
    ],
    native: [],
    elsewhere: false,
  };
}
