// `npm run matrix`: mendwall beside real neighbours. Each program of test/lab/neighbours that can be had runs with libvirt, a
// guest and the user's rules, with mendwall in merge mode. Needs root, and apt's mirror the first time.
//   --only X,Y  neighbours whose names begin so
//   --compare   the same steps without mendwall, too: twice the time
//   --write     the table goes to docs/matrix.md
// Exit 0 whatever was measured; another code only when something broke.

import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';

import { type Obstacle, type Run, runNeighbour } from '../lab/coexistence.ts';
import { REPOSITORY } from '../lab/namespaces.ts';
import { LAB_NEIGHBOURS } from '../lab/neighbours/index.ts';
import { HEADING, page, rowsOf } from './table.ts';

const args = process.argv.slice(2);
const only = args.includes('--only') ? (args[args.indexOf('--only') + 1] ?? '').split(',') : [''];
const say = (line: string): void => void process.stdout.write(line + '\n');

async function tried(name: string, run: () => Promise<Run | Obstacle>): Promise<Run | Obstacle> {
  const result = await run();
  if ('obstacle' in result) say(`skipped ${name}: ${result.obstacle}`);
  return result;
}

async function main(): Promise<void> {
  const results: { readonly guarded: Run | Obstacle; readonly alone: Run | Obstacle | undefined }[] = [];
  say(HEADING);
  for (const neighbour of LAB_NEIGHBOURS.filter(({ name }) => only.some((start) => name.startsWith(start)))) {
    const guarded = await tried(neighbour.name, () => runNeighbour(neighbour, true));
    const alone = args.includes('--compare') ? await runNeighbour(neighbour, false) : undefined;
    results.push({ guarded, alone });
    for (const row of rowsOf(guarded, alone)) say(row);
  }
  if (args.includes('--write')) writeFileSync(join(REPOSITORY, 'docs/matrix.md'), page(results, loadavg()[0] ?? 0));
}

await main();
