// `iptables-restore`: its input table by table, each COMMIT a transaction of its own.

import {
  isBad,
  knownTable,
  parseRestoreArgs,
  parseRestoreLine,
  type Edit,
  type Program,
  type RestoreOptions,
} from './command-line.ts';
import type { Ran, Run } from './kernel.ts';
import { copyForWriting, editLegacy, flushAll, registeredTable, type LegacyRefusal } from './legacy-engine.ts';
import type { LineEdit } from './nft-work.ts';
import { banner, missingThing, wordsError } from './run-command.ts';
import { type FakeTable } from './store.ts';
import { openWindow, transactNft } from './transact.ts';

interface Restore {
  readonly run: Run;
  readonly program: Program;
  readonly options: RestoreOptions;
  /** The table whose lines are being read. */
  table: string | undefined;
  edits: LineEdit[];
  /** Legacy edits its copy line by line. */
  copy: FakeTable | undefined;
  /** Legacy writes nothing back when nothing was edited. */
  isEdited: boolean;
}

const ok: Ran = { exitCode: 0, stdout: '', stderr: '' };
const failed = (exitCode: number, stderr: string): Ran => ({ exitCode, stdout: '', stderr });

export function runRestore(run: Run, program: Program, args: readonly string[], input: string): Ran {
  if (args.includes('-V') || args.includes('--version')) return { ...ok, stdout: `${banner(program)}\n` };
  const restore: Restore = {
    run,
    program,
    options: parseRestoreArgs(args),
    table: undefined,
    edits: [],
    copy: undefined,
    isEdited: false,
  };
  const lines = input.split('\n');
  if (lines.at(-1) === '') lines.pop();
  for (const [index, line] of lines.entries()) {
    const refused = takeLine(restore, line, index + 1);
    if (refused !== undefined) return refused;
  }
  if (restore.table === undefined) return ok;
  return failed(1, `${program.name}: COMMIT expected at line ${lines.length + 1}\n`);
}

function takeLine(restore: Restore, line: string, number: number): Ran | undefined {
  if (line === '' || line.startsWith('#')) return undefined;
  if (restore.table === undefined)
    return line.startsWith('*') ? openTable(restore, line, number) : lineFailed(restore, number);
  if (line === 'COMMIT') return commitTable(restore, number);
  const edit = parseRestoreLine(line, restore.program.family, restore.options.counters);
  if (isBad(edit)) return wordsError(restore.program, edit.message, number);
  const missing = missingThing(restore.run, edit);
  if (missing !== undefined) return wordsError(restore.program, missing, number);
  if (restore.copy !== undefined) return editCopy(restore, restore.copy, edit, number);
  restore.edits.push({ line: number, edit });
  return undefined;
}

const lineFailed = ({ program }: Restore, line: number, errno?: string): Ran =>
  failed(
    1,
    `${program.name}: line ${line} failed${errno === undefined || program.engine === 'legacy' ? '' : `: ${errno}`}\n`,
  );

function openTable(restore: Restore, line: string, number: number): Ran | undefined {
  const { program, run } = restore;
  const name = line.slice(1).trim();
  if (!knownTable(name)) return wordsError(program, badTable(program, name, number), number);
  restore.table = name;
  restore.edits = [];
  if (program.engine === 'legacy') {
    openWindow(run); // our lock is held from here on: others came before
    const tables = run.state.stores.legacy[program.family];
    const current = tables.get(name) ?? registeredTable(name);
    tables.set(name, current);
    restore.copy = copyForWriting(current);
    restore.isEdited = !restore.options.noflush;
    if (!restore.options.noflush) flushAll(restore.copy);
  }
  return undefined;
}

const badTable = (program: Program, table: string, line: number): string =>
  program.engine === 'nft'
    ? `${program.name}: line ${line} table name '${table}' invalid`
    : `${program.name}: unable to initialize table '${table}'`;

function editCopy(restore: Restore, copy: FakeTable, edit: Edit, line: number): Ran | undefined {
  restore.isEdited = true;
  const refused = editLegacy(copy, edit, !restore.options.noflush);
  return refused && refusedLegacy(restore, refused, line);
}

function refusedLegacy(restore: Restore, refused: LegacyRefusal, line: number): Ran {
  if (refused.kind === 'words') return wordsError(restore.program, refused.message, line);
  if (refused.kind === 'errno') return lineFailed(restore, line);
  return failed(1, `${banner(restore.program)}: ${refused.message.replace('%LINE', String(line))}\n`);
}

function commitTable(restore: Restore, line: number): Ran | undefined {
  const table = restore.table!;
  restore.table = undefined;
  if (restore.copy !== undefined) return commitLegacy(restore, restore.copy, line);
  if (restore.options.test) return undefined;
  const job = { table, edits: restore.edits, replaces: !restore.options.noflush };
  const outcome = transactNft(restore.run, restore.program.family, job);
  if (outcome.kind === 'done') return undefined;
  if (outcome.kind === 'killed') return failed(137, '');
  if (outcome.kind === 'kernel') return failed(4, kernelErrors(restore.program, outcome.errors));
  const { refusal } = outcome;
  if (refusal.kind === 'at-commit') return wordsError(restore.program, refusal.message, line);
  return refusal.kind === 'crash' ? failed(139, '') : lineFailed(restore, refusal.line, refusal.errno);
}

const kernelErrors = (program: Program, errors: readonly { line: number; text: string }[]): string =>
  `${banner(program)}: \n${errors.map(({ line, text }) => `line ${line}: ${text}\n`).join('')}`;

function commitLegacy(restore: Restore, copy: FakeTable, line: number): Ran | undefined {
  restore.copy = undefined;
  restore.run.state.legacyTouched();
  if (restore.options.test || !restore.isEdited) return undefined;
  const failure = restore.run.ours ? restore.run.state.failures.shift() : undefined;
  if (failure === 'killed') return failed(137, '');
  if (failure === 'lost-race') return lineFailed(restore, line);
  restore.run.state.stores.legacy[restore.program.family].set(copy.name, copy);
  return undefined;
}
