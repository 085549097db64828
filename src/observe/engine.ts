// Which engine the iptables commands drive, and whether the other one holds rules too.
// Guarantees: asks without changing anything. iptables-legacy -S, -L and -save -t create the table they are asked for (measured,
// iptables 1.8.9), so legacy is asked only through /proc/net/ip_tables_names, and by a plain iptables-legacy-save when that
// file lists a table already.
// Does not: decide what to do about mixed engines, nor whose the rules are.

import type { ExecResult, Host } from '../host/host.ts';
import type { Family, TableName } from '../ruleset/types.ts';

/** The engine behind a command. `unknown`: the command is missing or failed, the evidence says how. */
export type EngineName = 'nft' | 'legacy' | 'unknown';

/** What an engine holds: a rule or a policy other than ACCEPT, nothing of that kind, or it could not be read. */
export type Holding = 'rules' | 'nothing' | 'unreadable';

export interface FamilyEngine {
  readonly family: Family;
  /** What the plain `iptables` or `ip6tables` command drives. */
  readonly engine: EngineName;
  /** `1.8.9`. */
  readonly version: string | undefined;
  /** Tables that exist in the legacy engine, with rules or without. */
  readonly legacyTables: readonly TableName[];
  /** What the engine holds that the plain command does not show. */
  readonly other: Holding;
  /** Both engines hold rules: packets pass both, and the plain command shows one half. */
  readonly mixed: boolean;
  /** For people, one fact each: `iptables -V: iptables v1.8.9 (nf_tables)`. */
  readonly evidence: readonly string[];
}

export type Engines = Readonly<Record<Family, FamilyEngine>>;

export interface EngineReader {
  /** Both families. 1 ms after the first time, as long as the other engine has no table. Rejects when /proc cannot be read. */
  read(): Promise<Engines>;
  /** What the last `read` found; undefined before the first one and after `forget`. */
  last(): Engines | undefined;
  /** Forgets the cached answers of `-V`: after an alternative was switched or a package changed. */
  forget(): void;
}

const COMMANDS: Readonly<Record<Family, string>> = { ip: 'iptables', ip6: 'ip6tables' };
const NAMES_FILES: Readonly<Record<Family, string>> = { ip: 'ip_tables_names', ip6: 'ip6_tables_names' };
const NOT_INSTALLED = 127;

/** Reads engines through `host`. `procNet` is the /proc/net of the network namespace that `host` runs commands in. */
export function createEngineReader(host: Host, procNet = '/proc/net'): EngineReader {
  const versions = new Map<Family, Version>();
  let last: Engines | undefined;

  async function versionOf(family: Family): Promise<Version> {
    const version = versions.get(family) ?? (await askVersion(host, COMMANDS[family]));
    if (version.engine !== 'unknown') versions.set(family, version);
    return version;
  }

  async function readFamily(family: Family): Promise<FamilyEngine> {
    const { engine, version, said } = await versionOf(family);
    const namesFile = `${procNet}/${NAMES_FILES[family]}`;
    const legacyTables = tableNames(await host.files.read(namesFile));
    const names = `${namesFile}: ${legacyTables.join(' ') || 'no table'}`;
    const other = await otherHolding(host, COMMANDS[family], engine, legacyTables);
    // Asked only when the answer matters: a save of the plain command costs 7 ms at 1,000 rules, and the pass reads it anyway.
    const own = other.holding === 'rules' ? await holdingOf(host, `${COMMANDS[family]}-save`) : undefined;
    const mixed = own?.holding === 'rules';
    const evidence = [said, names, other.said, ...(own === undefined ? [] : [own.said])];
    return { family, engine, version, legacyTables, other: other.holding, mixed, evidence };
  }

  async function read(): Promise<Engines> {
    const [ip, ip6] = await Promise.all([readFamily('ip'), readFamily('ip6')]);
    last = { ip, ip6 };
    return last;
  }

  function forget(): void {
    versions.clear();
    last = undefined;
  }
  return { read, last: () => last, forget };
}

interface Version {
  readonly engine: EngineName;
  readonly version: string | undefined;
  readonly said: string;
}

async function askVersion(host: Host, command: string): Promise<Version> {
  const { exitCode, stdout, stderr } = await host.exec({ file: command, args: ['-V'] });
  const text = (exitCode === 0 ? stdout : stderr).trim();
  const parsed = exitCode === 0 ? parseVersion(text) : UNKNOWN_VERSION;
  return { ...parsed, said: `${command} -V: ${text}` };
}

const UNKNOWN_VERSION = { engine: 'unknown', version: undefined } as const;

/** Reads `iptables v1.8.9 (nf_tables)`, `iptables v1.8.9 (legacy)` and `iptables v1.4.7`: before 1.8 there was only legacy. */
export function parseVersion(text: string): Pick<FamilyEngine, 'engine' | 'version'> {
  const match = /^ip6?tables v([\d.]+)(?: \((nf_tables|legacy)\))?$/.exec(text.trim()); // ip6tables v1.8.9 (nf_tables)
  if (match === null) return UNKNOWN_VERSION;
  return { engine: match[2] === 'nf_tables' ? 'nft' : 'legacy', version: match[1] };
}

const tableNames = (text: string | undefined): string[] => text?.split('\n').filter((name) => name !== '') ?? [];

interface Answer {
  readonly holding: Holding;
  readonly said: string;
}

async function otherHolding(
  host: Host,
  command: string,
  engine: EngineName,
  legacyTables: readonly string[],
): Promise<Answer> {
  if (engine === 'legacy') return holdingOf(host, `${command}-nft-save`);
  if (legacyTables.length === 0) return { holding: 'nothing', said: 'the legacy engine has no table' };
  return holdingOf(host, `${command}-legacy-save`);
}

async function holdingOf(host: Host, command: string): Promise<Answer> {
  const result = await host.exec({ file: command, args: [] });
  const holding = judge(command, result);
  return { holding, said: `${command}: ${holding}${result.exitCode === 0 ? '' : `, exit code ${result.exitCode}`}` };
}

function judge(command: string, result: ExecResult): Holding {
  // Without iptables-nft nobody has written iptables rules into nftables. Legacy tables exist without their program, though.
  if (result.exitCode === NOT_INSTALLED && command.endsWith('-nft-save')) return 'nothing';
  if (result.exitCode !== 0 || unreadableTables(result.stdout).length > 0) return 'unreadable';
  return /^(-A |:\S+ DROP )/m.test(result.stdout) ? 'rules' : 'nothing'; // `-A INPUT ...`, `:INPUT DROP [0:0]`
}

/**
 * Tables that iptables-nft refused to show, from what `iptables-save` printed (stdout) or `iptables -S` said (stderr). Such a
 * table is unreadable, not empty. The exit code of iptables-save is 0 all the same (1.8.9). Not meant: `contains
 * incompatible base-chains`, after which the table is printed without the chains that nft owns.
 */
export function unreadableTables(text: string): readonly TableName[] {
  // # Table `nat' is incompatible, use 'nft' tool.
  // iptables v1.8.9 (nf_tables): table `nat' is incompatible, use 'nft' tool.
  const lines = text.matchAll(
    /^(?:# T|ip6?tables v\S+ \(nf_tables\): t)able `([^'\n]+)' is incompatible, use 'nft' tool/gm,
  );
  return [...lines].map(([, table = '']) => table);
}
