// `accept`: what mendwall took for damage, a wipe or somebody else's ruleset was meant.
// For a `replaced` ruleset the rules as they stand become the snapshot. For a pass that undid a change of the user's: what
// that pass put in is taken out again, what it took out comes back, and the result becomes the snapshot.

import { classifyNative, userNativeOf } from '../classify/classify-native.ts';
import { runPass } from '../pass.ts';
import type { Outcome, PassContext, TableReport } from '../pass/types.ts';
import type { JournalEntry } from '../record/journal-files.ts';
import type { NativePart } from '../ruleset/nft/native-part.ts';
import { parseNft } from '../ruleset/nft/parse.ts';
import { type Item, ruleTexts, type UserChain, type UserPart, type UserTable } from '../ruleset/user-part.ts';
import { handRequest } from './hand.ts';
import { entryId, findEntry } from './log.ts';
import { takeAndApply } from './restore.ts';
import { noSnapshot, type Refusal, refused, type World } from './types.ts';

export interface AcceptArgs {
  /** A pass as `log` names it; undefined: the replaced ruleset if there is one, else the last pass that undid something. */
  readonly pass: string | undefined;
  readonly dryRun: boolean;
}

export interface AcceptResult {
  readonly kind: 'accept';
  readonly changed: boolean;
  /** What was accepted, in words. */
  readonly what: string;
  /** Edits of that pass that are turned back, as they were made. */
  readonly reversed: readonly string[];
  readonly id: string | undefined;
  readonly outcome: Outcome | undefined;
}

export async function accept(world: World, args: AcceptArgs): Promise<AcceptResult | Refusal> {
  const { context } = world;
  const { memory } = context;
  if (memory.snapshotId === undefined) return noSnapshot(memory);
  // What changed since the last pass becomes pending first, so that it is not lost.
  if (!args.dryRun) await runPass(context, handRequest('observe', { trigger: 'accept' }));
  if (args.pass === undefined && memory.replaced.length > 0) return acceptReplaced(world, args);
  const entry = args.pass === undefined ? await lastUndoing(world) : await findEntry(world, args.pass);
  if (entry.kind === 'refused') return entry;
  return acceptPass(world, entry.entry, args);
}

async function acceptReplaced({ context }: World, args: AcceptArgs): Promise<AcceptResult> {
  const { memory } = context;
  const what = `the ruleset loaded into ${memory.replaced.join(', ')}`;
  if (args.dryRun) return { kind: 'accept', changed: false, what, reversed: [], id: undefined, outcome: undefined };
  const outcome = await takeAndApply(context, memory.wish, { trigger: 'accept', message: what, repair: false });
  return { kind: 'accept', changed: true, what, reversed: [], id: memory.snapshotId, outcome };
}

async function lastUndoing(world: World): Promise<{ readonly kind: 'entry'; readonly entry: JournalEntry } | Refusal> {
  const entries = await world.context.journal.last(1000);
  const entry = entries.findLast((each) => undone(each).length > 0);
  return entry === undefined
    ? refused(
        'nothing-to-accept',
        'no pass has undone a change of yours, and no ruleset waits to be accepted; see `mendwall log`',
      )
    : { kind: 'entry', entry };
}

/** The tables in which a pass undid a change of the user's. */
function undone(entry: JournalEntry): TableReport[] {
  if (entry['event'] !== 'pass' || entry['changed'] !== true) return [];
  const tables = Array.isArray(entry['tables']) ? (entry['tables'] as TableReport[]) : [];
  return tables.filter((table) => (table.decision === 'damage' || table.decision === 'wipe') && table.edits.length > 0);
}

async function acceptPass({ context }: World, entry: JournalEntry, args: AcceptArgs): Promise<AcceptResult | Refusal> {
  const tables = undone(entry);
  const name = entryId(entry);
  if (tables.length === 0) return refused('nothing-to-accept', `pass ${name} undid no change of yours`);
  const { memory } = context;
  const reversed: string[] = [];
  const parts = {
    ip: reverse(memory.wish.ip, tables, reversed),
    ip6: reverse(memory.wish.ip6, tables, reversed),
    native: reverseNative(memory.wish.native, tables, await textsBefore(context, entry), reversed),
  };
  const what = `the change that pass ${name} undid`;
  if (reversed.length === 0)
    return refused('nothing-to-accept', `nothing that pass ${name} put back is wanted any more`);
  if (args.dryRun) return { kind: 'accept', changed: false, what, reversed, id: undefined, outcome: undefined };
  const outcome = await takeAndApply(context, parts, {
    trigger: 'accept',
    message: what,
    repair: false,
  });
  return { kind: 'accept', changed: true, what, reversed, id: memory.snapshotId, outcome };
}

/** `create table inet filter`, its text behind it */
const CREATION = /^create table (\S+ \S+)(?:\n|$)/;

/** `delete table inet filter`, with the text behind it that came in its place */
const REPLACEMENT = /^delete table (\S+ \S+)(?:\n|$)/;

/** A native table that a pass made anew goes again; one that it replaced is as it was, where the journal still has its text. */
function reverseNative(
  part: NativePart,
  reports: readonly TableReport[],
  before: NativePart,
  reversed: string[],
): NativePart {
  const edits = reports.flatMap((report) => report.edits);
  const next = new Map(part);
  for (const key of keysIn(edits, CREATION)) if (next.delete(key)) reversed.push(`create table ${key}`);
  for (const key of keysIn(edits, REPLACEMENT)) {
    const table = before.get(key);
    if (table === undefined) continue;
    next.set(key, table);
    reversed.push(`delete table ${key}`);
  }
  return next;
}

const keysIn = (edits: readonly string[], form: RegExp): string[] =>
  edits.flatMap((edit) => form.exec(edit)?.[1] ?? []);

/** The native tables that a pass replaced, as they stood before it. */
async function textsBefore({ journal }: PassContext, entry: JournalEntry): Promise<NativePart> {
  const refs = Array.isArray(entry['kept']) ? [...(entry['kept'] as string[])] : [];
  const texts = await Promise.all(refs.reverse().map((ref) => journal.readText(ref)));
  const tables = texts.flatMap((text) => (text?.startsWith('table ') === true ? parseNft(text).tables : []));
  return userNativeOf(classifyNative(tables));
}

function reverse(part: UserPart, reports: readonly TableReport[], reversed: string[]): UserPart {
  const tables = new Map(part.tables);
  for (const report of reports.filter(({ family }) => family === part.family)) {
    const table = tables.get(report.table);
    if (table !== undefined) tables.set(report.table, reverseTable(table, report, reversed));
  }
  return { family: part.family, tables };
}

/** An edit of a journal line, as far as a user's rule may be in it. */
interface PastEdit {
  readonly kind: 'put' | 'took' | 'policy' | 'made';
  readonly chain: string;
  /** `-A CHAIN ...`, or the policy. */
  readonly text: string;
  readonly source: string;
}

function reverseTable(table: UserTable, report: TableReport, reversed: string[]): UserTable {
  const chains = new Map(table.chains);
  const edits = report.edits.map(parseEdit).filter((edit) => edit !== undefined);
  // A rule that was taken out and put in again was moved; where it stood is not known any more.
  const moved = (edit: PastEdit): boolean =>
    edits.some((other) => other.text === edit.text && other.kind !== edit.kind);
  for (const edit of edits.filter((each) => !moved(each))) {
    const chain = chains.get(edit.chain);
    if (chain === undefined) continue;
    const next = reverseInChain(chain, edit);
    if (next === chain) continue;
    reversed.push(`${report.family} ${report.table} ${edit.source}`);
    chains.set(edit.chain, next);
  }
  // A chain that the pass made anew goes again when nothing of it is left.
  for (const edit of edits)
    if (edit.kind === 'made' && ruleTexts(chains.get(edit.chain)?.items ?? []).length === 0) chains.delete(edit.chain);
  return { name: table.name, chains };
}

function reverseInChain(chain: UserChain, edit: PastEdit): UserChain {
  if (edit.kind === 'put') {
    const at = chain.items.findIndex((item) => item.kind === 'rule' && item.text === edit.text);
    return at === -1 ? chain : { ...chain, items: chain.items.filter((_, index) => index !== at) };
  }
  if (edit.kind === 'took')
    return { ...chain, items: [...chain.items, { kind: 'rule', text: edit.text } satisfies Item] };
  // A built-in chain has one of two policies.
  if (edit.kind === 'policy' && chain.policy === edit.text)
    return { ...chain, policy: edit.text === 'DROP' ? 'ACCEPT' : 'DROP' };
  return chain;
}

/** `[1:60] -I FORWARD 3 -i eth0 -j DROP`, `-A web -j ACCEPT`, `-D FORWARD -j X`, `-P FORWARD DROP`, `-N web` */
const EDIT = /^(?:\[\d+:\d+\] )?-([IADPN]) (\S+)(?: (\d+)(?= |$))?(.*)$/;

function parseEdit(source: string): PastEdit | undefined {
  const [, letter = '', chain = '', number = '', rest = ''] = EDIT.exec(source) ?? [];
  if (letter === 'I') return { kind: 'put', chain, text: `-A ${chain}${rest}`, source };
  const body = number === '' ? rest : ` ${number}${rest}`;
  if (letter === 'A') return { kind: 'put', chain, text: `-A ${chain}${body}`, source };
  if (letter === 'D') return { kind: 'took', chain, text: `-A ${chain}${body}`, source };
  if (letter === 'P') return { kind: 'policy', chain, text: body.trim(), source };
  return letter === 'N' ? { kind: 'made', chain, text: `-N ${chain}`, source } : undefined;
}
