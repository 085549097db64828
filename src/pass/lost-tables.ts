// What a pass says of neighbours' native tables that are gone: asked before anything is remembered anew, remembered with it.

import { type ForeignTables, foreignTables, lostTables } from '../merge/lost-tables.ts';
import { runningOf } from '../observe/running.ts';
import { DAEMONS } from '../owners/daemons.ts';
import type { OwnerId } from '../ruleset/user-part.ts';
import type { Ending } from './ending.ts';
import type { NativeEnding } from './native.ts';
import { isWiped } from './remember.ts';
import type { PassContext, PassRequest } from './types.ts';
import { FAMILIES } from '../ruleset/types.ts';

/** The lost tables as of this pass; what it saw is remembered, unless it only looks. */
export async function lostTablesAfter(
  context: PassContext,
  request: PassRequest,
  ending: Ending,
  native: NativeEnding,
): Promise<ForeignTables> {
  const { memory } = context;
  const [known, before] = [mapOf(memory.foreignTables), mapOf(memory.lostTables)];
  if (native.kind !== 'seen' || native.names === undefined || !request.burstOver) return before;
  const now = foreignTables(native.names);
  const isActive = await activeAmong(context, new Map([...known, ...before]), now);
  const { wiped, writers } = wipingOf(request, ending, native);
  const lost = lostTables({ known, lost: before, now, wiped, writers, isActive });
  if (!request.dryRun && memory.snapshotId !== undefined) await save(context, now, lost);
  return lost;
}

const mapOf = (tables: Readonly<Record<string, string>> = {}): ForeignTables => new Map(Object.entries(tables));

async function save({ memory, files }: PassContext, now: ForeignTables, lost: ForeignTables): Promise<void> {
  const next = { foreignTables: Object.fromEntries(now), lostTables: Object.fromEntries(lost) };
  const { foreignTables = {}, lostTables = {} } = memory;
  if (JSON.stringify(next) === JSON.stringify({ foreignTables, lostTables })) return;
  Object.assign(memory, next);
  await files.saveKnown(memory);
}

/** Only those whose tables are missing are looked for. */
async function activeAmong(
  { host }: PassContext,
  tables: ForeignTables,
  now: ForeignTables,
): Promise<(owner: OwnerId) => boolean> {
  const missing = [...tables].filter(([key]) => !now.has(key)).map(([, owner]) => owner);
  const running = await runningOf(host, new Set(missing.flatMap((owner) => DAEMONS.get(owner) ?? [])));
  return (owner) => {
    const daemon = DAEMONS.get(owner);
    return daemon === undefined || running.has(daemon);
  };
}

/** Whether somebody flushed or loaded in what this pass ends, on either engine, and which neighbours wrote. */
function wipingOf(
  request: PassRequest,
  ending: Ending,
  { decisions }: NativeEnding,
): { readonly wiped: boolean; readonly writers: ReadonlySet<OwnerId> } {
  const heard = [
    ...(request.native?.values() ?? []),
    ...FAMILIES.flatMap((family) => [...(request.summaries?.(family).values() ?? [])]),
  ];
  // A wipe that this pass has mended shows in its first round only.
  const made = ending.kind === 'unreadable' ? [] : [...ending.work.flatMap((family) => family.tables)];
  const work = [...made, ...ending.done.flatMap((each) => each.work)];
  const wiped =
    heard.some((summary) => summary.wiped || summary.replaced) ||
    decisions.some(({ kind }) => kind === 'wipe' || kind === 'load' || kind === 'replaced') ||
    work.some((each) => isWiped(each, undefined));
  return { wiped, writers: new Set(heard.flatMap((summary) => summary.writers ?? [])) };
}
