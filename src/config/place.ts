// Where a key stands in the text of a configuration file; smol-toml does not say. Pure.

/** 1-based. */
export interface Spot {
  readonly line: number;
  readonly column: number;
}

/** Lists of tables: `[[owners]]`. */
export type EntryList = 'owners' | 'netns' | 'order';

/** Where a key is set. `[libvirt]` then `repair = ...`, or `libvirt.repair = ...`. */
export function placeOf(text: string, key: string): Spot {
  let section = '';
  for (const [index, source] of text.split('\n').entries()) {
    section = /^\s*\[\s*([\w.-]+)\s*\]/.exec(source)?.[1] ?? section; // [libvirt]
    const [, indent = '', name] = /^(\s*)([\w."'-]+(?:\s*\.\s*[\w"'-]+)*)\s*=/.exec(source) ?? []; // repair = true
    if (name === undefined) continue;
    const full = `${section === '' ? '' : `${section}.`}${name.replace(/[\s"']/g, '')}`;
    if (full === key || key.startsWith(`${full}.`)) return { line: index + 1, column: indent.length + 1 };
  }
  return { line: 1, column: 1 };
}

/** Where a key of the n-th `[[owners]]`, `[[netns]]` or `[[order]]` stands; without a key, or without that key, the line of the entry itself. */
export function placeOfEntry(text: string, list: EntryList, entry: number, key: string | undefined): Spot {
  const lines = text.split('\n');
  const heads = lines.flatMap((line, index) => (isHead(line, list) ? [index] : [])); // [[owners]]
  const head = heads[entry] ?? lines.findIndex((line) => /^\s*\[?\s*(\w+)/.exec(line)?.[1] === list); // owners = [{ name = "acme" }]
  for (let at = head + 1; key !== undefined && at < lines.length && !/^\s*\[/.test(lines[at] ?? ''); at++) {
    const [, indent = '', name] = /^(\s*)["']?([\w-]+)["']?\s*=/.exec(lines[at] ?? '') ?? []; // comment = "acme:*"
    if (name === key) return { line: at + 1, column: indent.length + 1 };
  }
  return { line: Math.max(0, head) + 1, column: 1 };
}

const isHead = (line: string, list: string): boolean => /^\s*\[\[\s*(\w+)\s*\]\]/.exec(line)?.[1] === list; // [[owners]]
