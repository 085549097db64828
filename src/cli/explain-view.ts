// An explanation for people. Prints nothing by itself.

import type { PacketSpec } from '../explain/packet.ts';
import type { Seat, Step, StepEnd } from '../explain/steps.ts';
import type { ExplainResult } from '../verbs/explain.ts';
import { columns, paint, type Paint } from './columns.ts';
import { safe } from './session.ts';

const COLORS: Readonly<Record<ExplainResult['verdict'], Paint>> = {
  accept: 'green',
  drop: 'red',
  reject: 'red',
  depends: 'cyan',
};

/** The path hook by hook, then the verdict; safe for a terminal. */
export function explainLines(result: ExplainResult, color: boolean): string[] {
  const { verdict, deciding, depends, unseen, notes } = result;
  const how = result.path.flatMap(({ ends }) => ends).find((end) => end.kind === verdict && end.how !== undefined)?.how;
  const rows: [string, string][] = [
    ['verdict', paint(verdict, COLORS[verdict], color) + (how === undefined ? '' : ` (${safe(how)})`)],
    ...(deciding === undefined ? [] : [['decided by', safe(seatText(deciding))] as [string, string]]),
    ...depends.map(({ why, at }): [string, string] => [
      // Where every way ends the same, what is open does not matter.
      verdict === 'depends' ? 'depends on' : 'not known',
      safe(at === undefined ? why : `${why}, in ${seatText(at)}`),
    ]),
    ...unseen.map((table): [string, string] => ['not looked at', safe(`table ${table}`)]),
    ...notes.map((note): [string, string] => ['note', safe(note)]),
  ];
  return [safe(packetText(result.packet)), '', ...pathLines(result.path), columns(rows)];
}

/** `tcp from 203.0.113.9 to 192.168.122.10:22 in eth0 state new` */
export function packetText({ family, protocol, src, sport, dst, dport, iif, oif, ctState }: PacketSpec): string {
  const end = (address: string | undefined, port: number | undefined): string => {
    const shown = address ?? 'anywhere';
    return port === undefined
      ? shown
      : family === 'ip6' && address !== undefined
        ? `[${shown}]:${port}`
        : `${shown}:${port}`;
  };
  const words = [
    protocol ?? '',
    src === undefined && sport === undefined ? '' : `from ${end(src, sport)}`,
    `to ${end(dst, dport)}`,
    iif === undefined ? '' : `in ${iif}`,
    oif === undefined ? '' : `out ${oif}`,
    `state ${ctState ?? 'any'}`,
  ];
  return words.filter((word) => word !== '').join(' ');
}

/** `ip filter FORWARD 3 (libvirt): -A FORWARD -j LIBVIRT_FWI` */
function seatText({ family, table, chain, number, owner, text }: Seat): string {
  const place = [family, table, chain, ...(number === undefined ? [] : [String(number)])].join(' ');
  return `${place}${owner === undefined ? '' : ` (${owner})`}: ${text}`;
}

/** One block a hook; all blocks have the same columns. */
function pathLines(path: readonly Step[]): string[] {
  const rows = path.flatMap((step) => stepRows(step).map((cells) => ({ heading: headingOf(step), cells })));
  const aligned = columns(
    rows.map(({ cells }) => cells.map(safe)),
    '  ',
  ).split('\n');
  const lines: string[] = [];
  rows.forEach(({ heading }, at) => {
    if (heading !== rows[at - 1]?.heading) lines.push(...(at === 0 ? [] : ['']), heading);
    lines.push(aligned[at] ?? '');
  });
  return rows.length === 0 ? [] : [...lines, ''];
}

const headingOf = ({ hook, in: iif, out: oif }: Step): string =>
  [
    hook,
    ...(iif === undefined || hook === 'postrouting' ? [] : [`in ${iif}`]),
    ...(oif === undefined ? [] : [`out ${oif}`]),
  ].join(', ');

/** The rules that match; the policy when that is how the packet leaves; below a NAT rule what it does. */
function stepRows({ rules, ends, family, table }: Step): string[][] {
  const place = (chain: string): string => `${family} ${table} ${chain}`;
  const isEnd = (end: StepEnd, seat: Seat): boolean => end.chain === seat.chain && end.number === seat.number;
  return [
    ...rules.flatMap((rule) => {
      const change = ends.find((end) => end.translated !== undefined && isEnd(end, rule))?.translated;
      const row = [place(rule.chain), `${rule.number}${rule.certain ? '' : '?'}`, rule.owner ?? '', rule.text];
      return change === undefined ? [row] : [row, ['', '', '', `-> ${change}`]];
    }),
    ...ends
      .filter(({ number }) => number === undefined)
      .map((end) => [place(end.chain), end.certain ? '' : '?', '', end.text]),
  ];
}
