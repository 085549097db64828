// mendwall.toml and conf.d/*.toml: read, checked against the table of options, and laid over one another.
// Guarantees: a file that group or others may write is refused; every problem says file, line, column, key, what was
// expected, what was found, and the nearest key. The only file that imports smol-toml, loaded only when a file says anything.
// What it does not do: create or change a file.

import { type CheckedFile, checkTable } from './config/check.ts';
import { netnsEntryFor, type NetnsEntry } from './config/netns.ts';
import { OPTIONS, type Value } from './config/options.ts';
import { overlay, type RuleVars } from './config/vars.ts';
import type { Files } from './host/host.ts';
import type { OrderWish } from './owners/index.ts';
import type { Neighbour } from './owners/types.ts';
import type { Repairs } from './merge/owner-actions.ts';
import type { Mode } from './pass/types.ts';

export const DEFAULT_CONFIG_PATH = '/etc/mendwall/mendwall.toml';

export const CONFIG_PROBLEM_CODES = [
  'config-missing',
  'config-writable',
  'config-syntax',
  'config-unknown-key',
  'config-bad-value',
] as const;

export interface ConfigProblem {
  readonly code: (typeof CONFIG_PROBLEM_CODES)[number];
  readonly file: string;
  /** 1-based; 0: the file as a whole. */
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

/** One effective value and where it came from: `default`, `/etc/mendwall/mendwall.toml:3`, `--state`, `MENDWALL_RUN`. */
export interface Setting {
  readonly key: string;
  readonly value: Value;
  readonly from: string;
}

export interface Config {
  readonly mode: Mode;
  readonly onDelete: 'pending' | 'restore';
  readonly onLoad: 'adopt' | 'restore';
  readonly pinDrops: boolean;
  readonly pinOwner: boolean;
  readonly source: 'snapshot' | 'files';
  readonly repair: boolean;
  readonly openGuests: boolean;
  /** `[repair]`: what is done about a neighbour that has lost rules, by owner; others are only told of. */
  readonly repairs: Repairs;
  readonly fixConntrack: boolean;
  readonly contention: { readonly budget: number; readonly windowMs: number };
  readonly keep: { readonly last: number; readonly days: number };
  readonly logFormat: 'text' | 'json';
  readonly stateDir: string;
  readonly rulesDir: string;
  readonly runDir: string;
  readonly procfs: string;
  readonly spool: string;
  /** Programs that `[[owners]]` describes, in the order of the files. */
  readonly owners: readonly Neighbour[];
  /** Above whom the user's rules are to stand: `[[order]]`. */
  readonly order: readonly OrderWish[];
  /** What templates of rule files may use: `[vars]`. */
  readonly vars: RuleVars;
  /** Namespaces that `[[netns]]` names, in the order of the files. */
  readonly netns: readonly NetnsEntry[];
}

export type ConfigRead =
  | { readonly kind: 'config'; readonly config: Config; readonly settings: readonly Setting[] }
  | { readonly kind: 'problems'; readonly problems: readonly ConfigProblem[] };

export interface ConfigRequest {
  readonly path: string;
  /** The path was asked for: a missing file is a problem. */
  readonly explicit: boolean;
  /** Values from the command line and the environment, which win. */
  readonly overrides: readonly Setting[];
  /** For this network namespace; undefined: for the one we run in. */
  readonly netns?: string | undefined;
}

type ConfigFiles = Pick<Files, 'read' | 'list' | 'stat' | 'readLink'>;

/** The effective configuration. Throws HostError `read-failed` when a file is there and cannot be read. */
export async function readConfig(files: ConfigFiles, request: ConfigRequest): Promise<ConfigRead> {
  const problems: ConfigProblem[] = [];
  const owners: Neighbour[] = [];
  let vars = NO_VARS;
  const netns: NetnsEntry[] = [];
  const order: OrderWish[] = [];
  const settings = new Map<string, Setting>(
    OPTIONS.map((option) => [option.key, { key: option.key, value: option.initial, from: 'default' }]),
  );
  for (const path of await configFiles(files, request.path)) {
    const found = await readOne(
      files,
      path,
      owners.map((owner) => owner.id),
    );
    problems.push(...found.problems);
    owners.push(...found.owners);
    vars = overlay(vars, found.vars);
    netns.push(...found.netns);
    order.push(...found.order);
    for (const setting of found.settings) settings.set(setting.key, setting);
    if (!found.exists && request.explicit && path === request.path) {
      problems.push({
        code: 'config-missing',
        file: path,
        line: 0,
        column: 0,
        message: 'there is no such file; `mendwall init` writes one with all options as comments',
      });
    }
  }
  for (const setting of request.overrides) settings.set(setting.key, setting);
  if (settings.get('paths.spool')?.from === 'default') followRun(settings);
  if (settings.get('paths.rules')?.from === 'default') followConfig(settings, request.path);
  if (problems.length > 0) return { kind: 'problems', problems };
  const config = { ...configOf(settings), owners, netns, order, vars };
  if (request.netns === undefined) return { kind: 'config', config, settings: [...settings.values()] };
  const inside = configInNetns(config, request.netns);
  for (const [key, value] of changedInNetns(inside)) settings.set(key, { key, value, from: '--netns' });
  return { kind: 'config', config: inside, settings: [...settings.values()] };
}

/**
 * The same for a namespace: folders of its own, the mode of its `[[netns]]` entry. What is loaded there is always adopted: a
 * namespace made anew under its old name holds what its maker put in, and an old snapshot takes nothing away from it.
 * No `[repair]`: a neighbour's command puts its rules where the neighbour runs, mostly on the host.
 */
export function configInNetns(config: Config, name: string): Config {
  const runDir = `${config.runDir}/netns/${name}`;
  return {
    ...config,
    mode: netnsEntryFor(config.netns, name)?.mode ?? config.mode,
    onLoad: 'adopt',
    repairs: {},
    stateDir: `${config.stateDir}/netns/${name}`,
    runDir,
    spool: `${runDir}/spool`,
    netns: [],
  };
}

function changedInNetns({ mode, onLoad, stateDir, runDir, spool }: Config): [string, Value][] {
  const paths: [string, Value][] = [
    ['paths.state', stateDir],
    ['paths.run', runDir],
    ['paths.spool', spool],
  ];
  return [['mode', mode], ['user.on_load', onLoad], ...paths];
}

/** The spool lies in the run folder unless it is set by itself. */
function followRun(settings: Map<string, Setting>): void {
  const run = settings.get('paths.run');
  if (run !== undefined && run.from !== 'default')
    settings.set('paths.spool', { key: 'paths.spool', value: `${String(run.value)}/spool`, from: run.from });
}

/** rules.d lies beside the configuration unless it is set by itself. */
function followConfig(settings: Map<string, Setting>, path: string): void {
  if (path === DEFAULT_CONFIG_PATH) return;
  const value = `${path.slice(0, path.lastIndexOf('/') + 1)}rules.d`;
  settings.set('paths.rules', { key: 'paths.rules', value, from: path });
}

async function configFiles(files: ConfigFiles, path: string): Promise<string[]> {
  const folder = `${path.slice(0, path.lastIndexOf('/') + 1)}conf.d`;
  const names = (await files.list(folder)).filter((name) => name.endsWith('.toml') && !name.startsWith('.'));
  return [path, ...names.map((name) => `${folder}/${name}`)];
}

interface FileSettings extends CheckedFile {
  readonly exists: boolean;
}

const NO_VARS: RuleVars = { values: {}, files: [] };
const NOTHING = { settings: [], problems: [], owners: [], netns: [], order: [], vars: NO_VARS };

async function readOne(files: ConfigFiles, path: string, taken: readonly string[]): Promise<FileSettings> {
  const text = await files.read(path);
  if (text === undefined) return { exists: false, ...NOTHING };
  const writable = await writableByOthers(files, path);
  if (writable !== undefined) return { exists: true, ...NOTHING, problems: [writable] };
  const parsed = await parseToml(path, text, taken);
  return { exists: true, ...parsed };
}

async function writableByOthers(files: ConfigFiles, path: string): Promise<ConfigProblem | undefined> {
  const target = await files.readLink(path);
  const real =
    target === undefined
      ? path
      : target.startsWith('/')
        ? target
        : `${path.slice(0, path.lastIndexOf('/') + 1)}${target}`;
  const stat = await files.stat(real);
  if (stat === undefined || stat.kind !== 'file' || (stat.mode & 0o022) === 0) return undefined;
  const mode = (stat.mode & 0o7777).toString(8).padStart(4, '0');
  return {
    code: 'config-writable',
    file: path,
    line: 0,
    column: 0,
    message: `its mode is ${mode}, so others than root may write it, and it is read by root; expected 0640: chmod 0640 ${path}`,
  };
}

async function parseToml(file: string, text: string, taken: readonly string[]): Promise<CheckedFile> {
  if (!/^[^#\n]*\S/m.test(text.replace(/^\s*#.*$/gm, ''))) return NOTHING;
  const { parse, TomlError } = await import('smol-toml');
  try {
    return checkTable({ file, text }, parse(text), taken);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [message = ''] = error.message.split('\n');
    return {
      ...NOTHING,
      problems: [{ code: 'config-syntax', file, line: error.line, column: error.column, message }],
    };
  }
}

function configOf(settings: ReadonlyMap<string, Setting>): Omit<Config, 'owners' | 'netns' | 'order' | 'vars'> {
  // The table of options has checked each value; here it only gets its type back.
  const get = <T extends Value>(key: string): T => settings.get(key)?.value as T;
  return {
    mode: get<Mode>('mode'),
    onDelete: get<Config['onDelete']>('user.on_delete'),
    onLoad: get<Config['onLoad']>('user.on_load'),
    pinDrops: get<boolean>('user.pin_drops'),
    pinOwner: get<boolean>('user.pin_owner'),
    source: get<Config['source']>('user.source'),
    repair: get<boolean>('libvirt.repair'),
    openGuests: get<boolean>('libvirt.open_guests'),
    repairs: repairsOf(settings),
    fixConntrack: get<boolean>('libvirt.fix_conntrack'),
    contention: { budget: get<number>('contention.budget'), windowMs: get<number>('contention.window_s') * 1000 },
    keep: { last: get<number>('snapshots.keep_last'), days: get<number>('snapshots.keep_days') },
    logFormat: get<Config['logFormat']>('log.format'),
    stateDir: get<string>('paths.state'),
    rulesDir: get<string>('paths.rules'),
    runDir: get<string>('paths.run'),
    procfs: get<string>('paths.procfs'),
    spool: get<string>('paths.spool'),
  };
}

function repairsOf(settings: ReadonlyMap<string, Setting>): Repairs {
  const set = [...settings.values()].filter(({ key, value }) => key.startsWith('repair.') && value !== 'off');
  return Object.fromEntries(set.map(({ key, value }) => [key.slice('repair.'.length), value as Repairs[string]]));
}

/** `mendwall.toml:3:1: config-bad-value: key "mode": expected "observe" or "merge", found "merg" (did you mean "merge"?)` */
export function printConfigProblem(problem: ConfigProblem): string {
  const place = problem.line === 0 ? problem.file : `${problem.file}:${problem.line}:${problem.column}`;
  return `${place}: ${problem.code}: ${problem.message}`;
}
