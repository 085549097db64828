// The packed tarball, installed as a user would: `npm install -g`, into a prefix of its own. It is packed from a copy of the
// repository: packing builds, which takes dist/ away from under the tests that run it meanwhile.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { REPOSITORY } from './namespaces.ts';

let folder = '';

function run(file: string, args: readonly string[], cwd = folder): string {
  return execFileSync(file, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** What the tarball is made of; dist/ is left out, so that it is built. */
function copyOfRepository(): string {
  const copy = join(folder, 'copy');
  mkdirSync(copy);
  for (const name of readdirSync(REPOSITORY).filter((each) => !['.git', 'dist', 'node_modules'].includes(each)))
    cpSync(join(REPOSITORY, name), join(copy, name), { recursive: true });
  symlinkSync(join(REPOSITORY, 'node_modules'), join(copy, 'node_modules'));
  return copy;
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mendwall-pack-'));
  run('npm', ['pack', '--silent', '--pack-destination', folder], copyOfRepository());
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? '';
  run('npm', [
    'install',
    '--silent',
    '--no-audit',
    '--no-fund',
    '-g',
    '--prefix',
    join(folder, 'prefix'),
    join(folder, tarball),
  ]);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('the packed tarball, installed globally', () => {
  const mendwall = (...args: string[]): string => run(join(folder, 'prefix/bin/mendwall'), args);

  it('gives a mendwall that runs', () => {
    expect(mendwall('version').trim()).toMatch(/^\d+\.\d+\.\d+$/);
  });

  it('has help of man-page quality: examples and exit status for each command', () => {
    for (const command of [
      'init',
      'status',
      'diff',
      'snapshot',
      'restore',
      'mend',
      'run',
      'log',
      'accept',
      'pause',
      'resume',
      'hooks',
    ]) {
      const help = mendwall(command, '--help');
      expect(help, command).toMatch(/^Usage: mendwall/);
      expect(help, command).toContain('EXAMPLES');
      expect(help, command).toContain('EXIT STATUS');
    }
  });

  it('brings the hook and the units along', () => {
    const root = join(folder, 'prefix/lib/node_modules/mendwall');
    expect(readdirSync(join(root, 'hooks'))).toContain('mendwall-hook');
    expect(readdirSync(join(root, 'systemd'))).toContain('mendwall.service');
  });
});
