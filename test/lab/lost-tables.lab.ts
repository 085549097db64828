// Neighbours' native tables that a flush took: said by owner until they are back, never written.

import { afterAll, beforeAll, expect, it } from 'vitest';

import { type GuardProcess, initGuard, mendwall, startGuard } from './guard-process.ts';
import { type Hypervisor, upHypervisor } from './host.ts';

const FIREWALLD = `table inet firewalld { chain filter_INPUT { type filter hook input priority filter + 10; tcp dport 7 accept; }; }\n`;
const NETAVARK = `table inet netavark { chain INPUT { type filter hook input priority filter; tcp dport 8 accept; }; }\n`;
const USERS = `table inet filter { chain input { type filter hook input priority filter; tcp dport 22 accept; tcp dport 25 drop; }; }\n`;

let hypervisor: Hypervisor;
let guard: GuardProcess;
beforeAll(async () => {
  hypervisor = await upHypervisor({ name: 'lost', libvirt: false });
  await hypervisor.sh('nft -f -', { input: USERS + FIREWALLD + NETAVARK });
  await hypervisor.sh('cp /bin/sleep /run/firewalld');
  hypervisor.spawn('/run/firewalld', ['600']);
  await initGuard(hypervisor);
  guard = await startGuard(hypervisor);
});
afterAll(() => hypervisor?.down());

interface Line {
  readonly kind: string;
  readonly owner: string;
  readonly evidence: string;
}
const lost = (drift: readonly Line[]): string[] =>
  drift.filter(({ kind }) => kind === 'foreign-lost').map(({ evidence }) => evidence.split(';')[0] ?? '');

async function lostNow(): Promise<string[]> {
  await guard.idle();
  const { stdout } = await mendwall(hypervisor, 'status', '--json');
  return lost((JSON.parse(stdout) as { drift: Line[] }).drift);
}

const ONE = 'firewalld lost table inet firewalld';
const TWO = 'podman lost table inet netavark';

it('nothing is said while they stand', async () => {
  expect(await lostNow()).toEqual([]);
});

it('after `nft flush ruleset` both are named, and only the user’s table comes back', async () => {
  await hypervisor.sh('nft flush ruleset');
  expect(await lostNow()).toEqual([ONE, TWO]);
  const tables = await hypervisor.sh('nft list tables');
  expect(tables).toContain('table inet filter');
  expect(tables).not.toMatch(/firewalld|netavark/);
  expect((await mendwall(hypervisor, 'log', '--json', '-n', '5')).stdout).toContain(ONE);
  expect((await mendwall(hypervisor, 'mend', '--json')).stdout).toContain(ONE);
  expect((await mendwall(hypervisor, 'status')).stdout).toContain(`${ONE}; puts it right: firewall-cmd --reload`);
});

it('a restart of the daemon does not forget it', async () => {
  await guard.stop();
  guard = await startGuard(hypervisor);
  expect(await lostNow()).toEqual([ONE, TWO]);
});

it('what its owner wrote again is lost no longer', async () => {
  await hypervisor.sh('nft -f -', { input: NETAVARK });
  await mendwall(hypervisor, 'mend');
  expect(await lostNow()).toEqual([ONE]);
});

it('nor what belongs to a program that no longer runs', async () => {
  await hypervisor.sh('for p in /proc/[0-9]*; do [ "$(cat $p/comm)" != firewalld ] || kill ${p#/proc/}; done');
  await mendwall(hypervisor, 'mend');
  expect(await lostNow()).toEqual([]);
});

it('a table that is deleted while nobody flushes is its owner’s own word, also before a later flush', async () => {
  await hypervisor.sh('nft delete table inet netavark');
  await guard.idle();
  await hypervisor.sh('nft flush ruleset');
  expect(await lostNow()).toEqual([]);
});
