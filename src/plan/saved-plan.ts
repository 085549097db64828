// The least edit that makes the user's part of an ebtables or arptables table as wanted, as lines for its restore program. Pure.
// ebtables: one `ebtables-restore --noflush`, rule by rule, so nobody else's rule is written (measured: one transaction, `-D` by text,
// `-I` by number, nothing done when a line is refused). arptables-restore has no --noflush (it takes the option and flushes): there
// the whole table goes in, neighbours' rules as they stand.
// Where a rule of the user's comes back among a neighbour's: above it, unless one of the user's that stands above it is meant to be
// above the lost one. So it is after each rebuild of nwfilter's, which appends its jumps anew (measured, libvirt 9.0 and 11.3).

import { ownerOfSaved, ownerOfSavedRule, savedStrangers } from '../classify/classify-saved.ts';
import { isBuiltinName, policyOf, printSavedTable, savedChain, savedTable } from '../ruleset/nft/saved.ts';
import { chainsOf, type NftChain, type NftTable } from '../ruleset/nft/types.ts';
import { USER } from '../ruleset/user-part.ts';
import { chainEdits } from './plan.ts';
import { renderEdit } from './render.ts';

/** One line of restore input behind `*TABLE`; `chain` and `rule` where it puts a rule of the user's in. */
export interface SavedLine {
  readonly text: string;
  readonly chain?: string;
  readonly rule?: string;
}

/** `live`: all that stands in the table; undefined: there is no such table. `want`: the user's part; undefined: nothing of it. */
export function planSaved(live: NftTable | undefined, want: NftTable | undefined): SavedLine[] {
  const target = targetOf(live, want);
  if (target === undefined) return [];
  return target.family === 'arp' ? wholeTable(target) : linesBetween(chainMap(live), chainMap(target));
}

const chainMap = (table: NftTable | undefined): Map<string, NftChain> =>
  new Map(table === undefined ? [] : chainsOf(table).map((chain) => [chain.name, chain]));

/** What is to stand: the wanted chains with neighbours' rules among them, and neighbours' chains as they are. */
export function targetOf(live: NftTable | undefined, want: NftTable | undefined): NftTable | undefined {
  const table = want ?? live;
  if (table === undefined || (table.family !== 'bridge' && table.family !== 'arp')) return undefined;
  const [standing, wanted] = [chainMap(live), chainMap(want)];
  const strangers = live === undefined ? new Map() : savedStrangers(live);
  const kept = [...standing.values()].filter(({ name }) => isBuiltinName(name) || strangers.has(name));
  const chains = new Map(kept.map((chain) => [chain.name, strangers.has(chain.name) ? chain : onlyTheirs(chain)]));
  for (const chain of wanted.values()) chains.set(chain.name, withTheirs(chain, standing.get(chain.name)));
  return savedTable(table.family, table.name, [...chains.values()]);
}

const textsOf = ({ rules }: NftChain): string[] => rules.map(({ text }) => text);
const isTheirs = (chain: string, text: string): boolean => ownerOfSavedRule(chain, text) !== USER;

const onlyTheirs = (chain: NftChain): NftChain =>
  savedChain(
    chain.name,
    'ACCEPT',
    textsOf(chain).filter((text) => isTheirs(chain.name, text)),
  );

/** Each rule of a neighbour's goes directly above the rule of the user's that follows it now, without one to the end. */
function withTheirs(chain: NftChain, now: NftChain | undefined): NftChain {
  const before = new Map<string, string[]>();
  const wanted = new Set(textsOf(chain));
  let run: string[] = [];
  for (const text of now === undefined ? [] : textsOf(now)) {
    if (isTheirs(chain.name, text)) run.push(text);
    else if (wanted.has(text) && !before.has(text)) {
      before.set(text, run);
      run = [];
    }
  }
  const texts = textsOf(chain).flatMap((text) => {
    const theirs = before.get(text) ?? [];
    before.delete(text);
    return [...theirs, text];
  });
  return savedChain(chain.name, policyOf(chain), [...texts, ...run]);
}

const wholeTable = (table: NftTable): SavedLine[] =>
  printSavedTable(table)
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((text) => ({ text, ...placeOf(text) }));

/** `-A INPUT -j DROP -s 10.0.0.1` */
function placeOf(text: string): Partial<SavedLine> {
  const chain = /^-A (\S+)/.exec(text)?.[1];
  return chain === undefined ? {} : { chain, rule: text };
}

/** As in plan.ts: chains are made first and deleted last; policies that close come before the rules, those that open after them. */
function linesBetween(from: ReadonlyMap<string, NftChain>, to: ReadonlyMap<string, NftChain>): SavedLine[] {
  const made: string[] = [];
  const closing: string[] = [];
  const opening: string[] = [];
  for (const chain of to.values()) {
    const before = from.get(chain.name);
    const policy = policyOf(chain);
    if (before === undefined && !isBuiltinName(chain.name)) made.push(`:${chain.name} ${policy}`);
    else if (policy !== (before === undefined ? 'ACCEPT' : policyOf(before)))
      (policy === 'DROP' ? closing : opening).push(`-P ${chain.name} ${policy}`);
  }
  const gone = [...from.values()].filter(({ name }) => !to.has(name) && ownerOfSaved(name) === USER);
  const rules = [
    ...[...to.values()].flatMap((chain) => ruleLines(chain.name, from.get(chain.name), chain)),
    ...gone.flatMap((chain) => ruleLines(chain.name, chain, undefined)),
  ];
  const plain = (texts: readonly string[]): SavedLine[] => texts.map((text) => ({ text }));
  return [
    ...plain(made),
    ...plain(closing),
    ...rules,
    ...plain(gone.map(({ name }) => `-X ${name}`)),
    ...plain(opening),
  ];
}

function ruleLines(name: string, from: NftChain | undefined, to: NftChain | undefined): SavedLine[] {
  const [before, after] = [from?.rules ?? [], to?.rules ?? []];
  return chainEdits(name, before, after).map((edit) => ({
    text: renderEdit(edit),
    ...(edit.kind === 'insert' ? { chain: name, rule: edit.text } : {}),
  }));
}
