// The tables of docs/owners.md, from the data. `npx tsx test/docs/owners-table.ts` prints them, for pasting after a change.

import { fileURLToPath } from 'node:url';
import { NEIGHBOURS } from '../../src/owners/index.ts';
import type { Neighbour } from '../../src/owners/types.ts';

const code = (text: string): string => `\`${text}\``;

/** By what its rules are told. */
function signature(owner: Neighbour): string {
  const chains = (owner.chains ?? []).map(({ name, users, hook, requires }) => {
    const note = users !== undefined ? ' (left to you)' : hook === 'user' ? ' (its hook is yours)' : '';
    return `${code(name)}${note}${requires === undefined ? '' : ` beside ${code(requires)}`}`;
  });
  const sets = [...new Set((owner.sets ?? []).map(({ chain, table }) => `${table} ${chain}`))];
  const words = [
    chains.length === 0 ? '' : `chains ${chains.join(', ')}`,
    [...new Set((owner.rules ?? []).map(({ evidence }) => evidence))].join('; '),
    owner.pairs === undefined ? '' : `both directions of one interface in ${owner.pairs.chain}`,
    sets.length === 0 ? '' : `its plain lines in ${sets.join(', ')}`,
    owner.wholeTable === undefined ? '' : 'the whole table beside a chain `sha-lh-...` or `sha-rh-...`',
    owner.tables === undefined ? '' : `native ${owner.tables.map(code).join(', ')}`,
  ];
  return words.filter((word) => word !== '').join('; ');
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

function repair({ repair: { command, onRequest, note } }: Neighbour): string {
  const words = [
    command === undefined ? 'no command' : `${code(command)}${onRequest ? ', on your request only' : ''}`,
    note,
  ];
  return words.filter((word) => word !== undefined).join('; ');
}

/** Three tables: how each is told, what it does, how it is put right. */
export function ownersTables(): Readonly<Record<'signatures' | 'habits' | 'repairs', readonly string[]>> {
  return {
    signatures: [
      row(['id', 'told by', 'verified with']),
      row(['---', '---', '---']),
      ...NEIGHBOURS.map((owner) =>
        row([code(owner.id), signature(owner), owner.verified === 'unverified' ? 'unverified' : code(owner.verified)]),
      ),
    ],
    habits: [
      row(['id', 'slot', 'start', 'reload', 'stop']),
      row(['---', '---', '---', '---', '---']),
      ...NEIGHBOURS.map(({ id, slot, habits }) => row([code(id), slot, habits.start, habits.reload, habits.stop])),
    ],
    repairs: [
      row(['id', 'after a flush by somebody else', 'source of what is said here']),
      row(['---', '---', '---']),
      ...NEIGHBOURS.map((owner) => row([code(owner.id), repair(owner), owner.source])),
    ],
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  for (const [name, lines] of Object.entries(ownersTables())) console.log(`<!-- ${name} -->\n${lines.join('\n')}\n`);
