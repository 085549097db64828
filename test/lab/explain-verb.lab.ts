// `mendwall explain` and drift `blocked` on a real hypervisor: what they say, and what real packets do.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ExplainResult } from '../../src/verbs/explain.ts';
import type { BlockedDrift } from '../../src/verbs/blocked.ts';
import type { StatusResult } from '../../src/verbs/status.ts';
import { initGuard, mendwall } from './guard-process.ts';
import { upHypervisor, type Hypervisor } from './host.ts';
import { dhcp, dns, natOut, portForwardIn } from './probes.ts';
import { FORWARD_TARGET } from './user-rules.ts';
import { HYPERVISOR_ADDRESS, OUTSIDE_ADDRESS } from './wiring.ts';

let hypervisor: Hypervisor;

beforeAll(async () => {
  hypervisor = await upHypervisor({ name: 'explain' });
  await hypervisor.addGuest();
  await hypervisor.sh(`
    iptables -t nat -A PREROUTING -i eth0 -p tcp --dport 8022 -j DNAT --to-destination ${FORWARD_TARGET}:22
    iptables -I FORWARD 1 -d ${FORWARD_TARGET}/32 -p tcp --dport 22 -j ACCEPT
    ip -n outside route add 192.168.122.0/24 via ${HYPERVISOR_ADDRESS}`);
  await initGuard(hypervisor);
});
afterAll(() => hypervisor?.down());

async function explained(line: string): Promise<ExplainResult> {
  const { exitCode, stdout, stderr } = await mendwall(hypervisor, 'explain', '--json', ...line.split(' '));
  expect([exitCode, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as ExplainResult;
}

async function blockedNow(): Promise<BlockedDrift[]> {
  const { exitCode, stdout } = await mendwall(hypervisor, 'status', '--json');
  const { drift } = JSON.parse(stdout) as StatusResult;
  // The table that a test makes is pending, and nothing else is drift. No daemon runs: 3.
  const others = drift.filter(({ kind }) => kind !== 'blocked');
  expect(others.map(({ kind, table }) => `${kind} ${table}`).filter((each) => each !== 'pending closed')).toEqual([]);
  expect(exitCode).toBe(others.length > 0 ? 1 : 3);
  return drift.filter((each) => each.kind === 'blocked') as BlockedDrift[];
}

/** Packets that a rule of the filter table has counted. */
async function counted(text: string): Promise<number> {
  const { stdout } = await hypervisor.exec('iptables-save', ['-c', '-t', 'filter']);
  const line = stdout.split('\n').find((each) => each.endsWith(`] ${text}`));
  return Number(/^\[(\d+):/.exec(line ?? '')?.[1]); // [12:840] -A INPUT -j ACCEPT
}

const PORT_FORWARD = `tcp from ${OUTSIDE_ADDRESS} to ${HYPERVISOR_ADDRESS}:8022 in eth0`;

describe('explain says what real packets do', () => {
  it('to a port forward: translated, routed to the bridge, accepted by the rule of the user', async () => {
    const result = await explained(PORT_FORWARD);
    expect(result).toMatchObject({
      verdict: 'accept',
      journey: 'forward',
      deciding: { table: 'filter', chain: 'FORWARD', number: 1, owner: 'user' },
    });
    const nat = result.path.find(({ table, hook }) => table === 'nat' && hook === 'prerouting');
    expect(nat?.ends).toMatchObject([{ translated: `to ${FORWARD_TARGET}:22`, owner: 'user' }]);
    expect(result.path.find(({ hook }) => hook === 'forward')).toMatchObject({ in: 'eth0', out: 'virbr0' });
    expect(await portForwardIn(hypervisor)).toBe(true);
  });

  it("to a guest's other port from outside: rejected by libvirt's own rule, which counts it", async () => {
    const { verdict, deciding } = await explained(`tcp from ${OUTSIDE_ADDRESS} to ${FORWARD_TARGET}:23 in eth0`);
    expect([verdict, deciding?.owner, deciding?.chain]).toEqual(['reject', 'libvirt', 'LIBVIRT_FWI']);
    const before = await counted(deciding?.text ?? '');
    const call = await hypervisor.outside.exec('timeout', ['2', 'bash', '-c', `</dev/tcp/${FORWARD_TARGET}/23`]);
    expect(call.exitCode).not.toBe(0);
    expect(await counted(deciding?.text ?? '')).toBeGreaterThan(before);
  });

  it('to DNS on the host from a guest: accepted by libvirt', async () => {
    const { verdict, deciding, journey } = await explained(`udp from ${FORWARD_TARGET} to 192.168.122.1:53 in virbr0`);
    expect([verdict, journey, deciding?.owner, deciding?.chain]).toEqual(['accept', 'input', 'libvirt', 'LIBVIRT_INP']);
    const before = await counted(deciding?.text ?? '');
    expect(await dns(hypervisor.guest)).toBe(true);
    expect(await counted(deciding?.text ?? '')).toBeGreaterThan(before);
  });

  it("to the outside from a guest: translated to the host's address", async () => {
    const { verdict, path } = await explained(`udp from ${FORWARD_TARGET} to ${OUTSIDE_ADDRESS}:53 in virbr0`);
    expect(verdict).toBe('accept');
    const ends = path.flatMap((step) => step.ends).filter(({ translated }) => translated !== undefined);
    expect(ends).toMatchObject([{ translated: `from ${HYPERVISOR_ADDRESS}`, owner: 'libvirt' }]);
    expect(await natOut(hypervisor.guest)).toBe(true);
  });
});

describe('a native table that drops', () => {
  it('is found by status with the rules that open it, and with them the traffic flows', async () => {
    expect(await blockedNow()).toEqual([]);
    await hypervisor.sh(`nft -f - <<'END'
table inet closed {
  chain input { type filter hook input priority 10; policy drop; ct state established,related accept; iif lo accept; }
  chain forward { type filter hook forward priority 10; policy drop; }
}
END`);
    const guest = hypervisor.guest;
    expect([await dns(guest), await dhcp(guest), await natOut(guest)]).toEqual([false, false, false]);
    const blocked = await blockedNow();
    expect(blocked.length).toBeGreaterThan(3);
    expect(blocked).toContainEqual({
      kind: 'blocked',
      family: 'ip',
      table: 'inet closed',
      chain: 'input',
      text: 'policy drop',
      owner: 'unknown',
      opening: 'nft insert rule inet closed input iifname "virbr0" udp dport 53 accept',
      evidence:
        'network default: drops guests\' DNS to the host; opened by: nft insert rule inet closed input iifname "virbr0" udp dport 53 accept',
    });
    expect((await mendwall(hypervisor, 'status')).stdout).toContain(
      'blocked ip inet closed forward: policy drop (network',
    );
    await hypervisor.sh(blocked.map(({ opening }) => opening).join('\n'));
    expect(await blockedNow()).toEqual([]);
    expect([await dns(guest), await dhcp(guest), await natOut(guest)]).toEqual([true, true, true]);
  });

  it('still stops what libvirt does not let through: explain names it, and the packets stay away', async () => {
    const { verdict, deciding } = await explained(PORT_FORWARD);
    expect([verdict, deciding]).toEqual([
      'drop',
      { engine: 'nft', family: 'inet', table: 'closed', chain: 'forward', text: 'policy drop' },
    ]);
    expect(await portForwardIn(hypervisor)).toBe(false);
    await hypervisor.sh('nft delete table inet closed');
    expect((await explained(PORT_FORWARD)).verdict).toBe('accept');
    expect(await portForwardIn(hypervisor)).toBe(true);
  });
});
