// Which packets change verdict, for people: packets, what they got, what they get. Prints nothing by itself.

import type { PacketClass, SaidFate } from '../explain/symbolic/summary.ts';
import { paint } from './columns.ts';
import { safe } from './session.ts';

/** More are counted, not shown. */
const MOST_CLASSES = 20;
const MOST_PACKETS = 6;

/** Safe for a terminal. */
export function effectLines(
  { complete, classes }: { readonly complete: boolean; readonly classes: readonly PacketClass[] },
  color: boolean,
): string[] {
  const more = classes.length - MOST_CLASSES;
  return [
    ...classes.slice(0, MOST_CLASSES).flatMap((each) => classLines(each, color)),
    ...(more > 0 ? [`and ${more} more (--json shows all)`] : []),
    ...(complete ? [] : ['not complete: the rulesets differ too much to be compared wholly']),
    ...(complete && classes.length === 0 ? ['no packet changes its verdict'] : []),
  ];
}

function classLines(found: PacketClass, color: boolean): string[] {
  const { family, packets, exceptEarlier, before, after, dependsOn, sure } = found;
  const more = packets.length - MOST_PACKETS;
  return [
    ...packets.slice(0, MOST_PACKETS).map((text) => paint(safe(`${family} ${text}`), 'bold', color)),
    ...(more > 0 ? [`  and ${more} more kinds of packets`] : []),
    ...(exceptEarlier ? ['  but for what earlier rules decide'] : []),
    `  was ${fateText(before)}`,
    `  now ${fateText(after)}`,
    ...dependsOn.map((why) => `  depends on ${safe(why)}`),
    ...(sure ? [] : ['  whether there is such a packet was not found out']),
  ];
}

/** `REJECT (libvirt, filter LIBVIRT_FWI 2): -A LIBVIRT_FWI ...` */
function fateText({ verdict, decidedBy, translated }: SaidFate): string {
  const nat = translated.length === 0 ? '' : `, ${translated.join(', ')}`;
  if (decidedBy === undefined) return safe(`${verdict.toUpperCase()}${nat} (no rule stops it)`);
  const { owner, table, chain, number, text } = decidedBy;
  const place = [table, chain, ...(number === undefined ? [] : [String(number)])].join(' ');
  return safe(
    `${verdict.toUpperCase()}${nat} (${[...(owner === undefined ? [] : [owner]), place].join(', ')}): ${text}`,
  );
}
