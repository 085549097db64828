// Priorities of base chains by name. Pure.

import type { NftFamily } from './types.ts';

/** nft(8), "Standard priority names, family and hook compatibility matrix". */
const NAMES: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  dstnat: -100,
  filter: 0,
  security: 50,
  srcnat: 100,
};
const BRIDGE_NAMES: Readonly<Record<string, number>> = { dstnat: -300, filter: -200, out: 100, srcnat: 300 };

/** `filter - 5`, `dstnat + 1`, `-450`, `raw` */
const PRIORITY = /^(?:(-?\d+)|([a-z]+)(?: ?([+-]) ?(\d+))?)$/;

/** Undefined for a name that is none of the family's. Lower runs first. */
export function priorityNumber(text: string, family: NftFamily): number | undefined {
  const found = PRIORITY.exec(text);
  if (found === null) return undefined;
  const [, number, name = '', sign, offset = '0'] = found;
  if (number !== undefined) return Number(number);
  const base = (family === 'bridge' ? BRIDGE_NAMES : NAMES)[name];
  return base === undefined ? undefined : sign === '-' ? base - Number(offset) : base + Number(offset);
}
