import { describe, expect, it } from 'vitest';
import type { Command, ExecResult, Host } from '../../src/host/host.ts';
import { createEngineReader, parseVersion, unreadableTables } from '../../src/observe/engine.ts';

interface Machine {
  /** Stdout by command line; a missing one is not installed. */
  readonly programs: Readonly<Record<string, string>>;
  readonly files?: Readonly<Record<string, string>>;
}

function machine({ programs, files = {} }: Machine) {
  const ran: string[] = [];
  async function exec(command: Command): Promise<ExecResult> {
    const line = [command.file, ...command.args].join(' ');
    ran.push(line);
    const stdout = programs[line];
    const result = { command, stderr: '', durationMs: 1, timedOut: false, pid: 1 };
    if (stdout === undefined) return { ...result, exitCode: 127, stdout: '', stderr: 'cannot start: ENOENT\n' };
    return { ...result, exitCode: 0, stdout };
  }
  const host: Partial<Host> = {
    exec,
    files: { read: async (path: string) => files[path] } as unknown as Host['files'],
  };
  return { reader: createEngineReader(host as Host), ran };
}

const NFT = { 'iptables -V': 'iptables v1.8.9 (nf_tables)\n', 'ip6tables -V': 'ip6tables v1.8.9 (nf_tables)\n' };
const LEGACY = { 'iptables -V': 'iptables v1.8.9 (legacy)\n', 'ip6tables -V': 'ip6tables v1.8.9 (legacy)\n' };
const EMPTY = '*filter\n:INPUT ACCEPT [0:0]\n:mine - [0:0]\nCOMMIT\n';
const RULES = '*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j ACCEPT\nCOMMIT\n';
const NAMES = '/proc/net/ip_tables_names';

describe('which engine the commands drive', () => {
  it.each([
    ['iptables v1.8.9 (nf_tables)', { engine: 'nft', version: '1.8.9' }],
    ['ip6tables v1.8.11 (legacy)\n', { engine: 'legacy', version: '1.8.11' }],
    ['iptables v1.4.7', { engine: 'legacy', version: '1.4.7' }],
    ['something else', { engine: 'unknown', version: undefined }],
  ])('%j', (said, expected) => {
    expect(parseVersion(said)).toEqual(expected);
  });

  it('asks -V once, and nothing else, on a host without legacy tables', async () => {
    const { reader, ran } = machine({ programs: NFT, files: { [NAMES]: '' } });
    await reader.read();
    const { ip } = await reader.read();
    expect(ran).toEqual(['iptables -V', 'ip6tables -V']);
    expect(ip).toMatchObject({ engine: 'nft', other: 'nothing', mixed: false, legacyTables: [] });
    expect(ip.evidence).toEqual([
      'iptables -V: iptables v1.8.9 (nf_tables)',
      '/proc/net/ip_tables_names: no table',
      'the legacy engine has no table',
    ]);
  });

  it('asks again after it was told to forget', async () => {
    const { reader, ran } = machine({ programs: NFT });
    await reader.read();
    reader.forget();
    await reader.read();
    expect(ran.filter((line) => line === 'iptables -V')).toHaveLength(2);
  });

  it('a command that is missing is unknown, with the reason, and is asked again', async () => {
    const { reader, ran } = machine({ programs: {} });
    await reader.read();
    const { ip } = await reader.read();
    expect(ip).toMatchObject({ engine: 'unknown', version: undefined });
    expect(ip.evidence[0]).toBe('iptables -V: cannot start: ENOENT');
    expect(ran.filter((line) => line === 'iptables -V')).toHaveLength(2);
  });
});

describe('whether the other engine holds rules', () => {
  it('is mixed when both do', async () => {
    const programs = { ...NFT, 'iptables-legacy-save': RULES, 'iptables-save': RULES };
    const { ip, ip6 } = await machine({ programs, files: { [NAMES]: 'nat\nfilter\n' } }).reader.read();
    expect(ip).toMatchObject({ engine: 'nft', legacyTables: ['nat', 'filter'], other: 'rules', mixed: true });
    expect(ip6.mixed).toBe(false);
  });

  it('a policy that is not ACCEPT counts as a rule', async () => {
    const programs = { ...NFT, 'iptables-legacy-save': '*filter\n:INPUT DROP [0:0]\nCOMMIT\n', 'iptables-save': RULES };
    expect((await machine({ programs, files: { [NAMES]: 'filter\n' } }).reader.read()).ip.mixed).toBe(true);
  });

  it('is not mixed when the legacy tables are empty, as after a probe by some other tool', async () => {
    const programs = { ...NFT, 'iptables-legacy-save': EMPTY };
    const { ip } = await machine({ programs, files: { [NAMES]: 'filter\n' } }).reader.read();
    expect(ip).toMatchObject({ legacyTables: ['filter'], other: 'nothing', mixed: false });
  });

  it('is not mixed when only the other engine holds rules', async () => {
    const programs = { ...NFT, 'iptables-legacy-save': RULES, 'iptables-save': EMPTY };
    expect((await machine({ programs, files: { [NAMES]: 'filter\n' } }).reader.read()).ip).toMatchObject({
      other: 'rules',
      mixed: false,
    });
  });

  it('never runs a legacy program with an argument, nor at all without a table', async () => {
    const programs = { ...NFT, 'iptables-legacy-save': RULES, 'iptables-save': RULES };
    const { reader, ran } = machine({ programs, files: { [NAMES]: 'filter\n' } });
    await reader.read();
    expect(ran.filter((line) => line.includes('legacy'))).toEqual(['iptables-legacy-save']);
  });

  it('legacy tables without a program to read them are unreadable, not empty', async () => {
    expect((await machine({ programs: NFT, files: { [NAMES]: 'filter\n' } }).reader.read()).ip.other).toBe(
      'unreadable',
    );
  });

  it('on a legacy host it asks iptables-nft-save, which an old host does not have', async () => {
    const mixed = { ...LEGACY, 'iptables-nft-save': RULES, 'iptables-save': RULES };
    expect((await machine({ programs: mixed }).reader.read()).ip).toMatchObject({
      engine: 'legacy',
      other: 'rules',
      mixed: true,
    });
    expect((await machine({ programs: LEGACY }).reader.read()).ip).toMatchObject({ other: 'nothing', mixed: false });
  });
});

describe('unreadable tables', () => {
  it('are named in what iptables-save printed and in what iptables -S said', () => {
    expect(unreadableTables("# Table `nat' is incompatible, use 'nft' tool.\n")).toEqual(['nat']);
    expect(unreadableTables("iptables v1.8.9 (nf_tables): table `nat' is incompatible, use 'nft' tool.\n")).toEqual([
      'nat',
    ]);
    expect(unreadableTables("ip6tables v1.8.9 (nf_tables): table `raw' is incompatible, use 'nft' tool.\n")).toEqual([
      'raw',
    ]);
  });

  it('are not taken from a rule’s comment, nor from a warning about chains that nft owns', () => {
    expect(
      unreadableTables("-A INPUT -m comment --comment \"# Table `nat' is incompatible, use 'nft' tool.\" -j DROP\n"),
    ).toEqual([]);
    expect(
      unreadableTables("# Table `filter' contains incompatible base-chains, use 'nft' tool to list them.\n"),
    ).toEqual([]);
  });

  it('make the holding unreadable', async () => {
    const programs = { ...LEGACY, 'iptables-nft-save': "# Table `nat' is incompatible, use 'nft' tool.\n" };
    expect((await machine({ programs }).reader.read()).ip.other).toBe('unreadable');
  });
});
