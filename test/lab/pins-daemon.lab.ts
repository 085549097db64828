// Pinned drops and the daemon: they come with it, follow the user's word, and go with it.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { initGuard, mendwall, startGuard, type GuardProcess, writeConfig } from './guard-process.ts';
import { upHypervisor, type Hypervisor } from './host.ts';
import { report } from './netns-host.ts';

const RULES = `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m tcp --dport 23 -j DROP
-A INPUT -m limit --limit 5/min -j ACCEPT
-A INPUT -p tcp -m tcp --dport 25 -j DROP
-A FORWARD -p udp -m udp --dport 1001 -j DROP
COMMIT
`;
const DROP = 'FORWARD -p udp -m udp --dport 1001 -j DROP';

let hypervisor: Hypervisor;
let guard: GuardProcess;
beforeAll(async () => {
  hypervisor = await upHypervisor({ name: 'pins', libvirt: false });
  await hypervisor.sh('iptables-restore', { input: RULES });
  await initGuard(hypervisor);
  await writeConfig(hypervisor, '[user]\npin_drops = true\n');
  guard = await startGuard(hypervisor);
});
afterAll(() => hypervisor.down());

const pins = async (): Promise<string> =>
  (await hypervisor.exec('nft', ['-s', 'list', 'table', 'ip', 'mendwall'])).stdout;
const tables = (): Promise<string> => hypervisor.sh('nft list tables');

/** Milliseconds until the pinned drop of FORWARD is there, or not. */
async function msUntil(pinned: boolean): Promise<number> {
  const startMs = performance.now();
  while ((await pins()).includes('udp dport 1001 counter drop') !== pinned)
    if (performance.now() - startMs > 5000) throw new Error(`the drop is ${pinned ? 'not ' : ''}pinned after 5 s`);
  return performance.now() - startMs;
}

it('stand when the daemon is at rest, and `status` says what is pinned and where it stopped', async () => {
  expect(await pins()).toContain('udp dport 1001 counter drop');
  const status = await mendwall(hypervisor, 'status', '--json');
  expect(JSON.parse(status.stdout)).toMatchObject({
    pins: {
      kind: 'pinned',
      runs: [
        {
          family: 'ip',
          chain: 'INPUT',
          rules: 2,
          drops: 1,
          stopped: { text: '-A INPUT -m limit --limit 5/min -j ACCEPT' },
        },
        { family: 'ip', chain: 'FORWARD', rules: 1, drops: 1 },
        { family: 'ip', chain: 'OUTPUT', rules: 0, drops: 0 },
      ],
    },
  });
  expect(status.exitCode).toBe(0);
  const text = (await mendwall(hypervisor, 'status')).stdout;
  expect(text).toContain('ip INPUT 1, up to `-A INPUT -m limit --limit 5/min -j ACCEPT`');
});

it('are no reason for another pass when they are written', async () => {
  const { passes } = await guard.status();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  expect((await guard.status()).passes).toBe(passes);
});

it('are put back when somebody takes them away', async () => {
  await hypervisor.sh('nft delete table ip mendwall');
  await msUntil(true);
});

it('go with the rule when the admin deletes it, and come with it', async () => {
  const gone: number[] = [];
  for (let round = 0; round < 5; round++) {
    await hypervisor.sh(`iptables -D ${DROP}`);
    gone.push(Math.round(await msUntil(false)));
    await hypervisor.sh(`iptables -A ${DROP}`);
    await msUntil(true);
  }
  report(`pins: a pin outlives its rule by ${gone.join(', ')} ms`);
  expect(Math.max(...gone)).toBeLessThan(2000);
});

it('come back with the rules after a flush', async () => {
  await hypervisor.sh('nft flush ruleset');
  await msUntil(true);
  await guard.idle();
  expect(await hypervisor.sh('iptables-save')).toContain(`-A ${DROP}`);
});

it('do not stand in a pause', async () => {
  await mendwall(hypervisor, 'pause');
  await msUntil(false);
  expect(await tables()).not.toContain('mendwall');
  await mendwall(hypervisor, 'resume');
  await msUntil(true);
});

it('go when the daemon stops; one that only looks takes away what a killed one left, and makes none', async () => {
  await guard.kill();
  expect(await tables()).toContain('mendwall');
  guard = await startGuard(hypervisor, { mode: 'observe' });
  expect(await tables()).not.toContain('mendwall');
  await guard.stop();
  guard = await startGuard(hypervisor);
  await msUntil(true);
  expect(await guard.stop()).toBe(0);
  expect(await tables()).not.toContain('mendwall');
});
