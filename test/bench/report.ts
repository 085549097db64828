// What was measured beside its floor, and whether the aim was met. Nothing here knows what is measured.

import { round } from './stats.ts';

export interface Row {
  readonly what: string;
  readonly unit: string;
  readonly measured: number;
  /** The same work done by the least program that could do it, in the same run. */
  readonly floor: number | undefined;
  /** Largest `ratio` (or `measured`, for the unit's own aims) that is good enough; undefined: for information. */
  readonly aim: { readonly of: 'ratio' | 'measured'; readonly most: number } | undefined;
  readonly samples: number;
  readonly note?: string;
}

export interface Reporter {
  add(row: Row): void;
  /** A line that says what is going on. */
  progress(text: string): void;
  readonly rows: readonly Row[];
}

export function createReporter(json: boolean): Reporter {
  const rows: Row[] = [];
  return {
    rows,
    add: (row) => void rows.push(row),
    // Progress is for people who wait: never in the data.
    progress: (text) => void (json ? process.stderr : process.stdout).write(`... ${text}\n`),
  };
}

export function ratioOf({ measured, floor }: Row): number | undefined {
  return floor === undefined || floor === 0 ? undefined : measured / floor;
}

export function verdictOf(row: Row): 'ok' | 'MISSED' | '' {
  if (row.aim === undefined) return '';
  const value = row.aim.of === 'ratio' ? (ratioOf(row) ?? Number.NaN) : row.measured;
  return value <= row.aim.most ? 'ok' : 'MISSED';
}

export function printTable(rows: readonly Row[]): string {
  const cells = [['', 'measured', 'floor', 'ratio', 'aim', '', 'n', ''], ...rows.map(cellsOf)];
  const widths = [0, 1, 2, 3, 4, 5, 6].map((column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells
    .map((row) =>
      row
        .map((cell, at) => pad(cell, widths[at], at))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function cellsOf(row: Row): string[] {
  const ratio = ratioOf(row);
  const aim = row.aim === undefined ? '' : `<= ${row.aim.most}${row.aim.of === 'ratio' ? 'x' : ` ${row.unit}`}`;
  const floor = row.floor === undefined ? '' : `${round(row.floor)} ${row.unit}`;
  return [
    row.what,
    `${round(row.measured)} ${row.unit}`,
    floor,
    ratio === undefined ? '' : `${ratio.toFixed(2)}x`,
    aim,
    verdictOf(row),
    String(row.samples),
    row.note ?? '',
  ];
}

function pad(cell: string, width: number | undefined, column: number): string {
  const isText = column === 0 || column === 5 || column === 7;
  return isText ? cell.padEnd(width ?? 0) : cell.padStart(width ?? 0);
}

export function toJson(rows: readonly Row[]): string {
  return JSON.stringify(
    { schema: 1, rows: rows.map((row) => ({ ...row, ratio: ratioOf(row), verdict: verdictOf(row) })) },
    undefined,
    2,
  );
}
