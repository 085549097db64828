// One iptables file as statements: chains with policies, rules, slots. Fragments and whole dumps alike. Pure.
// Guarantees: every line is a statement, a comment or a finding. Does not: judge options (iptables does), or know the
// other files (compose.ts does).

import { lex } from '../ruleset/iptables/lex.ts';
import { type Line, parseDocument } from '../ruleset/iptables/parse.ts';
import type { Family } from '../ruleset/types.ts';
import { finding, type Finding, type Place, placeOf, type RuleSource } from './types.ts';

export type Statement = { readonly table: string; readonly place: Place } & (
  | { readonly kind: 'chain'; readonly chain: string; readonly policy: string | undefined }
  /** `at`: 1-based, of `-I`; undefined: at the end. `text` begins with `-A CHAIN`. */
  | { readonly kind: 'rule'; readonly chain: string; readonly text: string; readonly at: number | undefined }
  | {
      readonly kind: 'slot';
      readonly chain: string | undefined;
      readonly owner: string;
      readonly texts: readonly string[];
    }
  | { readonly kind: 'table' }
);

export interface Fragment {
  readonly statements: readonly Statement[];
  readonly problems: readonly Finding[];
}

/** `# mendwall: slot libvirt`, `# mendwall: slot libvirt in FORWARD` */
const SLOT = /^# mendwall: slot (\S+)(?: in (\S+))?$/;
const SLOT_TEXT = /^# mendwall: \| (.*)$/;
/** Found by compose.ts, which knows all files; a table may stand in one text twice. */
const NOT_HERE = new Set(['unknown-chain', 'table-again']);

export function readFragment(source: RuleSource, family: Family): Fragment {
  const { lines, problems } = parseDocument(source.text, family, source.file);
  const found: Finding[] = problems
    .filter(({ code }) => !NOT_HERE.has(code))
    .map(({ code, line, column, message }) => {
      const place = placeOf(source, line);
      return finding(code, source.template ? place : { ...place, column }, message);
    });
  const statements: Statement[] = [];
  let number = 1;
  let table: string | undefined;
  for (const line of lines) {
    if (line.kind === 'table') table = line.table;
    if (line.kind === 'commit') table = undefined;
    if (table !== undefined) addStatement(statements, found, { source, table, number, line });
    number += line.source.split('\n').length;
  }
  return { statements, problems: found };
}

interface Seen {
  readonly source: RuleSource;
  readonly table: string;
  readonly number: number;
  readonly line: Line;
}

function addStatement(statements: Statement[], found: Finding[], seen: Seen): void {
  const { source, table, number, line } = seen;
  const place = placeOf(source, number);
  switch (line.kind) {
    case 'table':
      statements.push({ kind: 'table', table, place });
      return;
    case 'chain':
      statements.push({ kind: 'chain', table, place, chain: line.chain, policy: policyOf(line.policy) });
      return;
    case 'rule':
      statements.push({ kind: 'rule', table, place, chain: line.rule.chain, text: line.rule.text, at: undefined });
      return;
    case 'command':
      addCommand(statements, found, seen);
      return;
    case 'commit':
      return;
    case 'other':
      addSlot(statements, line.source.trimEnd(), table, place);
  }
}

const policyOf = (word: string): string | undefined => (word === '-' ? undefined : word);

function addSlot(statements: Statement[], text: string, table: string, place: Place): void {
  const [, owner, chain] = SLOT.exec(text) ?? [];
  if (owner !== undefined) statements.push({ kind: 'slot', table, place, owner, chain, texts: [] });
  const seen = SLOT_TEXT.exec(text)?.[1];
  const last = statements.at(-1);
  if (seen !== undefined && last?.kind === 'slot')
    statements[statements.length - 1] = { ...last, texts: [...last.texts, seen] };
}

/** `-P`, `-N`, `-I` and the long names; whatever takes rules away has no sense in a file that says all there is. */
function addCommand(statements: Statement[], found: Finding[], { source, table, number, line }: Seen): void {
  const body = line.source.replace(/^\[\d+:\d+\]\s*/, ''); // [12:345] -I INPUT -j DROP
  const lexed = lex(body);
  const [command, chain, third] = lexed.kind === 'tokens' ? lexed.tokens : [];
  const place = placeOf(source, number);
  const name = chain?.text ?? '';
  const rest = (from: number | undefined): string =>
    `-A ${name}${from === undefined ? '' : ` ${body.slice(from).trimEnd()}`}`;
  switch (command?.text) {
    case '-P':
    case '--policy':
      statements.push({ kind: 'chain', table, place, chain: name, policy: third?.text ?? '' });
      return;
    case '-N':
    case '--new-chain':
      statements.push({ kind: 'chain', table, place, chain: name, policy: undefined });
      return;
    case '--append':
      statements.push({ kind: 'rule', table, place, chain: name, text: rest(third?.offset), at: undefined });
      return;
    case '-I':
    case '--insert': {
      const isNumber = third !== undefined && /^\d+$/.test(third.text); // -I INPUT 3 -j DROP
      const from = isNumber && lexed.kind === 'tokens' ? lexed.tokens[3]?.offset : third?.offset;
      statements.push({
        kind: 'rule',
        table,
        place,
        chain: name,
        text: rest(from),
        at: isNumber ? Number(third.text) : 1,
      });
      return;
    }
    default: {
      const said = `a rule file says what there is: expected -A, -I, -N or -P, found ${command?.text ?? body}`;
      found.push(finding('bad-command', place, said));
    }
  }
}
