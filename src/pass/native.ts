// The native tables of a pass: the same line (observe -> classify -> merge -> plan -> apply) beside iptables' tables.
// Guarantees: one `nft -f` for all tables; what nft refuses by its line waits, and the rest is loaded; after a commit the
// tables are read again, and need no edit. Does not: run in the fast lane (a displacement cannot happen in one's own table),
// remember (record.ts), or write any table that is not the user's.

import { type ClassifiedNative, classifyNative } from '../classify/classify-native.ts';
import { type NativeDecision, needsBootFiles } from '../merge/decide-native.ts';
import type { Drift } from '../merge/drift.ts';
import { NO_BOOT_FILES } from '../merge/native-boot.ts';
import { nativeDrift } from '../merge/native-drift.ts';
import { readNative } from '../observe/native-read.ts';
import { ownerOfNativeTable } from '../owners/index.ts';
import type { NativeEdit, NativeWaiting } from '../plan/native-plan.ts';
import type { NftLock } from '../plan/nft-replace.ts';
import type { NativePart } from '../ruleset/nft/native-part.ts';
import { isIptablesName } from '../ruleset/nft/iptables-part.ts';
import { printNftTable } from '../ruleset/nft/print.ts';
import { isSavedKey } from '../ruleset/nft/saved.ts';
import { libvirtNativeDrift } from './libvirt-native.ts';
import { readBootEvidence } from './native-boot.ts';
import { asOfNow, carryOut } from './native-commit.ts';
import { narrowed, see, type SeenNative, whatIsLeft } from './native-see.ts';
import { judgeNwfilter } from './nwfilter.ts';
import type { PassContext, PassRequest } from './types.ts';

/** A table that is replaced takes two: one for its lock. */
const MOST_ROUNDS = 9;

/** How the native tables ended. */
export interface NativeEnding {
  readonly kind: 'not-looked' | 'seen' | 'unreadable' | 'failed';
  readonly why: string | undefined;
  /** Somebody wrote while the pass ran: the burst goes on, nothing was decided. */
  readonly overtaken?: boolean;
  /** What named all tables there are, at the last read; undefined: not read. */
  readonly names?: string;
  readonly classified: ClassifiedNative;
  /** As first decided, before anything was written. */
  readonly decisions: readonly NativeDecision[];
  /** The user's tables as wanted from now on, with what waits; undefined where that is not to be remembered. */
  readonly wish: NativePart | undefined;
  readonly done: readonly NativeEdit[];
  readonly mended: readonly Drift[];
  /** What would be written (observe mode, a dry run). */
  readonly left: readonly NativeEdit[];
  readonly waiting: readonly NativeWaiting[];
  readonly drift: readonly Drift[];
  /** Names of the texts that were replaced, as the journal keeps them. */
  readonly kept: readonly string[];
}

export const NOT_LOOKED: NativeEnding = {
  kind: 'not-looked',
  why: undefined,
  classified: new Map(),
  decisions: [],
  wish: undefined,
  done: [],
  mended: [],
  left: [],
  waiting: [],
  drift: [],
  kept: [],
};

/** Runs the native part of a pass. Never throws for what nft says. */
export async function walkNative(whole: PassContext, request: PassRequest): Promise<NativeEnding> {
  if (request.scope !== undefined) return NOT_LOOKED;
  const context = narrowed(whole, (key) => !isSavedKey(key));
  let ending: NativeEnding = { ...NOT_LOOKED, kind: 'seen' };
  let asked = request;
  const locks = new Map<string, NftLock>();
  for (let round = 1; round <= MOST_ROUNDS; round++) {
    const read = await readNative(
      context.host,
      (key) => ownerOfNativeTable(key) === undefined,
      context.memory.wish.native,
    );
    if (read.kind === 'unreadable') return { ...ending, ...unreadable(read.why) };
    // Whether the tables stand cannot be told then.
    if (read.isWithoutNft && context.memory.wish.native.size > 0)
      return { ...ending, ...unreadable('nft is not installed') };
    const classified = classifyNative(read.tables, context.memory.wish.native);
    if (read.isWithoutNft !== true) ending = { ...ending, names: read.names };
    asked = asOfNow(asked);
    const seen = await seeWithBootFiles(context, asked, classified, ending);
    // What was decided before somebody else's commit came between, and nothing was done for, is no decision.
    if (ending.done.length === 0) ending = { ...ending, decisions: seen.decisions };
    if (asked !== request) ending = { ...ending, overtaken: true };
    const step = await carryOut(context, asked, classified, seen, { refused: ending.waiting, locks });
    ending = { ...ending, classified, waiting: step.waiting, kept: [...ending.kept, ...step.kept] };
    if (step.kind === 'again') {
      ending = {
        ...ending,
        done: [...ending.done, ...step.plan.edits],
        mended: [...ending.mended, ...step.plan.mends],
      };
      continue;
    }
    if (step.kind === 'raced') continue;
    if (step.kind === 'failed') return { ...ending, kind: 'failed', why: step.why };
    return { ...ending, left: step.plan.edits, ...whatIsLeft(context, classified, seen, step) };
  }
  return { ...ending, kind: 'failed', why: 'the native tables changed again after each commit' };
}

/** With libvirt's own tables judged: by then the pass has read its networks, and the user's tables stand. */
export async function withLibvirtsTables(
  context: PassContext,
  request: PassRequest,
  ending: NativeEnding,
): Promise<NativeEnding> {
  const { host, cache } = context;
  if (request.scope !== undefined || !request.burstOver) return ending;
  const { drift, why } = await libvirtNativeDrift(host, cache.networks, ending.names);
  const filters = await judgeNwfilter(context, request, ending);
  const unread =
    why === undefined ? [] : [{ ...nativeDrift('unreadable', 'ip libvirt_network', '', '', why), owner: 'libvirt' }];
  return { ...ending, drift: [...ending.drift, ...drift, ...unread, ...filters] };
}

const unreadable = (why: string): Partial<NativeEnding> => ({
  kind: 'unreadable',
  why,
  drift: [{ ...nativeDrift('unreadable', 'inet ', '', '', why), owner: 'unknown' }],
});

/** Boot files are looked at only where they may tell a load. */
async function seeWithBootFiles(
  context: PassContext,
  request: PassRequest,
  classified: ClassifiedNative,
  so: Pick<NativeEnding, 'done' | 'waiting'>,
): Promise<SeenNative> {
  const seen = see(context, request, classified, so, { boot: NO_BOOT_FILES });
  if (!needsBootFiles(seen.situation, seen.decisions)) return seen;
  const boot = await readBootEvidence(context.host, seen.live);
  return boot.files.length === 0 ? seen : see(context, request, classified, so, { boot });
}

/**
 * The edit as nft would take it, for the journal and for people: the table's new text behind what makes room for it. A table under a
 * name of iptables' is not deleted.
 */
export const describeEdit = ({ kind, key, table }: NativeEdit): string => {
  const gone = isIptablesName(key) ? `delete native chains of table ${key}` : `delete table ${key}`;
  return `${kind === 'create' ? `create table ${key}` : gone}${table === undefined ? '' : `\n${printNftTable(table).trimEnd()}`}`;
};
