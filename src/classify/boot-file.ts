// What a rule file that is loaded at boot holds besides the user's rules: a vendor's agent (RackConnect) or a person saved the running
// ruleset into it, with libvirt's rules, neighbours' and pending ones of that moment. Loading it brings them back without their owners.
// Goals: `doctor` can name file and lines. Pure.
// Guarantees: a line is named only where an owner claims it, or the snapshot says of its table that it is not the user's.
// Does not: read the file, change it, or say who wrote it (nothing in the file tells).

import { parseDocument } from '../ruleset/iptables/parse.ts';
import { countTexts } from '../ruleset/multiset.ts';
import type { Family, TableName } from '../ruleset/types.ts';
import { type OwnerId, ruleTexts, USER, type UserPart, type UserTable } from '../ruleset/user-part.ts';
import { classify } from './classify.ts';

export interface BootFileLine {
  /** 1-based. */
  readonly line: number;
  readonly table: TableName;
  /** As it stands in the file: a rule, or `:DOCKER - [0:0]`. */
  readonly text: string;
  /** `user` for a pending rule: it is of no neighbour's and not in the snapshot. */
  readonly owner: OwnerId;
  readonly evidence: string;
}

/** The lines of iptables-save text that are not the user's word. Without a snapshot only neighbours' are known. */
export function strangersInBootFile(text: string, family: Family, snapshot?: UserPart): BootFileLine[] {
  const document = parseDocument(text, family);
  const { tables } = classify(document.ruleset, undefined);
  const seen = new Map<string, number>();
  const left = new Map([...(snapshot?.tables.values() ?? [])].map((table) => [table.name, leftOf(table)]));
  const found: BootFileLine[] = [];
  let [at, table] = [1, ''];
  for (const line of document.lines) {
    const first = at;
    at += line.source.split('\n').length;
    if (line.kind === 'table') table = line.table;
    if (line.kind !== 'chain' && line.kind !== 'rule') continue;
    const name = line.kind === 'chain' ? line.chain : line.rule.chain;
    const entry = tables.get(table)?.chains.get(name);
    const index = seen.get(`${table} ${name}`) ?? 0;
    if (line.kind === 'rule') seen.set(`${table} ${name}`, index + 1);
    const claim = line.kind === 'chain' ? entry?.claim : entry?.claims[index];
    if (claim === undefined) continue;
    const place = { line: first, table, text: line.source };
    if (claim.owner !== USER) found.push({ ...place, owner: claim.owner, evidence: claim.evidence });
    else if (line.kind === 'rule' && isPending(left.get(table), line.rule.text))
      found.push({ ...place, owner: USER, evidence: 'not in the snapshot' });
  }
  return found;
}

/** How often each rule of the snapshot's table may still come. */
const leftOf = ({ chains }: UserTable): Map<string, number> =>
  countTexts([...chains.values()].flatMap((chain) => ruleTexts(chain.items)));

function isPending(left: Map<string, number> | undefined, text: string): boolean {
  if (left === undefined) return false;
  const copies = left.get(text) ?? 0;
  left.set(text, copies - 1);
  return copies <= 0;
}
