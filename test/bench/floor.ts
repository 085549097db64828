// The floor program, armed and asked from the bench.

import { fileURLToPath } from 'node:url';

import { run, type Running, start } from './world.ts';

const PROGRAM = fileURLToPath(new URL('./floor.mjs', import.meta.url));

/** `full`, `native`: save and restore of everything; `edit`: save of one table and the smallest edit. See floor.mjs. */
export type FloorKind = 'full' | 'edit' | 'native';

/** Starts it, and waits until it hears the kernel; `file` is the restore input. */
export async function startFloor(kind: FloorKind, file: string): Promise<Running> {
  const floor = start(process.execPath, [PROGRAM, kind, file]);
  await floor.waitFor('ready');
  return floor;
}

/** The live ruleset as restore input, filter first: nothing stands before the table that is waited for. */
export function filterFirst(): string {
  const tables = run('iptables-save', []).split(/^(?=\*)/m);
  const isFilter = (table: string): boolean => table.startsWith('*filter');
  return [...tables.filter(isFilter), ...tables.filter((table) => table.startsWith('*') && !isFilter(table))].join('');
}
