// Are these two rules the same? And: is this text right? iptables itself answers, in a throw-away network namespace: what a
// person typed is loaded there and read back as iptables prints it. There is no second iptables in here.
// Goals: every line gets its saved form or its problem, all problems in one go.
// Guarantees: touches no rule of the machine. What the namespace cannot have (an nfacct object, a match extension that is
// not installed, a name server) is `unchecked`, not an error. Ends: each round settles a line, and the rounds are bounded.
// Does not: say what a rule means, nor whether it can be loaded on the host now.

import type { Host } from '../host/host.ts';
import type { Family } from '../ruleset/types.ts';
import { collect, type Canonical } from './canonical-collect.ts';
import { liveChains, presentSets, stubSets } from './canonical-host.ts';
import {
  chainsOf,
  hostNames,
  inOwnChain,
  readLines,
  setsOf,
  taggedLine,
  tagsAreLost,
  VERDICTS,
  type RuleLine,
} from './canonical-input.ts';
import { loadInNamespace, type Loaded, type StubSet } from './canonical-namespace.ts';
import { newJudgement, refuse, settleLine, stub, type Judgement, type LineError } from './canonical-settle.ts';
import type { RestoreEngine } from './restore-error.ts';

export type { Canonical, CanonicalLine } from './canonical-collect.ts';

/** Refused lines until the rest is left `unchecked`. A load of 1,000 rules costs 15-46 ms. */
const MOST_ROUNDS = 100;

interface Work extends Judgement {
  readonly host: Host;
  readonly sets: readonly StubSet[];
  /** The text's last table lacks its COMMIT: one is added. */
  readonly openTable: string | undefined;
}

/**
 * The canonical form of a text in restore format (whole tables, `*filter` ... `COMMIT`), line by line.
 * `file` names the text in problems. Costs one process, and one more for each line that is refused. Needs root.
 */
export async function canonicalise(
  host: Host,
  engine: RestoreEngine,
  family: Family,
  text: string,
  file = '-',
): Promise<Canonical> {
  const { lines, openTable } = readLines(text);
  const rules = lines.filter((line) => line.kind === 'rule');
  const present = await presentSets(host, rules);
  const sets = stubSets(rules, present, family);
  const work: Work = { ...newJudgement(engine, family, file, lines), host, sets, openTable };
  judgeFrame(work);
  judgeNames(work, rules, present);
  await stubLiveChains(work, rules);
  const loaded = await loadUntilAccepted(work);
  if (loaded.kind !== 'saved') return { kind: 'unavailable', why: whyNot(loaded) };
  const again = tagsAreLost(loaded.text) ? await load(work, compose(work, work.dropped, inOwnChain)) : loaded;
  return again.kind === 'saved' ? collect(work, loaded.text, again.text) : { kind: 'unavailable', why: whyNot(again) };
}

function whyNot(loaded: Exclude<Loaded, { kind: 'saved' }>): string {
  if (loaded.kind === 'unavailable') return loaded.why;
  return `iptables refused the text: ${'message' in loaded.error ? loaded.error.message : ''}`;
}

function judgeFrame(work: Work): void {
  for (const { kind, number } of work.lines) {
    if (kind === 'outside') refuse(work, number, 'no-table', 'outside a table; expected a line like *filter before it');
  }
  if (work.openTable === undefined) return;
  const line = work.lines.length;
  const message = `table ${work.openTable} has no COMMIT`;
  work.bad.set(line, { code: 'no-commit', file: work.file, line, column: 1, message });
}

function judgeNames(work: Work, rules: readonly RuleLine[], present: ReadonlyMap<string, StubSet>): void {
  for (const rule of rules) {
    const missing = setsOf(rule).find((set) => !present.has(set));
    const [name] = hostNames(rule);
    if (missing !== undefined) work.unchecked.set(rule.number, `set ${missing} does not exist now`);
    if (name !== undefined)
      work.unchecked.set(rule.number, `host name ${name}: only its addresses of this moment are kept`);
  }
}

/** Chains the text names and does not declare, and which the host has now: a neighbour's. */
async function stubLiveChains(work: Work, rules: readonly RuleLine[]): Promise<void> {
  const wanted = rules.flatMap(({ table, ...rule }) => chainsOf(rule).map((chain) => ({ table, chain })));
  const unknown = wanted.filter(({ table, chain }) => !work.declared.has(`${table} ${chain}`) && !VERDICTS.has(chain));
  if (unknown.length === 0) return;
  const live = await liveChains(work.host, work.family);
  for (const { table, chain } of unknown) if (live.has(`${table} ${chain}`)) stub(work, table, chain);
}

interface Composed {
  readonly input: string;
  /** For each line of the input the line of the text it came from; 0 for ours. */
  readonly origin: readonly number[];
}

/** What is sent: the text with tags, without the lines that are out, with stub chains behind each table's head. */
function compose(work: Work, without: ReadonlySet<number>, ruleLines?: (rule: RuleLine) => string[]): Composed {
  const sent: { text: string; from: number }[] = [];
  for (const line of work.lines) {
    if (without.has(line.number) || line.text === '') continue;
    const texts = line.kind === 'rule' && ruleLines !== undefined ? ruleLines(line) : [taggedLine(line)];
    for (const text of texts) sent.push({ text, from: line.number });
    if (!line.text.startsWith('*')) continue;
    for (const chain of work.stubs.get(line.text.slice(1)) ?? []) sent.push({ text: `:${chain} - [0:0]`, from: 0 });
  }
  if (work.openTable !== undefined) sent.push({ text: 'COMMIT', from: 0 });
  return { input: sent.map(({ text }) => `${text}\n`).join(''), origin: sent.map(({ from }) => from) };
}

const load = (work: Work, { input }: Composed): Promise<Loaded> =>
  loadInNamespace(work.host, work.engine, work.family, work.sets, input);

async function loadUntilAccepted(work: Work): Promise<Loaded> {
  for (let round = 1; ; round++) {
    const sent = compose(work, work.dropped);
    const loaded = await load(work, sent);
    if (loaded.kind !== 'refused') return loaded;
    const { error } = loaded;
    if ((error.kind !== 'line' && error.kind !== 'lost-race') || round > MOST_ROUNDS + 1) return loaded;
    const number = sent.origin[error.line - 1] ?? 0;
    if (round > MOST_ROUNDS) giveUpFrom(work, number);
    else if (!settleLine(work, error, number) && !(await settleByHalves(work, error, number))) return loaded;
  }
}

function giveUpFrom(work: Work, first: number): void {
  for (const line of work.lines.slice(first - 1)) {
    if (line.kind !== 'rule') continue;
    work.dropped.add(line.number);
    work.unchecked.set(line.number, `not tried: more than ${MOST_ROUNDS} lines before it are refused`);
  }
}

/**
 * The kernel refuses a whole table, which legacy reports in its COMMIT line. The rule is found by halves: the shortest
 * beginning of the table that is refused ends with it. 10 loads for 1,000 rules. False: it is none of the table's rules.
 */
async function settleByHalves(work: Work, error: LineError, commit: number): Promise<boolean> {
  const end = commit === 0 ? work.lines.length : commit - 1;
  const head = work.lines.slice(0, end).findLastIndex((line) => line.text.startsWith('*'));
  const rules = work.lines
    .slice(head + 1, end)
    .filter(({ kind, number }) => kind === 'rule' && !work.dropped.has(number));
  let [good, refused] = [0, rules.length];
  while (refused - good > 1) {
    const half = (good + refused) >> 1;
    const sent = compose(work, new Set([...work.dropped, ...rules.slice(half).map(({ number }) => number)]));
    if (isRefusedAt(await load(work, sent), sent, commit)) refused = half;
    else good = half;
  }
  const found = rules[refused - 1];
  return found !== undefined && settleLine(work, { ...error, message: 'the kernel refuses this rule' }, found.number);
}

/** A later table's refusal says that this one was accepted. */
const isRefusedAt = (loaded: Loaded, sent: Composed, commit: number): boolean =>
  loaded.kind === 'refused' && 'line' in loaded.error && (sent.origin[loaded.error.line - 1] ?? 0) === commit;
