// The root folder of a Debian 13, for hypervisors with libvirt 11: debian-13.sh makes it once and says what it does.

import { spawn } from 'node:child_process';
import { join } from 'node:path';

import { REPOSITORY } from './namespaces.ts';

/** How long a test waits for it: making it takes 1-2 minutes, plus the download. */
export const DEBIAN_13_TIMEOUT_MS = 600_000;

/** Path of the root; makes it where there is none. Needs root and apt's mirror. Throws when it could not be made. */
export async function debian13Root(): Promise<string> {
  const child = spawn('bash', [join(REPOSITORY, 'test/lab/debian-13.sh')], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  if (exitCode === 0) return said.trim();
  throw new Error(`debian-13.sh ended with ${exitCode}, see what it said above`);
}
