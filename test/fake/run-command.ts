// `iptables` and `ip6tables` themselves: one edit, one transaction, and what they say when it fails.

import { isBad, knownTable, parseCommand, type Edit, type Program } from './command-line.ts';
import type { Ran, Run } from './kernel.ts';
import { copyForWriting, editLegacy, registeredTable, type LegacyRefusal } from './legacy-engine.ts';
import type { Refusal } from './nft-work.ts';
import { ERRNO } from './nft-work.ts';
import { emptyTable, isBuiltinName, listRules, type FakeTable } from './store.ts';
import { openWindow, transactNft } from './transact.ts';

const ok = (stdout = ''): Ran => ({ exitCode: 0, stdout, stderr: '' });
const failed = (exitCode: number, stderr: string): Ran => ({ exitCode, stdout: '', stderr });

/** `iptables v1.8.9 (nf_tables)`, as it stands before messages. */
export const banner = (program: Program): string =>
  `${program.name} v1.8.9 (${program.engine === 'nft' ? 'nf_tables' : 'legacy'})`;

const tryHelp = (name: string): string => `Try \`${name} -h' or '${name} --help' for more information.\n`;

/** A message of xtables_error. "Bad argument" comes without the program's name. */
export function wordsError(program: Program, message: string, line?: number): Ran {
  const said = message.startsWith('Bad argument') ? message : `${banner(program)}: ${message}`;
  const where = line === undefined ? '' : `Error occurred at line: ${line}\n`;
  return failed(2, `${said}\n${where}${tryHelp(program.name)}`);
}

export function runCommand(run: Run, program: Program, args: readonly string[]): Ran {
  if (args[0] === '-V' || args[0] === '--version') return ok(`${banner(program)}\n`);
  const parsed = parseCommand(args, program.family);
  if (isBad(parsed)) return wordsError(program, parsed.message);
  if (!knownTable(parsed.table)) return failed(3, noTable(program, parsed.table));
  const missing = missingThing(run, parsed.edit);
  if (missing !== undefined) return wordsError(program, missing);
  if (program.engine === 'legacy') return commandLegacy(run, program, parsed.table, parsed.edit);
  return parsed.edit.kind === 'list'
    ? listNft(run, program, parsed.table, parsed.edit.chain)
    : commandNft(run, program, parsed.table, parsed.edit);
}

function noTable(program: Program, table: string): string {
  const why =
    program.engine === 'nft'
      ? `table '${table}' does not exist`
      : `can't initialize ${program.name} table \`${table}': Table does not exist (do you need to insmod?)`;
  return `${banner(program)}: ${why}\nPerhaps ${program.name} or your kernel needs to be upgraded.\n`;
}

/** A match that cannot be loaded, or a set that is not there. */
export function missingThing(run: Run, edit: Edit): string | undefined {
  if (!('spec' in edit)) return undefined;
  const match = edit.spec.matches.find((name) => run.state.unknownMatches.has(name));
  if (match !== undefined) return `Couldn't load match \`${match}':No such file or directory\n`;
  const set = edit.spec.sets.find((name) => !run.state.sets.has(name));
  return set === undefined ? undefined : `Set ${set} doesn't exist.\n`;
}

function listNft(run: Run, program: Program, table: string, chain: string | undefined): Ran {
  const found = run.state.stores.nft[program.family].get(table) ?? emptyTable(table);
  if (chain !== undefined && !isBuiltinName(table, chain) && !found.chains.has(chain)) {
    return failed(1, `${banner(program)}: chain \`${chain}' in table \`${table}' is incompatible, use 'nft' tool.\n`);
  }
  return { ...ok(listRules(found, chain)), stderr: legacyWarning(run, program) };
}

/** iptables-nft says so on stderr when legacy tables are loaded. */
export function legacyWarning(run: Run, program: Program): string {
  if (run.state.stores.legacy[program.family].size === 0) return '';
  const suffix = program.tool === 'save' ? '-save' : '';
  const legacy = `${program.family}tables-legacy`;
  return `# Warning: ${legacy} tables present, use ${legacy}${suffix} to see them\n`;
}

function commandNft(run: Run, program: Program, table: string, edit: Edit): Ran {
  const outcome = transactNft(run, program.family, { table, edits: [{ line: 0, edit }], replaces: false });
  if (outcome.kind === 'done') return ok();
  if (outcome.kind === 'killed') return failed(137, '');
  if (outcome.kind === 'refused') return refusedNft(program, outcome.refusal);
  return failed(4, `${banner(program)}:  ${outcome.errors[0]!.text}\n`);
}

function refusedNft(program: Program, refusal: Refusal): Ran {
  if (refusal.kind === 'at-commit') return wordsError(program, refusal.message);
  return refusal.kind === 'crash' ? failed(139, '') : errnoError(program, refusal.errno);
}

const errnoError = (program: Program, errno: string): Ran =>
  failed(1, `${program.name}: ${errno}${errno === ERRNO.policy ? " Run `dmesg' for more information." : ''}\n`);

function commandLegacy(run: Run, program: Program, name: string, edit: Edit): Ran {
  openWindow(run); // the lock keeps others out of the read and the write; they come before
  const tables = run.state.stores.legacy[program.family];
  const current = tables.get(name) ?? registeredTable(name);
  tables.set(name, current); // asking is enough to load the table
  run.state.legacyTouched();
  const copy = copyForWriting(current);
  const refused = editLegacy(copy, edit, false);
  if (refused !== undefined) return refusedLegacy(program, refused);
  if (edit.kind === 'list') return ok(listRules(copy, edit.chain));
  return edit.kind === 'check' ? ok() : finishLegacy(run, tables, copy);
}

function finishLegacy(run: Run, tables: Map<string, FakeTable>, copy: FakeTable): Ran {
  const failure = run.ours ? run.state.failures.shift() : undefined;
  if (failure === 'killed') return failed(137, '');
  if (failure === 'lost-race') return failed(4, `iptables: Resource temporarily unavailable.\n`);
  tables.set(copy.name, copy);
  return ok();
}

function refusedLegacy(program: Program, refused: LegacyRefusal): Ran {
  return refused.kind === 'errno' ? errnoError(program, refused.errno) : wordsError(program, refused.message);
}
