// The guard under demonstration: the built program, inside the private host.

import { join } from 'node:path';

import type { Hypervisor } from '../lab/host.ts';
import { REPOSITORY } from '../lab/namespaces.ts';
import type { LabProcess } from '../lab/place.ts';

const PROGRAM = join(REPOSITORY, 'dist/mendwall.cjs');
const FOLDERS = ['--state', '/var/lib/mendwall', '--config', '/etc/mendwall/mendwall.toml'];

/** Runs one verb; gives what it printed, whatever its exit code. */
export async function mendwall(hypervisor: Hypervisor, ...args: readonly string[]): Promise<string> {
  const result = await hypervisor.exec('node', [PROGRAM, ...args, ...FOLDERS]);
  return (result.stdout + result.stderr).trim();
}

/**
 * `mendwall init`, then the daemon in merge mode. Resolves when the daemon has said its first line and `status` answers
 * (0, or 1 for a drift it found): its first pass is over then.
 */
export async function startGuard(hypervisor: Hypervisor): Promise<LabProcess> {
  hypervisor.writeFile('/etc/mendwall/mendwall.toml', '');
  const init = await hypervisor.exec('node', [PROGRAM, 'init', '--yes', ...FOLDERS]);
  if (init.exitCode !== 0) throw new Error(`mendwall init ended with ${init.exitCode}: ${init.stderr}${init.stdout}`);
  const guard = hypervisor.spawn('node', [PROGRAM, 'run', '--mode', 'merge', ...FOLDERS]);
  await guard.waitFor(/./, 20_000);
  await untilStatus(hypervisor, guard);
  return guard;
}

async function untilStatus(hypervisor: Hypervisor, guard: LabProcess): Promise<void> {
  const endMs = performance.now() + 20_000;
  for (;;) {
    const status = await hypervisor.exec('node', [PROGRAM, 'status', ...FOLDERS]);
    if (status.exitCode <= 1) return;
    if (performance.now() > endMs) {
      throw new Error(`mendwall run did not get ready:\n${status.stdout}${status.stderr}${guard.lines.join('\n')}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
