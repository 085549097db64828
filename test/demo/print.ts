// Words on the screen. Colour only on a terminal that wants it.

const COLOUR = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
const paint = (code: string, text: string): string => (COLOUR ? `\u001b[${code}m${text}\u001b[0m` : text);

export const bold = (text: string): string => paint('1', text);
export const dim = (text: string): string => paint('2', text);
export const red = (text: string): string => paint('31', text);
export const green = (text: string): string => paint('32', text);

export function say(text = ''): void {
  process.stdout.write(text + '\n');
}

/** At most `limit` lines of a difference, the rest counted. */
export function sayDifference(lines: readonly string[], limit: number): void {
  for (const line of lines.slice(0, limit)) say('    ' + (line.startsWith('-') ? red(line) : green(line)));
  if (lines.length > limit) say(dim(`    ... and ${lines.length - limit} lines more`));
}

/** `0` for nothing, whole ms for the rest. */
export function ms(value: number): string {
  return value < 1 ? '0' : `${Math.round(value)} ms`;
}

/** Columns without borders, the first to the left, the others to the right. Widths are those of the bare texts. */
export function sayTable(rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  rows.forEach((row, index) => {
    const cells = row.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
    );
    const line = '  ' + cells.join('  ');
    say(index === 0 ? bold(line) : line.endsWith(' NO') ? red(line) : line);
  });
}
