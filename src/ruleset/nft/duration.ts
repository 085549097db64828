// Times as nft prints them: `1d2h3m4s5ms` (datatype.c, time_print and time_parse). Pure.

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const;

/** `29m59s920ms`, `1w`, `100` (a bare number is seconds) */
const DURATION = /^(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$/;

/** In ms; undefined for a text that is no time. */
export function parseDuration(text: string): number | undefined {
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const found = text === '' ? null : DURATION.exec(text);
  if (found === null) return undefined;
  const [weeks = 0, ...rest] = found.slice(1).map((digits) => Number(digits ?? 0));
  return rest.reduce((sum, count, index) => sum + count * (UNITS[index]?.[1] ?? 0), weeks * 7 * 86_400_000);
}

/** Of a time in ms, rounded down; `0s` for nothing. */
export function formatDuration(durationMs: number): string {
  let rest = Math.floor(durationMs);
  let text = '';
  for (const [unit, sizeMs] of UNITS) {
    const count = Math.floor(rest / sizeMs);
    rest -= count * sizeMs;
    if (count > 0) text += `${count}${unit}`;
  }
  return text === '' ? '0s' : text;
}
