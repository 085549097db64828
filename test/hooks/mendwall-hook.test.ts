import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { drainSpool } from '../../src/events/spool-folder.ts';
import { parseSpoolFile } from '../../src/events/spool-file.ts';
import { realHost } from '../../src/host/real.ts';

const SOURCE = join(dirname(new URL(import.meta.url).pathname), '../../hooks/mendwall-hook');
/** /bin/sh is one of these on the systems libvirt runs on. */
const SHELLS = ['dash', 'bash', 'busybox'].filter((shell) => spawnSync(shell, ['--help']).error === undefined);

let root: string;
let spool: string;
let hook: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mendwall-hook-'));
  spool = join(root, 'run/spool');
  mkdirSync(spool, { recursive: true, mode: 0o750 });
  hook = install('network.d/50-mendwall');
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

function install(path: string): string {
  const target = join(root, 'hooks', path);
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(SOURCE, target);
  chmodSync(target, 0o755);
  return target;
}

/** As libvirt calls it: script, object's name, operation, sub-operation, extra; nothing but these in the environment. */
function call(
  args: readonly string[],
  options: { hook?: string; input?: string; shell?: string[]; spool?: string } = {},
): SpawnSyncReturns<string> {
  const [file = '', ...rest] = [...(options.shell ?? []), options.hook ?? hook, ...args];
  const env = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    LC_ALL: 'C',
    MENDWALL_SPOOL: options.spool ?? spool,
  };
  return spawnSync(file, rest, { env, input: options.input ?? '', encoding: 'utf8' });
}

function expectSilentSuccess(result: SpawnSyncReturns<string>): void {
  expect([result.status, result.stdout, result.stderr]).toEqual([0, '', '']);
}

const texts = (): string[] => readdirSync(spool).map((name) => readFileSync(join(spool, name), 'latin1'));

describe('the hook', () => {
  it.each(SHELLS)('leaves one whole file and is silent, under %s', (shell) => {
    const prefix = shell === 'busybox' ? ['busybox', 'sh'] : [shell];
    expectSilentSuccess(call(['default', 'started', 'begin', '-'], { shell: prefix, input: '<hookData/>' }));
    expect(texts().map(parseSpoolFile)).toEqual([
      { object: 'network', subject: 'default', operation: 'started', subOperation: 'begin', extra: '-' },
    ]);
    expect(readdirSync(dirname(spool))).toEqual(['spool']);
  });

  it('takes its object from the folder or from its own name', () => {
    for (const path of ['qemu', 'libxl.d/50-mendwall', 'lxc', 'daemon.d/50-mendwall'])
      call(['x', 'start'], { hook: install(path) });
    expect(
      texts()
        .map((text) => parseSpoolFile(text)?.object)
        .sort(),
    ).toEqual(['daemon', 'libxl', 'lxc', 'qemu']);
  });

  it.each(['a\nb', '\u001b[31mred', '../../etc/x', '$(reboot)', '-n', '*', 'a b\tc', '%s\\0', '\'"', ''])(
    'keeps the name %j as it is',
    (name) => {
      expectSilentSuccess(call([name, 'start', 'begin', '-']));
      expect(texts().map((text) => parseSpoolFile(text)?.subject)).toEqual([name]);
    },
  );

  it('is silent and ends with 0 when the spool is missing, a file, a link, or somebody took away its parent', () => {
    const elsewhere = join(root, 'elsewhere');
    mkdirSync(elsewhere);
    symlinkSync(elsewhere, join(root, 'link'));
    writeFileSync(join(root, 'file'), '');
    for (const path of ['missing', 'missing/deep', 'link', 'file'])
      expectSilentSuccess(call(['x', 'start'], { spool: join(root, path) }));
    expect(readdirSync(elsewhere)).toEqual([]);
  });

  it('adds nothing to a spool with 1000 files, and leaves nothing beside it', () => {
    for (let index = 0; index < 999; index += 1) writeFileSync(join(spool, `${index}`), '');
    for (let calls = 0; calls < 3; calls += 1) expectSilentSuccess(call(['x', 'start']));
    expect(readdirSync(spool)).toHaveLength(1000);
    expect(readdirSync(dirname(spool))).toEqual(['spool']);
  });

  it('ends with 0 when there is no mv', () => {
    const result = spawnSync('/bin/sh', [hook, 'x', 'start'], {
      env: { PATH: '/nonexistent', MENDWALL_SPOOL: spool },
      encoding: 'utf8',
    });
    expectSilentSuccess(result);
    expect(texts()).toEqual([]);
  });

  it('does not read its standard input', () => {
    const script = `printf 'line one\\nline two\\n' | { '${hook}' x start; cat; }`;
    expect(
      spawnSync('/bin/sh', ['-c', script], { env: { ...process.env, MENDWALL_SPOOL: spool }, encoding: 'utf8' }).stdout,
    ).toBe('line one\nline two\n');
  });

  it('leaves no process behind: its output pipes are closed when it ends', () => {
    const startedMs = performance.now();
    expectSilentSuccess(call(['x', 'start']));
    expect(performance.now() - startedMs).toBeLessThan(2_000);
  });

  it('is read by drainSpool in the order of the calls', async () => {
    for (const name of ['first', 'second', 'third']) call([name, 'started', 'begin', '-']);
    const events = await drainSpool(realHost({ ownFolders: [] }), spool);
    expect(events.map((event) => event.kind === 'hook' && event.subject)).toEqual(['first', 'second', 'third']);
  });
});

describe('a chained script', () => {
  const chain = (text: string, mode = 0o755): string => {
    const script = install('qemu');
    writeFileSync(`${script}.before-mendwall`, text);
    chmodSync(`${script}.before-mendwall`, mode);
    return script;
  };

  it('gets the same arguments and stdin, and its stdout, stderr and exit status are the hook’s', () => {
    const script = chain(`#!/bin/sh\necho "$# $2 $4" >&2\nsed 's/>a</>b</'\nexit 3\n`);
    const result = call(['g1', 'migrate', 'begin', 'x y'], { hook: script, input: '<domain>a</domain>\n' });
    expect([result.status, result.stdout, result.stderr]).toEqual([3, '<domain>b</domain>\n', '4 migrate x y\n']);
    expect(texts()).toHaveLength(1);
  });

  it('runs also when the spool is missing', () => {
    const result = call(['g1', 'migrate', 'begin', '-'], {
      hook: chain('#!/bin/sh\ncat\n'),
      input: '<domain/>',
      spool: join(root, 'missing'),
    });
    expect([result.status, result.stdout]).toEqual([0, '<domain/>']);
  });

  it('that is not executable is passed over, as libvirt does', () => {
    expectSilentSuccess(call(['g1', 'start'], { hook: chain('#!/bin/sh\nexit 1\n', 0o644) }));
  });
});

it('nothing is written outside the spool’s parent folder', () => {
  call(['default', 'started', 'begin', '-']);
  expect(readdirSync(root).sort()).toEqual(['hooks', 'run']);
  expect(existsSync(join(root, 'hooks/network.d/50-mendwall'))).toBe(true);
});
