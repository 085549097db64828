// What a pass is asked, what it works with, and what it answers.

import type { ChangeSummary, DecisionKind } from '../merge/decide.ts';
import type { Drift } from '../merge/drift.ts';
import type { NativeSummary } from '../merge/native-summary.ts';
import type { Host } from '../host/host.ts';
import type { EngineReader } from '../observe/engine.ts';
import type { RuleCounters } from './counters.ts';
import type { OpenGuestsState } from './open-guests.ts';
import type { PinState } from './pin.ts';
import type { Settings } from '../plan/family-plan.ts';
import type { Journal } from '../record/journal.ts';
import type { Memory, MemoryFiles } from '../record/memory.ts';
import type { Network } from '../ruleset/network.ts';
import type { NftFamily } from '../ruleset/nft/types.ts';
import type { Family, TableName } from '../ruleset/types.ts';
import type { UserPart } from '../ruleset/user-part.ts';

export type Mode = 'observe' | 'merge';

/** Everything a pass needs besides the request. One for the life of a process; `memory` changes. */
export interface PassContext {
  readonly host: Host;
  readonly memory: Memory;
  readonly files: MemoryFiles;
  readonly journal: Journal;
  readonly engines: EngineReader;
  readonly settings: Settings;
  /** Eight random hex digits: names the next sentinel chain. */
  readonly nonce: () => string;
  /** Sentinels this process made and not yet saw an event for; events.ts knows its own commits by them. */
  readonly ownSentinels: Set<string>;
  /** Tables (`ip filter`) that stood without a sentinel when they were last read (nft engine). */
  readonly unlocked: Set<string>;
  /** How this host's iptables prints rules that were saved otherwise; learnt by reading back. */
  readonly spellings: Map<string, string>;
  /** Read again by every pass but the fast lane's, and by that one when `stale`: libvirt was heard since. */
  readonly cache: {
    stale: boolean;
    networks: readonly Network[] | undefined;
    interfaces: ReadonlySet<string>;
    counters: Map<Family, RuleCounters>;
  };
  /** Pinned drops: what stands of them. */
  readonly pins: PinState;
  /** The rules that keep guests open: whether they are wanted. */
  readonly openGuests: OpenGuestsState;
  /** User parts of known boot files, by file name. */
  readonly bootParts: (family: Family) => Promise<ReadonlyMap<string, UserPart>>;
}

export interface PassRequest {
  /** What asked for it, for the journal: `event`, `settled`, `libvirt quiet`, `hand`, `spool`, `backstop`, `start`. */
  readonly trigger: string;
  readonly mode: Mode;
  readonly dryRun: boolean;
  /** Tables to look at; undefined: all of both families. The fast lane names the one that was touched. */
  readonly scope: readonly { readonly family: Family; readonly table: TableName }[] | undefined;
  /** What events say, per family; undefined: no events. */
  readonly summaries: ((family: Family) => ReadonlyMap<TableName, ChangeSummary>) | undefined;
  /** The same of native tables, by key (`inet filter`); undefined: no events. */
  readonly native?: ReadonlyMap<string, NativeSummary> | undefined;
  readonly burstOver: boolean;
  /** The burst has lasted for its cap: it is judged although somebody still writes. */
  readonly capped?: boolean;
  /** Asked after each read, when `burstOver`: nobody has written to the user's part since the pass was asked for. */
  readonly overNow?: () => boolean;
  /** Set by the pass itself when `overNow` said no. */
  readonly overtaken?: boolean;
  /** libvirt's last known part may go back by text: it is not rebuilding by itself. */
  readonly repair: boolean;
  /** Asked before each round: libvirt may have begun to rebuild since the pass was asked for. */
  readonly repairNow?: () => boolean;
  /** libvirt wrote by its own will and is quiet: what stands of the neighbours is its word. */
  readonly neighboursQuiet: boolean;
  /** Chains (`ip filter FORWARD`) whose order is contested and left alone. */
  readonly standDown: ReadonlySet<string>;
  /** Who did it, as far as it is known, for the journal. */
  readonly by: readonly string[];
  /** The same, asked when the pass ends: the fast lane begins before the kernel has named the author. */
  readonly byNow?: () => readonly string[];
  /** The wish is the user's word, given by hand: it is put in place exactly, and nothing live speaks against it. */
  readonly authority?: 'snapshot';
}

export interface TableReport {
  /** `ip` and `ip6` for iptables' tables; a native table's own family. */
  readonly family: NftFamily;
  readonly table: TableName;
  readonly decision: DecisionKind;
  readonly evidence: readonly string[];
  /** Edits that were made, or would be, as restore lines. */
  readonly edits: readonly string[];
}

export interface Outcome {
  readonly kind: 'unchanged' | 'mended' | 'would-mend' | 'waiting-for-quiet' | 'unreadable' | 'failed';
  readonly trigger: string;
  readonly changed: boolean;
  readonly tables: readonly TableReport[];
  /** What is left now. */
  readonly drift: readonly Drift[];
  /** What this pass put right. */
  readonly mended: readonly Drift[];
  /** Id of the snapshot that a load was adopted as. */
  readonly adopted: string | undefined;
  /** Rules of the snapshot before that the adopted load does not have: `ip filter -A INPUT ...`. */
  readonly dropped: readonly string[];
  /** Names of the live texts this pass replaced: `<state>/journal/NAME.rules`. */
  readonly kept: readonly string[];
  /** Why it failed or wrote nothing. */
  readonly why: string | undefined;
  readonly by: readonly string[];
  /** Somebody wrote to the user's part while the pass ran: the burst goes on, and nothing was decided. */
  readonly overtaken?: boolean;
  readonly rounds: number;
  readonly durationMs: number;
  /** From the start of the pass to the (first) commit's return. */
  readonly committedMs: number | undefined;
}
