// Each folder is a case. `about.txt`: what happened. `base`: the host when the snapshot was taken. `live`: what stands now.
// `networks.xml`, if any: libvirt's definition. `events.json`, if any: the commits that were heard (test/commits.ts), and
// whether libvirt's part may be put back. Expected: `merged`, `plan` (restore input without the lock), `decision.txt`.
// After a change, `vitest -u` writes the expected files anew: then read the difference, rule by rule.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { addCommit, openBurst } from '../../src/machine/burst.ts';
import { classify, userPartOf } from '../../src/classify/classify.ts';
import { describeDrift } from '../../src/merge/drift.ts';
import { parseNetworkXml } from '../../src/observe/networks.ts';
import type { FamilyWork } from '../../src/plan/family-plan.ts';
import { renderEdit } from '../../src/plan/render.ts';
import { parseDocument } from '../../src/ruleset/iptables/parse.ts';
import { printRuleset } from '../../src/ruleset/iptables/print.ts';
import type { Network } from '../../src/ruleset/network.ts';
import type { Ruleset } from '../../src/ruleset/types.ts';
import { ruleTexts, type UserPart } from '../../src/ruleset/user-part.ts';
import { type Act, commit } from '../commits.ts';
import { applied, asRuleset, middle, simpleTable, snapshotOf } from '../properties/work.ts';

const FOLDER = new URL('./', import.meta.url);
const CASES = readdirSync(FOLDER, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => entry.name);

interface Events {
  readonly acts?: readonly Act[];
  readonly repair?: boolean;
  readonly burstOver?: boolean;
  /** Bridges that are not there. */
  readonly gone?: readonly string[];
}

class Case {
  readonly base: Ruleset;
  readonly live: Ruleset;
  readonly events: Events;
  readonly about: string;
  private readonly folder: URL;

  constructor(name: string) {
    this.folder = new URL(`${name}/`, FOLDER);
    this.about = this.read('about.txt').trim();
    this.base = this.ruleset('base');
    this.live = this.ruleset('live');
    this.events = this.has('events.json') ? (JSON.parse(this.read('events.json')) as Events) : {};
  }

  path(file: string): string {
    return new URL(file, this.folder).pathname;
  }

  async networks(): Promise<Network[] | undefined> {
    if (!this.has('networks.xml')) return undefined;
    const parsed = await parseNetworkXml(this.read('networks.xml'), 'networks.xml');
    if ('problem' in parsed) throw new Error(parsed.problem.message);
    return [{ ...parsed.network, active: true }];
  }

  private has(file: string): boolean {
    return existsSync(new URL(file, this.folder));
  }

  private read(file: string): string {
    return readFileSync(new URL(file, this.folder), 'utf8');
  }

  private ruleset(file: string): Ruleset {
    const { ruleset, problems } = parseDocument(this.read(file), 'ip', file);
    expect(problems).toEqual([]);
    return ruleset;
  }
}

function planText(work: FamilyWork): string {
  const tables = work.tables.filter(({ plan }) => plan.edits.length > 0);
  return tables.map(({ table, plan }) => `*${table}\n${plan.edits.map((edit) => `${renderEdit(edit)}\n`).join('')}COMMIT\n`).join('');
}

function decisionText(work: FamilyWork): string {
  const tables = work.tables.map(({ table, decision }) => `${table}: ${decision.kind} (${decision.evidence.join(' ')})\n`);
  return [...tables, ...work.drift.map((drift) => `${describeDrift(drift)}\n`)].join('');
}

function afterwards(live: Ruleset, work: FamilyWork): Ruleset {
  const tables = new Map([...live.tables.keys()].map((name) => [name, simpleTable(live, name)]));
  for (const { plan } of work.tables) if (plan.edits.length > 0) tables.set(plan.table, applied(plan, tables.get(plan.table) ?? new Map()));
  return asRuleset(tables);
}

describe('a case', () => {
  it.each(CASES)('%s', async (name) => {
    const each = new Case(name);
    const networks = await each.networks();
    const { wish, known } = snapshotOf(each.base, networks);
    const { acts, repair = false, burstOver = true, gone = [] } = each.events;
    const burst = acts?.reduce((open, act, index) => addCommit(open, commit(act), index), openBurst(0));
    const summaries = burst === undefined ? undefined : new Map([...burst.tables].map(([key, summary]) => [key.slice('ip '.length), summary]));
    const work = middle(each.live, { wish, known, networks, summaries, input: { repair, burstOver, exists: (bridge) => !gone.includes(bridge) } });
    const merged = afterwards(each.live, work);

    await expect(printRuleset(merged)).toMatchFileSnapshot(each.path('merged'));
    await expect(planText(work)).toMatchFileSnapshot(each.path('plan'));
    await expect(decisionText(work)).toMatchFileSnapshot(each.path('decision.txt'));

    // While a burst is open nothing is settled yet.
    if (!burstOver) return;
    const next: UserPart = { family: 'ip', tables: new Map(work.tables.map((table) => [table.table, table.decision.next])) };
    const again = middle(merged, { wish: next, known, networks });
    expect(again.tables.flatMap((table) => table.plan.edits), 'a second pass is empty').toEqual([]);
    for (const [table, part] of userPartOf(classify(merged, networks, known)).tables) {
      for (const chain of part.chains.values()) expect(ruleTexts(chain.items)).toEqual(ruleTexts(next.tables.get(table)?.chains.get(chain.name)?.items ?? []));
    }
  });
});
