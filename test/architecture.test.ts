// Who may import whom, as a table. A row says why, and the reason is what a failure prints.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const SRC = fileURLToPath(new URL('../src', import.meta.url));

/** Folder -> the folders it may import from, besides itself. Files right in src, and the parts of theirs, see all. */
const FOLDERS: Readonly<Record<string, { readonly may: readonly string[]; readonly why: string }>> = {
  ruleset: { may: [], why: 'the model depends on nothing, so that every stage can share it' },
  owners: { may: ['ruleset'], why: 'an owner is a signature over rule texts' },
  classify: { may: ['ruleset', 'owners'], why: 'whose a rule is follows from its text and the signatures alone' },
  merge: {
    may: ['ruleset', 'owners', 'classify'],
    why: 'what should be is decided before anybody thinks of how to get there',
  },
  plan: { may: ['ruleset', 'owners', 'classify', 'merge'], why: 'the last pure stage: target in, edits out' },
  machine: {
    may: [
      'ruleset',
      'owners',
      'merge',
      'events/types.ts',
      'observe/author.ts',
      'observe/author-kind.ts',
      'pass/types.ts',
    ],
    why: 'the mind of the daemon knows what is heard and what a pass says, and runs nothing',
  },
  rules: {
    may: ['ruleset', 'owners', 'classify', 'nearest.ts'],
    why: 'rule files are text in, values out: reading, rendering and judging them is for the shell in verbs/',
  },
  explain: { may: ['ruleset', 'owners', 'classify'], why: 'a side branch of the model: no stage leans on it' },
  doctor: {
    may: ['ruleset', 'owners', 'classify', 'merge', 'explain'],
    why: 'a check is facts in, finding out; what it takes to know the facts is the verb’s',
  },
  host: { may: [], why: 'the doors to the machine know nothing of firewalls' },
  events: { may: ['ruleset', 'host'], why: 'events are hints; I/O stages never lean on one another' },
  observe: {
    may: ['ruleset', 'host', 'events/types.ts', 'owners/programs.ts', 'owners/types.ts'],
    why: 'reading is a stage of its own; of events it knows the shapes only, of owners the names of their programs',
  },
  apply: { may: ['ruleset', 'host', 'plan'], why: 'apply carries plans out and decides nothing' },
  record: { may: ['ruleset', 'host'], why: 'memory is a stage of its own: I/O stages never lean on one another' },
};

/** What holds no I/O, however far its imports are followed. */
const PURE = ['rules', 'ruleset', 'owners', 'classify', 'merge', 'plan', 'explain', 'doctor', 'machine', 'machine.ts'];

/** Library -> its one door. */
const DOORS: Readonly<Record<string, { readonly door: string; readonly why: string }>> = {
  execa: { door: 'host/exec.ts', why: 'no program is run past the timeouts and the empty environment' },
  'dbus-next': { door: 'host/bus.ts', why: 'unmaintained: wrapped once, low-level API only, timeouts on every call' },
  pino: { door: 'host/log.ts', why: 'one log format' },
  commander: { door: 'cli/', why: 'only the command line parses arguments' },
  diff: { door: 'cli/', why: 'a view for people; alignment is ruleset/align.ts (diff is quadratic in the edits)' },
  'fast-xml-parser': { door: 'observe/xml.ts', why: "libvirt's own files are the only XML" },
  nunjucks: { door: 'host/template.ts', why: 'a template is code: one environment, without loaders, strict' },
  'smol-toml': { door: 'config.ts', why: 'the configuration is read in one place' },
};

/** Node's modules that touch the machine; node:path, node:crypto, node:util compute only. */
const IO_MODULE =
  /^node:(?:fs|fs\/promises|child_process|net|dgram|http|https|os|process|tls|worker_threads|cluster|dns)$/;

interface Import {
  readonly from: string;
  readonly to: string;
  /** `import type`: gone at run time. */
  readonly typeOnly: boolean;
}

/** `import type { Family } from './types.ts';`, `export { a } from './b.ts';`, over several lines too */
const IMPORT = /^(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?'([^']+)';/gm;
/** `await import('fast-xml-parser')` */
const LATE_IMPORT = /\bimport\('([^']+)'\)/g;

const FILES = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
const IMPORTS: readonly Import[] = FILES.flatMap((from) => importsOf(from));

function importsOf(from: string): Import[] {
  const text = readFileSync(join(SRC, from), 'utf8');
  const found = [...text.matchAll(IMPORT)].map(([, type, to = '']) => ({ to, typeOnly: type !== undefined }));
  const late = [...text.matchAll(LATE_IMPORT)].map(([, to = '']) => ({ to, typeOnly: false }));
  return [...found, ...late].map(({ to, typeOnly }) => {
    return { from, typeOnly, to: to.startsWith('.') ? relative(SRC, join(SRC, dirname(from), to)) : to };
  });
}

const folderOf = (file: string): string => (file.includes('/') ? file.slice(0, file.indexOf('/')) : '');
const isOurs = ({ to }: Import): boolean => to.endsWith('.ts');
const isIn = (file: string, place: string): boolean =>
  file === place || file.startsWith(place.endsWith('/') ? place : `${place}/`);

describe('imports', () => {
  it('are found at all', () => {
    expect(IMPORTS.length).toBeGreaterThan(150);
    expect(IMPORTS).toContainEqual({ from: 'plan/plan.ts', to: 'ruleset/align.ts', typeOnly: false });
  });

  it.each(Object.entries(FOLDERS))('of %s/ go only where the table allows', (folder, { may, why }) => {
    const wrong = IMPORTS.filter(
      (each) => folderOf(each.from) === folder && isOurs(each) && folderOf(each.to) !== folder,
    )
      .filter(({ to }) => !may.some((place) => isIn(to, place)))
      .map(({ from, to }) => `${from} imports ${to}`);
    expect(wrong, why).toEqual([]);
  });

  it('of every folder have a row in the table; cli, verbs and the parts of what ties stages together see all', () => {
    const folders = new Set(FILES.map(folderOf));
    expect(
      [...folders].filter(
        (folder) => !['', 'cli', 'verbs', 'pass', 'guard', 'config'].includes(folder) && FOLDERS[folder] === undefined,
      ),
    ).toEqual([]);
  });

  it.each(PURE)('of %s reach no I/O and no library, however far they are followed', (place) => {
    const wrong: string[] = [];
    const seen = new Set<string>();
    const follow = (file: string, path: readonly string[]): void => {
      if (seen.has(file)) return;
      seen.add(file);
      for (const { from, to, typeOnly } of IMPORTS.filter((each) => each.from === file)) {
        if (typeOnly) continue;
        if (to.endsWith('.ts')) follow(to, [...path, to]);
        else if (IO_MODULE.test(to) || !to.startsWith('node:'))
          wrong.push(`${[...path, to].join(' -> ')} (in ${from})`);
      }
    };
    for (const file of FILES.filter((name) => isIn(name, place))) follow(file, [file]);
    expect(wrong, 'a pure stage can be tested, replayed and fuzzed without a machine').toEqual([]);
  });

  it("of node's I/O modules stand in host/ alone", () => {
    const wrong = IMPORTS.filter(({ from, to }) => IO_MODULE.test(to) && folderOf(from) !== 'host').map(
      ({ from, to }) => `${from} imports ${to}`,
    );
    expect(wrong, 'all I/O goes through Host, so that tests can be the machine').toEqual([]);
  });

  it.each(Object.entries(DOORS))('of %s stand at its one door', (library, { door, why }) => {
    const wrong = IMPORTS.filter(({ from, to }) => to === library && !isIn(from, door)).map(({ from }) => from);
    expect(wrong, `${door}: ${why}`).toEqual([]);
  });

  it('name no library without a door', () => {
    const unknown = IMPORTS.filter(
      (each) => !isOurs(each) && !each.to.startsWith('node:') && DOORS[each.to] === undefined,
    );
    expect(unknown.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });
});
