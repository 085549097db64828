// What happened. Events are hints (law 8): each one only says "look now", with what is known of the author.

import type { NftFamily } from '../ruleset/nft/types.ts';
import type { Family, TableName } from '../ruleset/types.ts';

/** A process as far as /proc could be read at event time. What could not be read is undefined, never guessed. */
export interface Author {
  /** Pid as the kernel reported it. */
  readonly pid: number;
  /** Up to 15 characters, from the kernel's event. */
  readonly comm: string;
  readonly cmdline: readonly string[] | undefined;
  /** From the nearest parent upwards, as far as it could be read; at most 4. */
  readonly parents: readonly { readonly pid: number; readonly comm: string; readonly cmdline: readonly string[] }[];
  /** systemd unit it runs in (`iptables.service`, `session-3.scope`), from its cgroup. */
  readonly unit?: string;
}

/** What one kernel transaction (generation) did to one table. From `nft monitor`. */
interface Changes {
  readonly deletesTable: boolean;
  readonly addsTable: boolean;
  readonly rulesAdded: number;
  readonly rulesDeleted: number;
  /** Chains that had rules added or deleted. */
  readonly ruleChains: readonly string[];
  /** Chains created, deleted, or (base chains) declared again, as a policy change or -Z does. */
  readonly chainsAdded: readonly string[];
  readonly chainsDeleted: readonly string[];
}

/** A table that iptables keeps its rules in, by its name. */
export interface TableChange extends Changes {
  readonly family: Family;
  readonly table: TableName;
}

/** Any other table: of a family other than ip and ip6, or of another name. Of `ip filter` what iptables never keeps there: sets. */
export interface NativeChange extends Changes {
  readonly family: NftFamily;
  /** `inet filter`, as `tableKey` has it. */
  readonly table: string;
  /** Sets, maps, flowtables and stateful objects (counters, helpers ...) that were added or deleted. */
  readonly objectsChanged: number;
  /** Of sets and maps, added or deleted. */
  readonly elementsChanged: number;
}

/** One kernel commit. */
export interface Commit {
  readonly generation: number;
  readonly author: Author;
  /** Of the tables that iptables keeps its rules in. */
  readonly changes: readonly TableChange[];
  readonly native: readonly NativeChange[];
  /** True when it touched anything that iptables has no words for: a native table, or a set beside the rules of its own. */
  readonly elsewhere: boolean;
}

export type GuardEvent =
  /** First line of a transaction, before its generation line: read at once. */
  | { readonly kind: 'touched'; readonly family: Family; readonly table: TableName; readonly chain: string | undefined }
  | { readonly kind: 'commit'; readonly commit: Commit }
  /** The source lost events, restarted, or cannot say what happened. */
  | { readonly kind: 'look'; readonly reason: string }
  /** Legacy engine: the lock was used, or the check saw another hash. */
  | { readonly kind: 'legacy-changed'; readonly reason: string }
  | {
      readonly kind: 'hook';
      readonly object: string;
      readonly operation: string;
      readonly subject: string;
      readonly atMs: number;
    }
  | {
      readonly kind: 'network';
      readonly name: string | undefined;
      readonly change: 'defined' | 'undefined' | 'started' | 'stopped';
    }
  | { readonly kind: 'domain'; readonly change: string }
  /** `fromOwner` false: whoever sent `reloaded` does not own firewalld's name (libvirt rebuilds all the same). */
  | { readonly kind: 'firewalld'; readonly change: 'reloaded' | 'appeared' | 'vanished'; readonly fromOwner?: boolean }
  | { readonly kind: 'unit'; readonly unit: string; readonly change: string }
  | { readonly kind: 'backstop' };

export type SourceName = 'kernel' | 'legacy' | 'libvirt-dbus' | 'firewalld' | 'systemd' | 'spool' | 'backstop';

/** Health of one event source, shown by `status`. `off` = not wanted or not possible here, with the reason. */
export interface SourceHealth {
  readonly source: SourceName;
  readonly state: 'ok' | 'starting' | 'degraded' | 'off';
  readonly detail: string;
}

/** Every event source has this shape: start it, it calls back; close it. It never throws after `start` returned. */
export interface SourceHandlers {
  event(event: GuardEvent): void;
  health(health: SourceHealth): void;
}

export interface Source {
  readonly name: SourceName;
  start(handlers: SourceHandlers): Promise<void>;
  close(): Promise<void>;
}
