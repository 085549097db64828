// `[user] pin_owner`: the tables of pins belong to one nft of the daemon's, so that nobody else can change or flush them.
//
// Guarantees: whatever goes wrong with that nft, the pins are written: without an owner, and the report says why. When it ends by
// itself the tables stay, the next write is another nft's that takes them over in the same transaction, and `lost` asks for it.
// Does not: let the tables outlive the daemon's word: who takes pins away lets go of them first.

import { openPinOwner, type OwnedWrite, type PinOwner, whyNoOwner } from '../apply/pin-owner.ts';
import { writePins } from '../apply/pins.ts';
import { pinText } from '../plan/pin-text.ts';
import type { PassContext } from './types.ts';

/** An nft that ends so soon after its start did not work. */
const SOON_MS = 10_000;
const MOST_SOON = 3;

/** Of one process. */
export interface PinHold {
  /** Set by the daemon when the option is on. `lost`: the tables belong to nobody until pins are written again. */
  wanted: { lost(): void } | undefined;
  owner: PinOwner | undefined;
  /** Why the tables belong to nobody although they should. */
  why: string | undefined;
  /** Whether nft and the kernel have what it takes; undefined: not asked yet. */
  able: boolean | undefined;
  /** How often in a row nft ended soon. */
  ends: number;
}

export const newPinHold = (): PinHold => ({
  wanted: undefined,
  owner: undefined,
  why: undefined,
  able: undefined,
  ends: 0,
});

type Context = Pick<PassContext, 'host' | 'pins'>;
type Tables = Parameters<typeof pinText>[0];

/** Undefined when it is done, otherwise what nft said. */
export async function writeOwned(context: Context, tables: Tables, mark: string): Promise<string | undefined> {
  const { hold } = context.pins;
  const stands = tables.some(({ plan }) => plan.chains.length > 0);
  if (stands && hold.wanted !== undefined && (await isAble(context))) {
    const write = await writeByOwner(context, pinText(tables, mark, { owned: true }));
    say(context, write.kind === 'done' ? undefined : write.why);
    if (write.kind === 'done') return undefined;
  }
  await letGoOfPins(context);
  return writePins(context.host, tables, mark);
}

/** Ends our nft: the tables stay, and anybody may change them. */
export async function letGoOfPins({ pins: { hold } }: Context): Promise<void> {
  const { owner } = hold;
  hold.owner = undefined;
  await owner?.release();
}

async function isAble(context: Context): Promise<boolean> {
  const { hold } = context.pins;
  if (hold.able === undefined) {
    const why = await whyNoOwner(context.host);
    hold.able = why === undefined;
    say(context, why);
  }
  return hold.able;
}

async function writeByOwner(context: Context, text: string): Promise<OwnedWrite> {
  const write = await ownerOf(context).write(text);
  if (write.kind !== 'ended') return write;
  // Its end says nothing about the text.
  await letGoOfPins(context);
  return ownerOf(context).write(text);
}

function ownerOf({ host, pins }: Context): PinOwner {
  const { hold } = pins;
  if (hold.owner !== undefined) return hold.owner;
  const startedMs = host.clock.monoMs();
  const owner = openPinOwner(host, (reason) => {
    if (hold.owner === owner) hold.owner = undefined;
    hold.ends = host.clock.monoMs() - startedMs < SOON_MS ? hold.ends + 1 : 0;
    if (hold.ends >= MOST_SOON) hold.able = false;
    const why = `nft -i ended${hold.able === true ? '' : ` ${hold.ends} times`}: ${reason}`;
    say({ host, pins }, why);
    if (pins.report.owner !== undefined) pins.report = { ...pins.report, owner: { held: false, why } };
    hold.wanted?.lost();
  });
  hold.owner = owner;
  return owner;
}

/** Each reason once. */
function say({ host, pins: { hold } }: Context, why: string | undefined): void {
  if (why !== undefined && why !== hold.why)
    host.log.write('warning', `the tables of pinned drops belong to nobody: ${why}`);
  hold.why = why;
}
