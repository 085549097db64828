// One size, in a process of its own: node --expose-gc --import tsx throughput-run.mts RULES TIMES; prints one JSON line.
// libvirt's jumps were pulled above the user's rules, and one rule in a hundred was deleted: all four stages have work.

import { classify, userPartOf } from '../../src/classify/classify.ts';
import { parseNetworkXml } from '../../src/observe/networks.ts';
import { planFamily } from '../../src/plan/family-plan.ts';
import { renderTable } from '../../src/plan/render.ts';
import { parseDocument } from '../../src/ruleset/iptables/parse.ts';
import type { Network } from '../../src/ruleset/network.ts';
import { NETWORK_STATUS, rulesetOf } from './rules.ts';

/** ms a stage, and what the whole holds at its end. */
export interface StageTimes {
  readonly parse: number;
  readonly classify: number;
  /** Merge, plan, the restore input, and the drift that is told. */
  readonly plan: number;
  readonly heapBytes: number;
}

const heap = (): number => {
  // Once leaves what finalisers and weak references still hold.
  for (let times = 0; times < 3; times++) (globalThis as { gc?: () => void }).gc?.();
  return process.memoryUsage().heapUsed;
};

function runOnce(live: string, wishText: string, networks: readonly Network[]): StageTimes {
  const wish = userPartOf(classify(parseDocument(wishText, 'ip').ruleset, networks));
  const before = heap();
  const at = [performance.now()];
  const document = parseDocument(live, 'ip');
  at.push(performance.now());
  const classified = classify(document.ruleset, networks);
  at.push(performance.now());
  const work = planFamily({
    classified,
    wish,
    known: undefined,
    networks,
    exists: () => true,
    tables: undefined,
    summaries: undefined,
    evidence: () => ({ wholeTableNew: false, bootFile: undefined }),
    burstOver: true,
    repair: false,
    waiting: [],
    held: [],
    settings: { onDelete: 'restore', onLoad: 'adopt' },
    spellings: new Map(),
  });
  const input = work.tables.map(({ plan }) => renderTable(plan, { seen: 'mw-00000000', next: 'mw-11111111' })).join('');
  const { drift } = work;
  at.push(performance.now());
  const heapBytes = heap() - before;
  const edits = work.tables.flatMap(({ plan }) => plan.edits).length;
  // All of it is alive until here; without an edit nothing was measured.
  if (edits === 0 || input.length === 0 || drift.length === 0 || document.problems.length > 0)
    throw new Error('the stages had nothing to do');
  const [start = 0, parsed = 0, classifiedMs = 0, planned = 0] = at;
  return { parse: parsed - start, classify: classifiedMs - parsed, plan: planned - classifiedMs, heapBytes };
}

const count = Number(process.argv[2]);
const times = Number(process.argv[3]);
const read = await parseNetworkXml(NETWORK_STATUS, 'default.xml');
if (!('network' in read)) throw new Error(read.problem.message);
const networks: Network[] = [{ ...read.network, active: true }];
const wish = rulesetOf(count);
let seen = 0;
const live = rulesetOf(count, true)
  .split('\n')
  .filter((line) => !line.startsWith('-A FORWARD -') || line.includes('LIBVIRT') || seen++ % 100 !== 50)
  .join('\n');
const runs = Array.from({ length: times }, () => runOnce(live, wish, networks));
process.stdout.write(`${JSON.stringify(runs)}\n`);
