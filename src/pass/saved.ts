// The tables of ebtables and arptables in a pass: the same line as for native tables, with their own tools at both ends.
// Guarantees: ebtables' tables are written rule by rule under a lock, so no neighbour's rule (nwfilter's, neutron's) is; a rule that the
// tool refuses waits, and the rest is loaded; after a commit the tables are read again, and need no edit.
// Does not: run in the fast lane, lock arptables' tables (its restore program replaces them whole), or write an unread table.

import { applySaved, lockSaved, unlockSaved } from '../apply/apply-saved.ts';
import { type ClassifiedNative, classifyNative, isLeftAlone, withUnread } from '../classify/classify-native.ts';
import { usersSaved } from '../classify/classify-saved.ts';
import { decideSaved } from '../merge/decide-saved.ts';
import type { NativeDecision } from '../merge/decide-native.ts';
import { nativeDrift } from '../merge/native-drift.ts';
import { readSaved } from '../observe/saved-read.ts';
import { isSentinel } from '../owners/mendwall.ts';
import { type NativeEdit, type NativePlan, type NativeWaiting, withoutHeld } from '../plan/native-plan.ts';
import { planSaved, type SavedLine } from '../plan/saved-plan.ts';
import { isSameTable, type NativePart } from '../ruleset/nft/native-part.ts';
import { isSavedKey, isTrivial, printSavedTable, type SavedFamily } from '../ruleset/nft/saved.ts';
import { chainsOf, type NftTable } from '../ruleset/nft/types.ts';
import { type NativeEnding, NOT_LOOKED } from './native.ts';
import { asOfNow } from './native-commit.ts';
import { narrowed, see, type SeenNative, whatIsLeft } from './native-see.ts';
import type { PassContext, PassRequest } from './types.ts';

/** A table takes two: one for its lock. */
const MOST_ROUNDS = 9;
const MOST_HELD = 200;

/** Runs this part of a pass. `names`: what `nft list flowtables` printed just now; undefined: nothing can be told. */
export async function walkSaved(
  whole: PassContext,
  request: PassRequest,
  names: string | undefined,
): Promise<NativeEnding> {
  if (request.scope !== undefined || names === undefined) return NOT_LOOKED;
  const context = narrowed(whole, isSavedKey);
  if (context.memory.wish.native.size === 0 && !/^table (?:bridge|arp) /m.test(names))
    return { ...NOT_LOOKED, kind: 'seen', wish: new Map() };
  const state: Walk = {
    ending: { ...NOT_LOOKED, kind: 'seen' },
    asked: request,
    held: undefined,
    classified: new Map(),
  };
  for (let round = 1; round <= MOST_ROUNDS; round++) {
    state.classified = await look(context, round === 1 ? names : undefined);
    const step = await oneRound(context, state);
    if (step !== 'again') return unlocked(context, state, step);
  }
  return unlocked(context, state, {
    ...state.ending,
    kind: 'failed',
    why: 'the bridge and ARP tables changed again after each commit',
  });
}

interface Walk {
  ending: NativeEnding;
  asked: PassRequest;
  classified: ClassifiedNative;
  /** What was decided before a lock was made; it stands while the user's part does. */
  held: { readonly live: NativePart; readonly seen: SeenNative } | undefined;
}

async function look({ host }: PassContext, names: string | undefined): Promise<ClassifiedNative> {
  const said = names ?? (await host.exec({ file: 'nft', args: ['list', 'flowtables'] })).stdout;
  const { tables, unread } = await readSaved(host, said);
  return withUnread(classifyNative(tables), unread);
}

/** The user's part of what stands, also where nothing of it is left: an emptied table is not a deleted one. */
function liveOf(classified: ClassifiedNative): NativePart {
  const read = [...classified.values()].filter((each) => !isLeftAlone(each));
  return new Map(read.map(({ key, table }) => [key, usersSaved(table)]));
}

async function oneRound(context: PassContext, state: Walk): Promise<NativeEnding | 'again'> {
  const asked = asOfNow(state.asked);
  if (asked !== state.asked) state.ending = { ...state.ending, overtaken: true };
  state.asked = asked;
  const live = liveOf(state.classified);
  const isHeld = state.held !== undefined && isSameLive(state.held.live, live);
  const seen = isHeld && state.held !== undefined ? { ...state.held.seen, live } : judge(context, state, live);
  if (state.ending.done.length === 0) state.ending = { ...state.ending, decisions: seen.decisions };
  state.ending = { ...state.ending, classified: state.classified };
  const edits = editsOf(seen, state);
  if (edits.length === 0 || readsOnly(context, state.asked)) return ended(context, state, seen, edits);
  if (await lockAll(context, state, edits)) {
    state.held = { live, seen };
    return 'again';
  }
  state.held = undefined;
  return commitAll(context, state, edits);
}

const judge = (context: PassContext, { asked, classified, ending }: Walk, live: NativePart): SeenNative =>
  see(context, asked, classified, ending, { live, decide: decideSaved });

const readsOnly = ({ memory }: PassContext, { mode, dryRun }: PassRequest): boolean =>
  mode === 'observe' || dryRun || memory.snapshotId === undefined;

/** A table that says nothing is as good as none: the lock makes one. */
function isSameLive(before: NativePart, now: NativePart): boolean {
  const said = (part: NativePart): NativePart => new Map([...part].filter(([, table]) => !isTrivial(table)));
  const [a, b] = [said(before), said(now)];
  return a.size === b.size && [...a].every(([key, table]) => isSameTable(table, b.get(key)));
}

interface Edit extends NativeEdit {
  readonly lines: readonly SavedLine[];
  readonly live: NftTable | undefined;
}

function editsOf({ tried }: SeenNative, { classified, ending }: Walk): Edit[] {
  return tried.flatMap((decision) => editOf(decision, classified.get(decision.key)?.table, ending.waiting));
}

function editOf(
  { key, kind, next }: NativeDecision,
  live: NftTable | undefined,
  held: readonly NativeWaiting[],
): Edit[] {
  if (kind === 'wait') return [];
  const mine = held.filter((each) => each.key === key);
  const table = next === undefined ? undefined : withoutHeld(next, mine);
  const lines =
    live !== undefined && table !== undefined && isSameTable(usersSaved(live), table) ? [] : planSaved(live, table);
  if (lines.length === 0 || (live === undefined && table !== undefined && isTrivial(table))) return [];
  const how = table === undefined ? 'delete' : live === undefined ? 'create' : 'replace';
  return [{ kind: how, key, table, lines, live }];
}

/** ebtables' tables get a lock; true when one was made: what it guards is to be read after it. */
async function lockAll(context: PassContext, { classified }: Walk, edits: readonly Edit[]): Promise<boolean> {
  let made = false;
  for (const { key } of edits) {
    const [family, table = ''] = key.split(' ');
    if (family !== 'bridge' || lockIn(classified.get(key)?.table) !== undefined) continue;
    made = (await lockSaved(context.host, table, newMark(context))).kind === 'committed' || made;
  }
  return made;
}

const lockIn = (table: NftTable | undefined): string | undefined =>
  table === undefined ? undefined : chainsOf(table).find(isSentinel)?.name;

function newMark({ nonce, ownSentinels }: PassContext): string {
  const name = `mw-${nonce()}`;
  ownSentinels.add(name);
  return name;
}

async function commitAll(context: PassContext, state: Walk, edits: readonly Edit[]): Promise<NativeEnding | 'again'> {
  const kept = await keepTexts(context, edits);
  state.ending = { ...state.ending, kept: [...state.ending.kept, ...kept] };
  if (asOfNow(state.asked) !== state.asked) return 'again';
  for (const edit of edits) {
    const [family, table = ''] = edit.key.split(' ');
    const commit = {
      family: family as SavedFamily,
      table,
      lines: edit.lines,
      lock: lockIn(edit.live),
      mark: newMark(context),
    };
    const result = await applySaved(context.host, commit);
    if (result.kind === 'failed') return { ...state.ending, kind: 'failed', why: `${edit.key}: ${result.said}` };
    if (result.kind === 'committed') state.ending = withDone(state.ending, edit);
    if (result.kind !== 'refused') continue;
    const { chain = '', rule: text = '' } = result.line;
    state.ending = {
      ...state.ending,
      waiting: [...state.ending.waiting, { key: edit.key, chain, text, why: result.said }],
    };
  }
  const isTooMuch = state.ending.waiting.length > MOST_HELD;
  return isTooMuch ? { ...state.ending, kind: 'failed', why: 'too many rules are refused' } : 'again';
}

function withDone(ending: NativeEnding, { kind, key, table, lines }: Edit): NativeEnding {
  const rules = lines.filter(({ rule }) => rule !== undefined).length;
  const evidence = kind === 'create' ? `the table was gone, with ${rules} rules` : kind;
  return {
    ...ending,
    done: [...ending.done, { kind, key, table }],
    mended: [...ending.mended, nativeDrift('lost', key, '', '', evidence)],
  };
}

/** The journal holds the text of each table that is changed, as its tool saves it. */
async function keepTexts({ journal }: PassContext, edits: readonly Edit[]): Promise<string[]> {
  const texts = edits.flatMap(({ key, live }) => (live === undefined ? [] : `# ${key}\n${printSavedTable(live)}`));
  return texts.length === 0 ? [] : [await journal.keepText(texts.join(''))];
}

function ended(
  context: PassContext,
  { classified, ending, asked }: Walk,
  seen: SeenNative,
  edits: readonly Edit[],
): NativeEnding {
  const untried = readsOnly(context, asked) ? (context.memory.waitingNative ?? []) : [];
  const waiting = [...ending.waiting, ...untried.filter(({ key, text }) => !doesStand(seen.live.get(key), text))];
  const left = edits.map(({ kind, key, table }): NativeEdit => ({ kind, key, table }));
  const mends = left.map(({ kind, key }) => nativeDrift('lost', key, '', '', kind));
  const plan: NativePlan = { edits: left, input: '', refused: [], mends };
  return { ...ending, waiting, left, ...whatIsLeft(context, classified, seen, { plan, waiting }) };
}

const doesStand = (table: NftTable | undefined, text: string): boolean =>
  table !== undefined && chainsOf(table).some(({ rules }) => rules.some((rule) => rule.text === text));

/** Nothing of the locks is left behind. */
async function unlocked(
  context: PassContext,
  { asked, classified }: Walk,
  ending: NativeEnding,
): Promise<NativeEnding> {
  if (readsOnly(context, asked)) return ending;
  for (const { key, table } of classified.values())
    for (const chain of key.startsWith('bridge ') ? chainsOf(table).filter(isSentinel) : [])
      await unlockSaved(context.host, table.name, chain.name);
  return ending;
}
