// Borderless aligned columns, and the few colours. Pure.

/** Rows as aligned columns, two blanks between; the last column is not padded. */
export function columns(rows: readonly (readonly string[])[], indent = ''): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, at) => (widths[at] = Math.max(widths[at] ?? 0, cell.length)));
  return rows
    .map(
      (row) =>
        indent +
        row
          .map((cell, at) => (at === row.length - 1 ? cell : cell.padEnd(widths[at] ?? 0)))
          .join('  ')
          .trimEnd(),
    )
    .join('\n');
}

export type Paint = 'red' | 'green' | 'cyan' | 'bold';

const CODES: Readonly<Record<Paint, string>> = { red: '31', green: '32', cyan: '36', bold: '1' };

export function paint(text: string, how: Paint, color: boolean): string {
  return color ? `\u001b[${CODES[how]}m${text}\u001b[0m` : text;
}

/** `1 rule`, `3 rules` */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

/** `v4 12, v6 8`, and with native tables `v4 12, v6 8, native 5`. */
export function ruleCounts(rules: { readonly ip: number; readonly ip6: number; readonly native?: number }): string {
  return `v4 ${rules.ip}, v6 ${rules.ip6}${rules.native === undefined ? '' : `, native ${rules.native}`}`;
}

/** `2026-11-20 20:41:05` in local time. */
export function localTime(iso: string): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return iso;
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** `30m`, `90s`, `2h`, `1d`, `1h30m` in ms; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  if (!/^(?:\d+[smhd])+$/.test(text)) return undefined;
  const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
  return [...text.matchAll(/(\d+)([smhd])/g)].reduce(
    (sum, [, number, unit]) => sum + Number(number) * (units[unit ?? ''] ?? 0),
    0,
  );
}
