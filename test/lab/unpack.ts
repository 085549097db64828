// Debian packages unpacked for the lab: unpack.sh does it once and says how.

import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { REPOSITORY } from './namespaces.ts';

/** How long a test waits for one set of packages that is not unpacked yet: neutron's 174 take a minute and a half. */
export const UNPACK_TIMEOUT_MS = 300_000;

export interface Unpacked {
  /** A folder for `HypervisorOptions.layers`. */
  readonly root: string;
  /** `fail2ban 1.0.2-2`, one for each package asked for. */
  readonly versions: readonly string[];
}

/** Needs root and apt's mirror, the first time. Throws the last lines of what the script said when it could not. */
export async function unpack(packages: readonly string[]): Promise<Unpacked> {
  const child = spawn('bash', [join(REPOSITORY, 'test/lab/unpack.sh'), packages[0] ?? '', ...packages]);
  let [said, told] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (told += chunk.toString()));
  child.stdin.end();
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  const root = said.trim();
  if (exitCode !== 0 || !existsSync(`${root}.versions`)) {
    throw new Error(`${packages.join(' ')} could not be unpacked: ${told.trim().split('\n').slice(-3).join('; ')}`);
  }
  return { root, versions: readFileSync(`${root}.versions`, 'utf8').trim().split('\n') };
}
