// What starting the program costs, against bare Node. Judged roughly: other work may share the machine.

import { afterEach, expect, it } from 'vitest';

import { initGuard, mendwall } from './guard-process.ts';
import { type Hypervisor, upHypervisor } from './host.ts';
import { fastestOf, machinePace } from './machine-pace.ts';
import { upStage } from './scenario-suite.ts';
import { BASE } from '../verbs/fixture.ts';

let running: Hypervisor[] = [];
afterEach(async () => {
  await Promise.all(running.map((hypervisor) => hypervisor.down()));
  running = [];
});

/** ms of each verb, the fastest of nine, printed. */
async function costs(hypervisor: Hypervisor, nodeMs: number, verbs: readonly string[]): Promise<number[]> {
  const found: number[] = [];
  for (const verb of verbs) found.push(await fastestOf(9, () => mendwall(hypervisor, verb)));
  const shown = found.map((ms, at) => `${verbs[at]} ${Math.round(ms)} ms, ${(ms / nodeMs).toFixed(2)}x`);
  console.info(`node -e 0: ${Math.round(nodeMs)} ms; ${shown.join('; ')}`);
  return found;
}

it('costs little more than Node itself', async () => {
  const hypervisor = await upHypervisor({ name: 'start', libvirt: false });
  running.push(hypervisor);
  await hypervisor.sh('iptables-restore', { input: BASE });
  await initGuard(hypervisor);
  const { nodeMs } = await machinePace(hypervisor);
  const [version = NaN, diff = NaN] = await costs(hypervisor, nodeMs, ['--version', 'diff']);
  expect(version / nodeMs).toBeLessThan(3);
  expect(diff / nodeMs).toBeLessThan(6);
});

it('`status` answers at once beside libvirt, a guest and the daemon', async () => {
  const { hypervisor } = await upStage('nft');
  running.push(hypervisor);
  const { slower, nodeMs } = await machinePace(hypervisor);
  const [version, status] = await costs(hypervisor, nodeMs, ['--version', 'status']);
  expect(version).toBeLessThan(150 * slower);
  expect(status).toBeLessThan(400 * slower);
});
