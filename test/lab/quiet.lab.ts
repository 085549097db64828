// What displaces nothing causes nothing: libvirtd restarts and reloads beside a sound wall.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Stage, wallNow } from './deed-check.ts';
import { mendwall } from './guard-process.ts';
import { DEFAULT_NETWORK, furtherNetwork } from './networks.ts';
import { upStage } from './scenario-suite.ts';
import { activeNetworks, faultsOf, usersOf } from './yardstick.ts';

const TIMES = 20;
const NETWORKS = [DEFAULT_NETWORK, ...[1, 2, 3, 4].map(furtherNetwork)];

/** CPU time of the daemon and of the programs it has run, in seconds. proc(5): fields 14 to 17, in clock ticks of 10 ms. */
async function cpuSeconds({ hypervisor, guard }: Stage): Promise<number> {
  const { pid } = await guard.status();
  const [, fields = ''] = hypervisor.readFile(`/proc/${pid}/stat`).split(') ');
  const ticks = fields.split(' ').slice(11, 15).map(Number);
  return ticks.reduce((sum, each) => sum + each, 0) / 100;
}

describe('five networks and a sound wall', () => {
  let stage: Stage;
  beforeAll(async () => void (stage = await upStage('nft', { networks: NETWORKS })));
  afterAll(() => stage.hypervisor.down());

  it(`${TIMES} restarts and reloads of libvirtd: no repair, no drift, under 1 s of CPU each`, async () => {
    const { hypervisor, guard } = stage;
    const users = usersOf(await wallNow(hypervisor));
    const networks = await activeNetworks(hypervisor);
    expect(networks).toHaveLength(NETWORKS.length);
    const mark = guard.logMark();
    const before = await cpuSeconds(stage);
    for (let round = 0; round < TIMES; round++) {
      if (round % 2 === 0) await hypervisor.libvirtd.restart();
      else await hypervisor.libvirtd.sighup();
      await hypervisor.libvirtd.quiet();
      await guard.idle();
      expect(faultsOf(await wallNow(hypervisor), users, networks)).toEqual([]);
    }
    const perRound = ((await cpuSeconds(stage)) - before) / TIMES;
    const lines = guard.logSince(mark);
    console.info(
      `quiet: ${perRound.toFixed(2)} s of CPU and ${Math.round(lines.length / TIMES)} log lines a rewrite of ${NETWORKS.length} networks`,
    );
    expect(
      lines.filter((line) => /mended|would mend|displaced|shadowed|lost|^(?:notice|warning|error)/.test(line)),
    ).toEqual([]);
    expect(perRound).toBeLessThan(1);
    const status = JSON.parse((await mendwall(hypervisor, 'status', '--json')).stdout) as { drift: unknown[] };
    expect(status.drift).toEqual([]);
  }, 240_000);

  it('and a pass then finds nothing to do', async () => {
    const pass = await mendwall(stage.hypervisor, 'mend', '--mode', 'merge');
    expect(pass).toMatchObject({ exitCode: 0, stdout: 'unchanged\n' });
  });
});
