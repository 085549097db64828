// From a program name and its arguments to what it is asked to do. Both spellings of every option, as the neighbours use them.

import type { Family } from '../../src/ruleset/types.ts';
import { specOf, splitWords, type Spec } from './spec.ts';
import { BUILTIN_CHAINS, withoutQuoted, type Engine } from './store.ts';

export interface Counters {
  readonly packets: number;
  readonly bytes: number;
}

/** One edit of one table, from a command line or from a line of restore input. */
export type Edit =
  | { readonly kind: 'append'; readonly chain: string; readonly spec: Spec }
  | { readonly kind: 'insert'; readonly chain: string; readonly at: number; readonly spec: Spec }
  | { readonly kind: 'replace'; readonly chain: string; readonly at: number; readonly spec: Spec }
  | { readonly kind: 'delete'; readonly chain: string; readonly spec: Spec }
  | { readonly kind: 'delete-at'; readonly chain: string; readonly at: number }
  | { readonly kind: 'check'; readonly chain: string; readonly spec: Spec }
  | { readonly kind: 'flush'; readonly chain: string | undefined }
  | { readonly kind: 'delete-chain'; readonly chain: string | undefined }
  | { readonly kind: 'zero'; readonly chain: string | undefined }
  | { readonly kind: 'new-chain'; readonly chain: string }
  | { readonly kind: 'rename'; readonly chain: string; readonly to: string }
  | { readonly kind: 'policy'; readonly chain: string; readonly policy: string }
  | { readonly kind: 'list'; readonly chain: string | undefined }
  /** A `:CHAIN policy [p:b]` line of restore input. */
  | {
      readonly kind: 'declare';
      readonly chain: string;
      readonly policy: string;
      readonly counters: Counters | undefined;
    };

/** A refusal while reading the words: exit code 2, and the line that names it. */
export interface BadWords {
  readonly kind: 'bad-words';
  readonly message: string;
}

export interface Program {
  readonly family: Family;
  readonly engine: Engine;
  readonly tool: 'command' | 'save' | 'restore';
  /** As the program calls itself in messages. */
  readonly name: string;
}

/** `/usr/sbin/ip6tables-nft-restore` and all its relatives; undefined for other programs. */
export function programOf(file: string, defaultEngine: Engine): Program | undefined {
  // "ip6tables-legacy-save": family, engine, tool
  const found = /^(ip6?)tables(-nft|-legacy)?(-save|-restore)?$/.exec(file.slice(file.lastIndexOf('/') + 1));
  if (found === null) return undefined;
  const [, family, variant, suffix] = found;
  const engine = variant === undefined ? defaultEngine : variant === '-nft' ? 'nft' : 'legacy';
  // legacy drops its variant from its name, and so does the plain nft command (measured, 1.8.9)
  const shown = engine === 'nft' && suffix !== undefined ? (variant ?? '') : '';
  const name = `${family}tables${shown}${suffix ?? ''}`;
  const tool = suffix === undefined ? 'command' : suffix === '-save' ? 'save' : 'restore';
  return { family: family === 'ip' ? 'ip' : 'ip6', engine, tool, name };
}

const VERBS: Readonly<Record<string, string>> = {
  '--append': '-A',
  '--insert': '-I',
  '--delete': '-D',
  '--replace': '-R',
  '--check': '-C',
  '--flush': '-F',
  '--delete-chain': '-X',
  '--new-chain': '-N',
  '--policy': '-P',
  '--rename-chain': '-E',
  '--zero': '-Z',
  '--list-rules': '-S',
};

export interface ParsedCommand {
  readonly table: string;
  readonly edit: Edit;
}

const bad = (message: string): BadWords => ({ kind: 'bad-words', message });
export const isBad = <T extends object>(value: T | BadWords): value is BadWords =>
  'kind' in value && value.kind === 'bad-words';

/** The arguments of `iptables` itself. */
export function parseCommand(args: readonly string[], family: Family): ParsedCommand | BadWords {
  let table = 'filter';
  const words: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const word = args[at]!;
    if (word === '-t' || word === '--table') table = args[++at] ?? '';
    else if (word === '-w' || word === '--wait')
      at += /^\d+$/.test(args[at + 1] ?? '') ? 1 : 0; // "-w 5"
    else words.push(word);
  }
  const edit = parseEdit(words, family);
  return isBad(edit) ? edit : { table, edit };
}

/** A verb with its words, as on a command line (without -t and -w) or on a restore line. */
export function parseEdit(words: readonly string[], family: Family): Edit | BadWords {
  const typed = words[0];
  if (typed === undefined || typed === '-j') return bad('no command specified');
  const verb = VERBS[typed] ?? typed;
  const chain = words[1];
  if (['-F', '-X', '-Z', '-S'].includes(verb)) return wholeTableVerb(verb, chain);
  if (!/^-[AIDRCNPE]$/.test(verb))
    return bad(typed.startsWith('-') ? `unknown option "${typed}"` : `Bad argument \`${typed}'`);
  if (chain === undefined) return bad(`option "${typed}" requires an argument`);
  if (verb === '-N') return newChain(chain);
  if (verb === '-P') return { kind: 'policy', chain, policy: words[2] ?? '' };
  if (verb === '-E') return { kind: 'rename', chain, to: words[2] ?? '' };
  return ruleVerb(verb, chain, words.slice(2), family);
}

const WHOLE = { '-F': 'flush', '-X': 'delete-chain', '-Z': 'zero', '-S': 'list' } as const;
const wholeTableVerb = (verb: string, chain: string | undefined): Edit => ({
  kind: WHOLE[verb as keyof typeof WHOLE],
  chain,
});

function newChain(chain: string): Edit | BadWords {
  if (chain.length > 28) return bad(`chain name \`${chain}' too long (must be under 29 chars)`);
  return { kind: 'new-chain', chain };
}

function ruleVerb(verb: string, chain: string, words: readonly string[], family: Family): Edit | BadWords {
  const numbered = ['-I', '-D', '-R'].includes(verb) && /^\d+$/.test(words[0] ?? ''); // "-D FORWARD 3"
  const at = numbered ? Number(words[0]) : 1;
  if (at === 0) return bad("Invalid rule number `0'");
  if (verb === '-D' && numbered) return { kind: 'delete-at', chain, at };
  const spec = specOf(numbered ? words.slice(1) : words, family);
  if ('problem' in spec) return bad(spec.problem);
  const wrong = wrongSide(chain, spec.text);
  if (wrong !== undefined) return bad(wrong);
  if (verb === '-I') return { kind: 'insert', chain, at, spec };
  if (verb === '-R') return { kind: 'replace', chain, at, spec };
  return { kind: verb === '-A' ? 'append' : verb === '-C' ? 'check' : 'delete', chain, spec };
}

/** An interface that packets cannot have yet, or no longer have, at that hook. */
function wrongSide(chain: string, text: string): string | undefined {
  const has = (option: string): boolean => new RegExp(`(^| )${option} `).test(withoutQuoted(text)); // "! -i virbr0 -j DROP"
  if (has('-i') && (chain === 'OUTPUT' || chain === 'POSTROUTING')) return `Can't use -i with ${chain}\n`;
  return has('-o') && (chain === 'INPUT' || chain === 'PREROUTING') ? `Can't use -o with ${chain}\n` : undefined;
}

export interface RestoreOptions {
  readonly noflush: boolean;
  readonly counters: boolean;
  readonly test: boolean;
  readonly onlyTable: string | undefined;
}

/** The arguments of `iptables-restore`. */
export function parseRestoreArgs(args: readonly string[]): RestoreOptions {
  const has = (...names: string[]): boolean => args.some((arg) => names.includes(arg));
  const table = args.findIndex((arg) => arg === '-T' || arg === '--table');
  return {
    noflush: has('-n', '--noflush'),
    counters: has('-c', '--counters'),
    test: has('-t', '--test'),
    onlyTable: table === -1 ? undefined : args[table + 1],
  };
}

/** One line between `*table` and `COMMIT`. */
export function parseRestoreLine(line: string, family: Family, counters: boolean): Edit | BadWords {
  if (line.startsWith(':')) return parseDeclaration(line, counters);
  const prefix = /^\[(\d+):(\d+)\]\s*/.exec(line); // "[12:3456] -A INPUT -j ACCEPT"
  const edit = parseEdit(splitWords(prefix === null ? line : line.slice(prefix[0].length)), family);
  if (prefix === null || isBad(edit) || !counters) return edit;
  if (edit.kind !== 'append' && edit.kind !== 'insert' && edit.kind !== 'replace') {
    return bad("Illegal option `-c' with this command");
  }
  return { ...edit, spec: { ...edit.spec, counters: { packets: Number(prefix[1]), bytes: Number(prefix[2]) } } };
}

function parseDeclaration(line: string, wantCounters: boolean): Edit | BadWords {
  const found = /^:(\S+)\s+(\S+)(?:\s+\[(\d+):(\d+)\])?/.exec(line); // ":INPUT ACCEPT [0:0]"
  const [, chain = '', policy = '', packets, bytes] = found ?? [];
  const needed = wantCounters && policy !== '-';
  if (needed && packets === undefined) return bad(`invalid policy counters for chain '${chain}'`);
  const counters = needed ? { packets: Number(packets), bytes: Number(bytes) } : undefined;
  return { kind: 'declare', chain, policy, counters };
}

export const knownTable = (table: string): boolean => table in BUILTIN_CHAINS;
