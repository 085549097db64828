// Which native tables a listing of nft's holds.

import { describe, expect, it } from 'vitest';
import { readNativeTables } from '../../src/observe/native-tables.ts';
import type { ExecResult } from '../../src/host/host.ts';
import { createFakeHost } from '../fake/host.ts';

type Said = Partial<Pick<ExecResult, 'exitCode' | 'stdout' | 'stderr'>>;

function read(said: Said, engine: 'nft' | 'legacy' = 'nft'): ReturnType<typeof readNativeTables> {
  const host = createFakeHost();
  host.answer('nft', ({ args }) => (args.join(' ') === '-s list ruleset' ? said : undefined));
  return readNativeTables(host, engine);
}

const table = (name: string, rule = '', head = ''): string =>
  `table ${name} {\n${head}\tchain INPUT {\n\t\ttype filter hook input priority filter; policy accept;\n${rule}\t}\n}\n`;

describe('of a listing', () => {
  it("iptables-nft's tables are left out, whether nft warns of them or they have its shape", async () => {
    const stdout = table('ip filter', '\t\ttcp dport 22 accept\n') + table('inet filter') + table('ip6 filter');
    const stderr = '# Warning: table ip filter is managed by iptables-nft, do not touch!\n';
    expect(await read({ stdout, stderr })).toEqual({
      kind: 'tables',
      text: stdout,
      without: new Set(['ip filter', 'ip6 filter']),
    });
  });

  it('nothing of that name is left out on the legacy engine, which keeps no table there', async () => {
    expect(await read({ stdout: table('ip filter') }, 'legacy')).toMatchObject({ without: new Set() });
  });

  it('a dormant table is left out: its chains see no packet', async () => {
    const stdout = table('inet a', '\t\tdrop\n', '\tflags dormant\n\n') + table('inet b', '\t\tdrop\n');
    expect(await read({ stdout })).toMatchObject({ without: new Set(['inet a']) });
  });

  it('a bridge table is left out only if it lets all through', async () => {
    const closed = table('bridge closed').replace('policy accept', 'policy drop');
    const stdout = table('bridge filter') + table('bridge mine', '\t\tdrop\n') + closed;
    expect(await read({ stdout })).toMatchObject({ without: new Set(['bridge filter']) });
  });
});

describe('a listing that cannot be had', () => {
  it('is unreadable, not empty', async () => {
    expect(await read({ exitCode: 1, stderr: 'Operation not permitted (you must be root)\n' })).toEqual({
      kind: 'unreadable',
      why: 'nft list ruleset ended with 1: Operation not permitted (you must be root)',
    });
    expect(await read({ stdout: 'table inet a {\n' })).toMatchObject({ kind: 'unreadable' });
  });

  it('for want of nft is empty: without it nobody made a table', async () => {
    expect(await read({ exitCode: 127 })).toEqual({ kind: 'tables', text: '', without: new Set() });
  });
});
