// `debug merge` and `debug plan`: BASE and LIVE in, the merged ruleset or the edits out. The same functions as in a pass.
// BASE's user rules are what is wanted: what LIVE lacks of them comes back, what LIVE has besides is kept, and LIVE's
// neighbours keep the places that BASE knows for them.

import { classify, type Classified, userPartOf } from '../classify/classify.ts';
import type { ChangeSummary } from '../merge/decide.ts';
import { describeDrift } from '../merge/drift.ts';
import { type FamilyWork, planFamily } from '../plan/family-plan.ts';
import { mergedRuleset } from '../plan/merged-ruleset.ts';
import { renderEdit } from '../plan/render.ts';
import { printRuleset } from '../ruleset/iptables/print.ts';
import type { Network } from '../ruleset/network.ts';
import type { DebugOptions } from './debug.ts';
import { familyOf, readDocument, readNetworks, useOwners } from './debug-filters.ts';
import { EXIT, Stop } from './exit-codes.ts';
import type { Session } from './session.ts';

export async function mergeTexts(session: Session, file: string | undefined, options: DebugOptions): Promise<number> {
  if (options.snapshot === undefined) throw new Stop(EXIT.usage, 'expected --snapshot BASE');
  if (options.snapshot === '-' && (file ?? '-') === '-')
    throw new Stop(EXIT.usage, 'BASE and LIVE cannot both be standard input');
  await useOwners(session);
  const family = familyOf(options);
  const networks = await readNetworks(session, options);
  const base = classify((await readDocument(session, options.snapshot, family)).ruleset, networks);
  const live = classify((await readDocument(session, file, family)).ruleset, networks);
  const work = workOf(base, live, networks);
  if (session.options.json === true)
    session.printJson({
      kind: 'debug-merge',
      family,
      drift: work.drift,
      edits: work.tables.map(({ table, plan }) => ({ table, edits: plan.edits.map(renderEdit) })),
      merged: printRuleset(mergedRuleset(live.ruleset, work)),
    });
  else session.terminal.out(options.plan === true ? planText(work) : printRuleset(mergedRuleset(live.ruleset, work)));
  for (const drift of work.drift) session.terminal.err(`${describeDrift(drift)}\n`);
  return EXIT.ok;
}

/** As if a neighbour had made every difference: then BASE alone says what the user wants. */
const BY_NEIGHBOUR: ChangeSummary = {
  replaced: false,
  wiped: false,
  addedAfterWipe: false,
  neighbour: 'libvirt',
  byNeighbour: 'libvirt',
  byOther: false,
  loader: undefined,
};

function workOf(base: Classified, live: Classified, networks: readonly Network[] | undefined): FamilyWork {
  const wish = userPartOf(base);
  const tables = new Set([...wish.tables.keys(), ...live.tables.keys()]);
  return planFamily({
    classified: live,
    wish,
    known: undefined,
    networks,
    exists: () => true,
    tables: undefined,
    summaries: new Map([...tables].map((table) => [table, BY_NEIGHBOUR])),
    evidence: () => ({ wholeTableNew: false, bootFile: undefined }),
    burstOver: true,
    repair: false,
    waiting: [],
    held: [],
    settings: { onDelete: 'restore', onLoad: 'restore' },
    spellings: new Map(),
  });
}

function planText(work: FamilyWork): string {
  const blocks = work.tables
    .filter(({ plan }) => plan.edits.length > 0)
    .map(({ table, plan }) => [`*${table}`, ...plan.edits.map(renderEdit), 'COMMIT', ''].join('\n'));
  return blocks.join('');
}
